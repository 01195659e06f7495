"""What the engine finds in the graph of a Keras network: its shapes, its layers, and where its logits are."""

import difflib

import keras
import numpy as np
import tensorflow as tf

from smartbox._model import LOGITS


def image_shape(network):
    """Height, width and channels of what a network takes."""
    shapes = [tuple(tensor.shape) for tensor in getattr(network, "inputs", None) or []]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        none = "a network without a fixed input (not built, or a subclass)"
        came = f"inputs of shape {shapes}" if shapes else none
        raise ValueError(
            f"expected a network with one input (batch, height, width, channels), got {came}. Begin it with "
            "keras.Input((height, width, channels)), or wrap it: x = keras.Input(...); keras.Model(x, "
            "network(x))."
        )
    return shapes[0][1:]


def n_outputs(network):
    """How many logits it has."""
    shapes = [tuple(tensor.shape) for tensor in network.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or (shapes[0][1] or 0) < 2:
        raise ValueError(
            "expected a network with one output (batch, n_classes) of at least 2 classes, got outputs of "
            f"shape {shapes}."
        )
    return shapes[0][1]


def layer_outputs(network):
    """Output of each layer by its name, as this network uses it: another one may use the layer too."""
    return {operation.name: output for operation, output in _operations(network)}


def _operations(network):
    """Each layer or function of a network, with its output, in the order that an image meets them."""
    graph = keras.Model(network.inputs[0], network.outputs)  # a Sequential as a graph
    by_depth = sorted(graph._nodes_by_depth.items(), reverse=True)
    return [(node.operation, node.output_tensors[0]) for _, nodes in by_depth for node in nodes]


_CONVOLUTIONS = (
    keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.Model,
)  # fmt: skip
_VECTORS = (
    keras.layers.Flatten, keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D, keras.layers.Dense, keras.Model,
)  # fmt: skip
# Types of layers, and the rank of their output; a network inside the network counts by its output.
_KINDS = {"convolution": (_CONVOLUTIONS, 4), "vector": (_VECTORS, 2), "dense": (keras.layers.Dense, 2)}


def layer_names(network, kind):
    """Names of the layers of a kind, in the network's order; see `FaceClassifier.layer_names`."""
    if kind not in _KINDS:
        raise ValueError(f"expected kind as one of {', '.join(_KINDS)}, got {kind!r}.")
    types, rank = _KINDS[kind]
    names = [
        operation.name
        for operation, output in _operations(network)
        if len(output.shape) == rank and isinstance(operation, types)
    ]
    if kind == "convolution":
        return list(dict.fromkeys(names))  # a layer may be used twice
    last, node, _ = network.outputs[0]._keras_history
    ends = {last.name}
    if _is_softmax(last):
        ends.add(last._inbound_nodes[node].input_tensors[0]._keras_history.operation.name)
    hidden = [name for name in dict.fromkeys(names) if name not in ends]
    return [*hidden, LOGITS] if kind == "vector" else hidden


def last_dropout(network):
    """Name and rate of the last layer that drops single units, or None."""
    found = [
        (layer.name, float(layer.rate))
        for layer, _ in _operations(network)
        if type(layer) is keras.layers.Dropout and layer.noise_shape is None and layer.rate > 0
    ]
    return found[-1] if found else None


def check_layers(layers, outputs):
    """Refuse names that no layer has."""
    for name in layers:
        if name not in outputs:
            near = difflib.get_close_matches(str(name), list(outputs), n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"the network has no layer {name!r}{meant}; its layers are {', '.join(outputs)}.")


def find_logits(network, output=0):
    """A function ``(x, training) -> logits`` on the network's own weights; a final softmax is left out."""
    tensor = network.outputs[output]
    last, node, which = tensor._keras_history
    before = last._inbound_nodes[node].input_tensors
    if len(before) == 1:
        features = keras.Model(network.inputs[0], before[0])
        if _is_softmax(last):
            return call(features)
        if type(last) is keras.layers.Dense and last.activation in _SOFTMAX:
            return _chain(features, _linear(last))
        if isinstance(last, keras.Model) and getattr(last, "outputs", None):  # a network inside a network
            return _chain(features, find_logits(last, which))
    # Built from its tensors, this is the same layers without the user's network object, so that it can be
    # freed.
    return call(keras.Model(network.inputs[0], tensor))


_SOFTMAX = (
    keras.activations.softmax, keras.activations.log_softmax, keras.ops.softmax, keras.ops.log_softmax, tf.nn.softmax,
    tf.nn.log_softmax,
)  # fmt: skip


def _is_softmax(operation):
    """Whether it is a layer or a function that does nothing but a softmax."""
    if isinstance(operation, keras.layers.Activation):
        return operation.activation in _SOFTMAX
    if isinstance(operation, keras.layers.Layer):
        return isinstance(operation, keras.layers.Softmax)
    return type(operation).__name__ == "Softmax"  # of keras.ops


def probe(run, image_shape):
    """Outputs for a ramp of pixels in [0, 1], and for one far out of it."""
    shape = [side or 96 for side in image_shape]
    ramp = np.linspace(0, 1, np.prod(shape), dtype=np.float32).reshape(shape)
    return keras.ops.convert_to_numpy(run(np.stack([ramp, 1000 * ramp]), training=False))


def refuse_nan(network, out):
    """Refuse a network that returns NaN, or whose weights hold it; ``out`` is what `probe` returned."""
    if not np.isfinite(out[0]).all():
        raise ValueError(
            "the network returns NaN or infinite numbers for an image in [0, 1]: its training diverged, or its file "
            "is damaged. Train it again, with a lower learning rate."
        )
    for variable in network.weights:
        if not np.isfinite(variable.value.numpy()).all():
            raise ValueError(
                f"the network returns NaN or infinite numbers for some images: its weights {variable.path} hold such "
                "numbers. Train it again, with a lower learning rate."
            )


def are_probabilities(out):
    """Whether they are shares of 1, even for pixels far out of [0, 1]: then some layer hides a softmax."""
    return bool((out >= 0).all() and np.allclose(out.sum(axis=1), 1, atol=1e-3))


def log_of(run):
    """Logits from probabilities: their softmax is the probabilities again."""
    return lambda x, training: keras.ops.log(keras.ops.maximum(run(x, training=training), 1e-37))


def call(model):
    """A Keras model as a function of images and of whether this is training."""
    return lambda x, training: keras.ops.cast(model(x, training=training), "float32")


def cut(run):
    """Cut to [0, 1], but not in training, where a pixel outside has to find its way back."""
    return lambda x, training: run(x, training) if training else keras.ops.clip(run(x, training), 0.0, 1.0)


def _linear(dense):
    def apply(features, training):
        logits = keras.ops.matmul(features, dense.kernel)
        return keras.ops.cast(logits if dense.bias is None else logits + dense.bias, "float32")

    return apply


def _chain(features, head):
    return lambda x, training: head(features(x, training=training), training=training)
