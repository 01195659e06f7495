"""DDN against exact distances on affine models, and against its own recurrence."""

import numpy as np
import pytest

from smartbox import FaceClassifier
from smartbox.attacks import DDN
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


@pytest.fixture
def two_classes():
    weights, bias, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y = face.predict(X)
    logits = face.logits(X).astype(np.float64)
    return face, X, y, np.abs(logits[:, 0] - logits[:, 1]) / np.linalg.norm(weights[0] - weights[1])


@pytest.mark.parametrize("targeted", [False, True])
def test_converges_to_the_exact_distance(two_classes, targeted):
    face, X, y, exact = two_classes
    attack = DDN(face, targeted=targeted)
    attack.generate(X, 1 - y if targeted else y)
    assert attack.report_.success.all()
    np.testing.assert_allclose(attack.report_.l2, exact, rtol=2e-3, atol=1e-6)
    assert (attack.report_.l2 >= exact * (1 - 1e-4) - 1e-7).all()


@pytest.mark.parametrize("gamma", [0.02, 0.05])
def test_within_gamma_before_the_line_search(two_classes, gamma, monkeypatch):
    face, X, y, exact = two_classes
    monkeypatch.setattr("smartbox.attacks._search.polish", lambda X, X_adv, judge: X_adv)
    attack = DDN(face, max_iter=200, init_eps=0.1, gamma=gamma)
    attack.generate(X, y)
    apart = exact > 1e-3  # the radius has not shrunk to less
    assert (attack.report_.l2 <= exact * (1 + gamma))[apart].all() and apart.sum() > 15


def test_nearest_of_many_boundaries():
    """With logits so steep that cross-entropy is all but the margin."""
    weights, bias, X = random_affine(1, 6, SHAPE, scale=300)
    face = affine_face(weights, bias + 300 * np.random.default_rng(1).normal(size=6), SHAPE)
    y = face.predict(X)
    rows, logits = np.arange(len(y)), face.logits(X).astype(np.float64)
    size = np.linalg.norm(weights[y][:, None] - weights[None], axis=2)
    exact = np.where(size > 0, (logits[rows, y][:, None] - logits) / np.where(size > 0, size, 1), np.inf).min(axis=1)
    attack = DDN(face)
    attack.generate(X, y)
    assert (attack.report_.l2 >= exact * (1 - 1e-4)).all()
    assert np.median(attack.report_.l2 / exact) < 1.01


def test_recurrence_step_by_step(face, monkeypatch):
    """Algorithm 1 written out, for images in mid-box, without the line search."""
    monkeypatch.setattr("smartbox.attacks._search.polish", lambda X, X_adv, judge: X_adv)
    X = 0.3 + 0.4 * example_images()
    y, n, T = face.predict(X), len(X), 8
    delta, eps, best, nearest = np.zeros_like(X), np.full(n, 0.3), np.full(n, np.inf), X.copy()
    for k in range(T + 1):
        _, logits, gradient = face.value_and_gradient(X + delta, y, "odds")
        won, size = logits.argmax(axis=1) != y, np.linalg.norm(delta.reshape(n, -1), axis=1)
        better = won & (size < best)
        best[better], nearest[better] = size[better], (X + delta)[better]
        step = 0.01 + 0.99 * (1 + np.cos(np.pi * k / T)) / 2
        delta = delta + step * gradient / np.linalg.norm(gradient.reshape(n, -1), axis=1)[:, None, None, None]
        eps = np.where(won, eps * 0.9, eps * 1.1)
        delta *= (eps / np.linalg.norm(delta.reshape(n, -1), axis=1))[:, None, None, None]
        delta = (np.clip(X + delta, 0, 1) - X).astype(np.float32)
    np.testing.assert_allclose(DDN(face, max_iter=T, init_eps=0.3, gamma=0.1).generate(X, y), nearest, atol=1e-5)


def test_batches_and_order_do_not_matter(face):
    X = example_images(n=20)
    y = face.predict(X)
    attack = DDN(face, max_iter=10)
    whole = attack.generate(X, y)
    order = np.random.default_rng(0).permutation(20)
    shuffled = attack.set_params(batch_size=6).generate(X[order], y[order])
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-6)


def test_a_final_softmax_makes_no_difference():
    import keras

    network, X = small_network(), example_images()
    softmax = keras.Sequential([network, keras.layers.Softmax()])
    plain, wrapped = (DDN(FaceClassifier.from_network(net), max_iter=10).generate(X) for net in (network, softmax))
    np.testing.assert_allclose(wrapped, plain, atol=1e-5)


def test_wrong_from_the_start_or_never_found_is_unchanged(face):
    X = example_images()
    y = face.predict(X)
    y[:4] = (y[:4] + 1) % 5
    attack = DDN(face, max_iter=5)
    X_adv = attack.generate(X, y)
    np.testing.assert_array_equal(X_adv[:4], X[:4])
    assert attack.report_.success[:4].all() and attack.report_.n_gradients[:4].sum() == 0
    flat = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    X = np.full((3, *SHAPE), 0.5, dtype=np.float32)
    attack = DDN(flat, max_iter=4, random_state=0)
    with pytest.warns(UserWarning, match="gradient was zero"):
        np.testing.assert_array_equal(attack.generate(X), X)
    np.testing.assert_array_equal(attack.report_.n_zero_gradients, 4)


def test_counts_of_gradients_are_those_of_the_network(face):
    X = example_images()
    before = face.pass_counts()["backward"]
    attack = DDN(face, max_iter=7)
    attack.generate(X)
    assert face.pass_counts()["backward"] - before == attack.report_.n_gradients.sum() == 7 * len(X)


def test_auto_radius_is_the_distance_of_an_affine_model():
    """One projection of the gradient then lies on the boundary; a step later the image is across or the sphere grows."""
    weights, bias, X = random_affine(3, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y = face.predict(X)
    logits = face.logits(X).astype(np.float64)
    exact = np.abs(logits[:, 0] - logits[:, 1]) / np.linalg.norm(weights[0] - weights[1])
    report = DDN(face, init_eps="auto", max_iter=3).generate(X, y, return_report=True)[1]
    assert report.success.all()
    np.testing.assert_allclose(report.l2, exact, rtol=2e-3)
    np.testing.assert_array_equal(report.n_gradients, 4)
