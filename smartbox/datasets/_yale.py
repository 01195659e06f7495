"""Extended Yale Face Database B, cropped: 38 faces under 64 lights each."""

import os
import re
import warnings
from pathlib import Path, PurePosixPath

import numpy as np
from sklearn.utils import Bunch

from smartbox.datasets._images import (
    ImageError,
    cached_array,
    check_image_shape,
    decode_image,
    image_size,
)
from smartbox.datasets._source import open_source

_NATIVE_SHAPE = (192, 168)
N_IMAGES, N_IDENTITIES = 2414, 38
_NAME = re.compile(r"(yaleB\d\d)_P00A([+-]\d{3})E([+-]\d\d)\.pgm")  # neither .pgm.bad nor _Ambient.pgm
_CACHE_VERSION = 1  # to be raised when the same files would give other pixels

_DESCR = """Extended Yale Face Database B, cropped

Frontal faces (pose P00) of 38 people (yaleB01 to yaleB39, without yaleB14), each under up to 64 directions
of light; 192 x 168 pixels, 8 bits, grey. Of the 38 * 64 images the authors mark 18 as bad; these are left
out, as are the 38 ambient ones: 2,414 remain, 59 to 64 a person. Azimuth is positive where the light is to
the right of the subject, elevation where it is above.

Free for research. Cite Georghiades, Belhumeur and Kriegman (TPAMI 2001) and Lee, Ho and Kriegman (2005).
"""


def load_extended_yale_b(path: str | os.PathLike, *, image_shape: tuple[int, int] = (96, 84)) -> Bunch:
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
        members = good_images(source)
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


def good_images(source):
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
    if (n_images, n_identities) != (N_IMAGES, N_IDENTITIES):
        warnings.warn(
            f"{path}: expected {N_IMAGES:,} images of {N_IDENTITIES} identities, got {n_images:,} of "
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
