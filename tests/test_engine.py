"""The engine: gradients by differences and an eager tape, logits behind each softmax, one trace, counts."""

import gc
import os
import subprocess
import sys
import threading
import types
import warnings
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy.special import log_softmax, logsumexp
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier, as_face_model
from smartbox import _engine as engine_module
from smartbox._engine import engine_of
from smartbox._model import LOGITS, PIXELS
from smartbox.attacks import FGSM
from smartbox.defenses import GaussianBlur
from smartbox.estimator_checks import example_images
from smartbox.networks import NETWORKS
from tests.doubles import affine_face, small_network

SHAPE = (4, 3, 1)
RNG = np.random.default_rng(0)
X = RNG.uniform(0.1, 0.9, size=(5, *SHAPE)).astype(np.float32)
_STATE = RNG.bit_generator.state
Y = np.array([0, 1, 2, 1, 0])
ROWS = np.arange(len(X))


@pytest.fixture(autouse=True)
def same_draws():
    """Each test has the same numbers and the same networks, whichever ran before it."""
    RNG.bit_generator.state = _STATE
    keras.utils.set_random_seed(0)


def smooth_network(n_classes=3):
    return keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(6, activation="tanh"), layers.Dense(n_classes)]
    )


def logits_in_float64(network, X):
    """What `smooth_network` computes, written out in NumPy."""
    kernel1, bias1, kernel2, bias2 = (np.asarray(weight, np.float64) for weight in network.get_weights())
    return np.tanh(X.reshape(len(X), -1) @ kernel1 + bias1) @ kernel2 + bias2


def finite_difference(function, X, step=1e-5):
    """Central differences of ``function(X) -> (n,)`` by each pixel of each image."""
    X = X.astype(np.float64)
    gradient = np.empty_like(X)
    for place in np.ndindex(X.shape[1:]):
        nudge = np.zeros(X.shape[1:])
        nudge[place] = step
        gradient[(slice(None), *place)] = (function(X + nudge) - function(X - nudge)) / (2 * step)
    return gradient


def other_logits(logits):
    return np.where(np.eye(logits.shape[1], dtype=bool)[Y], -np.inf, logits)


def spread(logits, count):
    """The largest logit less the mean of the third largest, or of the third and fourth."""
    ordered = -np.sort(-logits, axis=1)
    return ordered[:, 0] - ordered[:, 2 : 2 + count].mean(axis=1)


IN_FLOAT64 = {
    "cross_entropy": lambda logits: -log_softmax(logits, axis=1)[ROWS, Y],
    "saturating_cross_entropy": lambda logits: -log_softmax(logits, axis=1)[ROWS, Y],
    "odds": lambda logits: logsumexp(other_logits(logits), axis=1) - logits[ROWS, Y],
    "margin": lambda logits: other_logits(logits).max(axis=1) - logits[ROWS, Y],
    "dlr": lambda logits: (other_logits(logits).max(axis=1) - logits[ROWS, Y]) / spread(logits, 1),
    "targeted_dlr": lambda logits: (other_logits(logits).max(axis=1) - logits[ROWS, Y]) / spread(logits, 2),
}


# Gradients


def test_every_objective_is_tested():
    assert set(IN_FLOAT64) == set(engine_module.OBJECTIVES)


@pytest.mark.parametrize("objective", IN_FLOAT64)
def test_value_and_gradient_equal_finite_differences(objective):
    network = smooth_network(5)
    values, logits, gradient = engine_of(network).value_and_gradient(X, Y, objective)
    np.testing.assert_allclose(logits, logits_in_float64(network, X), atol=1e-5)
    np.testing.assert_allclose(values, IN_FLOAT64[objective](logits_in_float64(network, X)), atol=1e-5)
    expected = finite_difference(lambda X: IN_FLOAT64[objective](logits_in_float64(network, X)), X)
    np.testing.assert_allclose(gradient, expected, atol=2e-5)


def test_vjp_equals_finite_differences():
    network = smooth_network()
    cotangents = RNG.normal(size=(len(X), 3))
    expected = finite_difference(lambda X: (cotangents * logits_in_float64(network, X)).sum(axis=1), X)
    np.testing.assert_allclose(engine_of(network).vjp(X, cotangents), expected, atol=2e-5)


