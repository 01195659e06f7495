"""The figures of recognition, each with an interval over draws of people."""

import numpy as np

from smartbox.metrics import bootstrap_by_identity, dir_at_far, rank_k_accuracy, verification_report
from smartbox.metrics._bootstrap import N_RESAMPLES
from smartbox.metrics._intervals import wilson_ends

FARS = (1e-2, 1e-3, 1e-4)  # of claims
ALARMS = (1e-1, 1e-2)  # of strangers
_LIST = 5  # a longer list of candidates
_ROUNDING = 1e-9
_MOST_SCORES = 1000  # of a kind, at which the draws are evaluated


def identification_figures(S, probes, threshold, *, seed=0, n_resamples=N_RESAMPLES):
    """Figures of a gallery.

    Parameters
    ----------
    S : ndarray of shape (n_probes, n_identities)
        Cosines.
    probes : Bunch
        ``y``, who is on each; ``identities``, sorted, one a column; ``claimed``, a mask like ``S`` of the claims made.
    threshold : float
        Cosine from which on a claim is accepted.
    seed : int, default=0
        Draws the people: the same for all that is measured on the same probes.
    n_resamples : int, default=2000
        Draws.

    Returns
    -------
    figures : dict of (float, float, float)
        Value, and ends of the 95 % interval, see `ends`; NaN where the probes are too few for it.
    """
    y, identities, claimed = probes.y, probes.identities, probes.claimed
    known, is_genuine = np.isin(y, identities), y[:, None] == identities
    figures = {
        "rank_1": rank_k_accuracy(y[known], S[known], classes=identities),
        f"rank_{_LIST}": rank_k_accuracy(y[known], S[known], k=min(_LIST, len(identities)), classes=identities),
        **_verification(S[claimed], is_genuine[claimed], threshold),
    }
    n_strangers = np.count_nonzero(~known)
    for far in ALARMS if n_strangers else ():
        figures[_dir(far)] = dir_at_far(y, S, far, classes=identities) if far >= 1 / n_strangers else np.nan
    claims = Claims(S[claimed], is_genuine[claimed], np.nonzero(claimed)[0], len(S))
    own = np.where(is_genuine, S, -np.inf).max(axis=1)
    ahead = S - own[:, None]
    better, equal = np.count_nonzero(ahead > 0, axis=1), np.count_nonzero(ahead == 0, axis=1)
    chance = {k: np.clip((k - better) / np.maximum(equal, 1), 0, 1) for k in (1, min(_LIST, len(identities)))}

    def of_draws(weights):
        of_known = weights * known
        n_known = of_known.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = {f"rank_{_LIST}": of_known @ chance[min(_LIST, len(identities))] / n_known}
            found |= {"rank_1": of_known @ chance[1] / n_known, **claims.figures(weights, threshold)}
            for far in ALARMS if n_strangers else ():
                bar = _bars(S[~known].max(axis=1), weights[:, ~known], far)
                identified = (of_known * chance[1] * (own > bar[:, None])).sum(axis=1) / n_known
                found[_dir(far)] = np.where(np.isnan(bar), np.nan, identified)
        return found

    return _with_intervals(figures, of_draws, y, seed, n_resamples)


def pair_figures(scores, is_genuine, people, thresholds, *, seed=0, n_resamples=N_RESAMPLES):
    """As `identification_figures`, of pairs of images; ``people`` ``(n_pairs, 2)``, ``thresholds`` one a pair.

    A pair of two people counts as often as both are drawn together, one of one person as often as that one is.
    """
    margins = scores.astype(np.float64) - thresholds
    figures = _verification(scores, is_genuine, 0.0)
    at = _verification(margins, is_genuine, 0.0)  # each pair at the threshold of its fold
    figures |= {name: at[name] for name in ("accuracy", "balanced_accuracy", "far", "tar")}
    names, codes = np.unique(people, return_inverse=True)
    first, second = codes.reshape(-1, 2).T
    rows = np.arange(len(scores))
    by_score, by_margin = (Claims(each, is_genuine, rows, len(rows)) for each in (scores, margins))

    def of_draws(weights):
        of_pairs = weights[:, first] * np.where(is_genuine, 1, weights[:, second])
        with np.errstate(invalid="ignore", divide="ignore"):
            found = by_score.figures(of_pairs, 0.0)
            at = by_margin.figures(of_pairs, 0.0)
        return found | {name: at[name] for name in ("accuracy", "balanced_accuracy", "far", "tar")}

    return _with_intervals(figures, of_draws, names, seed, n_resamples)


