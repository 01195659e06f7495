"""Carlini and Wagner's attack against the exact minimisers of affine models."""

import numpy as np
import pytest

from smartbox import FaceClassifier
from smartbox.attacks import DDN, CarliniL2
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)
QUICK = {"binary_search_steps": 3, "max_iter": 25, "initial_const": "auto"}


class Recorder:
    """A face model that keeps the images of its last gradient."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def value_and_gradient(self, X, y, objective):
        self.last = X.copy()
        return self.model.value_and_gradient(X, y, objective)


@pytest.fixture(scope="module")
def affine():
    """Two classes: model, images at distances of 0.1 to 0.2, labels, margins and normals towards the other class."""
    weights, bias, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y = face.predict(X)
    normal, rows = weights[1 - y] - weights[y], np.arange(len(X))
    size = np.linalg.norm(normal, axis=1)
    margin = size * np.linspace(0.1, 0.2, len(X))
    logits = X.reshape(len(X), -1) @ weights.T + bias
    missing = margin - (logits[rows, y] - logits[rows, 1 - y])
    X = (X - ((missing / size**2)[:, None] * normal).reshape(X.shape)).astype(np.float32)
    return face, X, y, margin, normal


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


def grey(X):
    """No pixel at 0 or 1, where ``tanh`` is flat and takes hundreds of steps to leave."""
    return 0.05 + np.float32(0.9) * X


def lead(face, X, y):
    """By how much the largest other logit exceeds the label's, from the logits alone."""
    logits = face.logits(X).astype(np.float64)
    own = logits[np.arange(len(y)), y].copy()
    logits[np.arange(len(y)), y] = -np.inf
    return logits.max(axis=1) - own


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize(("confidence", "targeted"), [(0, False), (0.3, False), (0.3, True)])
def test_distance_is_exact_on_an_affine_model(affine, confidence, targeted, schedule):
    face, X, y, margin, normal = affine
    attack = CarliniL2(face, confidence=confidence, targeted=targeted, max_iter=200, schedule=schedule)
    X_adv = attack.generate(X, 1 - y if targeted else y)
    exact = (margin + confidence) / np.linalg.norm(normal, axis=1)
    assert attack.report_.success.all()
    np.testing.assert_allclose(attack.report_.l2, exact, rtol=5e-3, atol=1e-5)
    assert (attack.report_.l2 >= exact * (1 - 1e-4) - 1e-6).all(), "nothing is nearer than the exact distance"
    assert lead(face, X_adv, y).min() >= confidence - 1e-5
    assert X_adv.min() > 0 and X_adv.max() < 1


def test_distances_shorter_than_the_first_step():
    """It crosses the boundary at any constant, but only constants that hold are kept, so that the search finds them."""
    weights, bias, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    logits = X.reshape(len(X), -1) @ weights.T + bias
    exact = np.abs(logits[:, 0] - logits[:, 1]) / np.linalg.norm(weights[0] - weights[1])
    assert np.median(exact) < 0.01 * np.sqrt(20), "the first step is longer"
    ratio = {}
    for schedule in ("cosine", "constant"):
        attack = CarliniL2(face, max_iter=200, schedule=schedule)
        attack.generate(X)
        ratio[schedule] = np.median(attack.report_.l2 / exact)
    assert ratio["cosine"] < 1.01 < ratio["constant"]


def test_critical_constant(affine):
    """From ``2 (m + confidence) / ||w||**2`` on the minimiser is adversarial; with small steps nothing overshoots."""
    face, X, y, margin, normal = affine
    critical = 2 * (margin + 0.2) / np.sum(normal**2, axis=1)
    for i in range(3):
        settings = {"confidence": 0.2, "binary_search_steps": 1, "max_iter": 600, "learning_rate": 1e-3}
        one, label = X[i : i + 1], y[i : i + 1]
        for share, wins in [(0.9, False), (1.1, True)]:
            attack = CarliniL2(face, initial_const=share * critical[i], **settings)
            assert (attack.generate(one, label) != one).any() == wins


