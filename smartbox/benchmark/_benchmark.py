"""Train, attack, mitigate, detect: one pass over a face database for each seed."""

import time
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from smartbox._compat import FrozenEstimator
from smartbox.benchmark import _registry as registry
from smartbox.benchmark._results import Results, provenance
from smartbox.datasets import make_detection_set
from smartbox.face import FaceClassifier
from smartbox.metrics import detection_report, verification_accuracy
from smartbox.protocol import FaceProtocol


class Benchmark:
    """The SmartBox paper's experiment on any faces, with attacks that know the defences beside those that do not.

    Parameters
    ----------
    faces : Bunch
        With ``images`` ``(n, height, width, channels)`` in [0, 1] and ``target`` ``(n,)``, as every loader returns.
    attacks : sequence of str, default=("fgsm", "pgd")
        Names as ``smartbox list`` shows them.
    defenses : sequence of str, default=("gaussian_blur",)
        Input mitigations.
    detectors : sequence of str, default=("pca",)
        Each is trained once, on all attacks together, and then meets each of them.
    parameters : dict, optional
        ``{"attack.fgsm.eps": 0.03, "network.epochs": 30}``: whatever is not to be the default.
    seeds : sequence of int, default=(0,)
        One pass for each: split, targets, claims, training and attacks.
    verbose : int, default=0
        Above 0 shows progress.

    Examples
    --------
    >>> from smartbox.benchmark import Benchmark
    >>> from smartbox.datasets import make_faces
    >>> faces = make_faces(n_identities=4, n_images=12, image_shape=(32, 28))
    >>> results = Benchmark(faces, attacks=["fgsm"], parameters={"network.epochs": 2}).run()
    >>> sorted(results.tables)
    ['attacks', 'detection', 'mitigation']
    """

    def __init__(
        self, faces, *, attacks=("fgsm", "pgd"), defenses=("gaussian_blur",), detectors=("pca",), parameters=None, seeds=(0,),
        verbose=0,
    ):  # fmt: skip
        self.faces = faces
        self.attacks = attacks
        self.defenses = defenses
        self.detectors = detectors
        self.parameters = parameters
        self.seeds = seeds
        self.verbose = verbose

    def run(self):
        """Run all seeds.

        Returns
        -------
        results : Results
            ``tables``: lists of rows by name; ``provenance``; ``examples``: images for the picture.

        Raises
        ------
        ValueError
            If a name or a parameter is unknown, with the nearest one that is known, or the faces are too few.
        """
        plan = self._plan()
        results = Results(provenance=provenance(self.faces, plan, self.seeds))
        for seed in self.seeds:
            _Pass(self.faces, plan, seed, self.verbose, results).run()
        results.provenance["seconds"] = round(time.monotonic() - results.started, 1)
        return results

    def _plan(self):
        """Every estimator of the run, made before any work is done, so that mistakes show at once."""
        chosen = {
            kind: list(dict.fromkeys(registry.find(kind, name)[0] for name in names))
            for kind, names in (("attack", self.attacks), ("defense", self.defenses), ("detector", self.detectors))
        }
        if not chosen["attack"]:
            raise ValueError(f"expected at least one attack, got none. Known: {', '.join(registry.available('attack'))}.")
        if not len(self.seeds):
            raise ValueError("expected at least one seed, got none.")
        parameters = registry.check_parameters(self.parameters or {}, chosen)
        known = FaceClassifier().get_params(deep=False)
        for name in parameters["network"]:
            if name not in known:
                raise ValueError(f"the network has no parameter {name!r}{registry.nearest(name, known)} It has: {', '.join(known)}.")
        network = FaceClassifier(**parameters["network"])
        network._validate_params()
        made = {
            kind: {name: registry.make(kind, name, parameters[kind, name], **({"model": None} if kind == "attack" else {}))
                   for name in names}
            for kind, names in chosen.items()
        }
        return Bunch(network=network, **made)


