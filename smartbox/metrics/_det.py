"""Detection error tradeoff: both error rates on scales on which normal scores give straight lines."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from sklearn.utils import Bunch

from smartbox.metrics._verification import roc_points


def det_points(scores: ArrayLike, is_genuine: ArrayLike) -> Bunch:
    """Error rates at every threshold and their normal deviates, the axes of a DET plot.

    Parameters
    ----------
    scores : array-like of shape (n_claims,)
        Larger speaks for the claim; any unit, infinities allowed, NaN not. See `claim_scores`.
    is_genuine : array-like of bool, shape (n_claims,)
        Whether the claim is true.

    Returns
    -------
    points : Bunch
        Arrays of float64 of one length: ``thresholds``, ``far`` and ``frr`` of `roc_points`, and

        far_deviate, frr_deviate : ndarray of shape (n_points,)
            Quantiles of the standard normal distribution at the rates, which are first brought into
            ``[1 / (2 n), 1 - 1 / (2 n)]``, ``n`` claims of that kind; always finite.

    Raises
    ------
    ValueError
        As `roc_points`.

    Notes
    -----
    Where impostor scores are N(0, 1) and genuine ones N(d, 1), the points lie on the line
    ``frr_deviate = -d - far_deviate``.

    References
    ----------
    .. [1] Martin, Doddington, Kamm, Ordowski, Przybocki. "The DET Curve in Assessment of Detection Task
       Performance", Eurospeech 1997.

    Examples
    --------
    >>> from smartbox.metrics import det_points
    >>> points = det_points([3.0, 1.0, 2.0, 0.0], [True, True, False, False])
    >>> points.far
    array([0. , 0. , 0.5, 0.5, 1. , 1. ])
    >>> points.far_deviate.round(2)
    array([-0.67, -0.67,  0.  ,  0.  ,  0.67,  0.67])
    """
    points = roc_points(scores, is_genuine)
    n_genuine = np.count_nonzero(is_genuine)
    return Bunch(
        thresholds=points.thresholds,
        far=points.far,
        frr=points.frr,
        far_deviate=deviate(points.far, np.size(is_genuine) - n_genuine),
        frr_deviate=deviate(points.frr, n_genuine),
    )


def deviate(rate, n):
    """Normal deviates of rates out of ``n``, finite."""
    return norm.ppf(np.clip(rate, 0.5 / n, 1 - 0.5 / n))
