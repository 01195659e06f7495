"""Attacks, defences and detectors by name, for the command line and for `Benchmark`."""

import difflib
import importlib
import inspect
import re

from sklearn.utils import Bunch

from smartbox._checks import as_number
from smartbox.base import BaseAttack, BaseDefense, BaseDetector
from smartbox.defenses._randomized_smoothing import RandomizedSmoothing
from smartbox.defenses._retrained import RetrainedClassifier

KINDS = {"attack": "attacks", "defense": "defenses", "detector": "detectors"}
CLASSIFIERS = RetrainedClassifier, RandomizedSmoothing  # mitigations that take the network's place
# Features of detectors are none.
_BASES = {"attack": BaseAttack, "defense": (BaseDefense, *CLASSIFIERS), "detector": BaseDetector}
# Classes under further names, each with a parameter that the name stands for.
_VARIANTS = {"attack": {"ead_en": ("ead", {"decision_rule": "en"}), "ead_l1": ("ead", {"decision_rule": "l1"})}}
_AT = "@"  # between an attack and its eps
_IN = ":"  # between a module and its class
# Parameters that are not to be chosen, and why.
OF_THE_RUN = {
    "model": "attacks meet the network, and the network behind each defence; detectors look into the network",
    "random_state": "each pass takes it from its seed; choose seeds (--seed)",
    "verbose": "the run decides it; use verbose of Benchmark (--quiet)",
}


def available(kind):
    """Exported classes of a kind (``attack``, ``defense``, ``detector``), by command-line name; see also `preset`."""
    package, base = __import__(f"smartbox.{KINDS[kind]}", fromlist=["*"]), _BASES[kind]
    classes = [getattr(package, name) for name in package.__all__]
    known = {command_name(cls): cls for cls in classes if inspect.isclass(cls) and issubclass(cls, base)}
    return known | {name: known[parent] for name, (parent, _) in _VARIANTS.get(kind, {}).items()}


def preset(kind, name):
    """Parameters that a command name stands for: none, but for variants such as ``ead_l1``, and ``pgd@2/255`` for its eps."""
    name, _, eps = name.partition(_AT)
    return _VARIANTS.get(kind, {}).get(name, (None, {}))[1] | ({"eps": eps} if eps else {})


def command_name(cls):
    """``GaussianBlur`` is called ``gaussian_blur``, ``FGSM`` ``fgsm``, ``PCADetector`` ``pca``."""
    name = cls.__name__.removesuffix("Detector")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def find(kind, name):
    """``(command name, class)``; case and underscores do not matter. Of an attack also with its eps, ``pgd@2/255``.

    A user's own is named by where Python finds it, ``mypackage.mymodule:MyAttack``.
    """
    bare, at, eps = name.partition(_AT) if kind == "attack" else (name, "", "")
    classes = {bare.strip(): _imported(kind, bare.strip())} if _IN in bare else available(kind)
    if _IN in bare:
        return _with_eps(kind, name, bare.strip(), at, eps, classes)
    plain = {known.replace("_", ""): known for known in classes}
    asked = bare.strip().lower().replace("_", "").replace("-", "")
    known = plain.get(asked) or plain.get(asked.removesuffix("detector"))
    if known is None:
        raise ValueError(f"there is no {kind} {name!r}{nearest(bare, classes, at + eps)} Known: {', '.join(classes)}.")
    return _with_eps(kind, name, known, at, eps, classes)


def _with_eps(kind, name, known, at, eps, classes):
    if not at:
        return known, classes[known]
    if "eps" not in settable(classes[known]):
        raise ValueError(f"{kind} {name!r}: {known} has no eps that the name could give: leave out {at + eps!r}.")
    as_number(eps.strip(), f"eps of {kind} {name!r}")
    return f"{known}{at}{eps.strip()}", classes[known]


def _imported(kind, path):
    """A user's own class."""
    module, _, name = path.partition(_IN)
    bases = _BASES[kind] if isinstance(_BASES[kind], tuple) else (_BASES[kind],)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"there is no {kind} {path!r} ({error}): expected package.module:Class, with the package's folder on Python's path "
            "(PYTHONPATH)."
        ) from error
    if not (inspect.isclass(found) and issubclass(found, bases)):
        raise ValueError(
            f"expected {kind} {path!r} as a class derived from smartbox.base.{bases[0].__name__}, got {found!r}."
        )
    return found


