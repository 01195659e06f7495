"""One seed's pass: train, attack, mitigate, detect."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch, get_tags

from smartbox._compat import FrozenEstimator
from smartbox._model import as_face_model
from smartbox._progress import say
from smartbox.attacks import AutoAttack
from smartbox.benchmark._detection import detect
from smartbox.benchmark._guard import guard
from smartbox.benchmark._mitigation import BARE, mitigate
from smartbox.benchmark._results import empty_tables
from smartbox.datasets import make_detection_set
from smartbox.defenses._retrained import RetrainedClassifier
from smartbox.protocol import FaceProtocol


@dataclass
class Pass:
    """One seed; `run` fills ``tables`` and ``example``."""

    images: np.ndarray
    target: np.ndarray
    names: dict
    plan: Bunch
    seed: int
    verbose: int = 0
    tables: dict = field(default_factory=empty_tables)
    example: Bunch = None
    reports: dict = field(default_factory=dict)
    _attacked_training: dict = field(default_factory=dict)

    def run(self):
        """Do everything, and return the pass itself."""
        self.split()
        self.train()
        X_train, y_train = self.training.X, self.training.y
        pipelines = self._defend(X_train, y_train, (self.X_validation, self.y_validation))
        attacked = {name: self.attack(name, self.face, BARE) for name in self.plan.attack}
        mitigate(self, attacked, pipelines)
        if self.plan.detector:
            found = detect(self, attacked)
            if self.plan.guard:
                guard(self, attacked, pipelines, found)
        self._keep_example(attacked, pipelines)
        return self

    def split(self):
        """Part the faces; the same seed parts them alike in every command."""
        images, target = self.images, self.target
        protocol = FaceProtocol(random_state=self.seed)
        train, validation, test = protocol.split(target)
        self.X, self.y = np.asarray(images[test]), target[test]
        self.X_validation, self.y_validation = np.asarray(images[validation]), target[validation]
        self.claims = protocol.assign(self.y, classes=np.unique(target))
        y_train = target[train]
        self.training = Bunch(X=np.asarray(images[train]), y=y_train, targets=protocol.assign(y_train).targets)
        self.say(f"Seed {self.seed}: {len(train)} faces to train, {len(validation)} to validate, "
                  f"{len(test)} to test")  # fmt: skip

    def train(self):
        """Train the face network."""
        self.face = clone(self.plan.network).set_params(random_state=self.seed, verbose=self.verbose)
        self.face.fit(self.training.X, self.training.y, validation_data=(self.X_validation, self.y_validation))

    def _defend(self, X_train, y_train, validation):
        """The model that takes the network's place behind each mitigation, or instead of it where that is a classifier.

        Mitigations that learn from attacked faces do so from the run's: a classifier from its first attack, the others from
        all, a part of the faces each.
        """
        pipelines = {}
        for name, defense in self.plan.defense.items():
            defense = self.seeded(clone(defense))
            is_classifier, parameters = isinstance(defense, RetrainedClassifier), defense.get_params(deep=False)
            if "attack" in parameters:
                attacks = [
                    self._aim(attack, self.face) for attack in list(self.plan.attack)[: 1 if is_classifier else None]
                ]
                defense.set_params(attack=attacks[0] if is_classifier else attacks)
                self.say(f"{name} learns from {' + '.join(list(self.plan.attack)[: len(attacks)])}")
            if is_classifier:
                defense.set_params(estimator=self.face).fit(X_train, y_train, validation_data=validation)
                pipelines[name] = Pipeline([(name, FrozenEstimator(defense))])
                continue
            if "verbose" in parameters:
                defense.set_params(verbose=self.verbose)
            fitted = defense.fit(X_train, y_train)
            pipelines[name] = Pipeline([(name, FrozenEstimator(fitted)), ("face", FrozenEstimator(self.face))])
        return pipelines

    def _aim(self, name, model):
        """An attack on ``model``; one that learns does so on the training faces.

        Images made against the bare network meet mitigations and detectors: there an attack that could stop at the first
        success, just across the boundary, goes on to its largest loss. Else the strongest attacks would look the weakest.
        AutoAttack meets chance in the version that is made for it.
        """
        attack = self.seeded(clone(self.plan.attack[name])).set_params(model=model, verbose=self.verbose)
        if model is self.face and "early_stop" in attack.get_params(deep=False):
            attack.set_params(early_stop=False)
        if isinstance(attack, AutoAttack) and attack.version == "standard" and _has_chance(model):
            attack.set_params(version="rand")
        if get_tags(attack).requires_fit:
            attack.fit(self.training.X, self.training.targets if attack.targeted else self.training.y)
        return attack

    def attack(self, name, model, what):
        """Attack the test faces, and note the sizes; what the attack reports is kept by both names."""
        attack = self._aim(name, model)
        self.say(f"{name} against {what}")
        y = self.claims.targets if attack.targeted else self.y
        X_adv, report = attack.generate(self.X, y, return_report=True)
        self.add(
            "attacks",
            attack=name,
            against=what,
            success=report.success.mean(),
            success_8bit=report.success_8bit.mean(),
            **{f"median_{norm}": np.median(report[norm]) for norm in ("l1", "l2", "linf")},
            gradients_per_face=report.n_gradients.mean(),
            zero_gradients=report.n_zero_gradients.sum(),
        )
        self.reports[name, what] = report
        return X_adv

    def right(self, predicted):
        """Per test face: whether the decision is right; a claim is accepted if and only if it is the prediction."""
        return {
            "verification": (predicted == self.claims.claims) == self.claims.is_genuine,
            "identification": predicted == self.y,
        }

    def detection_training_set(self, attacks):
        """Each training face clean and attacked once, by one of the attacks each, so that both halves are equal."""
        rng = np.random.RandomState(self.seed)
        used = np.arange(len(self.training.X))
        if self.plan.detector_faces is not None:
            used = np.sort(rng.permutation(used)[: self.plan.detector_faces])
        X = self.training.X[used]
        X_adv = np.empty_like(X)
        share = rng.permutation(len(used)) % len(attacks)
        for i, name in enumerate(attacks):
            rows = np.flatnonzero(share == i)
            if rows.size:  # there may be more attacks than faces
                X_adv[rows] = self._attack_training(name, used[rows])
        return make_detection_set(*_perturbed(X, X_adv))[:2]

    def _attack_training(self, name, rows):
        """What an attack makes of some training faces; what it has made is kept for the next detector."""
        faces = self.training
        if name not in self._attacked_training:
            self._attacked_training[name] = Bunch(X_adv=np.empty_like(faces.X), done=np.zeros(len(faces.X), dtype=bool))
        made = self._attacked_training[name]
        left = rows[~made.done[rows]]
        if left.size:
            attack = self._aim(name, self.face)
            self.say(f"{name} against the network, on training faces for the detectors")
            made.X_adv[left] = attack.generate(faces.X[left], (faces.targets if attack.targeted else faces.y)[left])
            made.done[left] = True
        return made.X_adv[rows]

    def _keep_example(self, attacked, pipelines):
        """One face through everything: the best lit of those that the network knows, if it knows any."""
        light = np.median(self.X.reshape(len(self.X), -1), axis=1)
        i = int(np.argmax(light + self.right(self.face.predict(self.X))["identification"]))

        def seen(model, X):
            return self._name(model.predict(X[i : i + 1])[0])

        pairs = [(name, defense) for name in attacked for defense in pipelines]
        self.example = Bunch(
            face=self.X[i],
            name=self._name(self.y[i]),
            before=seen(self.face, self.X),
            attacked={name: X_adv[i] for name, X_adv in attacked.items()},
            after={name: seen(self.face, X_adv) for name, X_adv in attacked.items()},
            mitigated={(name, defense): _cleaned(pipelines[defense], attacked[name][i : i + 1])[0]
                       for name, defense in pairs},
            repaired={(name, defense): seen(pipelines[defense], attacked[name]) for name, defense in pairs},
        )  # fmt: skip

    def _name(self, label):
        return self.names.get(label, str(label))

    def add(self, table, **row):
        """Note a row of a table."""
        row = {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
        self.tables[table].append({"seed": self.seed, **row})

    def seeded(self, estimator):
        """The estimator itself, its chance bound to the pass."""
        return estimator.set_params(random_state=self.seed) if "random_state" in estimator.get_params() else estimator

    def say(self, text):
        say(text, enabled=self.verbose)


def _cleaned(pipeline, X):
    """What the network behind a mitigation sees; another classifier sees the images themselves."""
    return pipeline[:-1].transform(X) if len(pipeline) > 1 else X


def _has_chance(model):
    return getattr(as_face_model(model), "has_chance", False)


def _perturbed(X, X_adv):
    """The pairs in which the attack has changed anything: there is nothing to detect in the others."""
    changed = (X_adv != X).any(axis=(1, 2, 3))
    if not changed.any():
        raise ValueError(
            "the attack left every image as it is, so that there is nothing to detect: expected a larger eps or more steps."
        )
    return X[changed], X_adv[changed]
