"""Verification: is the probe the person that it claims to be?"""

import warnings
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import Bunch

from smartbox.metrics._checks import check_flags, check_no_nan, check_same_labels, check_scores, own_scores


def verification_accuracy(y_pred: ArrayLike, claims: ArrayLike, is_genuine: ArrayLike) -> float:
    """Share of right decisions when a claim is accepted if and only if it is the predicted identity.

    Parameters
    ----------
    y_pred : array-like of shape (n_probes,)
        Predicted identity of each probe.
    claims : array-like of shape (n_probes,)
        Claimed identity of each probe; see `smartbox.protocol.FaceProtocol.assign`.
    is_genuine : array-like of bool, shape (n_probes,)
        Whether the claim is true.

    Returns
    -------
    accuracy : float
        In [0, 1]: genuine claims accepted and impostors rejected, over all claims.

    Raises
    ------
    ValueError
        If lengths or types of labels do not fit, or if a label is missing.

    References
    ----------
    .. [1] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation
       Algorithms for Face Recognition", BTAS 2018.

    Examples
    --------
    >>> from smartbox.metrics import verification_accuracy
    >>> verification_accuracy(["ann", "bob", "eve"], ["ann", "bob", "ann"], [True, False, False])
    0.666...
    """
    y_pred, claims = check_same_labels(y_pred=y_pred, claims=claims)
    is_genuine = check_flags(is_genuine, "is_genuine", len(claims))
    return float(np.mean((y_pred == claims) == is_genuine))


def claim_scores(scores: ArrayLike, claims: ArrayLike, classes: ArrayLike) -> NDArray:
    """Margin of each claim: the score of the claimed identity less the best of all others.

    Parameters
    ----------
    scores : array-like of shape (n_probes, n_classes)
        Logits or similarities, larger is more similar; any unit. Probabilities saturate.
    claims : array-like of shape (n_probes,)
        Claimed identity of each probe.
    classes : array-like of shape (n_classes,)
        Identity of each column, e.g. ``face.classes_``.

    Returns
    -------
    margins : ndarray of float64, shape (n_probes,)
        In the unit of ``scores``. Positive if and only if the claim alone has the largest score; minus
        infinity where the claim's score is NaN, so that what cannot be scored is not accepted.

    Raises
    ------
    ValueError
        If shapes or labels do not fit, or if a claim is not in ``classes``.

    Notes
    -----
    For all claims of all probes: ``claim_scores(np.repeat(scores, n_classes, axis=0), np.tile(classes,
    n_probes), classes)``.

    Examples
    --------
    >>> from smartbox.metrics import claim_scores
    >>> claim_scores([[4.0, 1.0, 0.0], [4.0, 1.0, 0.0]], ["ann", "eve"], ["ann", "bob", "eve"])
    array([ 3., -4.])
    """
    own, scores = own_scores(claims, scores, classes, "claims")
    best, second = np.partition(scores, (-2, -1), axis=1)[:, :-3:-1].astype(np.float64).T
    own = own[:, 0].astype(np.float64)
    with np.errstate(invalid="ignore"):
        margins = own - np.where(own == best, second, best)
    return np.where(np.isnan(margins), -np.inf, margins)


def roc_points(scores: ArrayLike, is_genuine: ArrayLike) -> Bunch:
    """Error rates at every threshold; a claim is accepted if its score reaches the threshold.

    Parameters
    ----------
    scores : array-like of shape (n_claims,)
        Larger speaks for the claim; any unit, infinities allowed, NaN not. See `claim_scores`.
    is_genuine : array-like of bool, shape (n_claims,)
        Whether the claim is true.

    Returns
    -------
    points : Bunch
        Arrays of float64 of one length, by falling threshold: plus infinity (accept nothing), each distinct
        score, minus infinity (accept all). Tied scores move together.

        thresholds : ndarray of shape (n_points,)
            In the unit of ``scores``.
        far : ndarray of shape (n_points,)
            False accept rate, in [0, 1], non-decreasing.
        frr : ndarray of shape (n_points,)
            False reject rate, in [0, 1], non-increasing.
        tar : ndarray of shape (n_points,)
            True accept rate, ``1 - frr``.

    Raises
    ------
    ValueError
        If lengths do not fit, if a score is NaN, or if there is not one genuine and one impostor claim at
        least.

    References
    ----------
    .. [1] ISO/IEC 19795-1, "Biometric performance testing and reporting. Part 1: Principles and framework".

    Examples
    --------
    >>> from smartbox.metrics import roc_points
    >>> points = roc_points([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    >>> points.thresholds
    array([ inf,   3.,   2.,   1., -inf])
    >>> points.far, points.tar
    (array([0. , 0. , 0.5, 1. , 1. ]), array([0. , 0.5, 1. , 1. , 1. ]))
    """
    scores = check_no_nan(check_scores(scores, "scores"), "scores")
    is_genuine = check_flags(is_genuine, "is_genuine", len(scores))
    if is_genuine.all() or not is_genuine.any():
        came = "genuine" if is_genuine.any() else "impostor"
        raise ValueError(
            f"is_genuine must hold genuine and impostor claims, got {len(scores)} {came} ones only; add the others."
        )
    return sweep(scores, is_genuine)


