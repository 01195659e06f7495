"""DeepFool against exact distances to the faces of affine models."""

from itertools import pairwise

import numpy as np
import pytest

from smartbox import FaceClassifier
from smartbox.attacks import DeepFool
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)
DUAL = {"l2": 2, "linf": 1}


def distances(weights, logits, y, norm):
    """Of each image to each boundary of its label; infinite to its own."""
    rows = np.arange(len(y))
    gaps = logits[rows, y][:, None] - logits
    sizes = np.linalg.norm(weights[y][:, None] - weights[None], DUAL[norm], axis=2)
    return np.where(np.arange(logits.shape[1]) == y[:, None], np.inf, gaps / np.where(sizes > 0, sizes, 1))


@pytest.fixture(scope="module")
def affine():
    weights, bias, X = random_affine(0, 6, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    return weights, bias, X, face, face.predict(X)


@pytest.mark.parametrize("norm", DUAL)
def test_one_projection_to_the_nearest_boundary(affine, norm):
    weights, _, X, face, y = affine
    exact = distances(weights, face.logits(X).astype(np.float64), y, norm)
    attack = DeepFool(face, norm=norm, n_refinements=0)
    attack.generate(X)
    report = attack.report_
    assert report.success.all()
    np.testing.assert_array_equal(report.n_iterations, 1)
    np.testing.assert_allclose(report[norm], exact.min(axis=1), rtol=2e-3)  # polish leaves 2**-12 of the overshoot
    assert (report[norm] >= exact.min(axis=1) * (1 - 1e-4)).all(), "nothing is nearer than the exact distance"
    second = np.sort(exact, axis=1)[:, 1]
    clear = second > 1.05 * exact.min(axis=1)
    assert clear.any()
    np.testing.assert_array_equal(report.prediction_after[clear], exact.argmin(axis=1)[clear])


@pytest.mark.parametrize("norm", DUAL)
def test_direction_is_the_normal_of_the_boundary(affine, norm):
    weights, _, X, face, y = affine
    X_adv = DeepFool(face, norm=norm).generate(X)
    delta = (X_adv - X).reshape(len(X), -1).astype(np.float64)
    normal = weights[face.predict(X_adv)] - weights[y]
    if norm == "l2":
        cosine = np.sum(delta * normal, axis=1) / np.linalg.norm(delta, axis=1) / np.linalg.norm(normal, axis=1)
        assert cosine.min() > 0.999
    else:
        size = np.abs(delta).max(axis=1, keepdims=True)
        np.testing.assert_allclose(delta, np.sign(normal) * size, atol=1e-6)


@pytest.mark.parametrize("norm", DUAL)
def test_targeted_is_the_distance_to_that_one_class_where_it_is_reached_at_once(norm):
    weights, bias, X = random_affine(1, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y = face.predict(X)
    attack = DeepFool(face, norm=norm, targeted=True)
    attack.generate(X, 1 - y)
    exact = distances(weights, face.logits(X).astype(np.float64), y, norm).min(axis=1)
    assert attack.report_.success.all()
    np.testing.assert_allclose(attack.report_[norm], exact, rtol=2e-3)


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (1.0, 500.0)])
def test_logits_scaled_or_shifted_change_nothing(scale, shift):
    network = small_network()
    X = example_images()
    plain = DeepFool(FaceClassifier.from_network(network)).generate(X)
    *rest, kernel, bias = network.get_weights()
    network.set_weights([*rest, kernel * scale, bias * scale + shift])
    changed = DeepFool(FaceClassifier.from_network(network)).generate(X)
    distance = [np.linalg.norm((out - X).reshape(len(X), -1), axis=1) for out in (plain, changed)]
    np.testing.assert_allclose(*distance, rtol=2e-2)


@pytest.mark.parametrize("norm", DUAL)
def test_batches_and_order_do_not_matter(norm):
    face = FaceClassifier.from_network(small_network())
    X = example_images(n=30)
    attack = DeepFool(face, norm=norm)
    whole = attack.generate(X)
    for batch_size in (1, 7):
        np.testing.assert_allclose(attack.set_params(batch_size=batch_size).generate(X), whole, atol=1e-5)
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_allclose(attack.generate(X[order]), whole[order], atol=1e-5)


def test_walls_of_the_box_are_respected_and_still_crossed():
    """Every pixel that helps is at its wall on one side, so that the unclipped projection would not do."""
    weights = np.array([[1.0, 1.0, 0.2, 0.2], [0, 0, 0, 0]])
    face = affine_face(weights, np.array([-0.1, 0.0]), (1, 4, 1))
    x = np.float32([0, 0, 0.9, 0.9]).reshape(1, 1, 4, 1)
    attack = DeepFool(face)
    X_adv = attack.generate(x)
    assert attack.report_.success.all() and X_adv.min() >= 0
    np.testing.assert_array_equal(X_adv.ravel()[:2], 0)


def test_failures_come_back_unchanged_and_flat_models_end():
    face = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    X = np.full((3, *SHAPE), 0.5, dtype=np.float32)
    attack = DeepFool(face)
    np.testing.assert_array_equal(attack.generate(X), X)
    assert not attack.report_.success.any() and (attack.report_.n_zero_gradients == 1).all()


def test_an_image_that_is_wrong_from_the_start_is_left_alone_and_never_repaired():
    weights, bias, X = random_affine(2, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    wrong = 1 - face.predict(X)
    attack = DeepFool(face)
    np.testing.assert_array_equal(attack.generate(X, wrong), X)
    assert attack.report_.initially_wrong.all() and attack.report_.success.all()
    np.testing.assert_array_equal(face.predict(attack.generate(X)), wrong)  # without labels, predictions are left


def test_result_is_as_near_as_its_own_direction_allows():
    """Half a percent nearer on the way to the image, and the label is the old one."""
    face = FaceClassifier.from_network(small_network())
    X = example_images(n=30)
    y = face.predict(X)
    X_adv = DeepFool(face).generate(X)
    np.testing.assert_array_equal(face.predict(X + np.float32(0.995) * (X_adv - X)), y)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", DUAL)
def test_refinements_only_bring_nearer(norm, targeted):
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=40)
    y = (face.predict(X) + targeted) % 5
    sizes = []
    for count in (0, 2, 6):
        attack = DeepFool(face, norm=norm, targeted=targeted, n_refinements=count)
        attack.generate(X, y)
        sizes.append(np.where(attack.report_.success, attack.report_[norm], np.inf))
    assert np.isfinite(sizes[0]).mean() > 0.9
    for fewer, more in pairwise(sizes):
        assert (more <= fewer * 1.02).all(), "but for the overshoot, which bisection takes off in the end"
    assert (sizes[-1] < 0.99 * sizes[0]).any()


def test_a_target_between_curved_boundaries_is_reached_by_most():
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=40)
    attack = DeepFool(face, targeted=True)
    attack.generate(X, (face.predict(X) + 2) % 5)
    assert attack.report_.success.mean() > 0.9
