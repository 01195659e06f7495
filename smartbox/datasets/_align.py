"""Bring the eyes of all faces to the same places."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import gen_batches

from smartbox._checks import check_images
from smartbox.datasets._images import check_image_shape

_BATCH_SIZE = 64  # faces whose four neighbours a pixel are held at once


def align_faces(
    images: ArrayLike,
    eyes: ArrayLike,
    *,
    image_shape: tuple[int, int] = (150, 150),
    places: ArrayLike = ((0.318, 0.314), (0.668, 0.314)),
) -> NDArray:
    """Turn, scale and shift each face so that its eyes lie where a network expects them.

    Parameters
    ----------
    images : array-like of shape (n, height, width, channels)
        In [0, 1].
    eyes : array-like of shape (n, 2, 2)
        Middle of the eye at the left of each image, then of that at the right, as ``(x, y)`` in pixels: column and row, 0 the
        middle of the first.
    image_shape : (int, int), default=(150, 150)
        Height and width of the result.
    places : array-like of shape (2, 2), default=((0.318, 0.314), (0.668, 0.314))
        Where the eyes come to, as ``(x, y)`` in parts of width and height. The default suits the network that comes with the
        package, at its own size.

    Returns
    -------
    aligned : ndarray of shape (n, *image_shape, channels), float32
        In [0, 1]; bilinear, with edges repeated.

    Raises
    ------
    ValueError
        If shapes or numbers are wrong, or two eyes are one or stand in the wrong order.

    Notes
    -----
    Two points fix a similarity, so that nothing is sheared. A face more than twice as large as the result should be made smaller
    first, since between four pixels nothing else is looked at.

    References
    ----------
    .. [1] Wang, Deng. "Deep Face Recognition: A Survey", Neurocomputing 429, 2021 (alignment by a similarity of landmarks).

    Examples
    --------
    >>> from smartbox.datasets import align_faces, make_faces
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> align_faces(faces.images, [[[20, 36], [62, 36]]] * 4).shape
    (4, 150, 150, 1)
    """
    images, (height, width) = check_images(images, name="images"), check_image_shape(image_shape)
    eyes, places = _points(eyes, (len(images), 2, 2), "eyes"), _points(places, (2, 2), "places")
    for pairs, name in ((eyes, "eyes"), (places[None], "places")):
        wrong = pairs[:, 1, 0] <= pairs[:, 0, 0]
        if wrong.any():
            raise ValueError(
                f"expected first the eye at the left of the image, then that at the right, got {name}[{wrong.argmax()}] = "
                f"{pairs[wrong.argmax()].tolist()}: turn the photo upright, or exchange them if the face is."
            )
    places = places * (width, height) - 0.5
    # As complex numbers: a pixel z of the result shows turn * z + shift of the image.
    eyes, places = eyes[..., 0] + 1j * eyes[..., 1], places[:, 0] + 1j * places[:, 1]
    turn = (eyes[:, 1] - eyes[:, 0]) / (places[1] - places[0])
    shift = eyes[:, 0] - turn * places[0]
    pixels = np.arange(width) + 1j * np.arange(height)[:, None]
    aligned = np.empty((len(images), height, width, images.shape[3]), dtype=np.float32)
    for batch in gen_batches(len(images), _BATCH_SIZE):
        at = turn[batch, None, None] * pixels + shift[batch, None, None]
        aligned[batch] = np.clip(_between(images[batch], at.imag, at.real), 0, 1)  # rounding may pass 1
    return aligned


def _between(images, y, x):
    """Bilinear values of each image at its own rows ``y`` and columns ``x``, ``(n, height, width)``."""
    y, x = np.clip(y, 0, images.shape[1] - 1), np.clip(x, 0, images.shape[2] - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = np.minimum(top + 1, images.shape[1] - 1), np.minimum(left + 1, images.shape[2] - 1)
    down, across = ((part % 1)[..., None].astype(np.float32) for part in (y, x))
    which = np.arange(len(images))[:, None, None]
    upper = images[which, top, left] * (1 - across) + images[which, top, right] * across
    lower = images[which, below, left] * (1 - across) + images[which, below, right] * across
    return upper * (1 - down) + lower * down


def _points(values, shape, name):
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(
            f"expected {name} as finite numbers of shape {shape}, (x, y) of two eyes, got shape {values.shape}."
        )
    return values