@dataclass
class _Pass:
    """One seed."""

    faces: Bunch
    plan: Bunch
    seed: int
    verbose: int
    results: Results

    def run(self):
        X, y = self.faces.images, self.faces.target
        protocol = FaceProtocol(random_state=self.seed)
        train, validation, test = protocol.split(y)
        self.X, self.y = np.asarray(X[test]), y[test]
        self.claims = protocol.assign(self.y, classes=np.unique(y))
        X_train, y_train = np.asarray(X[train]), y[train]
        self._say(f"Seed {self.seed}: {len(train)} faces to train, {len(validation)} to validate, {len(test)} to test")
        self.face = clone(self.plan.network).set_params(random_state=self.seed, verbose=self.verbose)
        self.face.fit(X_train, y_train, validation_data=(np.asarray(X[validation]), y[validation]))
        pipelines = self._defend(X_train, y_train)
        attacked = {name: self._attack(name, self.face, "the network") for name in self.plan.attack}
        for name, X_adv in attacked.items():
            for defense, pipeline in pipelines.items():
                self._mitigate(name, X_adv, defense, pipeline)
        self._detect(attacked, X_train, y_train)
        self._keep_example(attacked, pipelines)

    def _defend(self, X_train, y_train):
        pipelines = {}
        for name, defense in self.plan.defense.items():
            fitted = _seeded(clone(defense), self.seed).fit(X_train, y_train)
            pipelines[name] = Pipeline([(name, FrozenEstimator(fitted)), ("face", FrozenEstimator(self.face))])
        return pipelines

    def _aim(self, name, model):
        return _seeded(clone(self.plan.attack[name]), self.seed).set_params(model=model, verbose=self.verbose)

    def _attack(self, name, model, what):
        """Attack the test faces, and note the sizes."""
        attack = self._aim(name, model)
        self._say(f"{name} against {what}")
        X_adv, report = attack.generate(self.X, self.claims.targets if attack.targeted else self.y, return_report=True)
        self.results.add(
            "attacks",
            seed=self.seed,
            attack=name,
            against=what,
            success=report.success.mean(),
            success_8bit=report.success_8bit.mean(),
            **{f"median_{norm}": float(np.median(report[norm])) for norm in ("l1", "l2", "linf")},
            gradients_per_face=report.n_gradients.mean(),
            zero_gradients=int(report.n_zero_gradients.sum()),
        )
        return X_adv

    def _right(self, model, X):
        """Per face: whether the decision is right, for verification and identification."""
        predicted = model.predict(X)
        return {
            "verification": (predicted == self.claims.claims) == self.claims.is_genuine,
            "identification": predicted == self.y,
        }

    def _mitigate(self, name, X_adv, defense, pipeline):
        X_adaptive = self._attack(name, pipeline, defense)
        right = {
            "before_attack": self._right(self.face, self.X),
            "after_attack": self._right(self.face, X_adv),
            "clean_mitigated": self._right(pipeline, self.X),
            "transferred": self._right(pipeline, X_adv),
            "adaptive": self._right(pipeline, X_adaptive),
        }
        assert np.isclose(
            right["after_attack"]["verification"].mean(),
            verification_accuracy(self.face.predict(X_adv), self.claims.claims, self.claims.is_genuine),
        )
        for metric in ("verification", "identification"):
            row = {column: float(decisions[metric].mean()) for column, decisions in right.items()}
            worst = right["transferred"][metric] & right["adaptive"][metric]
            self.results.add("mitigation", seed=self.seed, attack=name, defense=defense, metric=metric, n=len(self.y), **row,
                             worst=float(worst.mean()))

    def _detect(self, attacked, X_train, y_train):
        if not self.plan.detector:
            return
        X_fit, y_fit = self._detection_training_set(X_train, y_train)
        for name, detector in self.plan.detector.items():
            self._say(f"{name} learns to detect {' + '.join(attacked)}")
            detector = _seeded(clone(detector), self.seed)
            detector.fit(X_fit, y_fit)
            for attack, X_adv in attacked.items():
                X, y, _ = make_detection_set(self.X, X_adv)
                report = detection_report(y, detector.decision_function(X), threshold=detector.threshold_)
                self.results.add("detection", seed=self.seed, attack=attack, detector=name, trained_on=" + ".join(attacked), **report)

    def _detection_training_set(self, X_train, y_train):
        """Each training face clean and attacked once; the attacks share the faces out, so that both halves are equal."""
        X_adv = np.empty_like(X_train)
        share = np.random.RandomState(self.seed).permutation(len(X_train)) % len(self.plan.attack)
        targets = FaceProtocol(random_state=self.seed).assign(y_train).targets
        for i, name in enumerate(self.plan.attack):
            rows = np.flatnonzero(share == i)
            attack = self._aim(name, self.face)
            self._say(f"{name} against the network, on training faces for the detectors")
            X_adv[rows] = attack.generate(X_train[rows], (targets if attack.targeted else y_train)[rows])
        X, y, _ = make_detection_set(X_train, X_adv)
        return X, y

    def _keep_example(self, attacked, pipelines):
        if self.results.examples is None:
            well_lit = int(np.argmax(np.median(self.X.reshape(len(self.X), -1), axis=1)))
            self.results.examples = Bunch(
                face=self.X[well_lit],
                name=self.y[well_lit],
                before=self.face.predict(self.X[well_lit][None])[0],
                attacked={name: X_adv[well_lit] for name, X_adv in attacked.items()},
                after={name: self.face.predict(X_adv[well_lit][None])[0] for name, X_adv in attacked.items()},
                mitigated={(name, defense): pipeline[:-1].transform(X_adv[well_lit][None])[0]
                           for name, X_adv in attacked.items() for defense, pipeline in pipelines.items()},
                repaired={(name, defense): pipeline.predict(X_adv[well_lit][None])[0]
                          for name, X_adv in attacked.items() for defense, pipeline in pipelines.items()},
            )  # fmt: skip

    def _say(self, text):
        if self.verbose:
            from rich.console import Console

            Console(stderr=True, highlight=False).print(text)


def _seeded(estimator, seed):
    return estimator.set_params(random_state=seed) if "random_state" in estimator.get_params() else estimator
