"""Open-set identification: who is it, if it is anybody enrolled at all?"""

import warnings
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import Bunch

from smartbox.metrics._checks import own_scores
from smartbox.protocol import check_labels


def open_set_curve(y_true: ArrayLike, scores: ArrayLike, *, classes: ArrayLike, k: int = 1) -> Bunch:
    """Detection and identification rate against false alarms, at every threshold of the scores.

    An enrolled probe is identified if its identity is among the ``k`` best and its score reaches the threshold; a
    stranger raises a false alarm if any of its scores does.

    Parameters
    ----------
    y_true : array-like of shape (n_probes,)
        True identity of each probe; one that is not in ``classes`` is a stranger.
    scores : array-like of shape (n_probes, n_classes)
        Similarities that compare between probes, e.g. cosines; larger is more similar. NaN counts as the worst.
    classes : array-like of shape (n_classes,)
        Identity of each column, e.g. ``face.classes_``.
    k : int, default=1
        Length of the list of candidates, 1 to ``n_classes``.

    Returns
    -------
    curve : Bunch
        Arrays of float64 of one length, by falling threshold: plus infinity, each distinct score that counts,
        minus infinity.

        thresholds : ndarray of shape (n_points,)
            In the unit of ``scores``.
        far : ndarray of shape (n_points,)
            Share of the strangers that raise a false alarm (false positive identification rate), in [0, 1].
        dir : ndarray of shape (n_points,)
            Share of the enrolled probes that are identified, in [0, 1]; the last is the rank-k accuracy.

    Raises
    ------
    ValueError
        If shapes or labels do not fit, if all probes or none are enrolled, or if ``k`` is out of range.

    Notes
    -----
    Where ``b`` rivals tie with the true identity and ``a`` are better, it counts as ``clip((k - a) / (b + 1), 0,
    1)`` of an identification, as in `cmc_curve`.

    References
    ----------
    .. [1] Phillips, Grother, Micheals. "Evaluation Methods in Face Recognition", Handbook of Face Recognition,
       2nd edition, Springer 2011, chapter 21 (open-set identification).

    Examples
    --------
    >>> from smartbox.metrics import open_set_curve
    >>> scores = [[0.9, 0.1], [0.3, 0.4], [0.6, 0.2]]
    >>> curve = open_set_curve(["ann", "bob", "eve"], scores, classes=["ann", "bob"])
    >>> curve.thresholds
    array([ inf,  0.9,  0.6,  0.4, -inf])
    >>> curve.dir, curve.far
    (array([0. , 0.5, 0.5, 1. , 1. ]), array([0., 0., 1., 1., 1.]))
    """
    own, chance, strangest = _known_and_strangers(y_true, scores, classes, k)
    counted = chance > 0
    thresholds = np.r_[np.inf, np.unique(np.r_[own[counted], strangest])[::-1], -np.inf]
    return Bunch(
        thresholds=thresholds,
        far=_share_reaching(strangest, np.ones(len(strangest)), thresholds),
        dir=_share_reaching(own, chance, thresholds),
    )


def dir_at_far(y_true: ArrayLike, scores: ArrayLike, far: float, *, classes: ArrayLike, k: int = 1) -> float:
    """Largest detection and identification rate at any threshold whose false alarm rate is at most ``far``.

    Parameters
    ----------
    y_true : array-like of shape (n_probes,)
        True identity of each probe; one that is not in ``classes`` is a stranger.
    scores : array-like of shape (n_probes, n_classes)
        Larger is more similar; NaN counts as the worst.
    far : float
        Allowed share of strangers that raise a false alarm, in [0, 1].
    classes : array-like of shape (n_classes,)
        Identity of each column, e.g. ``face.classes_``.
    k : int, default=1
        Length of the list of candidates.

    Returns
    -------
    rate : float
        In [0, 1], not interpolated; NaN, with a warning, if ``far`` is less than one stranger in all.

    Raises
    ------
    ValueError
        As `open_set_curve`, or if ``far`` is out of range.

    Examples
    --------
    >>> from smartbox.metrics import dir_at_far
    >>> scores = [[0.9, 0.1], [0.3, 0.4], [0.6, 0.2], [0.2, 0.1]]
    >>> dir_at_far(["ann", "bob", "eve", "kim"], scores, 0.5, classes=["ann", "bob"])
    1.0
    """
    if not isinstance(far, Real) or not 0 <= far <= 1:
        raise ValueError(f"far must be a rate in [0, 1], got {far!r}; divide a percentage by 100.")
    own, chance, strangest = _known_and_strangers(y_true, scores, classes, k)
    if far < 1 / len(strangest):
        warnings.warn(
            f"A false alarm rate of {far:g} cannot be measured with {len(strangest)} strangers: the result is NaN; "
            "add images of people who are not enrolled.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return float("nan")
    # The threshold may be any number above the highest score that has to stay below it.
    n_alarms = int(np.floor(round(far * len(strangest), 9)))
    bar = -np.inf if n_alarms == len(strangest) else np.sort(strangest)[::-1][n_alarms]
    reached = own > bar if n_alarms < len(strangest) else np.ones(len(own), dtype=bool)
    return float(chance[reached].sum() / len(own))


def _known_and_strangers(y_true, scores, classes, k):
    """Own score and chance of being among the ``k`` best of the enrolled probes; largest score of each stranger."""
    labels, classes = check_labels(y_true, "y_true"), check_labels(classes, "classes")
    if isinstance(labels.tolist()[0], str) != isinstance(classes.tolist()[0], str):
        raise ValueError(
            f"y_true and classes must hold labels of one type, got {labels.tolist()[0]!r} and "
            f"{classes.tolist()[0]!r}; convert them first."
        )
    known = np.isin(labels, classes)
    if known.all() or not known.any():
        came, cure = ("all", "people who are not") if known.all() else ("none", "people who are")
        raise ValueError(
            f"y_true must hold enrolled identities and strangers, got {len(labels)} probes of which {came} are "
            f"enrolled; add images of {cure}, or use cmc_curve where nobody is a stranger."
        )
    if not isinstance(k, Integral) or not 1 <= k <= len(classes):
        raise ValueError(f"k must be an integer from 1 to n_classes = {len(classes)}, got {k!r}.")
    # A stranger is given some column, so that one check serves all the rows.
    own, scores = own_scores(np.where(known, labels, classes[0]), scores, classes, "y_true")
    better = np.count_nonzero(scores > own, axis=1)[known]
    equal = np.count_nonzero(scores == own, axis=1)[known]
    return own[known, 0], np.clip((k - better) / equal, 0, 1), scores[~known].max(axis=1)


def _share_reaching(scores, weights, thresholds):
    """Weight of the scores that reach each of the falling thresholds, over the number of scores."""
    order = np.argsort(scores)[::-1]
    reached = np.searchsorted(-scores[order], -thresholds, side="right")
    share = np.r_[0, np.cumsum(weights[order])][reached] / len(scores)
    share[0] = 0  # accept nothing, not even an infinite score
    return share