def test_affine_closed_forms():
    weights, bias = RNG.normal(size=(3, 12)).astype(np.float32), RNG.normal(size=3).astype(np.float32)
    face = affine_face(weights, bias, SHAPE)
    logits = X.reshape(5, -1) @ weights.T + bias
    rivals = np.argmax(other_logits(logits), axis=1)
    values, _, gradient = face.value_and_gradient(X, Y, "margin")
    np.testing.assert_allclose(values, logits[ROWS, rivals] - logits[ROWS, Y], atol=1e-5)
    np.testing.assert_allclose(gradient.reshape(5, -1), weights[rivals] - weights[Y], atol=1e-6)
    np.testing.assert_allclose(face.vjp(X, np.eye(3)[Y]).reshape(5, -1), weights[Y], atol=1e-6)


def test_gradient_equals_an_eager_tape():
    network = small_network((16, 12, 1), 5)
    images = RNG.uniform(size=(7, 16, 12, 1)).astype(np.float32)
    index = np.arange(7, dtype=np.int32) % 5
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(index, network(x, training=False))
    _, _, gradient = engine_of(network).value_and_gradient(images, index, "cross_entropy")
    np.testing.assert_allclose(gradient, tape.gradient(losses, x).numpy(), atol=1e-5)


def test_results_do_not_depend_on_the_batch():
    engine = engine_of(smooth_network())
    images = RNG.uniform(size=(engine_module.BATCH_SIZE + 3, *SHAPE)).astype(np.float32)
    index = np.arange(len(images)) % 3
    whole = engine.value_and_gradient(images, index, "odds")
    assert [len(part) for part in whole] == [len(images)] * 3
    for rows in (slice(0, 1), slice(0, 17), slice(len(images) - 4, None)):
        part = engine.value_and_gradient(images[rows], index[rows], "odds")
        for one, other in zip(part, whole, strict=True):
            np.testing.assert_allclose(one, other[rows], atol=1e-6)


# Logits behind a softmax


class HiddenSoftmax(keras.Model):
    def __init__(self):
        super().__init__()
        self.flatten, self.head = layers.Flatten(), layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.head(self.flatten(x))


def sequential(*head):
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(6, activation="tanh"), *head])


def functional(head):
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, head(layers.Dense(6, activation="tanh")(layers.Flatten()(inputs))))


def nested_head(*head):
    inputs = keras.Input((6,))
    tensor = inputs
    for layer in head:
        tensor = layer(tensor)
    return keras.Model(inputs, tensor)


def second_output_of_nested(x):
    inputs = keras.Input((6,))
    heads = [layers.Dense(3, activation="softmax")(inputs) for _ in range(2)]
    return keras.Model(inputs, heads)(x)[1]


def nested_of_two_inputs(x):
    inputs = [keras.Input((6,)), keras.Input((6,))]
    head = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.add(inputs)))
    return head([x, layers.Dense(6)(x)])


def wrapped_subclass():
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, HiddenSoftmax()(inputs))


def dense(activation=None, **kwargs):
    return layers.Dense(3, activation=activation, **kwargs)


PROBABILITIES = {
    "Sequential, Dense": lambda: sequential(dense("softmax")),
    "Functional, Dense": lambda: functional(dense("softmax")),
    "Dense without bias": lambda: functional(dense("softmax", use_bias=False)),
    "Dense with TensorFlow's softmax": lambda: functional(dense(tf.nn.softmax)),
    "Dense with keras.ops' softmax": lambda: functional(dense(keras.ops.softmax)),
    "Activation": lambda: sequential(dense(), layers.Activation("softmax")),
    "Functional, Activation": lambda: functional(lambda x: layers.Activation("softmax")(dense()(x))),
    "Softmax": lambda: sequential(dense(), layers.Softmax()),
    "Functional, Softmax": lambda: functional(lambda x: layers.Softmax()(dense()(x))),
    "keras.ops.softmax": lambda: functional(lambda x: keras.ops.softmax(dense()(x))),
    "keras.activations.softmax": lambda: functional(lambda x: keras.activations.softmax(dense()(x))),
    "nested, Dense": lambda: functional(nested_head(dense("softmax"))),
    "nested, Softmax": lambda: functional(nested_head(dense(), layers.Softmax())),
    "nested twice": lambda: functional(nested_head(nested_head(dense("softmax")))),
    "nested in Sequential": lambda: sequential(nested_head(dense("softmax"))),
    "nested Sequential": lambda: functional(keras.Sequential([keras.Input((6,)), dense("softmax")])),
    "nested, second output": lambda: functional(second_output_of_nested),
    "nested, two inputs": lambda: functional(nested_of_two_inputs),
    "a subclass": wrapped_subclass,
    "mean of two": lambda: functional(lambda x: layers.average([dense("softmax")(x), dense("softmax")(x)])),
}
LOG_PROBABILITIES = {
    "log_softmax in Dense": lambda: functional(dense("log_softmax")),
    "log_softmax in Activation": lambda: sequential(dense(), layers.Activation("log_softmax")),
    "keras.ops.log_softmax": lambda: functional(lambda x: keras.ops.log_softmax(dense()(x))),
}


