"""How sure a share of right decisions is, and whether two systems differ on the same images."""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, norm
from sklearn.utils import Bunch

from smartbox.metrics._checks import check_flags


def wilson_interval(n_hits: ArrayLike, n_trials: ArrayLike, *, confidence: float = 0.95):
    """Confidence interval of a proportion, e.g. of an accuracy.

    Parameters
    ----------
    n_hits : int or array-like of int
        How often it happened, 0 to ``n_trials``.
    n_trials : int or array-like of int
        How often it could have happened, at least 1; broadcast against ``n_hits``.
    confidence : float, default=0.95
        Strictly between 0 and 1.

    Returns
    -------
    low, high : float or ndarray of float64
        In [0, 1]; never the single point 0 or 1, unlike the normal approximation.

    Raises
    ------
    ValueError
        If a count is no whole number or out of range, or if ``confidence`` is out of range.

    Notes
    -----
    The trials are taken as independent. Images of one person are not quite: intervals of few identities with
    many images each are too narrow, and resampling identities is the remedy.

    References
    ----------
    .. [1] Wilson. "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.

    Examples
    --------
    >>> from smartbox.metrics import wilson_interval
    >>> low, high = wilson_interval(251, 264)
    >>> round(low, 3), round(high, 3)
    (0.918, 0.971)
    """
    if not isinstance(confidence, Real) or not 0 < confidence < 1:
        raise ValueError(
            f"confidence must lie strictly between 0 and 1, got {confidence!r}; divide a percentage by 100."
        )
    k, n = np.broadcast_arrays(np.asarray(n_hits), np.asarray(n_trials))
    if not (k.dtype.kind in "iu" and n.dtype.kind in "iu" and np.all((k >= 0) & (k <= n) & (n >= 1))):
        raise ValueError(
            "n_hits and n_trials must be whole numbers with 0 <= n_hits <= n_trials and n_trials >= 1, got "
            f"{np.ravel(k)[:5].tolist()} of {np.ravel(n)[:5].tolist()}; pass counts, not shares."
        )
    low, high = wilson_ends(k / n, n, confidence)
    return (low, high) if low.ndim else (float(low), float(high))


def wilson_ends(share, n, confidence):
    """As `wilson_interval`, of a share of ``n`` trials that need not be whole hits."""
    z2 = norm.ppf((1 + confidence) / 2) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # rounding may miss the exact ends 0 (no hit) and 1 (hits only)
    return np.where(share == 0, 0.0, centre - reach), np.where(share == 1, 1.0, centre + reach)


def mcnemar_test(right_a: ArrayLike, right_b: ArrayLike) -> Bunch:
    """Exact test of whether two systems are right equally often on the same probes.

    Parameters
    ----------
    right_a : array-like of bool, shape (n_probes,)
        Whether the first system (or the one before an attack or a mitigation) is right about each probe.
    right_b : array-like of bool, shape (n_probes,)
        The same for the second system, in the same order.

    Returns
    -------
    result : Bunch
        pvalue : float
            Two-sided, in [0, 1]: how likely so unequal a number of disagreements is by chance. 1 if the systems
            never disagree.
        n_only_a, n_only_b : int
            Probes about which only the one system is right.
        difference : float
            Accuracy of the second less that of the first, in [-1, 1].

    Raises
    ------
    ValueError
        If the lengths differ, if there is no probe, or if the flags are not binary.

    References
    ----------
    .. [1] McNemar. "Note on the Sampling Error of the Difference between Correlated Proportions or
       Percentages", Psychometrika 12, 1947.

    Examples
    --------
    >>> from smartbox.metrics import mcnemar_test
    >>> result = mcnemar_test([1, 1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1])
    >>> result.n_only_a, result.n_only_b, result.pvalue, result.difference
    (6, 0, 0.03125, -0.75)
    """
    if np.ndim(right_a) != 1 or np.size(right_a) == 0:
        raise ValueError(
            f"right_a must be a non-empty array of shape (n_probes,), got shape {np.shape(right_a)}; "
            "pass e.g. face.predict(X) == y."
        )
    right_a = check_flags(right_a, "right_a", len(right_a))
    right_b = check_flags(right_b, "right_b", len(right_a))
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    disagreements = only_a + only_b
    return Bunch(
        pvalue=float(binomtest(only_a, disagreements).pvalue) if disagreements else 1.0,
        n_only_a=only_a,
        n_only_b=only_b,
        difference=(only_b - only_a) / len(right_a),
    )