def make(kind, name, parameters, **more):
    """An instance by its name; see `build`. What it needs of the run (a model, an attack, an estimator) is None yet."""
    name, cls = find(kind, name)
    fixed = preset(kind, name)
    for parameter, value in fixed.items():
        if parameters.get(parameter, value) != value:
            raise ValueError(
                f"{kind} {name!r} stands for {parameter}={value!r}, got {parameters[parameter]!r}: choose "
                f"{command_name(cls)!r} to set it."
            )
    supplied = [
        name for name, parameter in inspect.signature(cls).parameters.items() if parameter.default is parameter.empty
    ]
    return build(cls, f"{kind} {name!r}", {**parameters, **fixed}, **{**dict.fromkeys(supplied), **more})


def settable(cls):
    """The parameters that are left to the user: not those of the run, nor those without a default, which it supplies."""
    return {
        name: parameter
        for name, parameter in inspect.signature(cls).parameters.items()
        if name not in OF_THE_RUN and parameter.default is not parameter.empty
    }


def build(cls, what, parameters, **more):
    """An instance, with ``parameters`` checked against those that its class has, and their values as far as can be."""
    known = settable(cls)
    for parameter in parameters:
        if parameter not in known:
            raise ValueError(
                f"{what} has no parameter {parameter!r}{nearest(parameter, known)} "
                f"It has: {', '.join(known) or 'none'}."
            )
    for parameter, value in parameters.items():
        default = known[parameter].default
        if isinstance(value, bool) and isinstance(default, (int, float)) and not isinstance(default, bool):
            raise ValueError(f"expected {parameter} of {what} as a number, as its default {default}, got {value}.")
    estimator = cls(**more, **parameters)
    estimator._validate_params()
    if isinstance(parameters.get("eps"), str):  # any text passes as a parameter, only fractions pass an attack
        as_number(parameters["eps"], f"eps of {what}")
    return estimator


def nearest(word, known, ending=""):
    """`` (did you mean 'x'?).`` or a full stop."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0] + ending!r}?)." if close else "."


def _parts(key):
    """Kind, name and parameter of a key, or what else there is between its dots.

    Those of an eps, ``pgd@0.01``, and of a module, ``mypackage.mymodule:MyAttack``, part nothing.
    """
    kind, _, rest = key.partition(".")
    if _AT in rest or _IN in rest:
        return [kind, *rest.rsplit(".", 1)]
    return key.split(".")


def check_parameters(parameters, chosen):
    """Split ``{"attack.fgsm.eps": 0.03}`` into ``{("attack", "fgsm"): {"eps": 0.03}}``; each must meet what was chosen.

    ``chosen`` maps each kind to the command names in use; ``network`` has no name, ``network.epochs``.
    """
    split = Bunch(network={})
    for kind, names in chosen.items():
        split.update({(kind, name): {} for name in names})
    for key, value in parameters.items():
        kind, *rest = _parts(key) if isinstance(key, str) else ("",)
        if (kind, len(rest)) != ("network", 1) and (kind not in chosen or len(rest) != 2):
            kinds = [f"{name}.NAME.PARAMETER" for name in chosen]
            raise ValueError(
                f"cannot set {key!r}{nearest(kind, [*chosen, 'network'])} Expected one of "
                f"{', '.join(kinds)} or network.PARAMETER."
            )
        if rest[-1] in OF_THE_RUN:
            raise ValueError(f"cannot set {key!r}: {OF_THE_RUN[rest[-1]]}.")
        if kind == "network":
            split["network"][rest[0]] = value
            continue
        name, _ = find(kind, rest[0])
        if name not in chosen[kind]:
            raise ValueError(
                f"cannot set {key!r}: the {kind} {name!r} is not part of this run, which has "
                f"{', '.join(chosen[kind]) or 'none'}."
            )
        split[kind, name][rest[1]] = value
    return split
