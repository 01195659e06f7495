"""A run of ``smartbox evaluate``: enrol, set the threshold, attack, mitigate, attack the mitigation, measure."""

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch, get_tags

from smartbox._compat import FrozenEstimator
from smartbox._drawing import short_name
from smartbox._model import as_face_model
from smartbox._progress import say
from smartbox.cli._evaluate_faces import draw_targets, names_of, split_people
from smartbox.cli._evaluate_rates import ends, identification_figures
from smartbox.metrics import cmc_curve, mcnemar_test

_LOW = 0.5  # identification before any attack
_FEW = 5  # people, of whom a threshold says little of others
BEFORE, AFTER = "before attack", "after attack"
CLEAN, TRANSFERRED, ADAPTIVE = "clean", "transferred", "adaptive"


def row_name(defense, what):
    """What a row of a table is called."""
    return f"{defense}: {what}"


class GalleryRun:
    """Identification and verification of probes against a gallery.

    Parameters
    ----------
    gallery, probes : Bunch
        Faces as a loader returns them; probes of people who are not in the gallery are strangers.
    embedder : FaceEmbedder
    attack : BaseAttack
        Its model is set here.
    defenses : list of (str, BaseDefense)
    impersonate : bool
        Whether each probe reaches for a target, strangers too, rather than away from itself.
    far : float or None
        False accept rate of the threshold; None for equal error rates.
    seed : int
    verbose : int, default=0
        Above 0 shows progress.

    Attributes
    ----------
    rows : dict of Bunch
        By name, after `run`: ``S``, cosines, ``figures`` and ``cmc``.
    comparisons : list of dict
        McNemar's tests of pairs of rows.
    """

    def __init__(self, gallery, probes, embedder, attack, defenses, *, impersonate, far, seed, verbose=0):
        self.gallery, self.probes, self.embedder = gallery, probes, embedder
        self.attack, self.defenses = attack, defenses
        self.impersonate, self.far, self.seed, self.verbose = impersonate, far, seed, verbose
        self.aim = "impersonation" if impersonate else "dodging"
        self.rows, self.comparisons = {}, []

    def run(self):
        """Do everything, and return the run itself."""
        self._enrol()
        X = self.X
        X_adv = self._attack(self.model, "the gallery")
        self.measure(BEFORE, self.model, X)
        self.measure(AFTER, self.model, X_adv)
        for name, defense in self.defenses:
            pipeline = Pipeline([("defense", FrozenEstimator(defense)), ("gallery", FrozenEstimator(self.model))])
            self.measure(row_name(name, CLEAN), pipeline, X)
            self.measure(row_name(name, TRANSFERRED), pipeline, X_adv)
            self.measure(row_name(name, ADAPTIVE), pipeline, self._attack(pipeline, name))
        self.X_adv = X_adv
        self._compare()
        return self

    def _enrol(self):
        from smartbox import FaceGallery

        labels = names_of(self.probes)
        self.model = FaceGallery(self.embedder).fit(self.gallery.images, names_of(self.gallery))
        self.identities = self.model.identities_
        held_out, measured = split_people(labels, self.identities, self.seed)
        self.held_out = np.unique(labels[held_out])
        self.model.calibrate(self.probes.images[held_out], labels[held_out], far=self.far)
        self.threshold = self.model.threshold_
        self.validation = Bunch(X=self.probes.images[held_out], y=labels[held_out])
        self.X, self.y = np.asarray(self.probes.images[measured]), labels[measured]
        for _, defense in self.defenses:
            defense.transform(self.X[:1])  # one from a file may not fit these images; before the long work
        self.files = self.probes.filenames[measured]
        self.known = np.isin(self.y, self.identities)
        self.targets = draw_targets(self.y, self.identities, self.seed)
        own, aimed = (each[:, None] == self.identities for each in (self.y, self.targets))
        claimed = own | aimed if self.impersonate else np.ones_like(own)
        self.measured = Bunch(y=self.y, identities=self.identities, claimed=claimed)
        say(
            f"{len(self.identities)} people enrolled; the threshold is {self.threshold:.4f}, from {len(held_out)} probes of "
            f"{len(self.held_out)} people; {len(measured)} probes of {len(np.unique(self.y))} others are measured, "
            f"{np.count_nonzero(~self.known)} of them strangers'",
            enabled=self.verbose,
        )

    def _attack(self, model, what):
        """The probes, attacked. To dodge is nothing for strangers, who stay as they are."""
        attack = clone(self.attack).set_params(model=model, random_state=self.seed, verbose=self.verbose)
        if self.impersonate:
            attack.set_params(targeted=True)
        if get_tags(attack).requires_fit:
            X, y = self.validation.X, self.validation.y
            known = np.isin(y, self.identities)
            aims = draw_targets(y, self.identities, self.seed) if self.impersonate else y
            attack.fit(X[known], aims[known])
        say(f"{type(attack).__name__} against {what}", enabled=self.verbose)
        rows = np.arange(len(self.X)) if self.impersonate else np.flatnonzero(self.known)
        X_adv = self.X.copy()
        X_adv[rows] = attack.generate(self.X[rows], (self.targets if self.impersonate else self.y)[rows])
        return X_adv

    def measure(self, name, model, X):
        """Score images, and note their figures as a row."""
        S = as_face_model(model).logits(X) / np.float32(self.model.scale)
        figures = identification_figures(S, self.measured, self.threshold, seed=self.seed)
        known = self.known
        if self.impersonate:
            taken = self.identities[S.argmax(axis=1)] == self.targets
            figures["impersonated"] = (float(taken.mean()), *self._interval(taken))
        self.rows[name] = Bunch(S=S, figures=figures, cmc=cmc_curve(self.y[known], S[known], classes=self.identities))

    def _interval(self, flags):
        from smartbox.metrics import bootstrap_by_identity

        interval = bootstrap_by_identity(flags.astype(float), self.y, random_state=self.seed)
        return ends(flags.mean(), interval, len(np.unique(self.y)))

    def decisions(self, name):
        """Of each probe of somebody enrolled: whether it is identified, and its true claim accepted."""
        S, y = self.rows[name].S[self.known], self.y[self.known]
        own = S[np.arange(len(S)), np.searchsorted(self.identities, y)]
        return {
            "identification": self.identities[S.argmax(axis=1)] == y,
            "true claim": own >= np.float32(self.threshold),
        }

    def _compare(self):
        pairs = [(BEFORE, AFTER)]
        for name, _ in self.defenses:
            pairs += [
                (BEFORE, row_name(name, CLEAN)),
                (AFTER, row_name(name, TRANSFERRED)),
                (AFTER, row_name(name, ADAPTIVE)),
            ]
        for first, second in pairs:
            one, other = self.decisions(first), self.decisions(second)
            for decision in one:
                test = mcnemar_test(one[decision], other[decision])
                self.comparisons.append({"first": first, "second": second, "decision": decision, **test})

    def records(self):
        """One a probe and row: whom it was taken for, and at what cosine."""
        columns = np.searchsorted(self.identities, np.where(self.known, self.y, self.identities[0]))
        aims = np.searchsorted(self.identities, self.targets)
        for name, row in self.rows.items():
            best = row.S.argmax(axis=1)
            for i, (file, who) in enumerate(zip(self.files, self.y, strict=True)):
                yield {
                    "file": str(file),
                    "identity": str(who),
                    "enrolled": bool(self.known[i]),
                    "target": str(self.targets[i]) if self.impersonate else "",
                    "row": name,
                    "taken_for": str(self.identities[best[i]]),
                    "cosine": float(row.S[i, best[i]]),
                    "cosine_to_own": float(row.S[i, columns[i]]) if self.known[i] else "",
                    "cosine_to_target": float(row.S[i, aims[i]]) if self.impersonate else "",
                    "above_threshold": bool(row.S[i, best[i]] >= np.float32(self.threshold)),
                }

    def curves(self):
        """Scores of the claims and whether they are true, by row, for the pictures."""
        claimed, is_genuine = self.measured.claimed, self.y[:, None] == self.identities
        return {name: (row.S[claimed], is_genuine[claimed]) for name, row in self.rows.items()}

    def about(self):
        """What ``results.json`` says of the run beside its figures."""
        return {
            "aim": self.aim,
            "people_enrolled": len(self.identities),
            "images_enrolled": len(self.gallery.images),
            "threshold": self.threshold,
            "threshold_from": {
                "rule": "equal error rates" if self.far is None else f"false accept rate of at most {self.far:g}",
                "people": self.held_out.tolist(),
                "probes": len(self.validation.y),
            },
            "probes": len(self.y),
            "people_among_probes": len(np.unique(self.y)),
            "probes_of_strangers": int(np.count_nonzero(~self.known)),
            "genuine_claims": int(np.count_nonzero(self.measured.claimed & (self.y[:, None] == self.identities))),
            "impostor_claims": int(np.count_nonzero(self.measured.claimed & (self.y[:, None] != self.identities))),
        }

    def title(self):
        """What stands above the table."""
        n_strangers = np.count_nonzero(~self.known)
        strangers = f", {n_strangers} of them strangers'" if n_strangers else ""
        rule = "equal error rates" if self.far is None else f"FAR {100 * self.far:g} %"
        return (
            f"{len(self.y)} probes{strangers}, {len(self.identities)} people enrolled (%, 95 % intervals over people); threshold "
            f"{self.threshold:.4f}, at {rule} of {_people(len(self.held_out))}"
        )

    def remarks(self):
        """Why the figures may mean little."""
        enrolled = {image.tobytes() for image in np.asarray(self.gallery.images)}
        n_known = sum(image.tobytes() in enrolled for X in (self.X, self.validation.X) for image in np.asarray(X))
        if n_known:
            yield (
                f"{n_known} of the {len(self.X) + len(self.validation.X)} probes are images that are enrolled, whose cosine is 1 "
                "whatever the network: the figures flatter; leave them out of the probes or of the gallery."
            )
        if len(self.held_out) < _FEW:
            yield (
                f"the threshold was set by {_people(len(self.held_out))}, who may be unlike all else: expect false accepts "
                "far from the rate that it is meant for; add probes of more people."
            )
        right = self.rows[BEFORE].figures["rank_1"][0]
        if right < _LOW:
            yield (
                f"without any attack {100 * right:.0f} % of the probes are identified, so that other figures say little: does "
                "the network know faces, and are these cropped as it expects?"
            )

    def faces(self):
        """What `save_faces` shows: of different people enrolled, the best lit that were fooled as far as there are."""
        before, after = (np.flatnonzero(self.known)[self.decisions(name)["identification"]] for name in (BEFORE, AFTER))
        fooled = np.isin(np.arange(len(self.y)), np.setdiff1d(before, after))
        light = np.median(self.X.reshape(len(self.X), -1), axis=1)
        order = np.lexsort((-light, ~fooled, ~self.known))[: np.count_nonzero(self.known)]
        some = order[np.sort(np.unique(self.y[order], return_index=True)[1])]
        X, X_adv, columns = self.X[some], self.X_adv[some], [BEFORE, AFTER]
        columns += [row_name(name, TRANSFERRED) for name, _ in self.defenses]
        captions = []
        for name in columns:
            S = self.rows[name].S[some]
            best = S.argmax(axis=1)
            texts = [
                f"{short_name(self.identities[k])} {cosine:.3f}" for k, cosine in zip(best, S.max(axis=1), strict=True)
            ]
            captions.append((texts, self.identities[best] == self.y[some]))
        return X, X_adv, self.y[some], self.defenses, captions


def _people(count):
    return f"{count} other {'person' if count == 1 else 'people'}"
