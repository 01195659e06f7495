"""Fitted estimators as JSON, arrays and networks, and back. What is shared stays shared; no code goes either way."""

import json
from itertools import accumulate

import numpy as np
from sklearn.base import BaseEstimator

from smartbox._packing import PackedNetwork, find_code, is_network, pack, unpack
from smartbox._trusted import check_state, class_name, find_class

# Of the session, not of what was learnt: the report of the last attack, an optimiser that only goes on training.
_LEFT_OUT = ("report_", "_optimizer")
# Of a classifier that is fitted, what trained it; of one that is not, what no file can hold is there as a text.
TRAINING_ONLY = ("network", "optimizer", "random_state", "verbose")
_SCALARS = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
)  # fmt: skip
_N_WORDS = 624  # of the state of NumPy's RandomState, which trusts the position among them


class Flattener:
    """Takes estimators apart.

    Attributes
    ----------
    objects : list of [str, dict]
        Class and state of each estimator.
    networks : list of [str, int]
        Configuration and number of weights of each network.
    arrays, weights : list of ndarray
    """

    def __init__(self):
        self.objects, self.networks, self.arrays, self.weights = [], [], [], []
        self._seen = {}  # what each thing became, by its id; and the thing itself, lest another be given that id

    def flatten(self, value, where):
        """``value`` as JSON; ``where`` is what an error calls it."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) is list:
            return [self.flatten(each, f"{where}[{i}]") for i, each in enumerate(value)]
        if type(value) is tuple:
            return {"tuple": self.flatten(list(value), where)}
        if type(value) is dict:
            return {"dict": [self.flatten([key, each], f"{where}[{key!r}]") for key, each in value.items()]}
        if isinstance(value, np.str_):
            return str(value)
        if isinstance(value, np.generic) and value.dtype.name in _SCALARS:
            return {"scalar": [value.dtype.name, value.item()]}
        if isinstance(value, np.ufunc) and getattr(np, value.__name__, None) is value:
            return {"ufunc": value.__name__}
        if isinstance(value, slice):
            return {"slice": self.flatten([value.start, value.stop, value.step], where)}
        if isinstance(value, np.random.RandomState):
            return {"random_state": self.flatten(value.get_state(legacy=False), where)}
        if id(value) not in self._seen:
            self._add(value, where)
        return self._seen[id(value)][0]

    def _add(self, value, where):
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiubU":
            # A view keeps the order of its axes in memory, by which products round.
            self._note(value, "array", self.arrays, value if value.flags.forc else np.array(value, order="K"))
        elif is_network(value) or isinstance(value, PackedNetwork):
            packed = (value.config, value.weights) if isinstance(value, PackedNetwork) else pack(value)
            self._add_network(value, *packed, where)
        elif class_name(type(value)):
            place = self._note(value, "object", self.objects, None)  # before its state, which may refer to it
            self.objects[place] = [class_name(type(value)), self._state(value, where)]
        else:
            kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {_full_name(type(value))}"
            raise ValueError(
                f"cannot save {where}: it is {kind}, and files hold numbers, text, networks of Keras' own layers and "
                "estimators of SmartBox only, since smartbox.load refuses what could run code. For your own use, "
                "joblib.dump and joblib.load keep it."
            )

    def _note(self, value, kind, among, stored):
        among.append(stored)
        self._seen[id(value)] = {kind: len(among) - 1}, value
        return len(among) - 1

    def _add_network(self, network, config, weights, where):
        name = find_code(json.loads(config))
        if name is not None:
            raise ValueError(
                f"cannot save {where}: its network holds {name}, not one of Keras' own layers, and smartbox.load "
                "refuses files that could run code. Use model.save('name.keras') of the network itself."
            )
        self._note(network, "network", self.networks, [config, len(weights)])
        self.weights += weights

    def _state(self, estimator, where):
        from smartbox.face import FaceClassifier

        if type(estimator) is FaceClassifier:
            return self._face(estimator, where)
        # Not a class's own __getstate__: those pack the networks of one estimator, and would part what two share.
        state = BaseEstimator.__getstate__(estimator) if isinstance(estimator, BaseEstimator) else vars(estimator)
        state = {name: value for name, value in state.items() if name not in _LEFT_OUT}
        if "memory" in state:
            state["memory"] = None  # a folder of pickles on this machine
        return {name: self.flatten(value, f"{where}.{name}") for name, value in _without_makers(state).items()}

    def _face(self, face, where):
        fitted, parameters = hasattr(face, "network_"), face.get_params(deep=False)
        parameters = {name: value for name, value in parameters.items() if not (fitted and name in TRAINING_ONLY)}
        state = {"parameters": self.flatten(_without_makers(parameters), where)}
        if fitted:
            state["network"] = self.flatten(face.network_, f"{where}.network_")
            state["classes"] = self.flatten(face._output_labels().tolist(), f"{where}.classes_")
            state["history"] = self.flatten(getattr(face, "history_", None), f"{where}.history_")
        return state


class Builder:
    """Puts estimators together again, each once, out of what a `Flattener` made or a stranger claims to be such.

    Parameters
    ----------
    objects, networks : list
        As those of a `Flattener`.
    arrays, weights : list of ndarray
    """

    def __init__(self, objects, networks, arrays, weights):
        self.objects, self.networks, self.arrays, self.weights = objects, networks, arrays, weights
        self._built = {}
        # Each network has weights of its own, so that a small file cannot ask for many large networks.
        self._ends = list(accumulate(_count(n) for _, n in networks))
        if len(weights) != (self._ends or [0])[-1]:
            raise ValueError(f"its networks have {(self._ends or [0])[-1]} weights, but it holds {len(weights)}")

    def build(self, node):
        """The inverse of `Flattener.flatten`, and what is built is checked."""
        value = self._build(node)
        for kind, place in list(self._built):
            if kind == "object":
                check_state(self._built[kind, place])
        return value

    def _build(self, node):
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if isinstance(node, list):
            return [self._build(each) for each in node]
        ((kind, content),) = node.items()
        if kind in ("array", "network", "object"):
            key = kind, _count(content)
            if key not in self._built:
                {"array": self._array, "network": self._network, "object": self._object}[kind](key)
            return self._built[key]
        content = content if kind == "ufunc" else self._build(content)
        return _PLAIN[kind](content)

    def _array(self, key):
        self._built[key] = self.arrays[key[1]]

    def _network(self, key):
        place = key[1]
        config, n = self.networks[place]
        end = self._ends[place]
        self._built[key] = unpack(config, self.weights[end - n : end], trusted=False)

    def _object(self, key):
        name, state = self.objects[key[1]]
        cls = find_class(name)
        if cls is None:
            raise ValueError(f"it names {name}, which is none of the classes that such files may hold")
        odd = [attribute for attribute in state if not attribute.isidentifier() or attribute.startswith("__")]
        if odd:
            raise ValueError(f"it names an attribute {odd[0]!r}")
        if cls.__module__ == "smartbox.face":
            self._built[key] = built_face(**{name: self._build(value) for name, value in state.items()})
            return
        estimator = self._built[key] = cls.__new__(cls)
        state = {name: self._build(value) for name, value in state.items()}
        if isinstance(estimator, BaseEstimator):
            BaseEstimator.__setstate__(estimator, state)  # warns of another version of scikit-learn
        else:
            vars(estimator).update(state)


def _without_makers(state):
    """A copy in which a builder of networks or an optimiser, which count for training only, is a text that says so."""
    kept = dict(state)
    for name in ("network", "optimizer"):
        value = kept.get(name)
        if value is not None and not isinstance(value, str) and not is_network(value):
            kept[name] = f"<{getattr(value, '__name__', type(value).__name__)}, which no file holds>"
    return kept


def built_face(parameters, network=None, classes=None, history=None):
    """A FaceClassifier out of plain values; an unfitted one without a network."""
    from smartbox.face import FaceClassifier

    if network is None:
        return FaceClassifier().set_params(**parameters)
    face = FaceClassifier.from_network(network, classes=np.array(classes))
    face.set_params(**{name: value for name, value in parameters.items() if name not in TRAINING_ONLY})
    if history is not None:
        face.history_ = history
    return face


def _count(number):
    if type(number) is not int or number < 0:
        raise ValueError(f"expected a number of things or a place among them, got {number!r}")
    return number


def _scalar(content):
    name, value = content
    if name not in _SCALARS:
        raise ValueError(f"it names a number of type {name!r}")
    return getattr(np, name)(value)


def _ufunc(name):
    found = getattr(np, name)
    if not isinstance(found, np.ufunc):
        raise ValueError(f"it names a function {name!r}")
    return found


def _random_state(state):
    if not 0 <= state["state"]["pos"] <= _N_WORDS:
        raise ValueError("the state of its random generator is none")
    random_state = np.random.RandomState()
    random_state.set_state(state)
    return random_state


_PLAIN = {
    "tuple": tuple, "dict": dict, "slice": lambda ends: slice(*ends), "scalar": _scalar, "ufunc": _ufunc,
    "random_state": _random_state,
}  # fmt: skip


def _full_name(cls):
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
