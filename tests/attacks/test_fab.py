"""FAB and its projection against exact distances and a linear and a convex solver."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from smartbox import FaceClassifier, _norms
from smartbox._streams import ImageStreams
from smartbox.attacks import FAB, DeepFool
from smartbox.attacks._fab import to_boundary
from smartbox.attacks._search import Nearest
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


def least(slope, height, low, high, norm):
    """The least norm by a solver: variables are the row and, for l1 and linf, bounds of its absolute values."""
    d = len(slope)
    if norm == "l2":
        plane = {"type": "eq", "fun": lambda r: height + slope @ r, "jac": lambda r: slope}
        box = list(zip(low, high, strict=True))
        answer = minimize(lambda r: r @ r, (low + high) / 2, jac=lambda r: 2 * r, bounds=box, constraints=plane)
        return np.sqrt(answer.fun)
    k = d if norm == "l1" else 1
    sides = -np.eye(d) if norm == "l1" else -np.ones((d, 1))
    upper = np.block([[np.eye(d), sides], [-np.eye(d), sides]])
    answer = linprog(
        np.r_[np.zeros(d), np.ones(k)], A_ub=upper, b_ub=np.zeros(2 * d), A_eq=np.r_[slope, np.zeros(k)][None],
        b_eq=[-height], bounds=[*zip(low, high, strict=True), *[(0, None)] * k],
    )  # fmt: skip
    return answer.fun


@pytest.mark.parametrize("norm", DUAL)
def test_projection_is_the_solvers(norm):
    rng = np.random.default_rng(0)
    slope = rng.normal(size=(40, 8)).astype(np.float32)
    slope[:, 0] = 0
    low, high = rng.uniform(0, 0.5, size=(2, 40, 8)).astype(np.float32) * np.float32([-1, 1])[:, None, None]
    low[:, 1], high[:, 2] = 0, 0
    height = rng.uniform(-1.2, 1.2, size=40)
    height[0] = 0
    rows = to_boundary(slope, height, low, high, norm)
    assert (rows >= low).all() and (rows <= high).all()
    best = np.where(height[:, None] > 0, np.where(slope > 0, low, high), np.where(slope > 0, high, low))
    meets = np.abs(np.sum(slope * best, axis=1)) >= np.abs(height)
    assert 10 < meets.sum() < 40
    reached = height + np.sum(slope * rows.astype(np.float64), axis=1)
    np.testing.assert_allclose(reached[meets], 0, atol=1e-6)
    sizes = np.linalg.norm(rows, {"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=1)
    for i in np.flatnonzero(meets):
        expected = least(slope[i].astype(float), height[i], low[i].astype(float), high[i].astype(float), norm)
        assert sizes[i] == pytest.approx(expected, abs=5e-4)
    far = ~meets
    np.testing.assert_allclose(rows[far], np.where(slope[far] == 0, 0, best[far]))


@pytest.mark.parametrize("parameters", [{}, {"n_targets": 5}])
@pytest.mark.parametrize("norm", DUAL)
def test_returns_the_exact_distance(norm, parameters):
    weights, bias, X = random_affine(0, 6, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y, rows, logits = face.predict(X), np.arange(len(X)), face.logits(X).astype(np.float64)
    sizes = np.linalg.norm(weights[y][:, None] - weights[None], DUAL[norm], axis=2)
    gaps = logits[rows, y][:, None] - logits
    exact = np.where(sizes > 0, gaps / np.where(sizes > 0, sizes, 1), np.inf).min(axis=1)
    attack = FAB(face, norm=norm, max_iter=10, **parameters)
    attack.generate(X, y)
    assert attack.report_.success.all()
    np.testing.assert_allclose(attack.report_[norm], exact, rtol=2e-3, atol=1e-6)
    assert (attack.report_[norm] >= exact * (1 - 1e-4) - 1e-7).all()


@pytest.mark.parametrize("norm", DUAL)
def test_targeted_returns_the_exact_distance(norm):
    weights, bias, X = random_affine(1, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y, logits = face.predict(X), face.logits(X).astype(np.float64)
    attack = FAB(face, norm=norm, max_iter=10, targeted=True)
    attack.generate(X, 1 - y)
    exact = np.abs(logits[:, 0] - logits[:, 1]) / np.linalg.norm(weights[0] - weights[1], DUAL[norm])
    np.testing.assert_allclose(attack.report_[norm], exact, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("norm", DUAL)
def test_exact_distance_beside_the_walls(norm):
    """The two steepest pixels are at their walls, so that the others must do: exact distances by hand."""
    face = affine_face([[1.0, 1.0, 0.2, 0.1], [0, 0, 0, 0]], np.array([-0.2, 0.0]), (1, 4, 1))
    x = np.float32([0, 0, 0.9, 0.9]).reshape(1, 1, 4, 1)  # logit .07 against 0
    attack = FAB(face, norm=norm, max_iter=20)
    X_adv = attack.generate(x)
    exact = {"l2": 0.07 / np.hypot(0.2, 0.1), "l1": 0.07 / 0.2, "linf": 0.07 / 0.3}[norm]
    np.testing.assert_allclose(attack.report_[norm], exact, rtol=2e-3)
    np.testing.assert_array_equal(X_adv.ravel()[:2], 0)


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (1.0, 64.0)])
def test_logits_scaled_or_shifted_change_nothing(scale, shift):
    network, X = small_network(), example_images()
    sizes = []
    for _ in range(2):
        attack = FAB(FaceClassifier.from_network(network), norm="l2", max_iter=15)
        sizes.append(attack.generate(X, return_report=True)[1].l2)
        *rest, kernel, bias = network.get_weights()
        network.set_weights([*rest, kernel * scale, bias * scale + shift])
    np.testing.assert_allclose(*sizes, rtol=2e-2)


def test_nearer_than_deepfool_and_all_targets_nearer_than_one(face):
    X = example_images(n=30)
    sizes = {}
    for name, attack in (
        ("deepfool", DeepFool(face)),
        ("fab", FAB(face, norm="l2", max_iter=20)),
        ("one", FAB(face, norm="l2", max_iter=20, n_targets=1)),
        ("four", FAB(face, norm="l2", max_iter=20, n_targets=4)),
    ):
        report = attack.generate(X, return_report=True)[1]
        sizes[name] = np.where(report.success, report.l2, np.inf)
    assert np.median(sizes["fab"] / sizes["deepfool"]) < 1
    assert (sizes["four"] <= sizes["one"] * (1 + 1e-3)).all() and np.isfinite(sizes["four"]).all()


@pytest.mark.parametrize("norm", DUAL)
def test_batches_and_order_do_not_matter(face, norm):
    X = example_images(n=20)
    y = face.predict(X)
    attack = FAB(face, norm=norm, max_iter=5, n_candidates=3, n_restarts=2, random_state=3)
    whole = attack.generate(X, y)
    order = np.random.default_rng(0).permutation(20)
    shuffled = attack.set_params(batch_size=6).generate(X[order], y[order])
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-6)


def test_wrong_from_the_start_or_never_found_is_unchanged(face):
    X = example_images()
    y = face.predict(X)
    y[:4] = (y[:4] + 1) % 5
    attack = FAB(face, max_iter=5)
    X_adv = attack.generate(X, y)
    np.testing.assert_array_equal(X_adv[:4], X[:4])
    assert attack.report_.success[:4].all() and attack.report_.n_gradients[:4].sum() == 0
    assert (attack.report_.n_gradients[4:] == 5 * 4).all()
    flat = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    X = np.full((3, *SHAPE), 0.5, dtype=np.float32)
    attack = FAB(flat, max_iter=4)
    with pytest.warns(UserWarning, match="gradient was zero"):
        np.testing.assert_array_equal(attack.generate(X), X)
    np.testing.assert_array_equal(attack.report_.n_zero_gradients, 1)


@pytest.mark.parametrize("parameters", [{"norm": "linf"}, {"norm": "l2", "n_targets": 2}, {"norm": "l1"}])
def test_more_restarts_are_never_farther(face, parameters):
    X, sizes = example_images(n=30), []
    for n_restarts in (1, 2, 3):
        attack = FAB(face, max_iter=30, n_restarts=n_restarts, random_state=0, **parameters)
        report = attack.generate(X, return_report=True)[1]
        sizes.append(np.where(report.success, report[attack.norm], np.inf))
    assert (sizes[1] <= sizes[0]).all() and (sizes[2] <= sizes[1]).all()
    assert (sizes[2] < 0.999 * sizes[0]).any()


def test_the_first_start_draws_nothing(face):
    X = example_images(n=30)
    attack = FAB(face, norm="l2", max_iter=12, random_state=0)
    np.testing.assert_array_equal(attack.set_params(random_state=1).generate(X), attack.generate(X))
    attack.set_params(n_restarts=2)
    assert (attack.generate(X) != attack.set_params(random_state=0).generate(X)).any()


@pytest.mark.parametrize("norm", DUAL)
def test_restarts_are_no_farther_than_half_of_what_is_found_or_wanted(face, norm):
    X = example_images(n=3)
    found = Nearest(X, face.predict(X), norm)
    found.size[:2] = 0.02, 100
    radius = {"linf": 0.3, "l2": 1.0, "l1": 5.0}[norm]
    for enough, most in ((0.0, [0.02, radius, radius]), (0.01, [0.01] * 3)):
        at = FAB(face, norm=norm)._start(ImageStreams.from_images(X, 0), np.arange(3), found, enough)
        size = _norms.size((at - X).reshape(3, -1), norm)
        assert (size <= np.array(most) / 2 + 1e-5).all() and (size > 0.2 * np.array(most)).all()
        assert at.min() >= 0 and at.max() <= 1
