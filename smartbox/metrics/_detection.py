"""How well a detector tells attacked from clean faces, on which faces that counts, and its threshold."""

import warnings
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid
from sklearn.utils import Bunch

from smartbox.metrics._bootstrap import bootstrap_by_identity
from smartbox.metrics._checks import check_flags, check_no_nan, check_rate, check_same_labels, check_scores

_RULES = ("all", "successful")


def detection_report(
    y_true: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float = 0.0,
    groups: ArrayLike | None = None,
    random_state=0,
) -> Bunch:
    """Figures of merit of a detector; it flags what scores above the threshold.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        1 (or True) for an attacked image, 0 for a clean one.
    scores : array-like of shape (n_images,)
        Larger is more suspect; any unit. NaN counts as the lowest score: it flags nothing.
    threshold : float, default=0.0
        In the unit of ``scores``.
    groups : array-like of shape (n_images,), optional
        Identity of each image, a face and its attacked twin alike. With it the report has ``intervals``.
    random_state : int, RandomState or None, default=0
        Draws the identities of the intervals: one seed gives the same draws to all detectors, whose differences can then be
        compared.

    Returns
    -------
    report : Bunch
        Floats in [0, 1], NaN where the denominator is zero, and two counts.

        precision : share of the flagged images that are attacked.
        recall : share of the attacked images that are flagged.
        accuracy : share of the right decisions.
        fpr : share of the clean images that are flagged.
        roc_auc : area under the ROC curve; ties count one half, so a constant score earns 0.5.
        tpr_at_fpr_1 : largest recall at any threshold that flags at most 1 % of the clean images; NaN if that
            is less than one image.
        tpr_at_fpr_5 : the same for 5 %.
        n_clean, n_attacked : numbers of images.
        intervals : only with ``groups``: for each of the rates a pair ``(low, high)``, its 95 % interval over draws of
            identities; see `bootstrap_by_identity`. NaN where no draw defines the rate.

    Raises
    ------
    ValueError
        If lengths do not fit, if ``y_true`` is not binary, if ``threshold`` is no number, or if ``groups`` hold one identity
        only.

    Notes
    -----
    Precision and accuracy depend on the mix of the two kinds: compare them between equal mixes only.

    References
    ----------
    .. [1] Fawcett. "An introduction to ROC analysis", Pattern Recognition Letters 27, 2006.

    Examples
    --------
    >>> from smartbox.metrics import detection_report
    >>> report = detection_report([0, 0, 1, 1], [-2.0, 1.0, 0.5, 3.0])
    >>> report.recall, report.fpr, report.roc_auc
    (1.0, 0.5, 0.75)
    """
    scores = check_scores(scores, "scores")
    attacked = check_flags(y_true, "y_true", len(scores))
    if not isinstance(threshold, Real) or np.isnan(threshold):
        raise ValueError(f"threshold must be a number, got {threshold!r}; conformal_threshold gives one.")
    scores[np.isnan(scores)] = -np.inf
    rates = _Rates(scores, attacked, threshold)
    report = Bunch(**{name: float(value[0]) for name, value in rates(np.ones((1, len(scores)))).items()})
    report.update(n_clean=int((~attacked).sum()), n_attacked=int(attacked.sum()))
    if groups is not None:
        if np.shape(groups) != scores.shape:
            raise ValueError(
                f"groups must have one identity an image, ({len(scores)},), got shape {np.shape(groups)}; "
                "make_detection_set(X, X_adv, groups=y) gives such groups."
            )
        found = bootstrap_by_identity(rates, groups, random_state=random_state)
        report.intervals = Bunch(**{name: (interval.low, interval.high) for name, interval in found.items()})
    return report


class _Rates:
    """The rates of a report as functions of how often each image counts, ``(n_draws, n_images)``."""

    def __init__(self, scores, attacked, threshold):
        self.order = np.argsort(-scores, kind="stable")  # by falling score
        self.attacked, scores = attacked[self.order], scores[self.order]
        self.n_flagged = np.count_nonzero(scores > threshold)
        self.ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)  # tied scores move together

    def __call__(self, weights):
        hits, alarms = self._counted(weights, self.attacked), self._counted(weights, ~self.attacked)
        n_attacked, n_clean = hits[:, -1], alarms[:, -1]
        n_hits, n_alarms = hits[:, self.n_flagged], alarms[:, self.n_flagged]
        points = np.append(0, self.ends + 1)
        with np.errstate(invalid="ignore"):  # NaN where nobody counts
            recall, fpr = hits[:, points] / n_attacked[:, None], alarms[:, points] / n_clean[:, None]
            return {
                "precision": n_hits / (n_hits + n_alarms),
                "recall": n_hits / n_attacked,
                "accuracy": (n_hits + n_clean - n_alarms) / (n_attacked + n_clean),
                "fpr": n_alarms / n_clean,
                "roc_auc": trapezoid(hits[:, points], alarms[:, points], axis=1) / (n_attacked * n_clean),
                "tpr_at_fpr_1": _recall_at(recall, fpr, 0.01, n_clean),
                "tpr_at_fpr_5": _recall_at(recall, fpr, 0.05, n_clean),
            }

    def _counted(self, weights, kind):
        """How much of a kind is among the first images, from none of them to all."""
        counted = np.zeros((len(weights), len(kind) + 1))
        np.cumsum(weights[:, self.order] * kind, axis=1, out=counted[:, 1:])
        return counted


