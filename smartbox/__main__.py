"""``python -m smartbox`` is the command ``smartbox``."""

from smartbox.cli import main

main()
