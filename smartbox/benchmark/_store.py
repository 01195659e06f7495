"""Pieces of a run on disk: each a file that is whole or is not there, with its checksum, of numbers and text alone."""

import hashlib
import io
import os
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

from smartbox._serialization import atomic_file
from smartbox.datasets._images import cache_dir
from smartbox.persistence import load, save

_FORMAT = "smartbox-piece-1"
_STALE = 86400  # seconds after which half a file is what a killed run left behind


def default_folder():
    """Where pieces are kept unless the user says otherwise."""
    return cache_dir() / "bench"


class Store:
    """Keeps pieces by their keys; several runs may share it.

    What cannot be read is told in a line, and taken for missing; where nothing can be written a warning says so once, and
    the run goes on without keeping.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder):
        self.folder = Path(folder).expanduser()
        self.is_writable = True
        _sweep(self.folder)

    def path(self, key):
        """Where a piece is, if it is."""
        return self.folder / key[:2] / f"{key}.piece"

    def get(self, key):
        """The piece, an estimator or a dictionary of arrays; None if there is none that is whole."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            warnings.warn(f"cannot read {path} ({error.strerror}): made again.", stacklevel=2)
            return None
        try:
            return _unpacked(content, key)
        except Exception as error:  # a damaged file raises anything
            warnings.warn(f"{path} is damaged ({error}): made again.", stacklevel=2)
            return None

    def put(self, key, value):
        """Keep a piece; whether it could be kept."""
        if not self.is_writable:
            return False
        try:
            content = _packed(value, key)
        except ValueError:  # it holds what no safe file may, such as a layer of the user's own
            return False
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as file:
                file.write(content)
        except OSError as error:
            self.is_writable = False
            warnings.warn(
                f"nothing more is kept in the cache {self.folder} ({error.strerror or error}): the run goes on without it; free "
                "some space, or choose another folder (--cache DIR).",
                stacklevel=2,
            )
            return False
        return True


def _packed(value, key):
    """The bytes of a file: a line of format, kind, key and checksum, then the arrays or the estimator."""
    if isinstance(value, dict):
        kind, stream = "arrays", io.BytesIO()
        np.savez(stream, **{name: _plain(array) for name, array in value.items()})
        payload = stream.getvalue()
    else:
        kind = "estimator"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "piece.smartbox"
            save(value, path)
            payload = path.read_bytes()
    return f"{_FORMAT} {kind} {key} {hashlib.sha256(payload).hexdigest()}\n".encode() + payload


def _plain(array):
    array = np.asarray(array)
    return array.astype(str) if array.dtype == object else array


def _unpacked(content, key):
    line, _, payload = content.partition(b"\n")
    found, kind, its_key, digest = line.decode("ascii").split(" ")
    if (found, its_key) != (_FORMAT, key):
        raise ValueError("it is another file")
    if hashlib.sha256(payload).hexdigest() != digest:
        raise ValueError("its checksum differs")
    if kind == "arrays":
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            return dict(arrays)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "piece.smartbox"
        path.write_bytes(payload)
        return load(path)


def _sweep(folder):
    """Take away what runs that were killed left half written; what others write just now stays."""
    with suppress(OSError):
        for path in folder.glob("??/.*.piece.*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE:
                    os.unlink(path)
