"""Keras networks as plain data: deterministic pickles, and configurations safe to take from a stranger.

Keras pickles a whole archive with a time stamp, three times the size of the weights and different each time,
so that ``joblib.hash`` never repeats. A configuration with sorted keys and a list of arrays does, and joblib
can memory-map it.
"""

import json
import re
import sys

import numpy as np


class PackedNetwork:
    """Stands for a Keras network inside a pickle."""

    def __init__(self, network):
        self.config, self.weights = pack(network)

    def unpack(self):
        """A new network, equal to the packed one."""
        return unpack(self.config, self.weights)


class PackedOptimizer:
    """Stands for the settings of a Keras optimiser inside a pickle; training needs no more of it."""

    def __init__(self, optimizer):
        import keras

        self.config = _as_text(keras.saving.serialize_keras_object(optimizer))

    def unpack(self):
        """A new optimiser of the same settings."""
        import keras

        return keras.saving.deserialize_keras_object(json.loads(self.config), safe_mode=False)


def is_network(value):
    """Whether ``value`` is a keras.Model, without importing Keras to find out."""
    return _is_keras(value, lambda keras: keras.Model)


def _is_keras(value, kind):
    keras = sys.modules.get("keras")
    return keras is not None and hasattr(keras, "Model") and isinstance(value, kind(keras))


def pack_state(state):
    """A copy of an estimator's ``__dict__`` with networks (the same one once) and optimisers packed."""
    seen = {}

    def replace(value):
        if is_network(value):
            if id(value) not in seen:
                seen[id(value)] = PackedNetwork(value)
            return seen[id(value)]
        return PackedOptimizer(value) if _is_keras(value, lambda keras: keras.optimizers.Optimizer) else value

    return {name: replace(value) for name, value in state.items()}


def unpack_state(state):
    """The inverse of `pack_state`."""
    seen = {}

    def replace(value):
        if not isinstance(value, (PackedNetwork, PackedOptimizer)):
            return value
        if id(value) not in seen:
            seen[id(value)] = value.unpack()
        return seen[id(value)]

    return {name: replace(value) for name, value in state.items()}


def compact(estimator):
    """The estimator itself, its arrays in memory of their own.

    Truncated components are a view into all of them, which keeps those alive; and products with such a view round differently
    from those with the copy that a pickle or a file makes of it.
    """
    for name, value in vars(estimator).items():
        if isinstance(value, np.ndarray) and not value.flags.forc:
            setattr(estimator, name, np.ascontiguousarray(value))
    return estimator


def pack(network):
    """``(configuration as sorted JSON, list of weight arrays)``; optimisers and losses are left out."""
    import keras

    config = keras.saving.serialize_keras_object(network)
    return _as_text(_without_compilation(config)), [np.asarray(weight) for weight in network.get_weights()]


def _as_text(config):
    return json.dumps(config, sort_keys=True)


def _without_compilation(config):
    if isinstance(config, dict):
        kept = {name: value for name, value in config.items() if name != "compile_config"}
        return {name: _without_compilation(value) for name, value in kept.items()}
    return [_without_compilation(value) for value in config] if isinstance(config, list) else config


def unpack(config, weights, *, trusted=True):
    """Rebuild a network. With ``trusted=False``, a configuration that could run code is refused, and
    one that declares more weights than there are.

    Raises
    ------
    ValueError
        If the configuration is unsafe or makes no network, or the weights do not fit it.
    """
    import keras

    from smartbox._engine import limited_variables

    limit = None if trusted else sum(np.size(weight) for weight in weights)
    try:
        config = json.loads(config)
        if not trusted:
            refuse_code(config)
        with limited_variables(limit):
            network = keras.saving.deserialize_keras_object(config, safe_mode=not trusted)
    except Exception as error:  # a damaged configuration makes Keras raise anything
        raise ValueError(f"cannot rebuild the network from its configuration: {error}") from error
    if not is_network(network):
        raise ValueError(f"the configuration is that of a {type(network).__name__}, not of a keras.Model.")
    expected = [tuple(weight.shape) for weight in network.weights]
    came = [np.shape(weight) for weight in weights]
    if expected != came:
        raise ValueError(f"the weights do not fit the network: expected shapes {expected}, got {came}.")
    network.set_weights(weights)
    return network


_STOCK_MODULES = re.compile(
    r"keras(\.(layers|initializers|regularizers|constraints|activations|dtype_policies|models|random"
    r"|optimizers(\.schedules)?|losses|metrics))?$"
    r"|keras\.src\.(layers|models|ops|dtype_policies)(\.\w+)*$"
)
# Stock classes that run, load or fetch something of their configuration's choice.
_UNSAFE_CLASSES = {
    "Lambda", "__lambda__", "function", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer",
    "StringLookup", "IntegerLookup", "TextVectorization",
}  # fmt: skip


def refuse_code(config):
    """Raise unless every class that a Keras configuration names is one of Keras' own, and a harmless one."""
    name = find_code(config)
    if name is not None:
        raise ValueError(
            f"the network's configuration names {name}, which can run code or read files: expected "
            "Keras' own layers only. If you trust its author, load it with Keras yourself and use "
            "FaceClassifier.from_network(model)."
        )


def find_code(config):
    """The first class in a Keras configuration that is not one of Keras' own harmless ones, or None."""
    todo = [config]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            name, module = value.get("class_name"), value.get("module")
            if name is not None and not _is_stock(name, module, value.get("registered_name")):
                return f"{module}.{name}"
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    return None


def _is_stock(name, module, registered):
    stock = module is None or _STOCK_MODULES.match(str(module))
    return bool(stock) and str(name) not in _UNSAFE_CLASSES and registered in (None, name)