def test_minimiser_at_a_fixed_constant(affine):
    """Below the critical constant the change is ``c / 2`` times the normal; the margin falls by half ``c ||w||**2``."""
    face, X, y, margin, normal = affine
    c = 0.5 * (2 * margin / np.sum(normal**2, axis=1)).min()
    model = Recorder(face)
    settings = {"binary_search_steps": 1, "max_iter": 500, "learning_rate": 2e-3, "abort_early": False}
    attack = CarliniL2(model, initial_const=c, **settings)
    X_adv = attack.generate(X, y)
    delta = (model.last - X).reshape(len(X), -1)
    np.testing.assert_allclose(delta, c / 2 * normal, atol=0.01 * c * np.abs(normal).max())
    np.testing.assert_array_equal(X_adv, X)
    assert not attack.report_.success.any()


def test_auto_constant_is_the_critical_one(affine):
    """With it two steps of the search suffice, whatever factor the logits are scaled by."""
    face, X, y, _, _ = affine
    kernel, bias = face.network_.get_weights()
    distances = []
    for scale in (1, 1000):
        scaled = affine_face(scale * kernel.T, scale * bias, SHAPE)
        attack = CarliniL2(scaled, initial_const="auto", binary_search_steps=2, max_iter=200)
        attack.generate(X, y)
        assert attack.report_.success.all()
        distances.append(attack.report_.l2)
    np.testing.assert_allclose(*distances, rtol=5e-3)
    np.testing.assert_array_equal(attack.report_.n_gradients, attack.report_.n_iterations + 1)


@pytest.mark.parametrize(("scale", "shift", "softmax"), [(1000.0, 0.0, False), (1.0, 500.0, False), (1.0, 0.0, True)])
def test_logits_scaled_shifted_or_under_a_softmax(scale, shift, softmax):
    import keras

    network, X = small_network(), grey(example_images(n=6))
    attack = CarliniL2(FaceClassifier.from_network(network), binary_search_steps=6, max_iter=50, initial_const=1e-2)
    attack.generate(X)
    plain = attack.report_.l2
    *rest, kernel, bias = network.get_weights()
    network.set_weights([*rest, kernel * scale, bias * scale + shift])
    if softmax:
        network = keras.Sequential([network, keras.layers.Softmax()])
    changed = attack.set_params(model=FaceClassifier.from_network(network), initial_const=1e-2 / scale)
    changed.generate(X)
    assert attack.report_.success.all()
    np.testing.assert_allclose(changed.report_.l2, plain, rtol=3e-2)


@pytest.mark.parametrize("targeted", [False, True])
def test_batches_and_order_do_not_matter_to_the_bit(face, targeted):
    X = example_images(n=17)
    y = (face.predict(X) + 1) % 5 if targeted else face.predict(X)
    attack = CarliniL2(face, targeted=targeted, **QUICK)
    whole = attack.generate(X, y)
    assert len(set(attack.report_.n_iterations)) > 3, "images stop at different times, or there is nothing to test"
    order = np.random.default_rng(0).permutation(17)
    np.testing.assert_array_equal(attack.generate(X[order], y[order]), whole[order])
    np.testing.assert_array_equal(attack.set_params(batch_size=7).generate(X, y), whole)
    for i in range(3):
        np.testing.assert_array_equal(attack.generate(X[i : i + 1], y[i : i + 1]), whole[i : i + 1])


def test_targets_at_random_are_reached_with_their_margin(face):
    X = grey(example_images(n=24))
    y = (face.predict(X) + np.random.default_rng(1).integers(1, 5, 24)) % 5
    attack = CarliniL2(face, targeted=True, confidence=0.5, **{**QUICK, "max_iter": 100})
    X_adv = attack.generate(X, y)
    assert attack.report_.success.all()
    assert (-lead(face, X_adv, y)).min() >= 0.5 - 1e-5
    assert X_adv.min() >= 0 and X_adv.max() <= 1


@pytest.mark.parametrize(("confidence", "max_iter"), [(0, 6), (1, 25)])
def test_success_is_never_false_and_failures_come_back_unchanged(face, confidence, max_iter):
    X = example_images(n=24)
    y = face.predict(X)
    attack = CarliniL2(face, confidence=confidence, binary_search_steps=2, max_iter=max_iter, initial_const=0.05)
    X_adv = attack.generate(X, y)
    changed = (X_adv != X).any(axis=(1, 2, 3))
    assert 0 < changed.mean() < 1, "some fail, some do not"
    np.testing.assert_array_equal(attack.report_.success, changed)
    np.testing.assert_array_equal(face.predict(X_adv) != y, changed)
    assert lead(face, X_adv, y)[changed].min() >= confidence - 1e-5


