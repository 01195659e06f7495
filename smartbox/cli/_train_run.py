"""A run of ``smartbox train``: a network, a detector or a defence, and how good it is on faces that it has not seen."""

import inspect
import sys
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch
from sklearn.utils.validation import has_fit_parameter

from smartbox._compat import FrozenEstimator
from smartbox._records import circumstances, data_record, file_sha256, image_keys, jsonable
from smartbox.benchmark import _making as making
from smartbox.benchmark._one_seed import NETWORK, UNDEFENDED
from smartbox.benchmark._pass import Pass
from smartbox.benchmark._plan import check_detector_layers
from smartbox.datasets import make_detection_set
from smartbox.defenses import RandomizedSmoothing
from smartbox.metrics import detection_report

_OF_THE_RUN = ("model", "attack", "estimator", "random_state", "verbose", "batch_size")
_FIGURES = ("recall", "fpr", "roc_auc", "n_attacked", "n_clean")


class TrainRun(Pass):
    """Train on one part of the faces, calibrate on the second, measure on the third.

    Parameters
    ----------
    faces : Bunch
        With ``target`` as the labels of the network.
    plan : Bunch
        ``network`` and, by kind and name, ``attack``, ``detector`` and ``defense``; see `make_train_plan`.
    seed : int
    model : FaceClassifier, optional
        Instead of a network that is trained on these faces.
    fpr : float, default=0.05
        Share of the clean validation faces that a detector may flag.
    verbose : int, default=0
        Above 0 shows progress.

    Attributes
    ----------
    rows : list of dict
        What was measured on the test faces.
    learnt_from : list of ndarray
        The images that had a part in it, clean and attacked.
    is_silent : bool
        Whether the validation faces were too few for a detector's threshold, so that it flags nothing.
    """

    def __init__(self, faces, plan, seed, *, model=None, fpr=0.05, verbose=0):
        super().__init__(faces.images, faces.target, {}, plan, seed, verbose)
        self.faces, self.given, self.fpr, self.face = faces, model, fpr, None
        self.rows, self.learnt_from, self.is_silent = [], [], False

    def run(self):
        """Train, measure, and return what is to be saved."""
        self.split()
        self.learnt_from += [self.training.X, self.X_validation]
        (kind, name, blueprint) = self.plan.subject
        if kind == "detector":
            network = self.plan.network if self.given is None else self.given
            check_detector_layers([blueprint], network, self.X.shape[1:], len(np.unique(self.target)))
        if "estimator" not in _parameters(blueprint):  # which has a network of its own, made from scratch
            self._find_network()
        return {"network": self._network, "detector": self._detector, "defense": self._defense}[kind](name, blueprint)

    def model(self, defense=UNDEFENDED):
        """The network; None beside a defence that has one of its own."""
        return self.face

    def _find_network(self):
        if self.given is not None:
            self.pieces["network",] = self.given
        self.face = self.get("network")

    def _network(self, name, blueprint):
        self._note_accuracy("clean faces", self.face, self.X)
        for attack in self.plan.attack:
            self._note_accuracy(f"after {attack}", self.face, self._attacked(attack))
        return self.face

    def _detector(self, name, blueprint):
        attacks = tuple(self.plan.attack)
        X, y = making.detection_training_set(self, attacks)
        self.learnt_from.append(X)
        detector = self.seeded(clone(blueprint))
        if "model" in _parameters(detector):
            detector.set_params(model=self.face)
        self.say(f"{name} learns to detect {' + '.join(attacks)}")
        self.fpr = max(self.fpr, 1 / (1 + len(self.X_validation)))  # of a few faces no smaller share can be flagged
        detector.fit(X, y).calibrate(self.X_validation, fpr=self.fpr)
        self.is_silent = not np.isfinite(detector.threshold_)
        for attack in attacks:
            X_adv = self._attacked(attack)
            changed = (X_adv != self.X).any(axis=(1, 2, 3))
            if changed.any():
                X, y, _ = make_detection_set(self.X[changed], X_adv[changed])
                report = detection_report(y, detector.decision_function(X), threshold=detector.threshold_)
                self.rows.append({"attack": attack, **{figure: report[figure] for figure in _FIGURES}})
        return detector

    def _defense(self, name, blueprint):
        takes, defense = _parameters(blueprint), self.seeded(clone(blueprint))
        if "estimator" in takes:
            network = clone(self.plan.network).set_params(random_state=self.seed)
            defense.set_params(estimator=network if self.given is None else self.given)
        if "model" in takes:
            defense.set_params(model=self.face)
        if "attack" in takes:
            attack = next(iter(self.plan.attack))
            # One with a network of its own aims the attack at that.
            supplied = (
                self.seeded(clone(self.plan.attack[attack])) if "estimator" in takes else making.aimed(self, attack, self.face)
            )
            defense.set_params(attack=supplied)
        if "verbose" in takes:
            defense.set_params(verbose=self.verbose)
        self.say(f"{name} learns")
        watched = (
            {"validation_data": (self.X_validation, self.y_validation)}
            if has_fit_parameter(defense, "validation_data")
            else {}
        )
        defense.fit(self.training.X, self.training.y, **watched)
        defended = defense
        if not hasattr(defense, "predict"):
            defended = Pipeline([(name, FrozenEstimator(defense)), ("face", FrozenEstimator(self.face))])
            self._note_accuracy("clean faces, without it", self.face, self.X)
        self._note_accuracy("clean faces, with it", defended, self.X)
        for attack in self.plan.attack:
            if defended is not defense:
                X_adv = self._attacked(attack)
                self._note_accuracy(f"after {attack}, without it", self.face, X_adv)
                self._note_accuracy(f"after {attack}, with it", defended, X_adv)
            self.say(f"{attack} against {name}")
            aware = making.aimed(self, attack, defended)
            X_aware = aware.generate(self.X, self._labels_of(aware))
            self._note_accuracy(f"after {attack} that knows of it", defended, X_aware)
        return defense

    def _attacked(self, attack):
        """The test faces as an attack leaves them that knows the network."""
        return self.get("attacked", attack, NETWORK)["X"]

    def _labels_of(self, attack):
        return self.claims.targets if attack.targeted else self.y

    def _note_accuracy(self, what, model, X):
        self.rows.append({"faces": what, "accuracy": float(np.mean(model.predict(X) == self.y)), "n": len(X)})

    def about(self, estimator, model_path=None):
        """What the file says of it."""
        kind, name, _ = self.plan.subject
        estimators = {f"attack.{each}": attack for each, attack in self.plan.attack.items()}
        estimators |= {"network": self.plan.network} if self.given is None else {}
        estimators |= {f"{kind}.{name}": estimator} if kind != "network" else {}
        return jsonable(
            {
                "kind": kind,
                "name": name,
                "seed": self.seed,
                "fpr": self.fpr if kind == "detector" else None,
                "parameters": {key: settings_of(each) for key, each in estimators.items()},
                "model": None if model_path is None else {"file": model_path.name, "sha256": file_sha256(model_path)},
                "data": data_record(self.faces),
                "figures": self.rows,
                "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
                **circumstances(),
                "learnt_from": np.unique(np.concatenate([image_keys(X) for X in self.learnt_from])).tolist(),
            }
        )


