"""Files of a folder or a zip, read alike; a zip is checked before anything is unpacked."""

import os
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from smartbox.datasets._images import ImageError

_MAX_FILE = 2**28  # bytes of one file
_MAX_UNPACKED = 2**31  # bytes of all members of a zip together
_MAX_RATIO = 100  # of unpacked to packed size, where unpacking gives more than _HARMLESS bytes
_HARMLESS = 2**26


class Member(NamedTuple):
    """A file of a source; `name` is relative to it and has forward slashes."""

    name: str
    size: int
    stamp: int  # checksum in a zip, time of last change in a folder


def open_source(path):
    """Open a folder or a zip: a context manager with `members`, `folders`, `read(member)`, `label(member)`.

    Hidden files and folders are left out. The directory of a zip is checked at once for members that lead
    outside, for encryption and for bombs; nothing is ever unpacked to disk.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _FolderSource(path)
    if not path.exists():
        raise FileNotFoundError(f"expected a folder or a zip file at {path}, got nothing; check the path")
    if not path.is_file():
        raise ValueError(f"{path}: expected a folder or a zip file, got a device or a pipe; check the path")
    return _ZipSource(path)


def _is_hidden(name):
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


class _FolderSource:
    def __init__(self, path):
        self.path = path
        self.members, self.folders = [], []
        self._walk("", (os.path.realpath(path),))
        self.members.sort()

    def _walk(self, prefix, ancestors):
        """List a folder and, following links, all below it; `ancestors` are the real paths leading there."""
        try:
            with os.scandir(self.path / prefix) as entries:
                visible = [entry for entry in entries if not _is_hidden(entry.name)]
        except OSError as error:
            raise ValueError(
                f"{self.path / prefix}: the folder cannot be read ({error.strerror}); "
                "allow yourself to read it, or move it elsewhere"
            ) from error
        for entry in visible:
            name = prefix + entry.name
            if not os.path.isdir(entry.path):  # unlike entry.is_dir(), puts up with a link to itself
                about = os.stat(entry.path, follow_symlinks=os.path.isfile(entry.path))
                self.members.append(Member(name, about.st_size, about.st_mtime_ns))
                continue
            real = os.path.realpath(entry.path)
            if real in ancestors:
                raise ValueError(f"{entry.path} links back to {real}, which contains it; remove the link")
            self.folders.append(name)
            self._walk(name + "/", (*ancestors, real))

    def label(self, member):
        return str(self.path / member.name)

    def read(self, member):
        path = self.path / member.name
        if not path.is_file():  # a pipe would block for ever
            raise ImageError(f"{path}: expected a regular file, got a broken link or a device")
        try:
            with open(path, "rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size > _MAX_FILE:
                    raise ImageError(f"{path}: expected at most {_MAX_FILE:,} bytes, got {size:,}; scale it down first")
                return stream.read(size)
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from error

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        """There is nothing to close: each file was, once it was read."""


class _ZipSource:
    def __init__(self, path):
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise ValueError(
                f"{path}: expected a folder or a complete zip file, got neither ({error}); "
                "check the path, or download or pack it again"
            ) from error
        try:
            self._infos = self._checked()
        except ValueError:
            self._archive.close()
            raise
        self.members = sorted(
            Member(name, info.file_size, info.CRC) for name, info in self._infos.items() if not info.is_dir()
        )
        parents = {str(parent) for name in self._infos for parent in PurePosixPath(name + "x").parents}
        self.folders = sorted(parents - {"."})

    def _checked(self):
        """Visible members by name, once none of all the members is found to be harmful."""
        infos = {}
        for info in self._archive.infolist():
            name = info.filename.replace("\\", "/")
            if name.startswith("/") or ".." in name.split("/") or name[1:3] == ":/":
                raise ValueError(
                    f"{self.path}: expected members inside the archive, got {info.filename!r}, which leads "
                    "outside; do not trust this file"
                )
            if info.flag_bits & 1:
                raise ValueError(
                    f"{self.path}: expected no password, got {name} encrypted; unpack it and give the folder"
                )
            if name in infos:
                raise ValueError(f"{self.path}: expected each name once, got {name} twice; pack it again")
            if not _is_hidden(name):
                infos[name] = info
        self._check_total(sum(info.file_size for info in self._archive.infolist()))
        return infos

    def _check_total(self, total):
        packed = self.path.stat().st_size
        if total > _MAX_UNPACKED or total > max(_HARMLESS, _MAX_RATIO * packed):
            raise ValueError(
                f"{self.path}: would unpack from {packed:,} to {total:,} bytes; expected at most "
                f"{_MAX_UNPACKED:,} bytes and {_MAX_RATIO} times its size; if you trust it, unpack it "
                "and give the folder"
            )

    def label(self, member):
        return f"{member.name} in {self.path}"

    def read(self, member):
        """The bytes of a member: never more than the directory announces, which is limited."""
        info = self._infos[member.name]
        # Python inflates the other methods without a bound, whatever the size in the directory.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.file_size > _MAX_FILE:
            raise ImageError(
                f"{self.label(member)}: expected at most {_MAX_FILE:,} bytes, stored or deflated, got "
                f"{info.file_size:,} with method {info.compress_type}; unpack the archive and give the folder"
            )
        try:
            with self._archive.open(info) as stream:
                content = stream.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError) as error:
            raise ImageError(f"{self.label(member)}: damaged in the archive ({error})") from error
        if len(content) != info.file_size:
            raise ImageError(f"{self.label(member)}: expected {info.file_size:,} bytes, got {len(content):,}")
        return content

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._archive.close()