def assert_equal_up_to_a_constant(logits, log_probabilities):
    difference = logits.astype(np.float64) - log_probabilities
    np.testing.assert_allclose(difference - difference[:, :1], 0, atol=1e-5)


@pytest.mark.parametrize("name", [*PROBABILITIES, *LOG_PROBABILITIES])
def test_logits_are_log_probabilities_and_weights_are_shared(name):
    network = {**PROBABILITIES, **LOG_PROBABILITIES}[name]()
    face = FaceClassifier.from_network(network)
    for _ in range(2):
        out = np.asarray(network(X, training=False), dtype=np.float64)
        assert_equal_up_to_a_constant(face.logits(X), np.log(out) if name in PROBABILITIES else out)
        np.testing.assert_allclose(face.predict_proba(X), out if name in PROBABILITIES else np.exp(out), atol=1e-6)
        network.set_weights([RNG.normal(size=weight.shape) for weight in network.get_weights()])  # seen at once


def test_gradient_through_a_hidden_softmax_is_that_of_its_logits():
    network = wrapped_subclass()
    weights, _ = network.get_weights()
    probabilities = np.asarray(network(X), dtype=np.float64)
    _, _, gradient = FaceClassifier.from_network(network).value_and_gradient(X, Y)
    expected = (probabilities - np.eye(3)[Y]) @ weights.astype(np.float64).T  # of cross-entropy, in closed form
    np.testing.assert_allclose(gradient.reshape(5, -1), expected, atol=1e-5)


def test_logits_that_happen_to_sum_to_one_stay():
    weights = np.stack([np.full(12, 1 / 12), np.full(12, -1 / 12)])
    face = affine_face(weights, [0, 1], SHAPE)  # mean brightness, and one less it
    mean = X.reshape(5, -1).mean(axis=1)
    np.testing.assert_allclose(face.logits(X), np.stack([mean, 1 - mean], axis=1), atol=1e-6)


