"""Maximum mean discrepancy: do two sets of images come from one distribution?"""

from numbers import Integral, Real

import numpy as np
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import Bunch, check_array, check_random_state

from smartbox.detectors._bandwidth import median_distance

_AT_ONCE = 256  # permutations in one product of matrices


def mmd_test(X, Y, *, bandwidth=None, n_permutations=1000, random_state=None):
    """Test whether two sets of images, or of any features of theirs, come from one distribution.

    A test of a whole set, e.g. of what a camera saw today against clean faces, not of single images.

    Parameters
    ----------
    X : array-like of shape (n, ...)
        Images, or their features, of known origin.
    Y : array-like of shape (m, ...)
        Those in question. The originals of attacked images must not be in ``X``, lest the sets depend on one another.
    bandwidth : float, optional
        Standard deviation of the Gaussian kernel. None takes the median distance between any two of both sets.
    n_permutations : int, default=1000
        Random partitions of all images that the p-value is estimated from; it is at least ``1 / (n_permutations + 1)``.
    random_state : int, RandomState or None, default=None
        Draws the partitions.

    Returns
    -------
    result : Bunch
        statistic : float
            Unbiased estimate of the squared maximum mean discrepancy: about 0 for one distribution, may be negative.
        p_value : float
            Share of the partitions, the given one included, whose statistic is at least as large.
        bandwidth : float
            The one in use.
        null_distribution : ndarray of shape (n_permutations,)
            Statistics of the partitions.

    Raises
    ------
    ValueError
        If the sets differ in the shape of an element, hold fewer than two, or hold NaN; or a number is out of range.

    References
    ----------
    .. [1] Gretton, Borgwardt, Rasch, Schoelkopf, Smola. "A Kernel Two-Sample Test", JMLR 13, 2012, equation 3 (Lemma 6).
    .. [2] Grosse, Manoharan, Papernot, Backes, McDaniel. "On the (Statistical) Detection of Adversarial Examples",
       arXiv:1702.06280, 2017.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.detectors import mmd_test
    >>> faces = make_faces(n_images=2)
    >>> X_adv = FGSM(smartbox.load_sample_model(), eps="32/255").generate(faces.images[::2], faces.target[::2])
    >>> mmd_test(faces.images[1::2], X_adv, random_state=0).p_value < 0.05
    True
    """
    shapes = np.shape(X)[1:], np.shape(Y)[1:]
    X, Y = _flat(X, "X"), _flat(Y, "Y")
    if shapes[0] != shapes[1]:
        raise ValueError(f"expected X and Y of elements of one shape, got {shapes[0]} and {shapes[1]}.")
    if not isinstance(n_permutations, Integral) or isinstance(n_permutations, bool) or n_permutations < 1:
        raise ValueError(f"expected n_permutations as a whole number from 1 on, got {n_permutations!r}.")
    if bandwidth is not None and (not isinstance(bandwidth, Real) or not 0 < bandwidth < np.inf):
        raise ValueError(
            f"expected bandwidth as a positive number, or None for the median distance, got {bandwidth!r}."
        )
    pooled = np.concatenate([X, Y])
    bandwidth = median_distance(pooled) if bandwidth is None else float(bandwidth)
    kernel = rbf_kernel(pooled, gamma=1 / (2 * bandwidth**2))
    np.fill_diagonal(kernel, 0)  # a pair is of two
    is_x = np.arange(len(pooled)) < len(X)
    statistic = float(_statistics(kernel, is_x[None])[0])
    rng = check_random_state(random_state)
    null = np.empty(n_permutations)
    for start in range(0, n_permutations, _AT_ONCE):
        chunk = null[start : start + _AT_ONCE]
        chunk[:] = _statistics(kernel, _shuffled(is_x, len(chunk), rng))
    # the same partition may come again, its sum rounded otherwise
    is_larger = null >= statistic - 1e-12
    p_value = float((1 + is_larger.sum()) / (1 + n_permutations))
    return Bunch(statistic=statistic, p_value=p_value, bandwidth=bandwidth, null_distribution=null)


def _statistics(kernel, is_x):
    """The unbiased estimate for each row of ``is_x``, which says what belongs to the first set."""
    within = is_x.astype(np.float64)
    n, m = int(within[0].sum()), int(len(kernel) - within[0].sum())
    x_any = within @ kernel.sum(axis=1)
    x_x = np.einsum("ij,ij->i", within @ kernel, within)
    y_y = kernel.sum() - 2 * x_any + x_x
    return x_x / (n * (n - 1)) + y_y / (m * (m - 1)) - 2 * (x_any - x_x) / (n * m)


def _shuffled(is_x, n_rows, rng):
    order = np.argsort(rng.uniform(size=(n_rows, len(is_x))), axis=1)
    return is_x[order]


def _flat(X, name):
    X = check_array(X, dtype=np.float64, allow_nd=True, ensure_min_samples=2, ensure_2d=False, input_name=name)
    return X.reshape(len(X), -1)
