"""Finished batches of a run, each kept on disk at once, so that whatever ends the run costs no more than one batch."""

import json
import shutil
from pathlib import Path

import numpy as np

from smartbox._records import write_text
from smartbox._serialization import atomic_file

PARTIAL = "partial"  # the folder, within that of the results
_RECIPE, _BATCHES = "run.json", "batches"


def check_folder(folder):
    """Raise a ValueError if ``folder`` holds what is not of a run."""
    if folder.exists() and not _is_ours(folder) and not _is_bare(folder):
        raise ValueError(
            f"{folder} is where an unfinished run keeps its images, but holds something else: choose another folder with "
            "--out, or move it."
        )


class Batches:
    """What is finished of a run over ``n_images`` images.

    Parameters
    ----------
    folder : Path
        Where to keep it; made with the first batch.
    recipe : dict
        All that the results depend on, as JSON: batches of another recipe are not continued.
    n_images : int
    """

    def __init__(self, folder, recipe, n_images):
        self.folder = Path(folder)
        self.recipe = recipe
        self.done = np.zeros(n_images, dtype=bool)
        self.parts = []

    def reopen(self):
        """Take up what an earlier run of the same recipe has finished; else drop it, and return why."""
        if not _is_ours(self.folder):
            return None
        try:
            change = _first_change(json.loads((self.folder / _RECIPE).read_text()), self.recipe)
            if change is None:
                for path in sorted((self.folder / _BATCHES).glob("*.npz")):
                    with np.load(path, allow_pickle=False) as arrays:
                        self._take(dict(arrays))
        except Exception as error:  # a damaged archive raises anything
            change = f"it cannot be read ({error})"
        if change is not None:
            self.discard()
        return change

    def add(self, rows, **arrays):
        """Keep the results of the images ``rows``."""
        if not self.parts:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / _RECIPE, json.dumps(self.recipe, indent=1))
            (self.folder / _BATCHES).mkdir(exist_ok=True)
        with atomic_file(self.folder / _BATCHES / f"{rows[0]:08d}.npz") as file:
            np.savez(file, rows=rows, **arrays)
        self._take({"rows": rows, **arrays})

    def joined(self):
        """All arrays so far, in the order of the images."""
        joined = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        order = np.argsort(joined["rows"])
        return {name: array[order] for name, array in joined.items()}

    def discard(self):
        """Forget everything, on disk too."""
        if self.folder.exists():
            recipe_last = sorted(
                self.folder.iterdir(), key=lambda path: path.name == _RECIPE
            )  # it marks the folder as ours
            for path in recipe_last:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.folder.rmdir()
        self.parts, self.done[:] = [], False

    def _take(self, arrays):
        if self.done[arrays["rows"]].any():
            raise ValueError("an image is in two of its batches")
        self.done[arrays["rows"]] = True
        self.parts.append(arrays)


def _is_ours(folder):
    return (folder / _RECIPE).is_file()


def _is_bare(folder):
    """Whether there is nothing but what a killed process was about to write."""
    return folder.is_dir() and all(path.name.startswith(f".{_RECIPE}") for path in folder.iterdir())


def _first_change(then, now, name=""):
    """Where two recipes differ, in words; None if nowhere."""
    if isinstance(then, dict) and isinstance(now, dict):
        changes = (_first_change(then.get(key), now.get(key), f"{name} {key}".strip()) for key in {**then, **now})
        return next((change for change in changes if change), None)
    return None if then == now else f"{name} was {_short(then)} then and is {_short(now)} now"


def _short(value):
    text = str(value)
    return text if len(text) <= 20 else f"{text[:19]}…"