def test_unusual_inputs_make_no_warning():
    inputs = keras.Input(SHAPE, name="face")
    network = keras.Model({"face": inputs}, {"who": dense("softmax")(layers.Flatten()(inputs))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits = FaceClassifier.from_network(network).logits(X)
    assert_equal_up_to_a_constant(logits, np.log(np.asarray(network({"face": X})["who"])))


# Tracing, counting, memory, threads


def test_one_trace_whatever_the_batch_the_attack_or_the_wrapper():
    face = FaceClassifier.from_network(smooth_network())
    images = {n: RNG.uniform(size=(n, *SHAPE)).astype(np.float32) for n in (1, 7, 128, 300)}

    def attack_everything():
        models = [
            face,
            clone(face),
            FrozenEstimator(face),
            make_pipeline(GaussianBlur(sigma=0.5), face),
            make_pipeline(GaussianBlur(sigma=0.8), FrozenEstimator(face)),
        ]
        for n, batch in images.items():
            for model in models:
                FGSM(model, eps=0.003 * n).generate(batch, np.zeros(n, dtype=int))
        clone(FGSM(face)).generate(images[7])

    FGSM(face).generate(images[7])
    traces = face.pass_counts()["traces"]
    assert traces == 2  # logits and gradient
    attack_everything()
    assert face.pass_counts()["traces"] == traces


def test_counts_are_images_not_calls():
    face = FaceClassifier.from_network(smooth_network())
    images = RNG.uniform(size=(131, *SHAPE)).astype(np.float32)
    expected = {"forward": 0, "backward": 0}
    calls = [
        (lambda: face.logits(images), 131, 0),
        (lambda: face.predict(images[:2]), 2, 0),
        (lambda: face.value_and_gradient(images[:3], [0, 1, 2]), 3, 3),
        (lambda: face.vjp(images[:4], np.zeros((4, 3))), 4, 4),
        (lambda: face.activations(images[:5], face.network_.layers[0].name), 5, 0),
    ]
    for call, forward, backward in calls:
        call()
        expected["forward"] += forward
        expected["backward"] += backward
        counts = clone(face).pass_counts()  # shared by all on the same network
        assert {name: counts[name] for name in expected} == expected


def use_everything(network):
    face = FaceClassifier.from_network(network)
    face.value_and_gradient(X, Y)
    face.vjp(X, np.zeros((5, 3)))
    face.activations(X, [network.layers[-1].name])
    name = network.layers[0].name
    face.head_vjp(name, face.activations(X, name)[0], np.zeros((5, 3)))
    make_pipeline(GaussianBlur(), face).predict(X)


@pytest.mark.parametrize("build", [smooth_network, lambda: functional(nested_head(dense("softmax")))])
def test_a_dropped_network_is_freed(build):
    network = build()
    use_everything(network)
    reference = weakref.ref(network)
    del network
    gc.collect()
    assert reference() is None


def test_a_trained_network_is_freed():
    face = FaceClassifier(lambda shape, n_classes: smooth_network(n_classes), epochs=1).fit(X, Y)
    use_everything(face.network_)
    reference = weakref.ref(face.network_)
    del face
    gc.collect()
    assert reference() is None


def test_threads_at_once_agree_with_one():
    network = smooth_network()
    batches = [RNG.uniform(size=(9, *SHAPE)).astype(np.float32) for _ in range(4)]
    index = np.arange(9) % 3
    results = [[] for _ in batches]
    barrier = threading.Barrier(len(batches))

    def work(k):
        barrier.wait()
        for _ in range(5):
            results[k].append(engine_of(network).value_and_gradient(batches[k], index, "odds")[2])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for batch, gradients in zip(batches, results, strict=True):
        expected = finite_difference(
            lambda X: (
                logsumexp(np.where(np.eye(3, dtype=bool)[index], -np.inf, logits_in_float64(network, X)), axis=1)
                - logits_in_float64(network, X)[np.arange(9), index]
            ),
            batch,
        )
        for gradient in gradients:
            np.testing.assert_allclose(gradient, expected, atol=2e-5)
    assert engine_of(network).counts == {"forward": 180, "backward": 180, "traces": 1}


# Inference mode


def test_inference_leaves_dropout_and_batch_norm_alone():
    network = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    network.set_weights([RNG.uniform(0.5, 1.5, size=weight.shape) for weight in network.get_weights()])
    state = [np.asarray(variable).copy() for variable in network.variables]
    gamma, beta, mean, variance, kernel, bias = network.get_weights()
    face = FaceClassifier.from_network(network)
    normal = gamma * (X - mean) / np.sqrt(variance + network.layers[0].epsilon) + beta
    np.testing.assert_allclose(face.logits(X), normal.reshape(5, -1) @ kernel + bias, atol=1e-5)
    _, _, first = face.value_and_gradient(X, Y)
    _, _, second = face.value_and_gradient(X, Y)
    np.testing.assert_array_equal(first, second)
    face.vjp(X, np.zeros((5, 3)))
    face.activations(X, network.layers[2].name)
    for before, after in zip(state, network.variables, strict=True):
        np.testing.assert_array_equal(before, np.asarray(after))


def test_training_moves_batch_norm_and_regularises():
    def builder(shape, n_classes):
        return keras.Sequential(
            [
                keras.Input(shape),
                layers.BatchNormalization(momentum=0.5),
                layers.Flatten(),
                layers.Dense(n_classes, kernel_initializer="zeros", kernel_regularizer=keras.regularizers.L2(0.1)),
            ]
        )

    face = FaceClassifier(builder, epochs=1, batch_size=5, optimizer=keras.optimizers.SGD(0.0), random_state=0)
    network = face.fit(X, Y).network_
    mean = network.layers[0].moving_mean.numpy()
    np.testing.assert_allclose(mean, 0.5 * X.mean(axis=(0, 1, 2)), atol=1e-6)  # from 0, halfway to the batch's
    assert face.history_["loss"][0] == pytest.approx(np.log(3), abs=1e-6)  # of zero weights, penalty left out


def test_activations():
    network = smooth_network()
    hidden, logits = engine_of(network).activations(X, [layer.name for layer in network.layers[1:]])
    kernel, bias, *_ = network.get_weights()
    np.testing.assert_allclose(hidden, np.tanh(X.reshape(5, -1) @ kernel + bias), atol=1e-5)
    np.testing.assert_allclose(logits, logits_in_float64(network, X), atol=1e-5)


def test_activations_of_a_layer_that_another_network_uses_too():
    first = smooth_network()
    second = keras.Sequential([keras.Input(SHAPE), *first.layers[:-1], dense("softmax")])
    name = first.layers[1].name
    one, other = (engine_of(network).activations(X, [name])[0] for network in (first, second))
    np.testing.assert_array_equal(one, other)


def kinds(network):
    return [engine_of(network).layer_names(kind) for kind in ("convolution", "vector")]


def test_names_of_layers_by_kind():
    convolutions, vectors = kinds(NETWORKS["paper"]((32, 32, 1), 4))
    assert convolutions == ["conv1", "conv2", "conv3", "conv4"]
    assert vectors == ["flatten", "dense1", "dense2", "dense3", LOGITS]


@pytest.mark.parametrize(
    "end", [[dense("softmax")], [dense(), layers.Softmax()], [dense(), layers.Activation("softmax")]]
)
def test_names_of_layers_of_other_makes(end):
    """Depthwise, separable and 1 x 1 ones; pooled instead of flattened; a network inside; the last dense layer is the logits."""
    inner = keras.Sequential([keras.Input((8, 6, 4)), layers.Conv2D(4, 3, padding="same")], name="inner")
    network = keras.Sequential(
        [
            keras.Input((8, 6, 1)),
            layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise"),
            layers.SeparableConv2D(4, 3, padding="same", name="separable"),
            layers.BatchNormalization(),
            layers.ReLU(),
            inner,
            layers.GlobalAveragePooling2D(name="pooled"),
            layers.Dense(5, name="hidden"),
            *end,
        ]
    )
    convolutions, vectors = kinds(network)
    assert convolutions == ["depthwise", "separable", "inner"]
    assert vectors == ["pooled", "hidden", LOGITS]
    face = FaceClassifier.from_network(network)
    images = np.random.default_rng(0).uniform(size=(2, 8, 6, 1)).astype(np.float32)
    assert [len(out.shape) for out in face.activations(images, convolutions + vectors)] == [4, 4, 4, 2, 2, 2]
    defended = as_face_model(make_pipeline(GaussianBlur(), face))
    assert defended.layer_names("convolution") == face.layer_names("convolution") == convolutions
    with pytest.raises(ValueError, match="kind as one of convolution, vector"):
        face.layer_names("recurrent")


def test_activations_refuse_unknown_names_and_none():
    face = FaceClassifier.from_network(small_network())
    images = np.zeros((1, 16, 12, 1))
    with pytest.raises(ValueError, match=r"no layer 'conv9' .*; its layers are .*conv1, pool1, conv2"):
        face.activations(images, ["conv9"])
    with pytest.raises(ValueError, match="at least one layer"):
        face.activations(images, [])


def test_pixels_are_an_activation():
    network = smooth_network()
    pixels, logits = engine_of(network).activations(X, [PIXELS, LOGITS])
    np.testing.assert_array_equal(pixels, X)
    weights = RNG.normal(size=X.shape)
    gradient = engine_of(network).activations_vjp(X, [PIXELS, LOGITS], [weights, np.zeros_like(logits)])
    np.testing.assert_allclose(gradient, weights, rtol=1e-6)


def dropping(last="linear"):
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(3, 2, name="conv"),
            layers.Dropout(0.1, name="first"),
            layers.Flatten(name="flat"),
            layers.Dense(6, activation="tanh", name="hidden"),
            layers.Dropout(0.25, name="second"),
            layers.Dropout(0.0, name="idle"),
            layers.Dense(3, activation=last, name="out"),
        ]
    )


