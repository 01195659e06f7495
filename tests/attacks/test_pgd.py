"""PGD against closed forms on affine models, and the promises of its docstring."""

import numpy as np
import pytest

from smartbox import FaceClassifier
from smartbox.attacks import FGSM, PGD
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}
NORMS = list(DUAL)


@pytest.fixture(scope="module")
def two_classes():
    weights, bias, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    return face, X, face.predict(X), weights[0] - weights[1]


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_reaches_the_best_of_the_ball(two_classes, norm, random_start):
    """On an affine model the margin falls by exactly ``eps`` times the dual norm of the boundary's normal."""
    face, X, y, normal = two_classes
    eps = 0.2
    # In l2 a step turns the perturbation by step / eps at most, so a random start needs more of them.
    attack = PGD(face, eps=eps, norm=norm, random_start=random_start, early_stop=False, random_state=0, max_iter=200,
                 step_size=eps / 10)  # fmt: skip
    before, after = face.logits(X), face.logits(attack.generate(X, y))
    rows = np.arange(len(y))
    fall = (before[rows, y] - before[rows, 1 - y]) - (after[rows, y] - after[rows, 1 - y])
    np.testing.assert_allclose(fall, eps * np.linalg.norm(normal, DUAL[norm]), rtol=2e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_one_whole_step_is_fgsm(face, norm):
    X = example_images()
    y = face.predict(X)
    pgd = PGD(face, eps=0.5, norm=norm, max_iter=1, step_size=0.5, random_start=False, early_stop=False)
    np.testing.assert_allclose(pgd.generate(X, y), FGSM(face, eps=0.5, norm=norm).generate(X, y), atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_stays_in_ball_and_box(face, norm, targeted):
    X = example_images()
    y = (face.predict(X) + 1) % 5 if targeted else face.predict(X)
    for eps in (0.01, 0.3, 1.0):
        attack = PGD(face, eps=eps, norm=norm, max_iter=7, early_stop=False, targeted=targeted, random_state=0)
        X_adv = attack.generate(X, y)
        assert attack.report_[norm].max() <= eps * (1 + 1e-6) + 1e-6
        assert X_adv.min() >= 0 and X_adv.max() <= 1


def test_best_loss_never_falls_with_more_steps(face):
    X = example_images()
    y = face.predict(X)
    losses = []
    for max_iter in (1, 2, 4, 8, 16):
        attack = PGD(face, eps=0.002, step_size=0.0005, max_iter=max_iter, early_stop=False, random_state=0)
        losses.append(face.value_and_gradient(attack.generate(X, y), y, "odds")[0])
    assert (np.diff(losses, axis=0) >= -1e-5).all()


@pytest.mark.parametrize("norm", NORMS)
def test_more_restarts_win_more(face, norm):
    X, eps = example_images(n=40), {"linf": 0.01, "l2": 0.1, "l1": 0.3}[norm]
    y = face.predict(X)
    won = []
    for n_restarts in (1, 2, 4):
        attack = PGD(face, eps=eps, norm=norm, max_iter=3, n_restarts=n_restarts, random_state=0)
        attack.generate(X, y)
        won.append(attack.report_.success)
    assert (won[1] >= won[0]).all() and (won[2] >= won[1]).all()
    assert 0 < won[0].mean() < 1


@pytest.mark.parametrize("norm", NORMS)
def test_batches_and_order_do_not_matter(face, norm):
    X = example_images(n=30)
    y = face.predict(X)
    eps = {"linf": 0.01, "l2": 0.1, "l1": 0.5}[norm]
    attack = PGD(face, eps=eps, norm=norm, max_iter=6, n_restarts=2, random_state=3)
    whole = attack.generate(X, y)
    for batch_size in (1, 7, 30):
        np.testing.assert_allclose(attack.set_params(batch_size=batch_size).generate(X, y), whole, atol=1e-5)
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_allclose(attack.generate(X[order], y[order]), whole[order], atol=1e-5)


def test_early_stop_spends_less_and_wins_as_much(face):
    X = example_images(n=30)
    y = face.predict(X)
    full = PGD(face, eps=0.1, max_iter=20, early_stop=False, random_state=0)
    short = PGD(face, eps=0.1, max_iter=20, random_state=0)
    full.generate(X, y)
    short.generate(X, y)
    np.testing.assert_array_equal(short.report_.success, full.report_.success)
    assert short.report_.n_gradients.sum() < full.report_.n_gradients.sum() / 2
    np.testing.assert_array_equal(full.report_.n_gradients, 20)


def test_early_stop_leaves_images_alone_that_are_wrong_from_the_start(face):
    X = example_images()
    y = face.predict(X)
    y[:4] = (y[:4] + 1) % 5
    attack = PGD(face, eps=0.02, max_iter=5, random_state=0)
    X_adv = attack.generate(X, y)
    np.testing.assert_array_equal(X_adv[:4], X[:4])
    np.testing.assert_array_equal(attack.report_.initially_wrong, np.arange(12) < 4)
    assert attack.report_.success[:4].all() and attack.report_.n_gradients[:4].sum() == 0


def test_counts_of_gradients_are_those_of_the_network(face):
    X = example_images()
    y = face.predict(X)
    before = face.pass_counts()["backward"]
    attack = PGD(face, eps=0.01, max_iter=9, random_state=0, n_restarts=3)
    attack.generate(X, y)
    assert face.pass_counts()["backward"] - before == attack.report_.n_gradients.sum()


def test_random_states(face):
    X = example_images()
    first = PGD(face, eps=0.005, max_iter=2, random_state=0).generate(X)
    np.testing.assert_array_equal(PGD(face, eps=0.005, max_iter=2, random_state=0).generate(X), first)
    assert (PGD(face, eps=0.005, max_iter=2, random_state=1).generate(X) != first).any()
    state = np.random.RandomState(0)
    attack = PGD(face, eps=0.005, max_iter=2, random_state=state)
    assert (attack.generate(X) != attack.generate(X)).any()


def test_zero_gradients_are_counted():
    face = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    X = np.full((3, *SHAPE), 0.5, dtype=np.float32)
    attack = PGD(face, eps=0.1, max_iter=4, random_state=0)
    attack.generate(X, [0, 0, 0])
    np.testing.assert_array_equal(attack.report_.n_zero_gradients, 4)
    assert not attack.report_.success.any()
