"""Extended Yale Face Database B, cropped: 38 faces under 64 lights each."""

import http.client
import os
import re
import time
import urllib.error
import urllib.request
import warnings
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from sklearn.utils import Bunch

from smartbox.datasets._folder import open_source
from smartbox.datasets._images import (
    ImageError,
    cache_dir,
    cached_array,
    check_image_shape,
    decode_image,
    image_size,
)

_URL = "http://vision.ucsd.edu/extyaleb/CroppedYaleBZip/CroppedYale.zip"
_NATIVE_SHAPE = (192, 168)
_N_IMAGES, _N_IDENTITIES = 2414, 38
_NAME = re.compile(r"(yaleB\d\d)_P00A([+-]\d{3})E([+-]\d\d)\.pgm")  # neither .pgm.bad nor _Ambient.pgm
_CACHE_VERSION = 1  # to be raised when the same files would give other pixels

_N_ATTEMPTS = 5
_PAUSE = 1.0  # seconds before the second attempt; doubled each time
_TIMEOUT = 30.0  # seconds without a byte
_MAX_DOWNLOAD = 2**28  # bytes; the archive has 58 million
_CURE = "download CroppedYale.zip by hand and give its path to load_extended_yale_b"

_DESCR = """Extended Yale Face Database B, cropped

Frontal faces (pose P00) of 38 people (yaleB01 to yaleB39, without yaleB14), each under up to 64 directions
of light; 192 x 168 pixels, 8 bits, grey. Of the 38 * 64 images the authors mark 18 as bad; these are left
out, as are the 38 ambient ones: 2,414 remain, 59 to 64 a person. Azimuth is positive where the light is to
the right of the subject, elevation where it is above.

Free for research. Cite Georghiades, Belhumeur and Kriegman (TPAMI 2001) and Lee, Ho and Kriegman (2005).
"""


def load_extended_yale_b(
    path: str | os.PathLike, *, image_shape: tuple[int, int] = (96, 84)
) -> Bunch:
    """Load the cropped Extended Yale Face Database B: 2,414 faces of 38 identities.

    The first load decodes all images and keeps the result in the user's cache folder (or the one that the
    variable SMARTBOX_CACHE names); later ones map it into memory.

    Parameters
    ----------
    path : str or path-like
        The official ``CroppedYale.zip``, its unpacked folder ``CroppedYale``, or the folder that holds that.
    image_shape : (int, int), default=(96, 84)
        Height and width, in pixels, that images are brought to by averaging areas. (192, 168) leaves them as
        they are.

    Returns
    -------
    faces : Bunch
        images : ndarray of shape (n_samples, height, width, 1), float32, in [0, 1]
            Read-only, sorted by identity, then by name.
        data : ndarray of shape (n_samples, height * width), float32
            The same memory, one row an image.
        target : ndarray of shape (n_samples,), int64
            Index into `target_names`.
        target_names : ndarray of shape (n_identities,), str
            "yaleB01" to "yaleB39".
        azimuth, elevation : ndarrays of shape (n_samples,), float64
            Direction of the light, in degrees from the camera's axis.
        filenames : ndarray of shape (n_samples,), str
        DESCR : str

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If `image_shape` is wrong, `path` holds none of the images or one of them twice, an image is damaged
        or of another size, or the zip is damaged or a danger.

    Warns
    -----
    UserWarning
        If some of the 2,414 images are missing, or the cache folder cannot be written.

    References
    ----------
    .. [1] Georghiades, Belhumeur, Kriegman. "From few to many: illumination cone models for face recognition
       under variable lighting and pose", IEEE TPAMI 23(6), 2001.
    .. [2] Lee, Ho, Kriegman. "Acquiring linear subspaces for face recognition under variable lighting",
       IEEE TPAMI 27(5), 2005.

    Examples
    --------
    >>> from smartbox.datasets import load_extended_yale_b
    >>> faces = load_extended_yale_b("CroppedYale.zip")    # doctest: +SKIP
    >>> faces.images.shape                                 # doctest: +SKIP
    (2414, 96, 84, 1)
    """
    image_shape = check_image_shape(image_shape)
    path = Path(path).expanduser()
    if (path / "CroppedYale").is_dir():
        path = path / "CroppedYale"
    with open_source(path) as source:
        members = _good_images(source)
        names, azimuth, elevation = zip(*(_NAME.fullmatch(name).groups() for name in members), strict=True)
        target_names, target = np.unique(names, return_inverse=True)
        _warn_if_incomplete(path, len(names), len(target_names))
        content = [(name, member.size, member.stamp) for name, member in members.items()]
        images = cached_array(
            "extended-yale-b",
            repr((_CACHE_VERSION, image_shape, content)),
            (len(members), *image_shape, 1),
            lambda: _decode_all(source, members, image_shape),
        )
    return Bunch(
        images=images,
        data=images.reshape(len(images), -1),
        target=target.astype(np.int64),
        target_names=target_names,
        azimuth=np.array(azimuth, dtype=np.float64),
        elevation=np.array(elevation, dtype=np.float64),
        filenames=np.array([f"{identity}/{name}" for identity, name in zip(names, members, strict=True)]),
        DESCR=_DESCR,
    )


def _good_images(source):
    """Members of the 2,414 that are there, by file name, sorted."""
    members = {}
    for member in source.members:
        name = PurePosixPath(member.name).name
        if not _NAME.fullmatch(name):
            continue
        if name in members:
            raise ValueError(
                f"{source.path}: expected {name} once, got {members[name].name} and {member.name}; "
                "give the folder CroppedYale itself"
            )
        members[name] = member
    if not members:
        raise ValueError(
            f"{source.path}: expected images such as yaleB01/yaleB01_P00A+000E+00.pgm, got none among "
            f"{len(source.members)} files; give the official CroppedYale.zip or its unpacked folder"
        )
    return dict(sorted(members.items()))


def _warn_if_incomplete(path, n_images, n_identities):
    if (n_images, n_identities) != (_N_IMAGES, _N_IDENTITIES):
        warnings.warn(
            f"{path}: expected {_N_IMAGES:,} images of {_N_IDENTITIES} identities, got {n_images:,} of "
            f"{n_identities}; results on a part cannot be compared with published ones",
            UserWarning,
            stacklevel=3,
        )


def _decode_all(source, members, image_shape):
    images = np.empty((len(members), *image_shape, 1), dtype=np.float32)
    for image, member in zip(images, members.values(), strict=True):
        label = source.label(member)
        try:
            content = source.read(member)
            size = image_size(content, label)
            image[:] = decode_image(content, label, image_shape=image_shape)
        except ImageError as error:
            raise ValueError(f"{error}. Unpack or download the archive again") from error
        if size != _NATIVE_SHAPE:
            raise ValueError(
                f"{label}: expected height and width {_NATIVE_SHAPE}, got {size}; "
                "give the cropped images, or load others with load_face_folder"
            )
    return images


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
            members = _good_images(source)
            n_identities = len({name[:7] for name in members})
            if (len(members), n_identities) != (_N_IMAGES, _N_IDENTITIES):
                return (
                    f"expected {_N_IMAGES:,} images of {_N_IDENTITIES} identities, "
                    f"got {len(members):,} of {n_identities}"
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
