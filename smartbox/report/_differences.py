"""What is tested between two runs on the same faces, and the tests."""

import numpy as np

from smartbox.metrics import bootstrap_by_identity, mcnemar_test
from smartbox.metrics._bootstrap import N_RESAMPLES
from smartbox.metrics._detection import _Rates

_FACE = ["seed", "face"]
CONDITION = ["attack", "against", "defense"]
_DRAWS_A_TEST = 100  # a share of draws is no smaller than one of them, and is still to be small after it is corrected
_MEETING = ["detector", "trained_on", "attack", "aware"]


def check_comparable(a, b):
    """Raise a ValueError unless both runs judge the same test faces, and say each face's outcome."""
    data = [run.results.provenance["data"].get("sha1") for run in (a, b)]
    if data[0] != data[1] or data[0] is None:
        raise _unequal(a, b, "their data", *data)
    if sorted(a.seeds) != sorted(b.seeds):
        raise _unequal(a, b, "their seeds", a.seeds, b.seeds)
    for run in (a, b):
        if not run.records:
            raise ValueError(
                f"{run.folder} has no records of each face, which a comparison tests: run smartbox bench again with this version."
            )
    faces = [run.records["faces"].sort_values(_FACE).reset_index(drop=True) for run in (a, b)]
    if not faces[0].equals(faces[1]):
        raise _unequal(a, b, "their test faces", f"{len(faces[0])} faces", f"{len(faces[1])} others")


def holm(pvalues):
    """Corrected so that any false finding among all tests is as rare as the level says.

    References
    ----------
    .. [1] Holm. "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    pvalues = np.asarray(pvalues, dtype=float)
    order = np.argsort(pvalues, kind="stable")
    corrected = np.empty(len(pvalues))
    corrected[order] = np.minimum(1, np.maximum.accumulate(pvalues[order] * np.arange(len(pvalues), 0, -1)))
    return corrected


def recognition(a, b):
    """A row for each condition that both runs have, and measure."""
    about = ["identity", "claim", "is_genuine"]
    both = a.records["predictions"].merge(
        b.records["predictions"].drop(columns=["image", "name", *about]),
        on=[*_FACE, *CONDITION],
        suffixes=("_a", "_b"),
    )
    rows = []
    for names, part in both.groupby(CONDITION, sort=False):
        right = {"identification": [part[f"predicted_{run}"] == part["identity"] for run in "ab"]}
        right["verification"] = [
            (part[f"predicted_{run}"] == part["claim"]) == part["is_genuine"].astype(bool) for run in "ab"
        ]
        for measure in ("verification", "identification"):
            in_a, in_b = (each.to_numpy() for each in right[measure])
            test = mcnemar_test(in_a, in_b)
            drawn = bootstrap_by_identity(in_b * 1.0 - in_a, part["identity"], random_state=0)
            row = {
                "names": (*_told(*names), measure),
                "a": in_a.mean(),
                "b": in_b.mean(),
                "low": drawn.low,
                "high": drawn.high,
            }
            rows.append({**row, "only_a": test.n_only_a, "only_b": test.n_only_b, "p": test.pvalue})
    return rows


def detection(a, b):
    """Rows of false alarms for each detector, of recall and area for each attack."""
    if not all("scores" in run.records for run in (a, b)):
        return []
    wanted = [*_FACE, *_MEETING, "identity", "score", "flagged"]
    both = a.records["scores"][wanted].merge(
        b.records["scores"][wanted].drop(columns="identity"), on=[*_FACE, *_MEETING], suffixes=("_a", "_b")
    )
    clean = both[both["attack"] == ""]
    tests = []
    for (detector, trained), part in clean.groupby(["detector", "trained_on"], sort=False):
        tests.append(((detector, trained, "none", "–", "FPR"), part, _flagged))
        attacked = both[(both["detector"] == detector) & (both["trained_on"] == trained) & (both["attack"] != "")]
        for (attack, aware), met in attacked.groupby(["attack", "aware"], sort=False):
            names = (detector, trained, attack, "network and detector" if aware else "network")
            tests.append(((*names, "recall (TPR)"), met, _flagged))
            pairs = part.merge(met, on=[*_FACE, "identity"], suffixes=("_clean", "_attacked"))
            tests.append(((*names, "ROC AUC"), pairs, _area))
    n_resamples = max(N_RESAMPLES, _DRAWS_A_TEST * len(tests))
    return [_paired(*test, n_resamples) for test in tests]


def _paired(names, part, figure, n_resamples):
    """A figure of both runs, and draws of its difference in which every identity counts equally often in both."""
    figures, differences = {run: figure(part, run) for run in "ab"}, []

    def difference(weights):
        differences.append(figures["b"](weights) - figures["a"](weights))
        return differences[-1]

    drawn = bootstrap_by_identity(difference, part["identity"], n_resamples=n_resamples, random_state=0)
    drawn_all = np.concatenate(differences)
    drawn_all = drawn_all[~np.isnan(drawn_all)]
    beyond = min(np.count_nonzero(drawn_all <= 0), np.count_nonzero(drawn_all >= 0))
    once = {run: float(figures[run](np.ones((1, len(part))))[0]) for run in "ab"}
    p = min(1.0, 2 * (1 + beyond) / (1 + len(drawn_all)))
    return {"names": names, **once, "low": drawn.low, "high": drawn.high, "p": p}


def _flagged(part, run):
    flagged = part[f"flagged_{run}"].to_numpy(float)
    return lambda weights: weights @ flagged / weights.sum(axis=1)


def _area(part, run):
    """Area under the ROC curve, of each seed by itself, since scores of two networks have no common scale; then the mean."""
    seeds = []
    for seed in np.unique(part["seed"]):
        rows = np.flatnonzero(part["seed"] == seed)
        scores = np.concatenate([part[f"score_{run}_{kind}"].to_numpy(float)[rows] for kind in ("clean", "attacked")])
        scores[np.isnan(scores)] = -np.inf
        seeds.append((rows, _Rates(scores, np.repeat([False, True], len(rows)), 0.0)))
    return lambda weights: np.mean([rates(np.tile(weights[:, rows], 2))["roc_auc"] for rows, rates in seeds], axis=0)


def _told(attack, against, defense):
    return attack or "none", against or "–", defense


def _unequal(a, b, what, in_a, in_b):
    return ValueError(
        f"{a.folder} and {b.folder} cannot be compared, since {what} differ ({in_a} and {in_b}): run smartbox bench on the same "
        "faces with the same seeds."
    )
