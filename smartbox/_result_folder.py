"""A folder of results that is replaced as a whole: prepared beside its place, and moved in by renames that no signal parts."""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from smartbox._serialization import undisturbed

REPORT = "report.json"  # unless a command calls it otherwise


class ResultFolder:
    """What a command leaves in a folder.

    Parameters
    ----------
    folder : str or path
    files : sequence of str
        Names of the files and folders, the report the last: its "format" marks the folder.
    format : str
        What the report calls itself.
    what : str
        What an error calls it.
    """

    def __init__(self, folder, files, format, what):
        self.folder = Path(folder)
        self.files, self.format, self.what = files, format, what

    def check_replaceable(self):
        """Raise a ValueError if the results would replace what is none of them."""
        there = [name for name in self.files if (self.folder / name).exists()]
        if there and not self.is_ours():
            raise ValueError(
                f"{self.folder} holds {', '.join(there)}, but no {self.what} to replace: choose another folder, or move what "
                "is there."
            )

    def is_ours(self):
        """Whether the folder holds such results."""
        try:
            return json.loads((self.folder / self.files[-1]).read_text())["format"] == self.format
        except (OSError, ValueError, KeyError, TypeError):
            return False

    @contextmanager
    def replaced(self):
        """Yield a new folder to prepare all files in; at the end of the block they take the place of the old ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / f".new-{self.what.replace(' ', '-')}"
        shutil.rmtree(new, ignore_errors=True)  # what a killed process has left there
        new.mkdir()
        try:
            yield new
            with undisturbed():
                for name in self.files:
                    self._put(new, name)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def paths(self):
        """Where the results are."""
        return [self.folder / name for name in self.files]

    def _put(self, new, name):
        """Move a finished file or folder into place; an old folder cannot be replaced at once, and leaves first."""
        if (self.folder / name).is_dir():
            os.replace(self.folder / name, new / f"old-{name}")
        os.replace(new / name, self.folder / name)
