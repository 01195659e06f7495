"""Faces from a folder or zip with one sub-folder an identity."""

import os
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from sklearn.utils import Bunch

from smartbox.datasets._images import (
    ImageError,
    check_image_shape,
    decode_image,
    image_extensions,
    image_size,
)
from smartbox.datasets._source import open_source


def load_face_folder(
    path: str | os.PathLike,
    *,
    image_shape: tuple[int, int] | None = None,
    color: Literal["grey", "rgb"] = "grey",
    on_error: Literal["raise", "skip"] = "raise",
) -> Bunch:
    """Load faces from a folder, or a zip of it, with one sub-folder an identity.

    Parameters
    ----------
    path : str or path-like
        The folder or the zip. Any image format that Pillow decodes by itself is read; other files and hidden
        ones are ignored. A single folder that wraps all the identities is looked through. Deeper folders
        belong to the identity that they lie in.
    image_shape : (int, int), default=None
        Height and width, in pixels, that all images are brought to: by averaging areas where that shrinks
        them, else bilinearly. None asks that all have one size already.
    color : {"grey", "rgb"}, default="grey"
        One channel, or three.
    on_error : {"raise", "skip"}, default="raise"
        Whether an image that cannot be read ends the loading or is left out with a warning.

    Returns
    -------
    faces : Bunch
        images : ndarray of shape (n_samples, height, width, 1 or 3), float32, in [0, 1]
            Upright as their EXIF tags say; of animations the first frame; transparent parts on black.
        data : ndarray of shape (n_samples, height * width * channels), float32
            The same memory, one row an image.
        target : ndarray of shape (n_samples,), int64
            Index into `target_names`.
        target_names : ndarray of shape (n_identities,), str
            Names of the sub-folders, sorted.
        filenames : ndarray of shape (n_samples,), str
            Relative to `path`, with forward slashes; sorted within each identity.
        DESCR : str

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If a parameter is wrong, no identity has an image, sizes differ and `image_shape` is None, an image
        or folder cannot be read, links form a loop, or the zip is damaged, encrypted or a danger (a bomb, members that
        lead outside).

    Warns
    -----
    UserWarning
        About identities without images, images outside of any identity, and those that "skip" leaves out.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from smartbox.datasets import load_face_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, grey in [("ada", 51), ("bob", 255)]:
    ...         Path(folder, name).mkdir()
    ...         Image.new("L", (6, 8), grey).save(Path(folder, name, "1.png"))
    ...     faces = load_face_folder(folder, image_shape=(4, 3))
    >>> faces.images.shape, faces.target_names.tolist()
    ((2, 4, 3, 1), ['ada', 'bob'])
    """
    if image_shape is not None:
        image_shape = check_image_shape(image_shape)
    if color not in ("grey", "rgb"):
        raise ValueError(f"color must be 'grey' or 'rgb', got {color!r}")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    with open_source(path) as source:
        labelled, failures = _labelled_images(source), []
        if image_shape is None:
            labelled, image_shape = _common_shape(source, labelled, on_error, failures)
        images, labelled = _decode_all(source, labelled, image_shape, color, on_error, failures)
    _warn_failures(path, failures)
    target_names, target = np.unique([identity for identity, _ in labelled], return_inverse=True)
    return Bunch(
        images=images,
        data=images.reshape(len(images), -1),
        target=target.astype(np.int64),
        target_names=target_names,
        filenames=np.array([member.name for _, member in labelled]),
        DESCR=f"{len(images)} face images of {len(target_names)} identities from {path}.",
    )


def _labelled_images(source):
    """(identity, member) of every image in an identity's folder, sorted."""
    images = [m for m in source.members if PurePosixPath(m.name).suffix.lower() in image_extensions()]
    inside = [m for m in images if "/" in m.name]
    if not inside:
        raise ValueError(
            f"{source.path}: expected one sub-folder an identity with images in it, got "
            f"{len(images)} images, none in a sub-folder; put each identity's images in its own"
        )
    level = 0
    tops = {m.name.split("/")[0] for m in inside}
    if len(tops) == 1 and all(m.name.count("/") > 1 for m in inside):
        level = 1  # a folder that wraps all identities
    labelled = sorted((m.name.split("/")[level], m) for m in inside)
    prefix = "" if level == 0 else tops.pop() + "/"
    folders = {name[len(prefix) :] for name in source.folders if name.startswith(prefix)}
    empty = sorted({name for name in folders if "/" not in name} - {identity for identity, _ in labelled})
    if empty:
        _warn(f"{source.path}: {len(empty)} folders without images were left out: {_some(empty)}")
    if len(images) > len(inside):
        loose = [m.name for m in images if "/" not in m.name]
        _warn(f"{source.path}: {len(loose)} images outside of any identity were left out: {_some(loose)}")
    return labelled


def _common_shape(source, labelled, on_error, failures):
    """The readable ones of `labelled` and the size that they share, from their headers."""
    shapes, readable = Counter(), []
    for item in labelled:
        with _tolerate(on_error, failures):
            shapes[image_size(source.read(item[1]), source.label(item[1]))] += 1
            readable.append(item)
    if len(shapes) > 1:
        listing = _some([f"{shape} ({n} images)" for shape, n in shapes.most_common()])
        median = tuple(int(side) for side in np.median(list(shapes.elements()), axis=0))
        raise ValueError(
            f"{source.path}: expected images of one size, got {len(shapes)} sizes, (height, width) = {listing}; "
            f"pass image_shape to resize them, for example to their median: image_shape={median} (--image-shape "
            f"{median[0]}x{median[1]})"
        )
    return readable, next(iter(shapes), None)


def _decode_all(source, labelled, image_shape, color, on_error, failures):
    """Images (n, height, width, channels) and the part of `labelled` that they belong to."""
    if labelled:
        images = np.empty((len(labelled), *image_shape, 1 if color == "grey" else 3), dtype=np.float32)
    kept = []
    for item in labelled:
        with _tolerate(on_error, failures):
            content, name = source.read(item[1]), source.label(item[1])
            images[len(kept)] = decode_image(content, name, image_shape=image_shape, color=color)
            kept.append(item)
    if not kept:
        raise ValueError(f"{source.path}: expected at least one readable image, got none; {failures[0]}")
    return images[: len(kept)], kept


@contextmanager
def _tolerate(on_error, failures):
    try:
        yield
    except ImageError as error:
        if on_error == "raise":
            raise ValueError(
                f"{error}. Repair or remove it, or leave out such images: on_error='skip' (--on-error skip)"
            ) from error
        failures.append(str(error))


def _warn_failures(path, failures):
    if failures:
        _warn(f"{path}: {len(failures)} images could not be read and were left out: {_some(failures)}")


def _some(names):
    return ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")


def _warn(message):
    warnings.warn(message, UserWarning, stacklevel=4)