class Claims:
    """Error rates of claims under many weights at once.

    Where there are many, at quantiles of their scores and the largest false ones: only intervals hang on it.

    Parameters
    ----------
    scores, is_genuine : ndarray of shape (n_claims,)
    row : ndarray of int, shape (n_claims,)
        Which probe, or pair, makes each claim, and weighs it.
    n_rows : int
    """

    def __init__(self, scores, is_genuine, row, n_rows):
        self.scores, self.genuine, self.row, self.n_rows = scores.astype(np.float64), is_genuine, row, n_rows
        levels = [_levels(self.scores[is_genuine]), _levels(self.scores[~is_genuine])]
        self.levels = np.unique(np.concatenate([*levels, np.sort(self.scores[~is_genuine])[-_MOST_SCORES:]]))[::-1]
        self.reaching = [self._reaching(kind) for kind in (is_genuine, ~is_genuine)]
        self.n = [np.bincount(row[kind], minlength=n_rows).astype(np.float64) for kind in (is_genuine, ~is_genuine)]

    def figures(self, weights, threshold):
        """Figures for each row of ``weights`` ``(n_draws, n_rows)``; NaN where a draw has no claims of a kind."""
        n_genuine, n_false = (weights @ n for n in self.n)
        nothing, everything = np.zeros((len(weights), 1)), np.ones((len(weights), 1))
        tar, far = (
            np.concatenate([nothing, weights @ reaching / n[:, None], everything], axis=1)
            for reaching, n in zip(self.reaching, (n_genuine, n_false), strict=True)
        )
        defined = (n_genuine > 0) & (n_false > 0)
        area = (np.diff(far, axis=1) * (tar[:, 1:] + tar[:, :-1])).sum(axis=1) / 2
        rates = {"roc_auc": area, "eer": _crossing(tar, far)}
        for level in FARS:
            last = np.count_nonzero(far <= level, axis=1, keepdims=True) - 1
            reached = np.take_along_axis(tar, np.maximum(last, 0), axis=1)[:, 0]
            rates[_tar(level)] = np.where(level * n_false < 1, np.nan, reached)
        accepted = self.scores >= threshold
        hits, alarms = (
            weights @ np.bincount(self.row[kind & accepted], minlength=self.n_rows)
            for kind in (self.genuine, ~self.genuine)
        )
        rates["tar"], rates["far"] = hits / n_genuine, alarms / n_false
        rates["accuracy"] = (hits + n_false - alarms) / (n_genuine + n_false)
        rates["balanced_accuracy"] = (1 + rates["tar"] - rates["far"]) / 2
        return {name: np.where(defined, values, np.nan) for name, values in rates.items()}

    def _reaching(self, kind):
        """How many claims of each row reach each level, ``(n_rows, n_levels)``."""
        first = np.searchsorted(-self.levels, -self.scores[kind])  # the highest level that each reaches
        counts = np.zeros((self.n_rows, len(self.levels) + 1))
        np.add.at(counts, (self.row[kind], first), 1)
        return np.cumsum(counts, axis=1)[:, :-1]


def _levels(scores):
    distinct = np.unique(scores)
    if len(distinct) <= _MOST_SCORES:
        return distinct
    return np.quantile(scores, np.linspace(0, 1, _MOST_SCORES), method="nearest")


def _crossing(tar, far):
    """Equal error rates, linear between the points around the crossing."""
    gap = (1 - tar - far)[:, ::-1]  # by rising threshold: from -1 to 1
    rising = far[:, ::-1]
    after = np.argmax(gap >= 0, axis=1)[:, None]
    (a, b), (x, z) = (
        [np.take_along_axis(values, np.maximum(after + i, 0), axis=1)[:, 0] for i in (-1, 0)]
        for values in (gap, rising)
    )
    return np.maximum(x + (z - x) * -a / (b - a), 0)  # rounding may go below


def _bars(strangest, weights, far):
    """For each draw the highest score of a stranger that raises no alarm; minus infinity if none need be kept below."""
    order = np.argsort(-strangest, kind="stable")
    alarms, total = np.cumsum(weights[:, order], axis=1), weights.sum(axis=1)
    silent = alarms > np.floor(np.round(far * total, 9))[:, None]
    bar = np.where(silent.any(axis=1), strangest[order][silent.argmax(axis=1)], -np.inf)
    return np.where(far * total < 1 - 1e-9, np.nan, bar)


def _verification(scores, is_genuine, threshold):
    report = verification_report(scores, is_genuine, threshold=threshold)
    tars = {_tar(far): report.tar_at_far[far] for far in FARS}
    names = ("roc_auc", "eer", "accuracy", "balanced_accuracy", "far", "tar")
    return {name: report[name] for name in names} | tars


def _with_intervals(figures, of_draws, groups, seed, n_resamples):
    intervals = bootstrap_by_identity(of_draws, groups, n_resamples=n_resamples, random_state=seed)
    n_people = len(np.unique(groups))
    return {name: (float(value), *ends(value, intervals[name], n_people)) for name, value in figures.items()}


def ends(value, interval, n_people):
    """Ends of an interval over draws of people. Where all people agree, each counts as one trial of Wilson's interval."""
    if value != value:
        return np.nan, np.nan
    if abs(interval.low - interval.high) < _ROUNDING and abs(interval.low - value) < _ROUNDING:
        low, high = wilson_ends(value, n_people, 0.95)
        return float(low), float(high)
    return interval.low, interval.high


def _tar(far):
    return f"tar_at_far_{far:.0e}".replace("e-0", "e-")


def _dir(far):
    return f"dir_at_far_{far:.0e}".replace("e-0", "e-")
