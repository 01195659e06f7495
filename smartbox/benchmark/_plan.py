"""What a run is made of: every estimator, made and checked before any work is done."""

import inspect
import sys
from collections.abc import Iterable, Mapping
from numbers import Integral

from sklearn.base import clone
from sklearn.utils import Bunch

from smartbox._packing import is_network
from smartbox.benchmark import _registry as registry
from smartbox.benchmark._results import DETECTION, METRICS
from smartbox.benchmark._trainings import PROTOCOLS, teachers
from smartbox.face import FaceClassifier
from smartbox.networks import NETWORKS

# Known without the seconds that importing Keras takes; where it is loaded it is asked for other names.
_OPTIMIZERS = (
    "sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "adafactor", "lion", "ftrl",
)  # fmt: skip
_SMALLEST_SIDE = 24  # of an image for the paper's network


def make_plan(
    *, attacks, defenses, detectors, parameters, seeds, protocol="committed", detector_faces=None, guard=False,
    check_masking=False, adaptive=True,
):  # fmt: skip
    """Make every estimator of a run; the parameters are those of `Benchmark`.

    Returns
    -------
    plan : Bunch
        ``network``, a FaceClassifier; ``attack``, ``defense``, ``detector``, estimators by command-line name;
        ``seeds``, ``protocol``, ``detector_faces``, ``guard``, ``check_masking``, ``adaptive``.

    Raises
    ------
    ValueError
        If a name, a parameter or a seed is none, with the nearest known one; or a parameter's value does not suit.
    """
    chosen = {"attack": attacks, "defense": defenses, "detector": detectors}
    chosen = {kind: _check_names(kind, names) for kind, names in chosen.items()}
    if not chosen["attack"]:
        raise ValueError(f"expected at least one attack, got none. Known: {', '.join(registry.available('attack'))}.")
    seeds = _check_seeds(seeds)
    if not isinstance(parameters, (Mapping, type(None))):
        raise ValueError(f'expected parameters as a dict such as {{"attack.fgsm.eps": 0.03}}, got {parameters!r}.')
    network, split = make_network(parameters or {}, chosen)
    made = {
        kind: {name: registry.make(kind, name, split[kind, name]) for name in names} for kind, names in chosen.items()
    }
    for name, defense in made["defense"].items():  # does the attack suit one that learns from it?
        for attack in teachers(Bunch(**made), name)[:1]:
            clone(defense).set_params(attack=made["attack"][attack])._validate_params()
    if protocol not in PROTOCOLS:
        raise ValueError(f"there is no protocol {protocol!r}{registry.nearest(str(protocol), PROTOCOLS)} Known: "
                         f"{', '.join(PROTOCOLS)}.")  # fmt: skip
    if detector_faces is not None and (
        not isinstance(detector_faces, Integral) or detector_faces < len(made["attack"])
    ):
        raise ValueError(
            f"expected detector_faces as a number of training faces, at least one for each of the {len(made['attack'])} "
            f"attacks, or None for all, got {detector_faces!r}."
        )
    if guard and (protocol != "committed" or not made["detector"]):
        came = f"protocol {protocol!r}" if made["detector"] else "no detector"
        raise ValueError(
            f"guard needs detectors whose threshold is committed, got {came}: name a detector (--detectors pca), and leave the "
            "protocol at 'committed'."
        )
    if check_masking and not made["defense"]:
        raise ValueError("check_masking looks for mitigations that hide their gradients, got no mitigation: name one "
                         "(--defenses gaussian_blur).")  # fmt: skip
    if not adaptive and (guard or check_masking):
        which = "guard" if guard else "check_masking"
        raise ValueError(
            f"{which} looks at attacks that know of the mitigations, got adaptive=False (--no-adaptive): leave out one of "
            "the two."
        )
    return Bunch(network=network, seeds=seeds, protocol=protocol, detector_faces=detector_faces, guard=bool(guard),
                 check_masking=bool(check_masking), adaptive=bool(adaptive), **made)  # fmt: skip


def make_network(parameters, chosen):
    """The network, and the parameters of each estimator that is ``chosen``, by kind and name."""
    _check_keys(parameters, chosen)
    split = registry.check_parameters(parameters, chosen)
    network = registry.build(FaceClassifier, "the network", split["network"])
    _check_network(network)
    return network, split


