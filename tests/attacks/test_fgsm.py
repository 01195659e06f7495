"""FGSM against closed forms on affine models."""

import numpy as np
import pytest
from scipy.optimize import linprog

from smartbox import FaceClassifier
from smartbox.attacks import FGSM
from tests.doubles import affine_face, random_affine

SHAPE = (4, 5, 1)
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}  # the norm in which distances to a plane are measured


@pytest.fixture(scope="module")
def two_classes():
    """An affine model of two classes, images in mid-box, their labels and margins, and the normal of the boundary."""
    weights, bias, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    logits = face.logits(X).astype(np.float64)
    y = face.predict(X)
    margins = np.abs(logits[:, 0] - logits[:, 1])
    return face, X, y, margins, weights[0] - weights[1]


@pytest.mark.parametrize("norm", DUAL)
def test_flips_exactly_beyond_the_distance_to_the_boundary(two_classes, norm):
    face, X, y, margins, normal = two_classes
    distances = margins / np.linalg.norm(normal, DUAL[norm])
    assert distances.max() < 0.4, "the pixel box would interfere"
    for factor, expected in ((0.99, False), (1.01, True)):  # float32 blurs the boundary itself
        for i, distance in enumerate(distances):
            attack = FGSM(face, eps=distance * factor, norm=norm)
            attack.generate(X[i : i + 1], y[i : i + 1])
            assert attack.report_.success[0] == expected, (norm, factor, i)


@pytest.mark.parametrize("norm", DUAL)
def test_perturbation_is_the_closed_form(two_classes, norm):
    face, X, y, _, normal = two_classes
    away = np.where(y == 0, -1, 1)[:, None] * normal  # from the label's side to the other
    expected = {
        "linf": 0.1 * np.sign(away),
        "l2": 0.1 * away / np.linalg.norm(away, axis=1, keepdims=True),
        "l1": 0.1 * np.sign(away) * (np.abs(away) == np.abs(away).max(axis=1, keepdims=True)),
    }[norm]
    X_adv = FGSM(face, eps=0.1, norm=norm).generate(X, y)
    np.testing.assert_allclose((X_adv - X).reshape(len(X), -1), expected, atol=1e-6)


def test_l1_equals_a_linear_programme_beside_the_walls():
    """Images at the walls of the box, eps larger than one pixel's room: ball and box together."""
    weights, bias, _ = random_affine(1, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    X = np.random.default_rng(2).choice([0, 0.1, 0.9, 1], size=(6, *SHAPE)).astype(np.float32)
    y = face.predict(X)
    X_adv = FGSM(face, eps=3.0, norm="l1").generate(X, y)
    for x, x_adv, label in zip(X.reshape(6, -1), X_adv.reshape(6, -1), y, strict=True):
        g = weights[1 - label] - weights[label]
        bounds = [(0, 1 - pixel) for pixel in x] + [(0, pixel) for pixel in x]
        best = -linprog(np.r_[-g, g], A_ub=np.ones((1, 40)), b_ub=[3.0], bounds=bounds).fun
        np.testing.assert_allclose((x_adv.astype(float) - x) @ g, best, rtol=1e-4)
        np.testing.assert_allclose(np.abs(x_adv.astype(float) - x).sum(), 3.0, rtol=1e-4)


@pytest.mark.parametrize("norm", DUAL)
def test_targeted_moves_towards_the_target(two_classes, norm):
    """With two classes, going to the other one is leaving this one."""
    face, X, y, _, _ = two_classes
    left = FGSM(face, eps=0.05, norm=norm).generate(X, y)
    reached = FGSM(face, eps=0.05, norm=norm, targeted=True).generate(X, 1 - y)
    np.testing.assert_allclose(reached, left, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 1e5])
@pytest.mark.parametrize("shift", [0, 300])
def test_logits_scaled_or_shifted_change_nothing(scale, shift):
    """Float32 cross-entropy would be flat where the scaled margins are."""
    weights, bias, X = random_affine(3, 4, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    other = affine_face(weights * scale, bias * scale + shift, SHAPE)
    y = face.predict(X)
    margins = np.diff(np.sort(other.logits(X), axis=1)[:, -2:])
    if scale > 1:
        assert np.median(margins) > 500
    top_two = np.argsort(face.logits(X), axis=1)[:, -2:]
    X_adv = FGSM(other, eps=0.02).generate(X, y)
    if scale > 1:  # the others' softmax is then the runner-up alone, and so the closed form is a two-class one
        runner_up = top_two[:, 0]
        expected = 0.02 * np.sign(weights[runner_up] - weights[y])
        np.testing.assert_allclose((X_adv - X).reshape(len(X), -1), expected, atol=1e-6)
    else:
        np.testing.assert_allclose(X_adv, FGSM(face, eps=0.02).generate(X, y), atol=1e-6)


def test_softmax_head_changes_nothing():
    import keras

    weights, bias, X = random_affine(4, 3, SHAPE, scale=20)
    face = affine_face(weights, bias, SHAPE)
    network = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    network.set_weights(face.network_.get_weights())
    y = face.predict(X)
    with_softmax = FGSM(FaceClassifier.from_network(network), eps=0.02).generate(X, y)
    np.testing.assert_array_equal(with_softmax, FGSM(face, eps=0.02).generate(X, y))


def test_ce_is_weaker_where_float32_saturates():
    """Two rivals: past a margin of 17 the float32 gradient forgets the label and points from one rival to the other."""
    weights = np.array([[30.0, 0, 0], [0, 30.0, 0], [0, 0, 30.0]])
    face = affine_face(weights, np.zeros(3), (1, 3, 1))
    x = np.float32([0.9, 0.1, 0.15]).reshape(1, 1, 3, 1)
    step = {loss: FGSM(face, eps=0.05, loss=loss).generate(x, [0])[0].ravel() - x.ravel() for loss in ("odds", "ce")}
    np.testing.assert_allclose(step["odds"], [-0.05, 0.05, 0.05], atol=1e-6)
    assert step["ce"][0] == 0


def test_zero_gradient_gets_a_random_direction_and_is_counted():
    face = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    X = np.full((5, *SHAPE), 0.5, dtype=np.float32) + np.arange(5, dtype=np.float32)[:, None, None, None] / 100
    attack = FGSM(face, eps=0.1, random_state=0)
    X_adv, report = attack.generate(X, np.zeros(5, dtype=int), return_report=True)
    np.testing.assert_array_equal(report.n_zero_gradients, 1)
    assert not report.success.any()
    np.testing.assert_allclose(np.abs(X_adv - X), 0.1, atol=1e-6)
    np.testing.assert_array_equal(attack.generate(X, np.zeros(5, dtype=int)), X_adv)


def test_eps_as_text():
    weights, bias, X = random_affine(5, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    np.testing.assert_array_equal(FGSM(face, eps="8/255").generate(X), FGSM(face, eps=8 / 255).generate(X))
    with pytest.raises(ValueError, match="8/255"):
        FGSM(face, eps="eight").generate(X)


def test_report_counts_images_wrong_from_the_start(two_classes):
    face, X, y, _, _ = two_classes
    wrong = y.copy()
    wrong[:3] = 1 - wrong[:3]
    attack = FGSM(face, eps=1e-6)
    attack.generate(X, wrong)
    np.testing.assert_array_equal(np.flatnonzero(attack.report_.initially_wrong), [0, 1, 2])
    np.testing.assert_array_equal(attack.report_.prediction_before, y)
