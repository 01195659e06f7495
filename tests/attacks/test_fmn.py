"""FMN against exact distances on affine models, in the three norms, and the radius's rule."""

import numpy as np
import pytest

from smartbox import FaceClassifier
from smartbox.attacks import FMN
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


def distances(face, weights, X, norm):
    logits = face.logits(X).astype(np.float64)
    return np.abs(logits[:, 0] - logits[:, 1]) / np.linalg.norm(weights[0] - weights[1], DUAL[norm])


@pytest.mark.parametrize("polished", [False, True])
@pytest.mark.parametrize("norm", DUAL)
def test_converges_to_the_exact_distance(norm, polished, monkeypatch):
    """Within the last gamma, 0.1 %, and what the last steps leave: under 1 %, even before the line search."""
    if not polished:
        monkeypatch.setattr("smartbox.attacks._search.polish", lambda X, X_adv, judge: X_adv)
    weights, bias, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y = face.predict(X)
    exact = distances(face, weights, X, norm)
    assert exact.max() < 0.4, "the box is not in the way"
    attack = FMN(face, norm=norm)
    attack.generate(X, y)
    assert attack.report_.success.all()
    np.testing.assert_allclose(attack.report_[norm], exact, rtol=1e-2, atol=1e-5)
    assert (attack.report_[norm] >= exact * (1 - 1e-4) - 1e-7).all()


@pytest.mark.parametrize("norm", DUAL)
def test_targeted_reaches_its_class_at_the_exact_distance(norm):
    weights, bias, X = random_affine(3, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    attack = FMN(face, norm=norm, targeted=True)
    attack.generate(X, 1 - face.predict(X))
    np.testing.assert_allclose(attack.report_[norm], distances(face, weights, X, norm), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("norm", DUAL)
def test_the_best_never_gets_worse_with_more_offers(face, norm):
    """Every point offered is in the box, and the result is no larger than the smallest adversarial one among them."""
    X = example_images()
    y = face.predict(X)
    smallest, inner = np.full(len(X), np.inf), FMN._radius

    def spy(eps, won, best, boundary, gamma):
        assert (best <= smallest).all()
        np.copyto(smallest, best)
        return inner(eps, won, best, boundary, gamma)

    attack = FMN(face, norm=norm, max_iter=20)
    attack._radius = spy
    attack.generate(X, y)
    assert attack.report_.success.all() and (attack.report_[norm] <= smallest + 1e-6).all()


def test_radius_follows_algorithm_1():
    eps, best = np.array([np.inf, 2.0, 2.0, 2.0]), np.array([np.inf, 1.9, 1.0, 1.5])
    won, boundary = np.array([False, True, True, False]), np.array([0.7, 9.0, 9.0, 9.0])
    np.testing.assert_allclose(FMN._radius(eps, won, best, boundary, 0.1), [0.77, 1.8, 1.0, 2.2])


@pytest.mark.parametrize("norm", DUAL)
def test_walls_of_the_box_are_respected_and_still_crossed(norm):
    """The two steepest pixels are at their walls, so that the others must do: exact distances by hand."""
    face = affine_face([[1.0, 1.0, 0.2, 0.1], [0, 0, 0, 0]], np.array([-0.2, 0.0]), (1, 4, 1))
    x = np.float32([0, 0, 0.9, 0.9]).reshape(1, 1, 4, 1)  # logit .07 against 0
    attack = FMN(face, norm=norm, max_iter=300)
    X_adv = attack.generate(x)
    exact = {"l2": 0.07 / np.hypot(0.2, 0.1), "l1": 0.07 / 0.2, "linf": 0.07 / 0.3}[norm]
    np.testing.assert_allclose(attack.report_[norm], exact, rtol=1e-2)
    np.testing.assert_allclose(X_adv.ravel()[:2], 0, atol=1e-6)


@pytest.mark.parametrize("norm", DUAL)
def test_batches_and_order_do_not_matter(face, norm):
    X = example_images(n=20)
    y = face.predict(X)
    attack = FMN(face, norm=norm, max_iter=12)
    whole = attack.generate(X, y)
    order = np.random.default_rng(0).permutation(20)
    shuffled = attack.set_params(batch_size=6).generate(X[order], y[order])
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-6)


def test_a_final_softmax_makes_no_difference():
    import keras

    network, X = small_network(), example_images()
    softmax = keras.Sequential([network, keras.layers.Softmax()])
    plain, wrapped = (FMN(FaceClassifier.from_network(net), max_iter=10).generate(X) for net in (network, softmax))
    np.testing.assert_allclose(wrapped, plain, atol=1e-5)


def test_wrong_from_the_start_or_never_found_is_unchanged(face):
    X = example_images()
    y = face.predict(X)
    y[:4] = (y[:4] + 1) % 5
    attack = FMN(face, max_iter=5)
    X_adv = attack.generate(X, y)
    np.testing.assert_array_equal(X_adv[:4], X[:4])
    assert attack.report_.success[:4].all() and attack.report_.n_gradients[:4].sum() == 0
    flat = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    X = np.full((3, *SHAPE), 0.5, dtype=np.float32)
    for norm in DUAL:
        attack = FMN(flat, norm=norm, max_iter=4, random_state=0)
        with pytest.warns(UserWarning, match="gradient was zero"):
            np.testing.assert_array_equal(attack.generate(X), X)
        np.testing.assert_array_equal(attack.report_.n_zero_gradients, 4)
