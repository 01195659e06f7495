"""The terminal, the folder to write to, and how a run may end."""

import os
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager

import click

_FILE_WIDTH = 160  # of tables in a file or a pipe


class Interrupted(click.exceptions.Abort):
    """By the user, with a message on what is left of the run."""


class Terminated(KeyboardInterrupt):
    """By SIGTERM, which ends a run as Ctrl-C does."""


@contextmanager
def terminable():
    """Within the block SIGTERM raises `Terminated`."""
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield
        return

    def stop(*_):
        raise Terminated

    usual = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if usual is None else usual)


def console():
    """The terminal's width, and enough for whole tables where the output is a file or a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=_FILE_WIDTH)


def check_writable(folder):
    """Try it in the folder, or in what is there of the way to it; nothing is left behind."""
    there = _existing_part(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write results to {folder} ({error.strerror}: {there}): choose another folder with --out."
        ) from error


def check_room(folder, n_bytes):
    """Raise an OSError if the disk has no room for what is to be written."""
    free = shutil.disk_usage(_existing_part(folder)).free
    if free < n_bytes:
        raise OSError(
            f"{folder} needs about {n_bytes / 2**20:.0f} MB, but {free / 2**20:.0f} MB are free: make room, or choose another "
            "folder with --out."
        )


def _existing_part(folder):
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