@pytest.mark.parametrize("last", ["linear", "softmax"])
@pytest.mark.parametrize("layer", ["conv", "second", "idle"])
def test_head_continues_where_activations_stop(layer, last):
    network = dropping(last)
    face = FaceClassifier.from_network(network, classes=[5, 3, 4])
    at = face.activations(X, layer)[0]
    np.testing.assert_allclose(face.head(layer, at), face.logits(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(face.head(layer, at[2:3]), face.head(layer, at)[2:3])
    cotangents = RNG.normal(size=(5, 3))
    by_layer = face.head_vjp(layer, at, cotangents)
    way = RNG.normal(size=at.shape) * 1e-2
    ahead, back = (face.head(layer, at + side * way).astype(np.float64) for side in (1, -1))
    difference = (cotangents * (ahead - back)).sum() / 2  # of float32 logits: 1e-5 is their rounding
    np.testing.assert_allclose((by_layer * way).sum(), difference, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(face.activations_vjp(X, [layer], [by_layer]), face.vjp(X, cotangents), atol=1e-5)


def test_head_behind_a_hidden_softmax_gives_the_same_logits():
    inputs = keras.Input(SHAPE)
    hidden = layers.Dense(6, name="hidden")(layers.Flatten()(inputs))
    shares = [layers.Dense(3, activation="softmax")(hidden) for _ in range(2)]
    network = keras.Model(inputs, layers.average(shares))
    face = FaceClassifier.from_network(network)
    np.testing.assert_allclose(face.head("hidden", face.activations(X, "hidden")[0]), face.logits(X), atol=1e-5)


def test_head_refuses_a_layer_that_the_network_leads_past():
    inputs = keras.Input(SHAPE)
    flat = layers.Flatten()(inputs)
    hidden = layers.Dense(12, name="hidden")(flat)
    face = FaceClassifier.from_network(keras.Model(inputs, layers.Dense(3)(layers.add([flat, hidden]))))
    with pytest.raises(ValueError, match="'hidden' alone: the network leads past it"):
        face.head("hidden", np.zeros((1, 12)))
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        face.head("conv9", np.zeros((1, 12)))


def test_layers_by_kind_and_the_last_dropout():
    face = as_face_model(make_pipeline(GaussianBlur(), FaceClassifier.from_network(dropping("softmax"))))
    assert face.layer_names("convolution") == ["conv"]
    assert face.layer_names("vector") == ["flat", "hidden", LOGITS]
    assert face.layer_names("dense") == ["hidden"]
    assert face.last_dropout() == ("second", 0.25)
    with pytest.raises(ValueError, match="convolution, vector, dense, got 'pooling'"):
        face.layer_names("pooling")
    assert FaceClassifier.from_network(smooth_network()).last_dropout() is None
    whole_maps = keras.Sequential(
        [keras.Input(SHAPE), layers.SpatialDropout2D(0.5), layers.Flatten(), layers.Dense(3), layers.Softmax()]
    )
    other = FaceClassifier.from_network(whole_maps)
    assert other.last_dropout() is None and other.layer_names("dense") == []


# Networks that are refused


def two_inputs():
    inputs = [keras.Input(SHAPE), keras.Input(SHAPE)]
    return keras.Model(inputs, dense()(layers.Flatten()(layers.add(inputs))))


def two_outputs():
    inputs = keras.Input(SHAPE)
    flat = layers.Flatten()(inputs)
    return keras.Model(inputs, [dense()(flat), dense()(flat)])


REFUSED = {
    "two inputs": (two_inputs, r"one input \(batch, height, width, channels\), got inputs of shape"),
    "flat input": (
        lambda: keras.Sequential([keras.Input((12,)), dense()]),
        "one input .* got inputs of shape",
    ),
    "not built": (
        lambda: keras.Sequential([layers.Flatten(), dense()]),
        "without a fixed input .*keras.Input",
    ),
    "subclass": (HiddenSoftmax, "without a fixed input .*wrap it"),
    "two outputs": (two_outputs, "one output .* got outputs of shape"),
    "one column": (lambda: sequential(layers.Dense(1)), "at least 2 classes"),
    "image output": (lambda: keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 1)]), "one output"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_networks_are_refused(name):
    build, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        FaceClassifier.from_network(build())


def test_no_gradient_is_an_error_and_not_zero():
    face = FaceClassifier.from_network(functional(lambda x: dense()(keras.ops.round(x))))
    assert face.predict(X).shape == (5,)
    for call in (lambda: face.value_and_gradient(X, Y), lambda: face.vjp(X, np.ones((5, 3)))):
        with pytest.raises(ValueError, match=r"no gradient flows .*rounding.* defence with a vjp"):
            call()


@pytest.mark.parametrize("objective", ["hinge", None, ["odds"]])
def test_unknown_objective(objective):
    face = FaceClassifier.from_network(smooth_network())
    with pytest.raises(ValueError, match="expected objective as one of cross_entropy, dlr, margin, odds"):
        face.value_and_gradient(X, Y, objective)


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="TensorFlow backend, but Keras runs on 'jax'"):
        as_face_model(FaceClassifier.from_network(smooth_network()))


# Networks of NaN


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, -1])
def test_a_network_of_nan_is_refused(number, place):
    network = sequential(layers.Activation("relu"), dense())
    good = network.get_weights()
    bad = [weight.copy() for weight in good]
    bad[place].flat[0] = number
    network.set_weights(bad)
    with pytest.raises(ValueError, match=r"the network returns NaN or infinite numbers for"):
        FaceClassifier.from_network(network)
    network.set_weights(good)
    FaceClassifier.from_network(network)


