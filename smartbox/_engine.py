"""The one module that imports TensorFlow: compiled logits, gradients and training steps of a Keras network.

Functions are compiled once a network with a free batch size, and kept in a weak dictionary: copies of an
estimator, another attack, eps or batch never trace again, and a network that its user drops is freed.
"""

import difflib
import os
import threading
import warnings
import weakref
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from smartbox._losses import label_loss
from smartbox._model import LOGITS, PIXELS
from smartbox._objectives import OBJECTIVES, divergence

# Rows in one compiled call: 128 faces of 96x84 are within a few percent of the best speed, and take about 0.3
# GB.
BATCH_SIZE = 128
# Kernels for a few rows round differently from those for many, and an attack makes much of a last bit. From
# 16 rows on, an image's numbers do not depend on its batch; smaller batches are filled up.
LEAST_ROWS = 16

_ENGINES = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def engine_of(network):
    """The engine of a Keras network, made at the first call."""
    return _engine_of(network, NetworkEngine)


def image_engine_of(network):
    """The engine of a Keras network from images to images, made at the first call."""
    return _engine_of(network, ImageEngine)


def _engine_of(network, kind):
    with _LOCK:
        if network not in _ENGINES:
            _ENGINES[network] = kind(network)
        return _ENGINES[network]


class NetworkEngine:
    """Compiled functions of one network. NumPy in, NumPy out; inference mode except in `train_step`.

    Attributes
    ----------
    counts : dict
        Images passed ``forward`` and ``backward`` since the engine was made, and the number of ``traces``.
    """

    def __init__(self, network):
        _check_backend()
        self._network = weakref.ref(network)  # a strong one, in the dictionary's value, would keep its key alive
        self.image_shape = _image_shape(network)
        self.n_outputs = _n_outputs(network)
        self._output_shape = (self.n_outputs,)
        self._logits = _find_logits(network)
        out = _probe(self._logits, self.image_shape)
        _refuse_nan(network, out)
        self._hides_softmax = _are_probabilities(out)
        if self._hides_softmax:
            self._logits = _log_of(self._logits)
        self.counts = {"forward": 0, "backward": 0, "traces": 0}
        self._functions = {}
        self._lock = threading.Lock()

    def logits(self, X):
        """Logits, shape ``(n, k)``, whatever the network's last activation is."""
        (logits,) = self._in_batches(self._compiled("logits", self._build_logits), X)
        self._count(forward=len(X))
        return logits

    def value_and_gradient(self, X, index, objective):
        """Values ``(n,)``, logits ``(n, k)`` and the gradient of each value by its image, in one pass."""
        if not isinstance(objective, str) or objective not in OBJECTIVES:
            raise ValueError(f"expected objective as one of {', '.join(sorted(OBJECTIVES))}, got {objective!r}.")
        run = self._compiled(("gradient", objective), lambda: self._build_gradient(OBJECTIVES[objective]))
        out = self._in_batches(run, X, index.astype(np.int32))
        self._count(forward=len(X), backward=len(X))
        return out

    def vjp(self, X, cotangents):
        """Gradient by the images of ``(cotangents * logits).sum()``."""
        (out,) = self._in_batches(self._compiled("vjp", self._build_vjp), X, cotangents.astype(np.float32))
        self._count(forward=len(X), backward=len(X))
        return out

    def vjps(self, X, cotangents):
        """As `vjp` for several cotangents ``(n, count, k)`` an image, on one forward pass: ``(n, count, ...)``."""
        count = cotangents.shape[1]
        run = self._compiled(("vjps", count), lambda: self._build_vjps(count))
        (out,) = self._in_batches(run, X, cotangents.astype(np.float32))
        self._count(forward=len(X), backward=count * len(X))
        return out

    def activations(self, X, layers):
        """Outputs of the named layers, a list of arrays; `LOGITS` names the logits, `PIXELS` the images."""
        run = self._compiled(("activations", tuple(layers)), lambda: self._build_activations(layers))
        out = self._in_batches(run, X)
        self._count(forward=len(X))
        return list(out)

    def activations_vjp(self, X, layers, cotangents):
        """Gradient by the images of the sum over layers of ``(cotangents * activations).sum()``."""
        run = self._compiled(("activations_vjp", tuple(layers)), lambda: self._build_activations_vjp(layers))
        (out,) = self._in_batches(run, X, *(np.asarray(each, dtype=np.float32) for each in cotangents))
        self._count(forward=len(X), backward=len(X))
        return out

    def layer_names(self, kind):
        """Names of the layers of a kind, in the network's order; see `FaceClassifier.layer_names`."""
        if kind not in _KINDS:
            raise ValueError(f"expected kind as one of {', '.join(_KINDS)}, got {kind!r}.")
        network = self._network()
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

    def last_dropout(self):
        """Name and rate of the last layer that drops single units, or None."""
        found = [
            (layer.name, float(layer.rate))
            for layer, _ in _operations(self._network())
            if type(layer) is keras.layers.Dropout and layer.noise_shape is None and layer.rate > 0
        ]
        return found[-1] if found else None

    def head(self, layer, activations):
        """Logits from a layer's output; counts no pass, since the images pass only a part of the network."""
        (logits,) = self._in_batches(self._compiled(("head", layer), lambda: self._build_head(layer)), activations)
        return logits

    def head_vjp(self, layer, activations, cotangents):
        """Gradient by a layer's output of ``(cotangents * logits).sum()``."""
        run = self._compiled(("head_vjp", layer), lambda: self._build_head_vjp(layer))
        (out,) = self._in_batches(run, activations, np.asarray(cotangents, dtype=np.float32))
        return out

    def logits_of(self, x):
        """Logits of a tensor, for the compiled training step of another network; counts no pass."""
        return self._logits(x, training=False)

    def divergence(self, X, logits):
        """Divergence of the images' softmax from that of ``logits`` ``(n, k)``, and its gradient by the images."""
        run = self._compiled("divergence", self._build_divergence)
        out = self._in_batches(run, X, logits.astype(np.float32))
        self._count(forward=len(X), backward=len(X))
        return out

    def train_step(self, optimizer, objective=label_loss, inputs=("images", "index")):
        """A compiled ``step(*inputs, weight) -> (loss, number correct)`` that updates the network.

        ``objective`` is one of `smartbox._losses`; ``inputs`` says what each of its inputs is: "images", "index" or "outputs".
        """
        network = self._network()
        variables = list(network.trainable_variables)
        optimizer.build(variables)

        def run(x):
            return self._logits(x, training=True)

        def step(*batch):
            *given, weight = batch
            with tf.GradientTape() as tape:
                losses, hits = objective(keras.ops, run, *given)
                loss = tf.reduce_sum(weight * losses) / tf.maximum(tf.reduce_sum(weight), 1e-12)
                total = tf.add_n([loss, *network.losses])
            gradients = tape.gradient(total, [variable.value for variable in variables])
            optimizer.apply(gradients, variables)
            return loss, tf.reduce_sum(hits)

        images, index = self._signature()
        specs = {"images": images, "index": index, "outputs": tf.TensorSpec([None, *self._output_shape], tf.float32)}
        return _compile(step, [*(specs[name] for name in inputs), tf.TensorSpec([None], tf.float32)])

    def _in_batches(self, run, X, *others):
        arrays = (np.ascontiguousarray(X, dtype=np.float32), *others)
        parts = []
        for start in range(0, len(X), BATCH_SIZE):
            block = [array[start : start + BATCH_SIZE] for array in arrays]
            rows, missing = len(block[0]), max(0, LEAST_ROWS - len(block[0]))
            if missing:
                block = [np.concatenate([part, np.repeat(part[:1], missing, axis=0)]) for part in block]
            parts.append([out.numpy()[:rows] for out in run(*block)])
        columns = zip(*parts, strict=True)
        return tuple(column[0] if len(column) == 1 else np.concatenate(column) for column in columns)

    def _compiled(self, key, build):
        with self._lock:
            if key not in self._functions:
                self._functions[key] = build()
            return self._functions[key]

    def _count(self, **passes):
        with self._lock:
            for name, number in passes.items():
                self.counts[name] += number

    def _signature(self):
        return [tf.TensorSpec([None, *self.image_shape], tf.float32), tf.TensorSpec([None], tf.int32)]

    def _build_logits(self):
        def run(x):
            self.counts["traces"] += 1  # Python runs only while tracing
            return (self._logits(x, training=False),)

        return _compile(run, self._signature()[:1])

    def _build_gradient(self, objective):
        def run(x, index):
            self.counts["traces"] += 1
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                logits = self._logits(x, training=False)
            is_label = tf.one_hot(index, self.n_outputs, on_value=True, off_value=False, dtype=tf.bool)
            values, cotangents = objective(keras.ops, logits, is_label)
            return values, logits, _gradient(tape, logits, x, cotangents)

        return _compile(run, self._signature())

    def _build_divergence(self):
        def run(x, reference):
            self.counts["traces"] += 1
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                logits = self._logits(x, training=False)
            values, cotangents = divergence(keras.ops, logits, reference)
            return values, _gradient(tape, logits, x, cotangents)

        return _compile(run, [self._signature()[0], tf.TensorSpec([None, self.n_outputs], tf.float32)])

    def _build_vjp(self):
        signature = [self._signature()[0], tf.TensorSpec([None, *self._output_shape], tf.float32)]

        def run(x, cotangents):
            self.counts["traces"] += 1
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                logits = self._logits(x, training=False)
            return (_gradient(tape, logits, x, cotangents),)

        return _compile(run, signature)

    def _build_vjps(self, count):
        signature = [self._signature()[0], tf.TensorSpec([None, count, self.n_outputs], tf.float32)]

        def run(x, cotangents):
            self.counts["traces"] += 1
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(x)
                logits = self._logits(x, training=False)
            return (tf.stack([_gradient(tape, logits, x, cotangents[:, i]) for i in range(count)], axis=1),)

        return _compile(run, signature)

    def _build_activations(self, layers):
        read, _ = self._reader(layers)

        def run(x):
            self.counts["traces"] += 1
            return read(x)

        return _compile(run, self._signature()[:1])

    def _build_activations_vjp(self, layers):
        read, shapes = self._reader(layers)

        def run(x, *cotangents):
            self.counts["traces"] += 1
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                outputs = read(x)
            return (_gradient(tape, outputs, x, list(cotangents)),)

        return _compile(run, [self._signature()[0], *(tf.TensorSpec(shape, tf.float32) for shape in shapes)])

    def _build_head(self, layer):
        read, shape = self._head_reader(layer)

        def run(a):
            self.counts["traces"] += 1
            return (read(a, training=False),)

        return _compile(run, [tf.TensorSpec(shape, tf.float32)])

    def _build_head_vjp(self, layer):
        read, shape = self._head_reader(layer)

        def run(a, cotangents):
            self.counts["traces"] += 1
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(a)
                logits = read(a, training=False)
            return (_gradient(tape, logits, a, cotangents),)

        return _compile(run, [tf.TensorSpec(shape, tf.float32), tf.TensorSpec([None, self.n_outputs], tf.float32)])

    def _head_reader(self, layer):
        """A function from a layer's output to the logits, and the shape of that output."""
        network = self._network()
        outputs = _layer_outputs(network)
        _check_layers([layer], outputs)
        try:
            head = keras.Model(outputs[layer], network.outputs[0])
        except ValueError as error:
            raise ValueError(
                f"the logits do not follow from the output of layer {layer!r} alone: the network leads past it. Choose "
                "a layer that every path passes."
            ) from error
        logits = _find_logits(head)
        return _log_of(logits) if self._hides_softmax else logits, [None, *outputs[layer].shape[1:]]

    def _reader(self, layers):
        """A function from images to the outputs of layers, and the shapes of these."""
        if not layers:
            raise ValueError("expected the name of at least one layer, got none.")
        network = self._network()
        outputs = _layer_outputs(network)
        inner = [name for name in dict.fromkeys(layers) if name not in (LOGITS, PIXELS)]
        _check_layers(inner, outputs)
        part = keras.Model(network.inputs[0], [outputs[name] for name in inner]) if inner else None
        shapes = {name: [None, *outputs[name].shape[1:]] for name in inner}
        shapes |= {LOGITS: [None, self.n_outputs], PIXELS: [None, *self.image_shape]}

        def read(x):
            found = dict(zip(inner, tf.nest.flatten(part(x, training=False)), strict=True)) if inner else {}
            found[PIXELS] = x
            if LOGITS in layers:
                found[LOGITS] = self._logits(x, training=False)
            return tuple(tf.cast(found[name], tf.float32) for name in layers)

        return read, [shapes[name] for name in layers]


