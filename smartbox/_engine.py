"""Where TensorFlow is: compiled logits, gradients and training steps of a Keras network.

Functions are compiled once a network with a free batch size, and kept in a weak dictionary: copies of an
estimator, another attack, eps or batch never trace again, and a network that its user drops is freed.
"""

import os
import threading
import warnings
import weakref
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from smartbox import _network_graph as graph
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
        self.image_shape = graph.image_shape(network)
        self.n_outputs = graph.n_outputs(network)
        self._output_shape = (self.n_outputs,)
        self._logits = graph.find_logits(network)
        out = graph.probe(self._logits, self.image_shape)
        graph.refuse_nan(network, out)
        self._hides_softmax = graph.are_probabilities(out)
        if self._hides_softmax:
            self._logits = graph.log_of(self._logits)
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
        return graph.layer_names(self._network(), kind)

    def last_dropout(self):
        """Name and rate of the last layer that drops single units, or None."""
        return graph.last_dropout(self._network())

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
        outputs = graph.layer_outputs(network)
        graph.check_layers([layer], outputs)
        try:
            head = keras.Model(outputs[layer], network.outputs[0])
        except ValueError as error:
            raise ValueError(
                f"the logits do not follow from the output of layer {layer!r} alone: the network leads past it. Choose "
                "a layer that every path passes."
            ) from error
        logits = graph.find_logits(head)
        return graph.log_of(logits) if self._hides_softmax else logits, [None, *outputs[layer].shape[1:]]

    def _reader(self, layers):
        """A function from images to the outputs of layers, and the shapes of these."""
        if not layers:
            raise ValueError("expected the name of at least one layer, got none.")
        network = self._network()
        outputs = graph.layer_outputs(network)
        inner = [name for name in dict.fromkeys(layers) if name not in (LOGITS, PIXELS)]
        graph.check_layers(inner, outputs)
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
        self.image_shape = graph.image_shape(network)
        shapes = [tuple(tensor.shape) for tensor in network.outputs]
        if shapes != [(None, *self.image_shape)]:
            raise ValueError(
                f"expected a network whose output has the shape of its input, {(None, *self.image_shape)}, got outputs of shape "
                f"{shapes}."
            )
        self._output_shape = self.image_shape
        self._logits = graph.cut(graph.call(keras.Model(network.inputs[0], network.outputs[0])))
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