def make_train_plan(detector, defense, attacks, parameters, detector_faces=None):
    """Every estimator of a run, made and checked before any work is done.

    Returns
    -------
    plan : Bunch
        ``network``; ``attack`` by name; ``subject``, the kind, the name and the unfitted estimator to train.
    """
    from sklearn.utils import get_tags

    from smartbox.benchmark import _registry as registry
    from smartbox.benchmark._plan import make_network

    chosen = {"attack": attacks, "detector": [detector] if detector else [], "defense": [defense] if defense else []}
    chosen = {
        kind: list(dict.fromkeys(registry.find(kind, name)[0] for name in names)) for kind, names in chosen.items()
    }
    network, split = make_network(parameters, chosen)
    attack = {name: registry.make("attack", name, split["attack", name]) for name in chosen["attack"]}
    plan = Bunch(network=network, attack=attack, detector={}, defense={}, detector_faces=detector_faces, protocol="committed")
    if detector:
        (name,) = chosen["detector"]
        return Bunch(**plan, subject=("detector", name, registry.make("detector", name, split["detector", name])))
    if not defense:
        return Bunch(**plan, subject=("network", "network", network))
    (name,) = chosen["defense"]
    cls = registry.find("defense", name)[1]
    if issubclass(cls, RandomizedSmoothing):
        raise ValueError(
            f"{name} trains nothing: train the network that it is to stand on with --defense noise_training; 'smartbox bench' "
            "does both."
        )
    supplied = {key: None for key in ("model", "attack", "estimator") if key in inspect.signature(cls).parameters}
    for key in split["defense", name]:
        if key in supplied:
            raise ValueError(
                f"cannot set 'defense.{name}.{key}': the run supplies it; choose it by --attack or --model."
            )
    supplied |= {"attack": next(iter(attack.values()))} if "attack" in supplied and attack else {}
    supplied |= {"estimator": network} if "estimator" in supplied else {}
    if "attack" in supplied and len(attack) != 1:
        raise ValueError(f"{name} learns from one attack, got {len(attack)}: name it by --attack NAME.")
    made = registry.build(cls, f"defense {name!r}", split["defense", name], **supplied)
    if not get_tags(made).requires_fit and not {"attack", "estimator"} & supplied.keys():
        raise ValueError(f"{name} has nothing to learn: smartbox mitigate --defense {name} takes it as it is.")
    return Bunch(**plan, subject=("defense", name, made))


def _parameters(estimator):
    return estimator.get_params(deep=False)


def settings_of(estimator):
    """The parameters of an estimator that a user chooses."""
    return {key: value for key, value in _parameters(estimator).items() if key not in _OF_THE_RUN}
