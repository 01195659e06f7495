"""Balls and box against independent solvers: clipping in closed form, SLSQP for the projections, a linear programme for steps."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from smartbox import _norms
from smartbox._streams import ImageStreams

D = 9


@pytest.fixture(scope="module")
def rows():
    """Pixels at, near and far from the walls; a vector to project and climb along."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(5, D)).astype(np.float32)
    x[:, :2], x[:, 2] = 0, 1
    return x, rng.normal(size=(5, D)).astype(np.float32)


def nearest_l2(u, low, high, eps):
    ball = {"type": "ineq", "fun": lambda z: eps**2 - z @ z, "jac": lambda z: -2 * z}
    return minimize(
        lambda z: (z - u) @ (z - u), np.zeros(D), jac=lambda z: 2 * (z - u), bounds=list(zip(low, high, strict=True)),
        constraints=[ball], method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
    ).x  # fmt: skip


def nearest_l1(u, low, high, eps):
    """As a smooth problem in the positive and the negative part."""
    halves = np.hstack([np.eye(D), -np.eye(D)])
    budget = {"type": "ineq", "fun": lambda z: eps - z.sum(), "jac": lambda z: -np.ones(2 * D)}
    found = minimize(
        lambda z: np.sum((halves @ z - u) ** 2), np.zeros(2 * D), jac=lambda z: 2 * halves.T @ (halves @ z - u),
        bounds=[(0, h) for h in high] + [(0, -l) for l in low], constraints=[budget], method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return halves @ found.x


@pytest.mark.parametrize("eps", [0.1, 0.7, 2.0])
@pytest.mark.parametrize(("norm", "solver"), [("l2", nearest_l2), ("l1", nearest_l1)])
def test_projection_is_the_nearest_point(rows, norm, solver, eps):
    x, u = rows
    ours = _norms.project(u, -x, 1 - x, eps, norm)
    theirs = np.array([solver(*row, eps) for row in zip(u, -x, 1 - x, strict=True)])
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    np.testing.assert_allclose(np.sum((ours - u) ** 2, axis=1), np.sum((theirs - u) ** 2, axis=1), atol=1e-4)


def test_linf_projection_is_two_clips(rows):
    x, u = rows
    expected = np.clip(np.clip(u, -0.3, 0.3), -x, 1 - x)
    np.testing.assert_allclose(_norms.project(u, -x, 1 - x, 0.3, "linf"), expected, atol=1e-7)


@pytest.mark.parametrize("norm", _norms.NORMS)
def test_projection_keeps_what_is_inside_and_stays_in(rows, norm):
    x, u = rows
    inside = np.clip(u * 0.01, -x, 1 - x)
    np.testing.assert_array_equal(_norms.project(inside, -x, 1 - x, 1.0, norm), inside)
    for eps in (0.0, 1e-3, 0.5, 100.0):
        out = _norms.project(u, -x, 1 - x, eps, norm)
        assert (_norms.size(out, norm) <= eps * (1 + 1e-6)).all()
        assert (x + out >= 0).all() and (x + out <= 1).all()


def best_linear_value(g, low, high, eps, norm):
    """The optimum of g.delta by a linear programme (l1, linf) or, for l2, by SLSQP."""
    g = g.astype(np.float64)
    if norm == "linf":
        return -linprog(-g, bounds=list(zip(np.maximum(low, -eps), np.minimum(high, eps), strict=True))).fun
    if norm == "l1":
        bounds = [(0, h) for h in high] + [(0, -l) for l in low]
        return -linprog(np.r_[-g, g], A_ub=np.ones((1, 2 * D)), b_ub=[eps], bounds=bounds).fun
    ball = {"type": "ineq", "fun": lambda z: eps**2 - z @ z, "jac": lambda z: -2 * z}
    return -minimize(
        lambda z: -g @ z, np.zeros(D), jac=lambda z: -g, bounds=list(zip(low, high, strict=True)), constraints=[ball],
        method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
    ).fun  # fmt: skip


@pytest.mark.parametrize("eps", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("norm", _norms.NORMS)
def test_steepest_step_is_the_linear_optimum(rows, norm, eps):
    x, g = rows
    step = _norms.steepest(g, -x, 1 - x, eps, norm)
    assert (_norms.size(step, norm) <= eps * (1 + 1e-6)).all()
    expected = [best_linear_value(*row, eps, norm) for row in zip(g, -x, 1 - x, strict=True)]
    np.testing.assert_allclose(np.sum(step * g, axis=1), expected, rtol=1e-4)


@pytest.mark.parametrize("norm", _norms.NORMS)
def test_steepest_step_of_a_zero_or_tiny_gradient(rows, norm):
    x, g = rows
    assert not _norms.steepest(np.zeros_like(g), -x, 1 - x, 0.5, norm).any()
    np.testing.assert_allclose(
        _norms.steepest(g * np.float32(1e-25), -x, 1 - x, 0.5, norm),
        _norms.steepest(g, -x, 1 - x, 0.5, norm),
        atol=1e-5,
    )


def test_steepest_l1_spends_all_although_walls_are_near():
    x = np.full((2, 300), 0.999, dtype=np.float32)
    g = np.linspace(1, 2, 300, dtype=np.float32)[None].repeat(2, axis=0)
    step = _norms.steepest(g, -x, 1 - x, 0.25, "l1")
    np.testing.assert_allclose(_norms.size(step, "l1"), 0.25, rtol=1e-4)


@pytest.mark.parametrize("norm", _norms.NORMS)
def test_random_start_fills_the_ball_uniformly(norm):
    """The radius of a uniform draw from a d-ball has distribution r**d; for linf the largest entry does."""
    n, eps = 4000, 0.2
    X = np.random.default_rng(1).uniform(0.4, 0.6, size=(n, 1, 5, 1)).astype(np.float32)
    low, high = -X.reshape(n, -1), 1 - X.reshape(n, -1)
    start = _norms.random_start(ImageStreams.from_images(X, 3), low, high, eps, norm)
    quantiles = (_norms.size(start, norm) / eps) ** 5
    assert abs(quantiles.mean() - 0.5) < 0.02 and abs(quantiles.std() - 1 / np.sqrt(12)) < 0.01
    assert np.abs(start.mean(axis=0)).max() < 0.01


def test_streams_depend_on_image_and_seed_alone():
    X = np.random.default_rng(0).uniform(size=(6, 4, 3, 1)).astype(np.float32)
    draws = ImageStreams.from_images(X, 7).uniform(50)
    order = np.array([4, 0, 5])
    np.testing.assert_array_equal(ImageStreams.from_images(X[order], 7).uniform(50), draws[order])
    assert not np.isin(ImageStreams.from_images(X, 8).uniform(50), draws).any()
    streams = ImageStreams.from_images(X, 7)
    np.testing.assert_array_equal(np.hstack([streams.uniform(20), streams.take(slice(None)).uniform(30)]), draws)
    assert not np.isin(streams.spawn(0).uniform(50), streams.spawn(1).uniform(50)).any()
    assert np.unique(draws).size == draws.size


def test_streams_are_uniform_and_uncorrelated():
    X = np.zeros((200, 1, 2, 1), dtype=np.float32)
    X[:, 0, 0, 0] = np.arange(200) / 200  # images that differ in a single pixel
    draws = ImageStreams.from_images(X, 0).uniform(500)
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    assert abs(counts - draws.size / 20).max() < 5 * np.sqrt(draws.size / 20)
    assert np.abs(np.corrcoef(draws) - np.eye(200)).max() < 6 / np.sqrt(500)
    normal = ImageStreams.from_images(X, 0).normal(500)
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02