class ImageEngine(NetworkEngine):
    """Compiled functions of a network that makes images of images of the same shape.

    Of a NetworkEngine's it has `logits`, here the images made, `vjp` and `train_step`.
    """

    def __init__(self, network):
        _check_backend()
        self._network = weakref.ref(network)
        self.image_shape = _image_shape(network)
        shapes = [tuple(tensor.shape) for tensor in network.outputs]
        if shapes != [(None, *self.image_shape)]:
            raise ValueError(
                f"expected a network whose output has the shape of its input, {(None, *self.image_shape)}, got outputs of shape "
                f"{shapes}."
            )
        self._output_shape = self.image_shape
        self._logits = _cut(_call(keras.Model(network.inputs[0], network.outputs[0])))
        self.counts = {"forward": 0, "backward": 0, "traces": 0}
        self._functions = {}
        self._lock = threading.Lock()


def _compile(function, signature):
    """Trace it at once, by name and not by a call.

    Calls of several networks look to TensorFlow like one function that is traced again and again, and it warns.
    """
    function = tf.function(function, input_signature=signature, autograph=False)
    concrete = function.get_concrete_function()

    def run(*arrays):
        try:
            return concrete(*(tf.convert_to_tensor(a, spec.dtype) for a, spec in zip(arrays, signature, strict=True)))
        except SystemError as error:  # what an interruption inside TensorFlow's C code comes out as
            interrupt = error.__cause__ or error.__context__
            if isinstance(interrupt, KeyboardInterrupt):
                raise interrupt from None
            raise

    run.function = function  # keeps what it closes over, which the concrete one holds by weak references
    return run


