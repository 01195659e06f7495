"""APGD in l1 against linear programmes, and the rules of its sparsity and its balls."""

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.utils import Bunch

from smartbox import FaceClassifier, _norms
from smartbox.attacks import APGD, PGD
from smartbox.attacks._apgd_l1 import SparseClimb
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, small_network

SHAPE = (6, 10, 1)


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


@pytest.fixture(scope="module")
def affine():
    """Two affine classes, of which the first always wins; images with pixels at, near and far from the walls."""
    weights = np.random.default_rng(0).normal(size=(2, 60))
    X = np.random.default_rng(1).uniform(-0.3, 1.3, size=(6, *SHAPE)).clip(0, 1).astype(np.float32)
    return affine_face(weights, np.array([100.0, 0.0]), SHAPE), X, weights[1] - weights[0]


def optimum(slope, x, eps):
    """The largest ``slope . delta`` of ball and box: variables are the rise and the fall of each pixel."""
    bounds = [*zip(np.zeros(len(x)), 1 - x, strict=True), *zip(np.zeros(len(x)), x, strict=True)]
    return -linprog(np.r_[-slope, slope], A_ub=np.ones((1, 2 * len(x))), b_ub=[eps], bounds=bounds).fun


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("eps", [0.2, 2.0, 10.0])
def test_attains_the_optimum_of_the_linear_programme(affine, eps, targeted):
    face, X, slope = affine
    attack = APGD(face, eps=eps, norm="l1", targeted=targeted, random_state=0)
    X_adv = attack.generate(X, np.full(len(X), int(targeted)))
    gain = (X_adv - X).reshape(len(X), -1).astype(np.float64) @ slope
    exact = [optimum(slope, x.ravel().astype(np.float64), eps) for x in X]
    np.testing.assert_allclose(gain, exact, rtol=2e-5)
    assert attack.report_.l1.max() <= eps * (1 + 1e-6)
    np.testing.assert_array_equal(attack.report_.n_gradients, 101)


def climb(face, X, max_iter=100, **state):
    """A climb in the ball of radius 1, whose state is set by hand."""
    inner = SparseClimb(APGD(face, eps=1.0, norm="l1", max_iter=max_iter), face, "odds", False)
    inner.eps = inner.largest
    n, zeros = len(X), np.zeros((len(X), X[0].size), np.float32)
    low, high = -X.reshape(n, -1), 1 - X.reshape(n, -1)
    inner.state = Bunch(
        X=X, rows=np.arange(n), low=low, high=high, delta=zeros, gradient=zeros, value=np.zeros(n), best_value=np.ones(n),
        best_delta=zeros, best_gradient=zeros, step=np.full(n, 1.0), n_moved=np.full(n, 3), support=np.full(n, 60),
    )  # fmt: skip
    inner.state.update(state)
    return inner


def test_a_step_moves_so_many_pixels_with_room_alike():
    X = np.full((1, *SHAPE), 0.5, np.float32)
    slope = np.linspace(1, 2, 60, dtype=np.float32) * np.where(np.arange(60) % 2, 1, -1)
    inner = climb(None, X, gradient=slope[None], step=np.array([0.6]))
    push = inner.push()[0]
    np.testing.assert_allclose(push[-3:], np.sign(slope[-3:]) * 0.2, rtol=1e-6)
    assert not push[:-3].any()
    inner.state.delta = np.zeros((1, 60), np.float32)
    inner.state.delta[0, -2:] = np.sign(slope[-2:]) * 0.5  # no room: pushed along, not counted
    push = inner.push()[0]
    np.testing.assert_allclose(push[-5:], np.sign(slope[-5:]) * 0.2, rtol=1e-6)
    assert not push[:-5].any()


def test_the_optimum_is_a_place_of_rest(affine):
    """And no other point is, once a single pixel is moved."""
    face, X, slope = affine
    rows, inner = np.tile(np.float32(slope), (len(X), 1)), climb(face, X)
    best = _norms.steepest(rows, inner.state.low, inner.state.high, 1.0, "l1")
    for n_moved in (1, 4):
        inner.state.update(delta=best, gradient=rows, n_moved=np.full(len(X), n_moved))
        inner.move(99)
        np.testing.assert_allclose(inner.state.delta, best, atol=1e-5)
    other = _norms.project(np.sign(rows) * np.float32(0.1), inner.state.low, inner.state.high, 1.0, "l1")
    inner.state.update(delta=other, n_moved=np.full(len(X), 1))
    inner.move(99)
    before, after, most = (delta.astype(np.float64) @ slope for delta in (other, inner.state.delta, best))
    assert (before + 1e-3 < after).all() and (after <= most + 1e-5).all()


def test_sparsity_follows_the_best_point():
    """Fewer than 95 % of the last support: whole steps from the best point on; else steps two thirds as long, 0.1 at least."""
    X = np.full((3, *SHAPE), 0.5, np.float32)
    best = np.zeros((3, 60), np.float32)
    best[0, :30], best[1, :57], best[2, :60] = 0.01, 0.01, 0.01
    best[:, 0] = 0.5  # at its wall: not counted
    inner = climb(None, X, best_delta=best, step=np.array([0.5, 0.6, 0.12]), support=np.array([31, 58, 60]))
    inner.check(98)
    np.testing.assert_array_equal(inner.state.support, [29, 56, 59])
    np.testing.assert_array_equal(inner.state.n_moved, [19, 37, 39])
    np.testing.assert_allclose(inner.state.step, [1.0, 0.4, 0.1])
    np.testing.assert_array_equal(inner.state.delta[0], best[0])
    assert not inner.state.delta[1:].any()


@pytest.mark.parametrize("max_iter", [100, 10, 3, 1])
def test_balls_shrink_from_three_times_to_once(affine, max_iter, monkeypatch):
    """For 30, 30 and 40 % of the steps; what is returned was found in the last one or happens to lie in it."""
    (face, X, _), sizes = affine, []
    move = SparseClimb.move

    def spy(self, k):
        move(self, k)
        sizes.append(_norms.size(self.state.delta, "l1").max())

    monkeypatch.setattr(SparseClimb, "move", spy)
    attack = APGD(face, eps=2.0, norm="l1", max_iter=max_iter, random_state=0)
    attack.generate(X, np.zeros(len(X), int))
    assert attack.report_.l1.max() <= 2 * (1 + 1e-6)
    third = int(0.3 * max_iter)
    np.testing.assert_allclose(sizes, np.repeat([6, 4, 2], [third, third, max_iter - 2 * third]), rtol=1e-5)


def test_checks_are_four_per_cent_of_the_steps_apart():
    steps = SparseClimb(APGD(None, eps=1.0, norm="l1"), None, "odds", False).checks
    assert sorted(steps) == [*range(4, 30, 4), *range(34, 60, 4), *range(64, 100, 4)]


def test_better_than_steps_of_fixed_length(face):
    """Two starts each, for as many gradients; small balls, so that most withstand and losses can be compared."""
    X, losses = example_images(n=30), []
    y = face.predict(X)
    for attack in (PGD, APGD):
        X_adv = attack(face, eps=0.02, norm="l1", max_iter=40, random_state=0).generate(X, y)
        losses.append(face.value_and_gradient(X_adv, y, "odds")[0])
    assert np.mean(losses[1] >= losses[0] - 1e-4) > 0.8