def test_a_network_that_returns_nan_is_refused():
    with pytest.raises(ValueError, match=r"the network returns NaN or infinite numbers for an image"):
        FaceClassifier.from_network(functional(lambda x: keras.ops.log(dense()(x) * 0 - 1)))


# oneDNN


def in_a_new_process(code, **environment):
    env = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env | environment, capture_output=True, text=True, check=True).stdout.strip()


SHOW = "import smartbox, os; print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))"


def test_importing_smartbox_turns_onednn_on_unless_the_user_decided():
    assert in_a_new_process(SHOW) == "1"
    assert in_a_new_process(SHOW, TF_ENABLE_ONEDNN_OPTS="0") == "0"
    too_late = "import sys; sys.modules['tensorflow'] = object(); "  # as if imported before
    assert in_a_new_process(too_late + SHOW) == "None"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_slow_tensorflow_is_told(monkeypatch, enabled):
    port = types.ModuleType("port")
    port.IsMklEnabled = lambda: enabled
    monkeypatch.setitem(sys.modules, "tensorflow.python.util._pywrap_util_port", port)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine_module._warn_if_slow()
    assert [("import smartbox first" in str(warning.message)) for warning in caught] == [True] * (not enabled)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine_module._warn_if_slow()  # the user knows


def test_many_networks_make_no_warning_of_retracing():
    code = """
import keras, numpy as np
from smartbox import FaceClassifier
X = np.zeros((4, 4, 3, 1))
for _ in range(8):
    build = lambda shape, k: keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(k)])
    face = FaceClassifier(build, epochs=1).fit(X, [0, 1, 0, 1])
    face.value_and_gradient(X, [0, 1, 0, 1])
    face.vjp(X, np.zeros((4, 2)))
    face.activations(X, face.network_.layers[-1].name)
    face.predict(X)
"""
    env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "retracing" not in done.stderr


