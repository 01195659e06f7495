"""Keras networks as plain data: deterministic pickles, and configurations that are safe to take from a stranger.

Keras pickles a whole archive with a time stamp, three times the size of the weights and different each time, so that
``joblib.hash`` never repeats. A configuration with sorted keys and a list of arrays does, and joblib can memory-map it.
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


def is_network(value):
    """Whether ``value`` is a keras.Model, without importing Keras to find out."""
    keras = sys.modules.get("keras")
    return keras is not None and hasattr(keras, "Model") and isinstance(value, keras.Model)


def pack_state(state):
    """A copy of an estimator's ``__dict__`` with each network packed, the same one once."""
    seen = {}

    def replace(value):
        if not is_network(value):
            return value
        return seen.setdefault(id(value), PackedNetwork(value))

    return {name: replace(value) for name, value in state.items()}


def unpack_state(state):
    """The inverse of `pack_state`."""
    seen = {}

    def replace(value):
        if not isinstance(value, PackedNetwork):
            return value
        if id(value) not in seen:
            seen[id(value)] = value.unpack()
        return seen[id(value)]

    return {name: replace(value) for name, value in state.items()}


def pack(network):
    """``(configuration as sorted JSON, list of weight arrays)``; the optimiser is left out."""
    import keras

    config = keras.saving.serialize_keras_object(network)
    config.pop("compile_config", None)
    return json.dumps(config, sort_keys=True), [np.asarray(weight) for weight in network.get_weights()]


def unpack(config, weights, *, trusted=True):
    """Rebuild a network. With ``trusted=False``, a configuration that could run code is refused."""
    import keras

    config = json.loads(config)
    if not trusted:
        refuse_code(config)
    network = keras.saving.deserialize_keras_object(config, safe_mode=not trusted)
    expected = [tuple(weight.shape) for weight in network.weights]
    came = [np.shape(weight) for weight in weights]
    if expected != came:
        raise ValueError(f"the weights do not fit the network: expected shapes {expected}, got {came}.")
    network.set_weights(weights)
    return network


_STOCK_MODULES = re.compile(
    r"keras(\.(layers|initializers|regularizers|constraints|activations|dtype_policies|models))?$"
    r"|keras\.src\.(layers|models|ops|dtype_policies)\b"
)
# Stock classes that run, load or fetch something of their configuration's choice.
_UNSAFE_CLASSES = {
    "Lambda", "__lambda__", "function", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "StringLookup",
    "IntegerLookup", "TextVectorization",
}  # fmt: skip


def refuse_code(config):
    """Raise unless every object that a Keras configuration names is one of Keras' own stock classes, and a harmless one."""
    if isinstance(config, list):
        for value in config:
            refuse_code(value)
    if not isinstance(config, dict):
        return
    name, module, registered = config.get("class_name"), config.get("module"), config.get("registered_name")
    stock = module is None or _STOCK_MODULES.match(str(module))
    if name is not None and (not stock or name in _UNSAFE_CLASSES or registered not in (None, name)):
        raise ValueError(
            f"the network's configuration names {module}.{name}, which can run code or read files: expected Keras' own layers "
            "only. If you trust its author, load it with Keras yourself and use FaceClassifier.from_network(model)."
        )
    for value in config.values():
        refuse_code(value)
