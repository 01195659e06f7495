"""Progress on standard error, shown only when asked for: a bar on a terminal, plain lines in a file or a pipe.

Every line is also told to the logger ``smartbox``.
"""

import logging
import sys
import time
from contextlib import contextmanager

_SECONDS_BETWEEN_LINES = 30  # of one long step; a step that has finished is always noted
_WIDE = 100  # columns of a terminal with room for more
_log = logging.getLogger("smartbox")


@contextmanager
def progress_bar(description, total, *, enabled):
    """Yield ``advance(steps, note="")``; a no-op where ``enabled`` is false."""
    if not enabled:
        yield lambda steps=1, note="": None
        return
    from rich.console import Console

    console = Console(stderr=True)
    bar = _bar(console, description, total) if console.is_terminal or console.is_jupyter else _lines(description, total)
    with bar as advance:
        yield advance


def say(text, *, enabled):
    """One line of progress."""
    _log.info("%s", text)
    if enabled:
        print(text, file=sys.stderr, flush=True)


def spoken(seconds):
    """A time as one would say it: "95 s", "12 min", "2 h 5 min"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def _bar(console, description, total):
    from rich import progress
    from rich.table import Column

    wide = console.width >= _WIDE
    columns = [
        progress.TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        progress.BarColumn(bar_width=24 if wide else 10),
        progress.MofNCompleteColumn(table_column=Column(no_wrap=True)),
        *([progress.TimeElapsedColumn(table_column=Column(no_wrap=True))] if wide else []),
        progress.TimeRemainingColumn(table_column=Column(no_wrap=True)),
        progress.TextColumn("left", table_column=Column(no_wrap=True)),
        # The note alone gives way where the terminal is narrow.
        progress.TextColumn("{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    ]
    with progress.Progress(*columns, console=console, expand=True) as shown:
        task = shown.add_task(description, total=total, note="")
        yield lambda steps=1, note="": shown.update(task, advance=steps, note=note)


@contextmanager
def _lines(description, total):
    started = said = time.monotonic()
    done, last = 0, ""

    def report():
        nonlocal said
        said = time.monotonic()
        seconds = said - started
        left = f"about {seconds / done * (total - done):.0f} s left" if 0 < done < total else ""
        parts = f"{description}: {done} of {total}", f"{seconds:.0f} s", left, last
        say(", ".join(part for part in parts if part), enabled=True)

    def advance(steps=1, note=""):
        nonlocal done, last
        done, last = done + steps, note
        if done < total and time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
            report()

    yield advance
    report()