def equal_error_rate(scores: ArrayLike, is_genuine: ArrayLike) -> float:
    """Error rate at the threshold where false accepts and false rejects are equally frequent.

    Parameters
    ----------
    scores : array-like of shape (n_claims,)
        Larger speaks for the claim; any unit, NaN not allowed.
    is_genuine : array-like of bool, shape (n_claims,)
        Whether the claim is true.

    Returns
    -------
    rate : float
        In [0, 1]; 0 for perfect separation, about 0.5 for scores without information.

    Raises
    ------
    ValueError
        As `roc_points`.

    Notes
    -----
    Linear between the two points of `roc_points` around the crossing. The rate on the convex hull of the
    curve differs.

    References
    ----------
    .. [1] Martin, Doddington, Kamm, Ordowski, Przybocki. "The DET Curve in Assessment of Detection Task
       Performance", Eurospeech 1997.

    Examples
    --------
    >>> from smartbox.metrics import equal_error_rate
    >>> equal_error_rate([3.0, 1.0, 2.0, 0.0], [True, True, False, False])
    0.5
    """
    return crossing(roc_points(scores, is_genuine))


def tar_at_far(scores: ArrayLike, is_genuine: ArrayLike, far: float) -> float:
    """Largest true accept rate at any threshold whose false accept rate is at most ``far``.

    Parameters
    ----------
    scores : array-like of shape (n_claims,)
        Larger speaks for the claim; any unit, NaN not allowed.
    is_genuine : array-like of bool, shape (n_claims,)
        Whether the claim is true.
    far : float
        Allowed false accept rate, in [0, 1].

    Returns
    -------
    rate : float
        In [0, 1], not interpolated; NaN, with a warning, if ``far`` is less than one impostor in all.

    Raises
    ------
    ValueError
        As `roc_points`, or if ``far`` is out of range.

    Examples
    --------
    >>> from smartbox.metrics import tar_at_far
    >>> tar_at_far([4.0, 2.0, 3.0, 1.0], [True, True, False, False], far=0.5)
    1.0
    """
    if isinstance(far, bool) or not isinstance(far, Real) or not 0 <= far <= 1:
        raise ValueError(f"far must be a rate in [0, 1], got {far!r}; divide a percentage by 100.")
    points = roc_points(scores, is_genuine)
    n_impostors = np.size(is_genuine) - np.count_nonzero(is_genuine)
    if far < 1 / n_impostors:
        warnings.warn(
            f"A false accept rate of {far:g} cannot be measured with {n_impostors} impostor claims: "
            "the result is NaN; score more impostors, for instance all claims of all probes.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return float("nan")
    return float(points.tar[points.far <= far].max())


def sweep(scores, positive):
    """The points of `roc_points`; rates are NaN where a class is absent."""
    order = np.argsort(-scores)
    falling = scores[order]
    last = np.append(falling[1:] != falling[:-1], True)  # of equal scores, which move together
    accepted, hits = np.flatnonzero(last) + 1, np.cumsum(positive[order])[last]
    hits, false = (np.concatenate([[0], count, count[-1:]]) for count in (hits, accepted - hits))
    with np.errstate(invalid="ignore"):
        far, tar, frr = false / false[-1], hits / hits[-1], (hits[-1] - hits) / hits[-1]
    return Bunch(thresholds=np.r_[np.inf, falling[last], -np.inf], far=far, frr=frr, tar=tar)


def crossing(points):
    """The equal error rate of the points of `roc_points`."""
    far, gap = points.far[::-1], (points.frr - points.far)[::-1]  # by rising threshold: from -1 to 1
    after = int(np.argmax(gap >= 0))
    step = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(far[after - 1] + step * (far[after] - far[after - 1]))
