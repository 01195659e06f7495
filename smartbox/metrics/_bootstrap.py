"""Confidence intervals that know that images of one person resemble each other."""

from collections.abc import Callable
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_random_state, gen_batches

from smartbox.metrics._checks import check_no_nan, check_scores
from smartbox.protocol import check_labels

N_RESAMPLES = 2000
_WEIGHTS_AT_A_TIME = 2**21  # float64 entries


def bootstrap_by_identity(
    statistic: ArrayLike | Callable[[NDArray], ArrayLike],
    groups: ArrayLike,
    *,
    n_resamples: int = N_RESAMPLES,
    confidence: float = 0.95,
    random_state=None,
) -> Bunch:
    """Confidence interval of a statistic over images, by drawing identities with replacement.

    Parameters
    ----------
    statistic : array-like of shape (n_images,) or callable
        Numbers whose mean is meant, such as right (1) and wrong (0) decisions; or a function of weights
        ``(n_draws, n_images)``, how often each image counts in each draw, that returns ``(n_draws,)`` values, NaN where
        a draw leaves the statistic undefined, or a dict of such values by name.
    groups : array-like of shape (n_images,)
        Identity of each image; all images of an identity, attacked twins included, are drawn together.
    n_resamples : int, default=2000
        Draws.
    confidence : float, default=0.95
        Share of the draws inside the interval, strictly between 0 and 1.
    random_state : int, RandomState or None, default=None
        Draws the identities. The same seed and groups give the same draws, so that differences can be paired.

    Returns
    -------
    interval : Bunch
        low, high : float
            Quantiles of the statistic over the draws that define it; NaN if none does.
        n_undefined : int
            Draws that leave it undefined, and are left out.

        Of a statistic with names, such a Bunch for each.

    Raises
    ------
    ValueError
        If lengths do not fit, labels are missing or there is one identity only, or a number is out of range.

    Notes
    -----
    Images of one person are not independent: intervals that take them so are too narrow. Of a statistic that all images
    agree on the interval has no width, however few they are; Wilson's interval has one, but takes images for independent.

    References
    ----------
    .. [1] Bolle, Ratha, Pankanti. "Error Analysis of Pattern Recognition Systems: the Subsets Bootstrap", Computer Vision and
       Image Understanding 93, 2004.

    Examples
    --------
    >>> from smartbox.metrics import bootstrap_by_identity
    >>> right, identity = [1, 1, 1, 0, 1, 0, 1, 1], ["ann", "ann", "bob", "bob", "eve", "eve", "ned", "ned"]
    >>> interval = bootstrap_by_identity(right, identity, random_state=0)
    >>> interval.low, interval.high
    (0.5, 1.0)
    """
    names, codes = np.unique(check_labels(groups, "groups"), return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"groups must hold at least two identities, got only {names.tolist()}: draws of one are all alike; "
            "pass the identity of each image."
        )
    if not isinstance(n_resamples, Integral) or n_resamples < 1:
        raise ValueError(f"n_resamples must be a positive integer, got {n_resamples!r}.")
    if not isinstance(confidence, Real) or not 0 < confidence < 1:
        raise ValueError(
            f"confidence must lie strictly between 0 and 1, got {confidence!r}; divide a percentage by 100."
        )
    if not callable(statistic):
        statistic = _mean_of(statistic, len(codes))
    draws = check_random_state(random_state).multinomial(len(names), np.full(len(names), 1 / len(names)), n_resamples)
    found = [statistic(draws[few][:, codes].astype(np.float64)) for few in _few(n_resamples, len(codes))]
    for part, few in zip(found, _few(n_resamples, len(codes)), strict=True):
        for values in part.values() if isinstance(part, dict) else (part,):
            if np.shape(values) != (few.stop - few.start,):
                raise ValueError(
                    f"statistic must return one number a draw, shape ({few.stop - few.start},), for weights of shape "
                    f"({few.stop - few.start}, {len(codes)}), got shape "
                    f"{np.shape(values)}: e.g. lambda weights: weights @ values."
                )
    if isinstance(found[0], dict):
        return Bunch(**{name: _interval([part[name] for part in found], confidence) for name in found[0]})
    return _interval(found, confidence)


def _few(n_resamples, n_images):
    return gen_batches(n_resamples, max(1, _WEIGHTS_AT_A_TIME // n_images))


def _mean_of(values, n_images):
    values = check_no_nan(check_scores(values, "statistic"), "statistic")
    if len(values) != n_images:
        raise ValueError(
            f"statistic and groups must be of one length, got {len(values)} and {n_images}; pass both for the same images."
        )
    return lambda weights: weights @ values / weights.sum(axis=1)


def _interval(parts, confidence):
    values = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
    defined = values[~np.isnan(values)]
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2]) if defined.size else [np.nan] * 2
    return Bunch(low=float(low), high=float(high), n_undefined=len(values) - len(defined))
