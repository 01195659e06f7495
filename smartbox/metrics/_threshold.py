"""Verification at a threshold: how it is chosen, and how right the decisions are then."""

from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import auc
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import Bunch

from smartbox.metrics._checks import check_flags
from smartbox.metrics._verification import crossing, roc_points
from smartbox.protocol import check_labels

_FARS = (1e-2, 1e-3, 1e-4)


def choose_threshold(scores: ArrayLike, is_genuine: ArrayLike, *, rule: str | float = "accuracy") -> float:
    """Threshold of acceptance from held-out claims, to be kept for test, attacked and mitigated images.

    Parameters
    ----------
    scores : array-like of shape (n_claims,)
        Scores of validation claims; larger speaks for the claim; any unit, NaN not allowed.
    is_genuine : array-like of bool, shape (n_claims,)
        Whether the claim is true.
    rule : {"accuracy", "eer"} or float, default="accuracy"
        ``"accuracy"``: largest share of right decisions. ``"eer"``: false accept and false reject rates as equal
        as can be. A float: the largest true accept rate at no more than this false accept rate, in (0, 1).

    Returns
    -------
    threshold : float
        In the unit of ``scores``, half-way between neighbouring scores; of several equally good places the middle
        of the widest. Infinite only if accepting nothing (or everything) is strictly best.

    Raises
    ------
    ValueError
        As `roc_points`, if the rule is unknown, or if the rate is less than one impostor claim in all.

    References
    ----------
    .. [1] Huang, Ramesh, Berg, Learned-Miller. "Labeled Faces in the Wild", UMass Technical Report 07-49, 2007.

    Examples
    --------
    >>> from smartbox.metrics import choose_threshold
    >>> choose_threshold([5.0, 4.0, 1.0, 0.0], [True, True, False, False])
    2.5
    """
    _check_rule(rule)
    points = roc_points(scores, is_genuine)
    genuine = np.asarray(is_genuine, dtype=bool)
    n_impostors = np.count_nonzero(~genuine)
    if not isinstance(rule, str) and rule < 1 / n_impostors:
        raise ValueError(
            f"a false accept rate of {rule:g} cannot be set with {n_impostors} impostor claims; pass at least "
            f"{int(np.ceil(1 / rule))}, for instance all claims of all probes."
        )
    if rule == "accuracy":
        merit = np.rint(points.tar * genuine.sum()) - np.rint(points.far * n_impostors)  # whole numbers tie exactly
    elif rule == "eer":
        merit = -np.abs(points.far - points.frr)
    else:
        merit = np.where(points.far <= rule, points.tar, -np.inf)
    return _middle(points.thresholds, merit)


def verification_report(scores: ArrayLike, is_genuine: ArrayLike, *, threshold: float = 0.0) -> Bunch:
    """Figures of merit of a verifier; it accepts a claim whose score reaches the threshold.

    Parameters
    ----------
    scores : array-like of shape (n_claims,)
        Larger speaks for the claim; any unit, NaN not allowed. See `claim_scores`.
    is_genuine : array-like of bool, shape (n_claims,)
        Whether the claim is true.
    threshold : float, default=0.0
        In the unit of ``scores``; see `choose_threshold`.

    Returns
    -------
    report : Bunch
        accuracy : float
            Share of right decisions. Where impostor claims abound, rejecting all comes close to 1.
        balanced_accuracy : float
            Mean of the shares of genuine claims accepted and impostors rejected: 0.5 for a constant answer.
        hter : float
            Half total error rate, ``1 - balanced_accuracy``.
        far, frr, tar : float
            False accept, false reject and true accept rates at the threshold.
        eer, roc_auc : float
            At no threshold: equal error rate, and area under the ROC curve (ties count one half).
        tar_at_far : dict of float
            True accept rate at false accept rates of at most 1e-2, 1e-3, 1e-4; NaN where that is less than one
            impostor claim in all.
        n_genuine, n_impostors : int
            Numbers of claims.

    Raises
    ------
    ValueError
        As `roc_points`, or if ``threshold`` is no number.

    References
    ----------
    .. [1] ISO/IEC 19795-1, "Biometric performance testing and reporting. Part 1: Principles and framework".

    Examples
    --------
    >>> from smartbox.metrics import verification_report
    >>> report = verification_report([3.0, -1.0, 1.0, -2.0, -3.0], [1, 1, 0, 0, 0])
    >>> report.accuracy, report.far, report.frr, round(report.hter, 3)
    (0.6, 0.333..., 0.5, 0.417)
    """
    if not isinstance(threshold, Real) or np.isnan(threshold):
        raise ValueError(f"threshold must be a number, got {threshold!r}; choose_threshold gives one.")
    points = roc_points(scores, is_genuine)
    genuine = np.asarray(is_genuine, dtype=bool)
    accepted = np.asarray(scores, dtype=np.float64) >= threshold  # not in float32, which would round the threshold
    far, frr, tar = (float(np.mean(x)) for x in (accepted[~genuine], ~accepted[genuine], accepted[genuine]))
    n_impostors = int(np.count_nonzero(~genuine))
    return Bunch(
        accuracy=float(np.mean(accepted == genuine)),
        balanced_accuracy=1 - (far + frr) / 2,
        hter=(far + frr) / 2,
        far=far,
        frr=frr,
        tar=tar,
        eer=crossing(points),
        roc_auc=float(auc(points.far, points.tar)),
        tar_at_far={f: float(points.tar[points.far <= f].max()) if f >= 1 / n_impostors else np.nan for f in _FARS},
        n_genuine=int(genuine.sum()),
        n_impostors=n_impostors,
    )