def test_images_wrong_from_the_start(face):
    """They stay where they are, unless a margin is asked for that they lack."""
    X = grey(example_images())
    y = (face.predict(X) + 1) % 5
    attack = CarliniL2(face, **{**QUICK, "max_iter": 60})
    np.testing.assert_array_equal(attack.generate(X, y), X)
    assert attack.report_.initially_wrong.all() and attack.report_.success.all()
    assert attack.report_.n_gradients.sum() == 0
    had = lead(face, X, y)
    wanted = float(np.median(had))
    X_adv = attack.set_params(confidence=wanted).generate(X, y)
    np.testing.assert_array_equal((X_adv != X).any(axis=(1, 2, 3)), had < wanted)
    assert lead(face, X_adv, y).min() >= wanted - 1e-5


@pytest.mark.filterwarnings("ignore:.*the gradient was zero")
def test_flat_models_end_at_once():
    face = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    X = np.full((3, *SHAPE), 0.5, dtype=np.float32)
    for const in (1e-3, "auto"):
        attack = CarliniL2(face, initial_const=const)
        np.testing.assert_array_equal(attack.generate(X), X)
        assert not attack.report_.success.any()
        np.testing.assert_array_equal(attack.report_.n_iterations, 1)
        np.testing.assert_array_equal(attack.report_.n_zero_gradients, 1)


def test_counts_of_gradients_are_those_of_the_network(face):
    X = example_images()
    for settings in ({}, {"abort_early": False}):
        before = face.pass_counts()["backward"]
        attack = CarliniL2(face, **QUICK, **settings)
        attack.generate(X)
        assert face.pass_counts()["backward"] - before == attack.report_.n_gradients.sum()
    np.testing.assert_array_equal(attack.report_.n_iterations, 75)


def test_long_searches_and_black_and_white_pixels_stay_finite():
    """No success at any constant, which grows tenfold each time; every pixel at its wall."""
    face = affine_face(np.full((2, 20), [[1.0], [0.999]]), np.array([100.0, 0.0]), SHAPE)
    X = np.zeros((2, *SHAPE), dtype=np.float32)
    X[1] = 1
    attack = CarliniL2(face, binary_search_steps=30, max_iter=3, abort_early=False)
    np.testing.assert_array_equal(attack.generate(X), X)
    np.testing.assert_array_equal(attack.report_.n_iterations, 90)


@pytest.mark.parametrize("targeted", [False, True])
def test_head_start_is_bettered_in_fewer_gradients(face, targeted):
    X = grey(example_images(face.image_shape_, n=20))
    y = (face.predict(X) + targeted) % 5
    setting = {"binary_search_steps": 4, "max_iter": 60, "initial_const": "auto", "targeted": targeted}
    reports = {}
    for init in ("image", "ddn"):
        attack = CarliniL2(face, init=init, **setting)
        attack.generate(X, y)
        reports[init] = attack.report_
    start = DDN(face, init_eps=1.0 if targeted else "auto", max_iter=15, targeted=targeted)
    start.generate(X, y)
    assert reports["ddn"].success.all() and reports["image"].success.all()
    assert (reports["ddn"].l2 <= start.report_.l2 * (1 + 1e-3)).all(), "the start counts as found"
    assert reports["ddn"].l2.mean() < 1.1 * reports["image"].l2.mean(), "or hardly farther, where targets are far"
    assert reports["ddn"].n_gradients.mean() < 0.7 * reports["image"].n_gradients.mean()


def test_head_start_on_an_affine_model_ends_at_the_exact_distance(affine):
    face, X, y, margin, normal = affine
    attack = CarliniL2(face, init="ddn", binary_search_steps=5, max_iter=100, initial_const="auto")
    attack.generate(X, y)
    np.testing.assert_allclose(attack.report_.l2, margin / np.linalg.norm(normal, axis=1), rtol=2e-3)


def test_head_start_short_of_the_confidence_is_only_a_start(affine):
    face, X, y, margin, _ = affine
    confidence = float(margin.max())
    attack = CarliniL2(
        face, init="ddn", confidence=confidence, binary_search_steps=5, max_iter=200, initial_const="auto"
    )
    X_adv = attack.generate(X, y)
    assert attack.report_.success.all()
    assert (lead(face, X_adv, y) >= confidence * (1 - 1e-5)).all()