def _gradient(tape, logits, x, cotangents):
    gradient = tape.gradient(logits, x, output_gradients=cotangents)
    if gradient is None:  # e.g. a rounding layer: TensorFlow's None is not a zero
        raise ValueError(
            "no gradient flows from the logits to the image: the network holds an operation without one "
            "(rounding, argmax, casting to integers, ...). Move that operation out of the network into a "
            "defence with a vjp of its own."
        )
    return gradient


def _check_backend():
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"SmartBox computes gradients with Keras' TensorFlow backend, but Keras runs on "
            f"{keras.backend.backend()!r}: "
            'set KERAS_BACKEND="tensorflow" before Keras is imported.'
        )


def _image_shape(network):
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


def _n_outputs(network):
    shapes = [tuple(tensor.shape) for tensor in network.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or (shapes[0][1] or 0) < 2:
        raise ValueError(
            "expected a network with one output (batch, n_classes) of at least 2 classes, got outputs of "
            f"shape {shapes}."
        )
    return shapes[0][1]


def _layer_outputs(network):
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


def _check_layers(layers, outputs):
    for name in layers:
        if name not in outputs:
            near = difflib.get_close_matches(str(name), list(outputs), n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"the network has no layer {name!r}{meant}; its layers are {', '.join(outputs)}.")


def _find_logits(network, output=0):
    """A function ``(x, training) -> logits`` on the network's own weights; a final softmax is left out."""
    tensor = network.outputs[output]
    last, node, which = tensor._keras_history
    before = last._inbound_nodes[node].input_tensors
    if len(before) == 1:
        features = keras.Model(network.inputs[0], before[0])
        if _is_softmax(last):
            return _call(features)
        if type(last) is keras.layers.Dense and last.activation in _SOFTMAX:
            return _chain(features, _linear(last))
        if isinstance(last, keras.Model) and getattr(last, "outputs", None):  # a network inside a network
            return _chain(features, _find_logits(last, which))
    # Built from its tensors, this is the same layers without the user's network object, so that it can be
    # freed.
    return _call(keras.Model(network.inputs[0], tensor))


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


def _probe(run, image_shape):
    """Outputs for a ramp of pixels in [0, 1], and for one far out of it."""
    shape = [side or 96 for side in image_shape]
    ramp = np.linspace(0, 1, np.prod(shape), dtype=np.float32).reshape(shape)
    return keras.ops.convert_to_numpy(run(np.stack([ramp, 1000 * ramp]), training=False))


def _refuse_nan(network, out):
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


def _are_probabilities(out):
    """Whether they are shares of 1, even for pixels far out of [0, 1]: then some layer hides a softmax."""
    return bool((out >= 0).all() and np.allclose(out.sum(axis=1), 1, atol=1e-3))


def _log_of(run):
    """Logits from probabilities: their softmax is the probabilities again."""
    return lambda x, training: keras.ops.log(keras.ops.maximum(run(x, training=training), 1e-37))


def _call(model):
    return lambda x, training: keras.ops.cast(model(x, training=training), "float32")


def _cut(run):
    """Cut to [0, 1], but not in training, where a pixel outside has to find its way back."""
    return lambda x, training: run(x, training) if training else keras.ops.clip(run(x, training), 0.0, 1.0)


def _linear(dense):
    def apply(features, training):
        logits = keras.ops.matmul(features, dense.kernel)
        return keras.ops.cast(logits if dense.bias is None else logits + dense.bias, "float32")

    return apply


def _chain(features, head):
    return lambda x, training: head(features(x, training=training), training=training)


# Variables up to this size are not counted: states of random generators, which no file holds.
_SMALL_VARIABLE = 1024


@contextmanager
def limited_variables(limit):
    """Networks made within may hold up to ``limit`` values (None: any number); more raises before they take memory."""
    if limit is None:
        yield
        return
    total, refused = 0, None

    def create(next_creator, **kwargs):
        nonlocal total, refused
        initial = kwargs["initial_value"]
        with tf.Graph().as_default():  # where shapes are known, but nothing is computed
            shape = tf.convert_to_tensor(initial()).shape if callable(initial) else tf.TensorShape(np.shape(initial))
        size = shape.num_elements()
        total += 0 if size is not None and size <= _SMALL_VARIABLE else (size or np.inf)
        if total > limit:
            refused = (
                f"the network's configuration declares more than the {limit} values that the weights in the file can "
                f"hold, e.g. {kwargs.get('name')} of shape {tuple(shape)}"
            )
            raise ValueError(refused)
        return next_creator(**kwargs)

    try:
        with tf.variable_creator_scope(create):
            yield
    except Exception as error:  # Keras wraps the error in others
        raise (error if refused is None else ValueError(refused)) from error


def _warn_if_slow():
    """Say so when TensorFlow was imported before SmartBox could turn oneDNN on."""
    if "TF_ENABLE_ONEDNN_OPTS" in os.environ:
        return
    try:
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled

        enabled = IsMklEnabled()
    except ImportError:  # a private name: without it there is nothing to say
        return
    if not enabled:
        warnings.warn(
            "TensorFlow was imported before smartbox and runs without oneDNN, about three times slower here: import "
            "smartbox "
            "first, or set TF_ENABLE_ONEDNN_OPTS=1 (or 0, which keeps it off without this warning).",
            stacklevel=2,
        )


_warn_if_slow()
