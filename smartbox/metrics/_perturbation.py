"""How far an attack moved each image."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from smartbox._norms import NORMS, size

_BATCH_ELEMENTS = 2**20  # 8 MB of differences at a time


def perturbation_size(X: ArrayLike, X_adv: ArrayLike) -> Bunch:
    """Norms of the difference between each image and its attacked version.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)
        Images, e.g. ``(n_samples, height, width, channels)`` in [0, 1]; any real dtype and unit.
    X_adv : array-like, of the shape and unit of ``X``
        The attacked images in the same order.

    Returns
    -------
    sizes : Bunch
        Arrays of float64, shape (n_samples,), in the unit of the pixels; NaN where an image holds NaN.

        l1 : ndarray
            Sum of the absolute changes of all the pixels of an image.
        l2 : ndarray
            Root of the sum of their squares.
        linf : ndarray
            Largest absolute change of a pixel.

    Raises
    ------
    ValueError
        If the shapes differ, if there is no pixel, or if one array holds integers and the other one
        fractions.

    Notes
    -----
    Computed in float64, a few images at a time, so that neither float32 rounding nor memory is a concern.

    Examples
    --------
    >>> import numpy as np
    >>> from smartbox.metrics import perturbation_size
    >>> X = np.zeros((1, 2, 2, 1))
    >>> sizes = perturbation_size(X, X + [[[3.0], [0.0]], [[0.0], [-4.0]]])
    >>> sizes.l1, sizes.l2, sizes.linf
    (array([7.]), array([5.]), array([4.]))
    """
    X, X_adv = _check_pair(X, X_adv)
    sizes = Bunch(**{norm: np.empty(len(X)) for norm in NORMS})
    n_rows = max(1, _BATCH_ELEMENTS // X[0].size)
    for start in range(0, len(X), n_rows):
        rows = slice(start, start + n_rows)
        delta = np.subtract(X_adv[rows], X[rows], dtype=np.float64).reshape(len(X[rows]), -1)
        for norm in NORMS:
            sizes[norm][rows] = size(delta, norm)
    return sizes


def _check_pair(X, X_adv):
    X, X_adv = np.asarray(X), np.asarray(X_adv)
    if X.shape != X_adv.shape or X.ndim < 2 or X.size == 0:
        raise ValueError(
            f"X and X_adv must be non-empty images of one shape (n_samples, ...), got {X.shape} and "
            f"{X_adv.shape}; pass the images that the attack was given, in its order."
        )
    kinds = X.dtype.kind + X_adv.dtype.kind
    if not set(kinds) <= set("fiub") or kinds.count("f") == 1:
        raise ValueError(
            f"X and X_adv must be real numbers in one unit, got dtypes {X.dtype} and {X_adv.dtype}; "
            "divide images of 0 to 255 by 255."
        )
    return X, X_adv