def detection_population(
    y_true_labels: ArrayLike, clean_pred: ArrayLike, adv_pred: ArrayLike, rule: str = "all"
) -> NDArray[np.bool_]:
    """Which source images count when a detector is scored; each counts twice, clean and attacked.

    Parameters
    ----------
    y_true_labels : array-like of shape (n_images,)
        True identity of each image.
    clean_pred : array-like of shape (n_images,)
        Identity predicted for the clean image.
    adv_pred : array-like of shape (n_images,)
        Identity predicted for its attacked version.
    rule : {'all', 'successful'}, default='all'
        ``'all'``: every image, whether the attack succeeded or not. ``'successful'``: only images that were
        predicted rightly before the attack and wrongly after it.

    Returns
    -------
    counts : ndarray of bool, shape (n_images,)
        True where the image and its attacked version belong to the population.

    Raises
    ------
    ValueError
        If lengths or types of labels do not fit, or if the rule is unknown.

    References
    ----------
    .. [1] Liang, Li, Su, Li, Shi, Wang. "Detecting Adversarial Image Examples in Deep Neural Networks with
       Adaptive Noise Reduction", IEEE TDSC 18(1), 2021 (the rule ``'successful'``).

    Examples
    --------
    >>> from smartbox.metrics import detection_population
    >>> detection_population(["a", "b", "c"], ["a", "b", "a"], ["b", "b", "c"], rule="successful")
    array([ True, False, False])
    """
    if rule not in _RULES:
        raise ValueError(f"rule must be one of {_RULES}, got {rule!r}.")
    y, clean, adv = check_same_labels(y_true_labels=y_true_labels, clean_pred=clean_pred, adv_pred=adv_pred)
    return np.ones(len(y), dtype=bool) if rule == "all" else (clean == y) & (adv != y)


def conformal_threshold(clean_scores: ArrayLike, *, fpr: float = 0.05) -> float:
    """Threshold above which a new clean image scores with probability at most ``fpr``.

    Parameters
    ----------
    clean_scores : array-like of shape (n_images,)
        Scores of clean images that the detector was not fitted on; larger is more suspect; NaN not allowed.
    fpr : float, default=0.05
        False positive rate, strictly between 0 and 1.

    Returns
    -------
    threshold : float
        The ceil((1 - fpr) (n_images + 1))-th smallest score; plus infinity, with a warning, if there are too
        few images.

    Raises
    ------
    ValueError
        If ``clean_scores`` is empty, not one-dimensional or holds NaN, or if ``fpr`` is out of range.

    References
    ----------
    .. [1] Vovk, Gammerman, Shafer. "Algorithmic Learning in a Random World", Springer 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from smartbox.metrics import conformal_threshold
    >>> conformal_threshold(np.arange(1, 100), fpr=0.05)
    95.0
    """
    scores = check_no_nan(check_scores(clean_scores, "clean_scores"), "clean_scores")
    check_rate(fpr)
    n = len(scores)
    # ceil((1 - fpr) m) = m - floor(fpr m); rounded, lest 0.58 * 50 = 28.999... lose one
    rank = n + 1 - int(np.floor(round(fpr * (n + 1), 9)))
    if rank > n:
        fewest = int(np.ceil(round(1 / fpr, 9))) - 1
        warnings.warn(
            f"{n} clean scores cannot bound a false positive rate of {fpr:g}: the threshold is infinite "
            f"and flags nothing; pass at least {fewest}.",
            UserWarning,
            stacklevel=2,
        )
        return float("inf")
    return float(np.partition(scores, rank - 1)[rank - 1])


def _recall_at(recall, fpr, allowed, n_clean):
    last = np.count_nonzero(fpr <= allowed, axis=1, keepdims=True) - 1
    found = np.take_along_axis(recall, np.maximum(last, 0), axis=1)[:, 0]
    return np.where(allowed * n_clean < 1, np.nan, found)
