"""What a piece of a run is known by: a hash of all that its bits depend on, so that no stale one is ever taken for it."""

import hashlib
import json
import os
import platform
import sys
import uuid

import joblib
import numpy as np
from sklearn.base import BaseEstimator

from smartbox._packing import is_network, pack
from smartbox._records import _version
from smartbox.benchmark import _making as making
from smartbox.benchmark import _trainings
from smartbox.benchmark._code import code_of_class, code_of_module, code_of_text
from smartbox.benchmark._one_seed import CLEAN, UNDEFENDED
from smartbox.benchmark._registry import CLASSIFIERS
from smartbox.benchmark._trainings import lesson_rows, teachers, trainings_of
from smartbox.defenses import GuardedClassifier, NoiseTraining, RandomizedSmoothing
from smartbox.metrics._cross_attack import trainings

_VERSIONS = ("keras", "tensorflow", "numpy", "scikit-learn", "scipy")
# Of the run: a piece has them from its seed and from the pieces that it is made of, or they change no bit.
_LEFT_OUT = ("model", "estimator", "attack", "random_state", "verbose")


def key_of(one, piece):
    """The key of a piece of a pass; see `_making` for what pieces there are."""
    if piece not in one.keys:
        kind, *which = piece
        recipe, parents = _RECIPES[kind](one, *which)
        whole = {
            "kind": kind,
            "recipe": recipe,
            "parents": [key_of(one, parent) for parent in parents],
            "seed": one.seed,
            "data": one.data_key,
            "world": _world(),
        }
        one.keys[piece] = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    return one.keys[piece]


def parents_of(one, piece):
    """The pieces that a piece is made of."""
    kind, *which = piece
    return _RECIPES[kind](one, *which)[1]


def n_threads():
    """How many threads TensorFlow uses, or is going to: they decide how sums are split, and so the last bits of a training."""
    if "tensorflow" in sys.modules:
        chosen = sys.modules["tensorflow"].config.threading.get_intra_op_parallelism_threads()
        if chosen:
            return chosen
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _world():
    """Versions, the code that joins pieces, and what decides the last bits of a network's output."""
    return {
        "versions": {name: _version(name) for name in _VERSIONS},
        "code": [
            code_of_text(making),
            code_of_text(_trainings),
            code_of_text(trainings),
            code_of_module("smartbox.protocol"),
        ],
        "machine": platform.machine(),
        "threads": n_threads(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""),
    }


def described(estimator):
    """Class, code and parameters of an estimator."""
    parameters = estimator.get_params(deep=False)
    return {
        "class": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
        "code": code_of_class(type(estimator)),
        "parameters": {name: _fingerprint(value) for name, value in parameters.items() if name not in _LEFT_OUT},
    }


def _fingerprint(value):
    """JSON of a parameter; what cannot be told by its content is another each time."""
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(_fingerprint, value)]
    if isinstance(value, BaseEstimator):
        return described(value)
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return [type(value).__name__, repr(value)]
    try:
        if is_network(value):
            return joblib.hash(pack(value))
        if callable(value) and hasattr(value, "__code__"):
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            return [code_of_text(value), joblib.hash((value.__defaults__, cells))]
        return joblib.hash(value)
    except Exception:  # pickling what a user made raises anything
        return uuid.uuid4().hex


def _network(one):
    return described(one.plan.network), []


def _defense(one, name):
    made, learnt = one.plan.defense[name], teachers(one.plan, name)
    is_made_of_network = isinstance(made, CLASSIFIERS) or learnt
    recipe = [described(made), [described(one.plan.attack[attack]) for attack in learnt]]
    if isinstance(made, CLASSIFIERS):
        recipe.append(described(one.plan.network))
    if isinstance(made, RandomizedSmoothing):
        recipe.append(code_of_class(NoiseTraining))
    return recipe, [("network",)] if is_made_of_network else []


def _attacked(one, attack, kind, *names):
    parents = [("network",)]
    if kind == "defense":
        parents += _behind(names[0])
    elif kind in ("detector", "guard"):
        parents += [_first(one, names[0])] + (_behind(names[1]) if kind == "guard" else [])
    code = code_of_class(GuardedClassifier) if kind == "guard" else None
    return [kind, described(one.plan.attack[attack]), code], parents


def _behind(name):
    return [] if name in (UNDEFENDED, making.REJECTION) else [("defense", name)]


def _first(one, detector):
    return "detector", detector, trainings_of(one.plan)[0][0]


def _lesson(one, attack):
    return [described(one.plan.attack[attack]), joblib.hash(lesson_rows(one, attack))], [("network",)]


def _detector(one, name, label):
    attacks = {each: learnt for each, learnt, _ in trainings_of(one.plan)}[label]
    recipe = [described(one.plan.detector[name]), one.plan.detector_faces, one.plan.protocol == "paper"]
    recipe.append(code_of_module("smartbox.datasets._detection"))
    return recipe, [("network",), *(("lesson", attack) for attack in attacks)]


def _met(attack, *against):
    return [] if attack == CLEAN else [("attacked", attack, *against)]


def _recognised(one, defense, attack, *against):
    return [defense == UNDEFENDED, attack == CLEAN], [("network",), *_behind(defense), *_met(attack, *against)]


def _scored(one, name, label, attack, *against):
    return attack == CLEAN, [("detector", name, label), *_met(attack, *against)]


def _guarded(one, detector, then, attack, *against):
    recipe = [then == making.REJECTION, attack == CLEAN, code_of_class(GuardedClassifier)]
    return recipe, [("network",), _first(one, detector), *_behind(then), *_met(attack, *against)]


def _searched(one, defense, attack):
    recipe = [described(one.plan.attack[attack]), code_of_module("smartbox.benchmark._signs")]
    return recipe, [("network",), ("defense", defense)]


def _costs(one, detector):
    return code_of_module("smartbox.benchmark._cost"), [("network",), _first(one, detector)]


_RECIPES = {
    "network": _network, "defense": _defense, "attacked": _attacked, "lesson": _lesson, "detector": _detector,
    "recognised": _recognised, "scored": _scored, "guarded": _guarded, "searched": _searched, "costs": _costs,
}  # fmt: skip
