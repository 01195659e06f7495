"""Pairs of images in ``smartbox evaluate``: verified, attacked, mitigated and attacked behind the mitigation."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch, gen_batches, get_tags

from smartbox._pair_model import PairModel
from smartbox._progress import progress_bar, say
from smartbox.cli._evaluate_rates import pair_figures
from smartbox.cli._evaluate_run import ADAPTIVE, AFTER, BEFORE, CLEAN, TRANSFERRED, row_name
from smartbox.metrics import fold_accuracy, mcnemar_test

_BATCH = 64  # pairs attacked at once
_FOLDS = 10  # of a list without folds


def find_pairs(path, faces):
    """The pairs of a list among faces, and the fold of each."""
    from smartbox.datasets import load_pairs

    found = load_pairs(path, filenames=faces.filenames)
    n_genuine = np.count_nonzero(found.is_genuine)
    n_fewest = min(n_genuine, len(found.is_genuine) - n_genuine)
    if n_fewest < 2:
        raise ValueError(
            f"{path}: expected at least two pairs of one person and two of two people, got {n_genuine} and "
            f"{len(found.is_genuine) - n_genuine}."
        )
    if len(np.unique(found.folds)) < 2:
        for kind in (found.is_genuine, ~found.is_genuine):  # stretches of either kind, as fold_accuracy cuts them
            n = np.count_nonzero(kind)
            found.folds[kind] = 1 + np.arange(n) * min(_FOLDS, n_fewest) // n
    return found


class PairsRun:
    """Verification of pairs. The second image of each is attacked against the first: away from it if both show one person,
    towards it if they show two.

    Parameters
    ----------
    faces : Bunch
        As a loader returns them.
    pairs : Bunch
        From `find_pairs`.
    embedder : FaceEmbedder
    attack : BaseAttack
        Its model is set here.
    defenses : list of (str, BaseDefense)
    seed : int
    verbose : int, default=0
        Above 0 shows progress.

    Attributes
    ----------
    rows : dict of Bunch
        By name, after `run`: ``scores``, cosines of the pairs, and ``figures``.
    comparisons : list of dict
        McNemar's tests of pairs of rows.
    """

    def __init__(self, faces, pairs, embedder, attack, defenses, *, seed, verbose=0):
        self.embedder, self.attack, self.defenses = embedder, attack, defenses
        self.seed, self.verbose = seed, verbose
        self.names, self.is_genuine, self.folds = pairs.names, pairs.is_genuine, pairs.folds
        self.people = np.array([[name.rpartition("/")[0] for name in pair] for pair in pairs.names])
        self.first, self.X = faces.images[pairs.pairs[:, 0]], np.asarray(faces.images[pairs.pairs[:, 1]])
        self.aim = "dodging by pairs of one person, impersonation by pairs of two"
        self.rows, self.comparisons = {}, []

    def run(self):
        """Do everything, and return the run itself."""
        for _, defense in self.defenses:
            defense.transform(self.X[:1])  # one from a file may not fit these images; before the long work
        self.references = self.embedder.transform(self.first)
        clean = self._scores(self.X)
        found = fold_accuracy(clean, self.is_genuine, folds=self.folds)
        self.thresholds = found.thresholds[np.unique(self.folds, return_inverse=True)[1]]
        say(f"{len(clean)} pairs in {len(found.thresholds)} folds", enabled=self.verbose)
        X_adv = self._attack([], "pairs")
        self._note(BEFORE, clean)
        self._note(AFTER, self._scores(X_adv))
        for name, defense in self.defenses:
            self._note(row_name(name, CLEAN), self._scores(defense.transform(self.X)))
            self._note(row_name(name, TRANSFERRED), self._scores(defense.transform(X_adv)))
            X_adaptive = self._attack([(name, defense)], name)
            self._note(row_name(name, ADAPTIVE), self._scores(defense.transform(X_adaptive)))
        self.X_adv = X_adv
        self._compare()
        return self

    def _scores(self, X):
        return (self.embedder.transform(X) * self.references).sum(axis=1)

    def _attack(self, defenses, what):
        """The second images, attacked, whether or not that succeeds."""
        attack = clone(self.attack).set_params(random_state=self.seed)
        if get_tags(attack).requires_fit:
            raise ValueError(
                f"{type(attack).__name__} is learnt for all images, not for a pair: take another --attack."
            )
        X_adv = self.X.copy()
        with progress_bar(f"{type(attack).__name__} ({what})", len(X_adv), enabled=self.verbose) as advance:
            for kind, targeted in ((self.is_genuine, False), (~self.is_genuine, True)):
                rows = np.flatnonzero(kind)
                for batch in gen_batches(len(rows), _BATCH):
                    some = rows[batch]
                    model = PairModel(
                        self.embedder, self.references[some], self.thresholds[some], self.X.shape[1:], defenses=defenses
                    )
                    attack.set_params(model=model, targeted=targeted)
                    X_adv[some] = attack.generate(self.X[some], np.arange(len(some)))
                    advance(len(some))
        return X_adv

    def _note(self, name, scores):
        right = (scores >= self.thresholds) == self.is_genuine
        of_folds = np.array([right[self.folds == fold].mean() for fold in np.unique(self.folds)])
        error = float(of_folds.std(ddof=1) / np.sqrt(len(of_folds)))
        figures = pair_figures(scores, self.is_genuine, self.people, self.thresholds, seed=self.seed)
        mean = float(of_folds.mean())
        figures = {"fold_accuracy": (mean, max(mean - error, 0.0), min(mean + error, 1.0)), **figures}
        self.rows[name] = Bunch(scores=scores, right=right, figures=figures)

    def _compare(self):
        pairs = [(BEFORE, AFTER)]
        for name, _ in self.defenses:
            pairs += [
                (BEFORE, row_name(name, CLEAN)),
                (AFTER, row_name(name, TRANSFERRED)),
                (AFTER, row_name(name, ADAPTIVE)),
            ]
        for first, second in pairs:
            test = mcnemar_test(self.rows[first].right, self.rows[second].right)
            self.comparisons.append({"first": first, "second": second, "decision": "pair", **test})

    def records(self):
        """One a pair and row."""
        for name, row in self.rows.items():
            for i, (first, second) in enumerate(self.names):
                yield {
                    "first": str(first),
                    "second": str(second),
                    "one_person": bool(self.is_genuine[i]),
                    "fold": int(self.folds[i]),
                    "row": name,
                    "cosine": float(row.scores[i]),
                    "threshold": float(self.thresholds[i]),
                    "right": bool(row.right[i]),
                }

    def curves(self):
        """Scores of the pairs and whether they are of one person, by row, for the pictures."""
        return {name: (row.scores, self.is_genuine) for name, row in self.rows.items()}

    def about(self):
        """What ``results.json`` says of the run beside its figures."""
        folds = np.unique(self.folds, return_index=True)[1]
        return {
            "aim": self.aim,
            "pairs_of_one_person": int(np.count_nonzero(self.is_genuine)),
            "pairs_of_two_people": int(np.count_nonzero(~self.is_genuine)),
            "threshold_of_each_fold": self.thresholds[folds].tolist(),
            "threshold_from": "the pairs of the other folds, not attacked, at their largest accuracy",
        }

    def title(self):
        """What stands above the table."""
        n, folds = np.count_nonzero(self.is_genuine), len(np.unique(self.folds))
        return (
            f"{n} pairs of one person, {len(self.is_genuine) - n} of two (%); accuracy: mean of {folds} folds and its standard "
            "error; others: 95 % intervals over people"
        )

    def remarks(self):
        """Why the figures may mean little."""
        return ()

    def faces(self):
        """What `save_faces` shows: pairs of either kind, as far as there are."""
        some = np.sort(np.r_[np.flatnonzero(self.is_genuine)[:2], np.flatnonzero(~self.is_genuine)[:2]])
        columns = [BEFORE, AFTER, *(row_name(name, TRANSFERRED) for name, _ in self.defenses)]
        rows = [self.rows[name] for name in columns]
        captions = [([f"cosine {score:.3f}" for score in row.scores[some]], row.right[some]) for row in rows]
        names = ["one person" if same else "two people" for same in self.is_genuine[some]]
        return self.X[some], self.X_adv[some], names, self.defenses, captions