def check_image_size(plan, image_shape):
    """Raise a ValueError if the paper's network is to be trained on images that are too small for it."""
    if plan.network.network == "paper" and min(image_shape[:2]) < _SMALLEST_SIDE:
        raise ValueError(
            f"the paper's network needs images of at least {_SMALLEST_SIDE} x {_SMALLEST_SIDE} pixels, got "
            f"{image_shape[0]} x {image_shape[1]}: choose a larger image shape (--image-shape 96x84)."
        )


def check_detector_layers(detectors, network, image_shape, n_classes):
    """Raise a ValueError if a detector names a layer that the network, trained or yet to be, does not have."""
    from smartbox.detectors._features import check_layers

    named = [one for one in detectors if any(getattr(one, key, None) is not None for key in ("layer", "layers"))]
    if named and not hasattr(network, "network_"):
        network = _untrained(network, image_shape, n_classes)
    for detector in named:
        check_layers(detector, network)


def _untrained(network, image_shape, n_classes):
    if is_network(network.network):
        return FaceClassifier.from_network(network.network)
    blueprint = clone(network)
    blueprint.image_shape_ = image_shape
    return FaceClassifier.from_network(blueprint._build(n_classes))


def check_metrics(metrics, detectors):
    """Raise a ValueError unless each is a metric, and one of them has something to measure."""
    known = f"Known: {', '.join(METRICS)}."
    if not metrics:
        raise ValueError(f"expected at least one metric, got none. {known}")
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"there is no metric {metric!r}{registry.nearest(metric, METRICS)} {known}")
    if not detectors and set(metrics) <= set(DETECTION):
        raise ValueError(
            f"there would be nothing to print: {', '.join(metrics)} needs a detector; name one with "
            "--detectors, or other --metrics."
        )


def _check_keys(parameters, chosen):
    """Of a key without its first part, name the whole one; the registry finds the other mistakes."""
    for key in parameters:
        name, _, parameter = key.rpartition(".") if isinstance(key, str) else ("", "", "")
        known = [f"{kind}.{one}" for kind, names in chosen.items() for one in names if one == name.lower()]
        if not name and parameter in inspect.signature(FaceClassifier).parameters:
            known = ["network"]
        if known:
            raise ValueError(f"cannot set {key!r} (did you mean {f'{known[0]}.{parameter}'!r}?).")


def _check_network(network):
    """Names of the network and of the optimiser, which the classifier itself would look up only when it trains."""
    if isinstance(network.network, str) and network.network not in NETWORKS:
        raise ValueError(
            f"there is no network {network.network!r}{registry.nearest(network.network, NETWORKS)} "
            f"Known: {', '.join(NETWORKS)}; in Python also a builder or a keras.Model."
        )
    optimizer = network.optimizer
    if not _is_optimizer(optimizer):
        near = registry.nearest(optimizer.lower(), _OPTIMIZERS) if isinstance(optimizer, str) else "."
        raise ValueError(
            f"there is no optimizer {optimizer!r}{near} Known: {', '.join(_OPTIMIZERS)}; in Python also a "
            "Keras optimizer."
        )


def _is_optimizer(optimizer):
    if isinstance(optimizer, str) and optimizer.lower() in _OPTIMIZERS:
        return True
    if "keras" not in sys.modules:  # then nobody can have made or registered one
        return isinstance(optimizer, Mapping)
    import keras

    try:
        return keras.optimizers.get(optimizer) is not None
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _check_names(kind, names):
    """Distinct command-line names."""
    is_list = isinstance(names, Iterable) and not isinstance(names, (str, bytes))
    names = list(names) if is_list else names
    if not is_list or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"expected {registry.KINDS[kind]} as a list of names, e.g. "
            f"{list(registry.available(kind))[:1]}, got {names!r}."
        )
    return list(dict.fromkeys(registry.find(kind, name)[0] for name in names))


def _check_seeds(seeds):
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        raise ValueError(f"expected seeds as a list of integers, e.g. (0, 1, 2), got {seeds!r}.")
    seeds = list(dict.fromkeys(seeds))
    if not seeds:
        raise ValueError("expected at least one seed, got none.")
    for seed in seeds:
        if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise ValueError(f"expected seeds as integers from 0 to 2**32 - 1, got {seed!r}.")
    return [int(seed) for seed in seeds]
