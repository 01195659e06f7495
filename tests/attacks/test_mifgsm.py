"""MI-FGSM against its two limits, FGSM and the basic iterative method, and against its own recurrence."""

import numpy as np
import pytest

from smartbox import FaceClassifier
from smartbox.attacks import FGSM, MIFGSM, PGD
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_an_affine_model_it_is_fgsm(norm):
    weights, bias, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y = face.predict(X)
    np.testing.assert_allclose(
        MIFGSM(face, eps=0.1, norm=norm).generate(X, y), FGSM(face, eps=0.1, norm=norm).generate(X, y), atol=1e-6
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_momentum_it_is_the_basic_iterative_method(norm):
    face = FaceClassifier.from_network(small_network())
    X = example_images()
    y = face.predict(X)
    eps = {"linf": 0.03, "l2": 0.3}[norm]
    basic = PGD(face, eps=eps, norm=norm, max_iter=10, step_size=eps / 10, random_start=False, early_stop=False)
    ours = MIFGSM(face, eps=eps, norm=norm, decay=0.0).generate(X, y)
    last_is_best = np.isclose(
        *(face.value_and_gradient(out, y, "odds")[0] for out in (ours, basic.generate(X, y))), rtol=1e-5
    )
    assert last_is_best.mean() > 0.7  # PGD returns its best point, which need not be its last
    np.testing.assert_allclose(ours[last_is_best], basic.generate(X, y)[last_is_best], atol=1e-5)


def test_recurrence_step_by_step():
    """Equations 6 and 7, written out for images in mid-box."""
    face = FaceClassifier.from_network(small_network())
    X = 0.3 + 0.4 * example_images()
    y = face.predict(X)
    x, momentum = X.copy(), 0
    for _ in range(4):
        gradient = face.value_and_gradient(x, y, "odds")[2]
        momentum = 0.7 * momentum + gradient / np.abs(gradient).sum(axis=(1, 2, 3), keepdims=True)
        x = np.clip(x + np.float32(0.02 / 4) * np.sign(momentum), 0, 1)
    np.testing.assert_allclose(MIFGSM(face, eps=0.02, max_iter=4, decay=0.7).generate(X, y), x, atol=1e-6)


def test_stays_in_ball_and_box():
    face = FaceClassifier.from_network(small_network())
    X = example_images()
    for norm, eps in (("linf", 0.05), ("l2", 1.0)):
        attack = MIFGSM(face, eps=eps, norm=norm)
        X_adv = attack.generate(X)
        assert attack.report_[norm].max() <= eps * (1 + 1e-5) and X_adv.min() >= 0 and X_adv.max() <= 1


def test_zero_gradient_moves_at_random_and_is_counted():
    face = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    X = np.full((3, *SHAPE), 0.5, dtype=np.float32)
    attack = MIFGSM(face, eps=0.1, random_state=0)
    X_adv = attack.generate(X, [0, 0, 0])
    np.testing.assert_array_equal(attack.report_.n_zero_gradients, 10)
    assert np.isfinite(X_adv).all() and not attack.report_.success.any()