def test_several_gradients_on_one_forward_pass_equal_one_after_the_other():
    network = small_network()
    face = FaceClassifier.from_network(network, classes=[3, 1, 2, 5, 4])
    X = example_images(face.image_shape_, n=20)
    cotangents = np.random.default_rng(0).normal(size=(20, 3, 5)).astype(np.float32)
    before = face.pass_counts()
    gradients = face.vjps(X, cotangents)
    counts = face.pass_counts()
    assert (counts["forward"] - before["forward"], counts["backward"] - before["backward"]) == (20, 60)
    for i in range(3):
        np.testing.assert_allclose(gradients[:, i], face.vjp(X, cotangents[:, i]), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"expected cotangents of shape \(20, count, 5\)"):
        face.vjps(X, cotangents[:, 0])


@pytest.mark.parametrize("hidden", [False, True])
def test_an_interruption_inside_tensorflow_stays_one(monkeypatch, hidden):
    """Its C code makes a SystemError of it, its Python code then hides the cause."""
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=20)
    whole = face.logits(X)

    def interrupted(*_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            error = SystemError("returned a result with an exception set")
            error.__cause__ = None if hidden else interrupt
            raise error  # noqa: B904 - the context is what is left of the cause

    with monkeypatch.context() as patch:
        patch.setattr(engine_module.tf, "convert_to_tensor", interrupted)
        with pytest.raises(KeyboardInterrupt):
            face.logits(X)
    np.testing.assert_array_equal(face.logits(X), whole)


def test_other_system_errors_pass(monkeypatch):
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=20)
    face.logits(X)

    def broken(*_):
        raise SystemError("something else")

    monkeypatch.setattr(engine_module.tf, "convert_to_tensor", broken)
    with pytest.raises(SystemError, match="something else"):
        face.logits(X)