def fold_accuracy(scores: ArrayLike, is_genuine: ArrayLike, *, folds: int | ArrayLike = 10) -> Bunch:
    """Accuracy on each fold at the threshold that is best on all the others.

    Parameters
    ----------
    scores : array-like of shape (n_claims,)
        Larger speaks for the claim; any unit, NaN not allowed.
    is_genuine : array-like of bool, shape (n_claims,)
        Whether the claim is true.
    folds : int or array-like of shape (n_claims,), default=10
        Fold of each claim, e.g. that of `smartbox.datasets.load_pairs`. A number cuts the genuine and the
        impostor claims, in their order, into so many stretches.

    Returns
    -------
    result : Bunch
        accuracy : float
            Mean over the folds, in [0, 1].
        standard_error : float
            Of that mean: the folds' standard deviation over the root of their number.
        accuracies, thresholds : ndarray of shape (n_folds,)
            Of each fold, in the order of the sorted folds.

    Raises
    ------
    ValueError
        As `roc_points`, also for what is left without a fold; or if there are fewer than two folds.

    References
    ----------
    .. [1] Huang, Ramesh, Berg, Learned-Miller. "Labeled Faces in the Wild", UMass Technical Report 07-49, 2007
       (mean accuracy and standard error over ten folds).

    Examples
    --------
    >>> import numpy as np
    >>> from smartbox.metrics import fold_accuracy
    >>> is_genuine = np.tile([True, False], 50)
    >>> result = fold_accuracy(np.where(is_genuine, 0.8, 0.1), is_genuine)
    >>> result.accuracy, len(result.thresholds)
    (1.0, 10)
    """
    roc_points(scores, is_genuine)  # refuses what is wrong with all of it
    scores = np.asarray(scores, dtype=np.float64)
    genuine = check_flags(is_genuine, "is_genuine", len(scores))
    parts = _parts(folds, genuine)
    if len(parts) < 2:
        raise ValueError(
            "folds must name at least two folds, got one: there would be no other to choose a threshold on."
        )
    thresholds = np.array([choose_threshold(scores[~part], genuine[~part]) for part in parts])
    accuracies = np.array(
        [np.mean((scores[part] >= t) == genuine[part]) for part, t in zip(parts, thresholds, strict=True)]
    )
    return Bunch(
        accuracy=float(accuracies.mean()),
        standard_error=float(accuracies.std(ddof=1) / np.sqrt(len(parts))),
        accuracies=accuracies,
        thresholds=thresholds,
    )


def _check_rule(rule):
    named = isinstance(rule, str) and rule in ("accuracy", "eer")
    if not named and (isinstance(rule, (str, bool)) or not isinstance(rule, Real) or not 0 < rule < 1):
        raise ValueError(
            f"rule must be 'accuracy', 'eer' or a false accept rate strictly between 0 and 1, got {rule!r}; "
            "divide a percentage by 100."
        )


def _middle(thresholds, merit):
    """Middle of the widest stretch of thresholds where the merit is largest.

    A threshold between two distinct scores decides as the upper one does; the first and the last of the
    thresholds, plus and minus infinity, serve only where nothing else is as good.
    """
    upper, lower, merit = thresholds[1:-2], thresholds[2:-1], merit[:-1]
    best = merit[1:-1] == merit.max()
    if not best.any():
        return float(np.inf if merit[0] == merit.max() else -np.inf)
    edges = np.flatnonzero(np.diff(np.r_[False, best, False]))
    tops, bottoms = upper[edges[::2]], lower[edges[1::2] - 1]
    with np.errstate(invalid="ignore"):
        widths = tops - bottoms
    finite = np.isfinite(widths)
    if not finite.any():  # next to an infinite score any finite threshold will do
        return float(tops[0]) if np.isfinite(tops[0]) else float(np.nextafter(bottoms[0], np.inf))
    widest = np.argmax(np.where(finite, widths, -1))
    middle = bottoms[widest] + widths[widest] / 2
    # between neighbours in floating point there is no middle
    return float(middle if middle > bottoms[widest] else tops[widest])


def _parts(folds, genuine):
    """A mask of each fold."""
    if isinstance(folds, Integral):
        smallest = min(genuine.sum(), (~genuine).sum())
        if not 2 <= folds <= smallest:
            raise ValueError(
                f"folds must be at least 2 and at most the number of genuine or impostor claims ({smallest}), got "
                f"{folds}; pass fewer folds or more claims."
            )
        fold = np.empty(len(genuine), dtype=int)
        for i, (_, test) in enumerate(StratifiedKFold(folds).split(genuine, genuine)):
            fold[test] = i
    else:
        fold = check_labels(folds, "folds")
        if len(fold) != len(genuine):
            raise ValueError(f"folds must name the fold of each of the {len(genuine)} claims, got {len(fold)}.")
    return [fold == name for name in np.unique(fold)]
