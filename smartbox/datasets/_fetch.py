"""Download the archive of the cropped Extended Yale Face Database B, and check what comes."""

import http.client
import os
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from smartbox.datasets._images import cache_dir
from smartbox.datasets._source import open_source
from smartbox.datasets._yale import N_IDENTITIES, N_IMAGES, good_images

_URL = "http://vision.ucsd.edu/extyaleb/CroppedYaleBZip/CroppedYale.zip"
_N_ATTEMPTS = 5
_PAUSE = 1.0  # seconds before the second attempt; doubled each time
_TIMEOUT = 30.0  # seconds without a byte
_MAX_DOWNLOAD = 2**28  # bytes; the archive has 58 million
_CURE = "download CroppedYale.zip by hand and give its path to load_extended_yale_b"


def fetch_extended_yale_b(*, data_home: str | os.PathLike | None = None, url: str = _URL) -> Path:
    """Download the official archive of the cropped Extended Yale Face Database B, 58 MB.

    An interrupted download goes on where it stopped, in the same call or the next one. What comes is checked:
    the archive must hold all 2,414 images of 38 identities, undamaged. If it is there already, nothing is
    downloaded.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder for the archive. None is the user's cache folder, or the one that SMARTBOX_CACHE names.
    url : str
        Where to get it, by http or https.

    Returns
    -------
    path : pathlib.Path
        The archive, ``CroppedYale.zip`` in `data_home`, for `load_extended_yale_b`.

    Raises
    ------
    ValueError
        If `url` is not one of http or https, or what it gives is not the archive.
    ConnectionError
        If the download does not succeed in several attempts, or the server refuses.

    References
    ----------
    .. [1] Georghiades, Belhumeur, Kriegman. "From few to many: illumination cone models for face recognition
       under variable lighting and pose", IEEE TPAMI 23(6), 2001.
    .. [2] Lee, Ho, Kriegman. "Acquiring linear subspaces for face recognition under variable lighting",
       IEEE TPAMI 27(5), 2005.

    Examples
    --------
    >>> from smartbox.datasets import fetch_extended_yale_b, load_extended_yale_b
    >>> faces = load_extended_yale_b(fetch_extended_yale_b())    # doctest: +SKIP
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"url must start with http:// or https://, got {url!r}; a file needs no download")
    folder = cache_dir() if data_home is None else Path(data_home).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    path, part = folder / "CroppedYale.zip", folder / "CroppedYale.zip.part"
    if path.exists() and _fault(path) is None:
        return path
    resumed = _download(url, part)
    fault = _fault(part)
    if fault and resumed:  # the pieces may be of two different files
        _discard(part)
        _download(url, part)
        fault = _fault(part)
    if fault:
        n_bytes = part.stat().st_size
        _discard(part)
        raise ValueError(f"{url} gave {n_bytes:,} bytes that are not the archive ({fault}); {_CURE}")
    os.replace(part, path)
    _discard(part)
    return path


def _fault(path):
    """What is wrong with an archive, or None: it holds all images, and the checksum of each is right."""
    try:
        with open_source(path) as source:
            members = good_images(source)
            n_identities = len({name[:7] for name in members})
            if (len(members), n_identities) != (N_IMAGES, N_IDENTITIES):
                return (
                    f"expected {N_IMAGES:,} images of {N_IDENTITIES} identities, got {len(members):,} of {n_identities}"
                )
            for member in members.values():
                source.read(member)
    except ValueError as error:
        return str(error)


def _discard(part):
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


def _validator(part):
    """File that keeps the server's name for the version that `part` is a part of."""
    return part.with_name(part.name + ".version")


def _download(url, part):
    """Complete `part` in a few attempts; return whether it was put together from more than one answer."""
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress("CroppedYale.zip", *columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("download", total=None)
        for attempt in range(_N_ATTEMPTS):
            time.sleep(_PAUSE * 2 ** (attempt - 1) if attempt else 0)
            try:
                return _attempt(url, part, partial(progress.update, task))
            except (OSError, http.client.HTTPException) as error:
                failure = error
                if 400 <= getattr(error, "code", 0) < 500 and error.code not in (408, 416, 429):
                    break  # the server will not change its mind
    n_bytes = part.stat().st_size if part.exists() else 0
    raise ConnectionError(
        f"{url} could not be downloaded in {attempt + 1} attempts ({failure}); {n_bytes:,} bytes were "
        f"received and are kept in {part}. Call again to go on, or {_CURE}"
    ) from failure


def _attempt(url, part, report):
    """Ask for what `part` lacks and append it; start anew if the server sends everything."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "smartbox"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if _validator(part).exists():
            headers["If-Range"] = _validator(part).read_text()
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return True  # it was complete
        if error.code == 416:
            _discard(part)
        raise
    with response:
        resumes = response.status == 206
        if resumes and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _discard(part)
            raise ConnectionError("the server sent another range than it was asked for")
        if not resumes:
            have = 0
            _discard(part)
            version = response.headers.get("ETag", "W/")
            version = response.headers.get("Last-Modified") if version.startswith("W/") else version
            if version:
                _validator(part).write_text(version)
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        have = _append(response, part, have, total, report)
    if total is not None and have != total:
        raise ConnectionError(f"the connection was closed after {have:,} of {total:,} bytes")
    return resumes


def _append(response, part, have, total, report):
    with open(part, "ab") as stream:
        while chunk := response.read(2**16):
            have += len(chunk)
            if max(have, total or 0) > _MAX_DOWNLOAD:
                raise ValueError(f"{response.url} sends more than {_MAX_DOWNLOAD:,} bytes; {_CURE}")
            stream.write(chunk)
            report(completed=have, total=total)
    return have
