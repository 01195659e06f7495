"""Clean and attacked images stacked into one set for detectors."""

import numpy as np
from numpy.typing import ArrayLike


def make_detection_set(
    X: ArrayLike, X_adv: ArrayLike, *, groups: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack clean images on their attacked twins, with labels and groups.

    Parameters
    ----------
    X : array-like of shape (n_samples, height, width, channels)
        Clean images, in [0, 1].
    X_adv : array-like of the shape of X
        `X_adv[i]` is what an attack made of `X[i]`.
    groups : array-like of shape (n_samples,), default=None
        What must not be parted by a split, such as identities. None keeps each image with its twin.

    Returns
    -------
    X : ndarray of shape (2 * n_samples, height, width, channels)
        The clean images, then the attacked ones, in the same order.
    y : ndarray of shape (2 * n_samples,), int64
        0 for clean, 1 for attacked.
    groups : ndarray of shape (2 * n_samples,)
        Of each image and its twin: the index in the input, or the entry of `groups`. Made for ``GroupKFold``.

    Raises
    ------
    ValueError
        If the shapes of `X` and `X_adv` differ, they hold no image, or `groups` has not one entry an image.

    Examples
    --------
    >>> import numpy as np
    >>> from smartbox.datasets import make_detection_set
    >>> faces = np.full((2, 4, 3, 1), 0.5, dtype=np.float32)
    >>> X, y, groups = make_detection_set(faces, faces + np.float32(0.1))
    >>> X.shape, y.tolist(), groups.tolist()
    ((4, 4, 3, 1), [0, 0, 1, 1], [0, 1, 0, 1])
    """
    X, X_adv = np.asarray(X), np.asarray(X_adv)
    if X.shape != X_adv.shape:
        raise ValueError(
            f"X_adv must have the shape of X, {X.shape}, got {X_adv.shape}; "
            "pass the images that were attacked, all of them and in their order"
        )
    if X.ndim < 2 or len(X) == 0:
        raise ValueError(f"X must hold at least one image, (n_samples, ...), got shape {X.shape}")
    groups = np.arange(len(X)) if groups is None else np.asarray(groups)
    if groups.shape != (len(X),):
        raise ValueError(f"groups must have one entry an image, ({len(X)},), got shape {groups.shape}")
    y = np.repeat(np.arange(2), len(X))
    return np.concatenate([X, X_adv]), y, np.concatenate([groups, groups])
