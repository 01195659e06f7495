"""APGD against the optimum of affine models, and the rules by which it halves its step."""

import numpy as np
import pytest
from sklearn.utils import Bunch

from smartbox import FaceClassifier
from smartbox.attacks import APGD, PGD
from smartbox.attacks._apgd_climb import Climb, checkpoints
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}
EPS = {"linf": 0.01, "l2": 0.1, "l1": 0.3}


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


def test_checkpoints_are_the_papers():
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(checkpoints(10)) == [3, 5, 6, 7, 8, 9, 10]
    assert sorted(checkpoints(1)) == [1]


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", DUAL)
def test_attains_the_best_of_the_ball(norm, targeted):
    """On two affine classes the margin falls by ``eps`` times the dual norm; the bias keeps all images from winning."""
    weights, _, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, np.array([100.0, 0.0]), SHAPE)
    attack = APGD(face, eps=0.2, norm=norm, targeted=targeted, random_state=0)
    X_adv = attack.generate(X, np.full(len(X), int(targeted)))
    fall = -np.diff(face.logits(X), axis=1) + np.diff(face.logits(X_adv), axis=1)
    np.testing.assert_allclose(fall[:, 0], 0.2 * np.linalg.norm(weights[0] - weights[1], DUAL[norm]), rtol=5e-5)
    assert not attack.report_.success.any()
    np.testing.assert_array_equal(attack.report_.n_iterations, 100)
    np.testing.assert_array_equal(attack.report_.n_gradients, 101)


def test_attains_the_best_beside_the_walls():
    """Half the pixels are at a wall: the optimum of the ball and the box together, from a bisection in float64."""
    weights = np.random.default_rng(0).normal(size=(2, 20))
    face = affine_face(weights, np.array([100.0, 0.0]), SHAPE)
    X = np.repeat([0.0, 0.5], 10).astype(np.float32).reshape(1, *SHAPE)
    slope, eps = weights[1] - weights[0], 0.8
    low, high = 0, 1e3
    for _ in range(200):
        scale = (low + high) / 2
        delta = np.clip(scale * slope, -X.ravel(), 1 - X.ravel())
        low, high = (low, scale) if np.linalg.norm(delta) > eps else (scale, high)
    X_adv = APGD(face, eps=eps, norm="l2", random_state=0).generate(X, [0])
    assert slope @ (X_adv - X).ravel() == pytest.approx(slope @ delta, rel=1e-4)


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("targeted", [False, True])
def test_stays_in_ball_and_box(face, norm, loss, targeted):
    X = example_images()
    y = (face.predict(X) + 1) % 5 if targeted else face.predict(X)
    for eps in (0.001, 0.3):
        attack = APGD(face, eps=eps, norm=norm, loss=loss, max_iter=7, targeted=targeted, random_state=0)
        X_adv = attack.generate(X, y)
        assert attack.report_[norm].max() <= eps * (1 + 1e-6) + 1e-6
        assert X_adv.min() >= 0 and X_adv.max() <= 1


def climb(face, X, **state):
    """A climb whose state is set by hand."""
    rows = np.arange(len(X))
    inner = Climb(APGD(face, eps=0.1, max_iter=100), face, "odds", False)
    zeros = np.zeros((len(X), X[0].size), np.float32)
    low, high = -X.reshape(len(X), -1), 1 - X.reshape(len(X), -1)
    inner.state = Bunch(
        X=X, rows=rows, low=low, high=high, delta=zeros, previous=zeros, gradient=zeros + 1, best_delta=zeros - 1,
        best_gradient=zeros - 2, value=np.zeros(len(X)), best_value=np.ones(len(X)), step=np.full(len(X), 0.2),
        step_then=np.full(len(X), 0.4), value_then=np.zeros(len(X)), rises=np.full(len(X), 19),
    )  # fmt: skip
    inner.state.update(state)
    return inner


def test_step_is_halved_by_either_condition():
    """Of 19 steps between 22 and 41, 15 rises are 78.9 % and 14 are 73.7 %; or nothing has changed since the last."""
    X = np.full((4, *SHAPE), 0.5, np.float32)
    inner = climb(None, X, rises=np.array([15, 14, 19, 19]), step_then=np.array([0.4, 0.4, 0.2, 0.2]),
                  value_then=np.array([0, 0, 1.0, 0.5]))  # fmt: skip
    inner.check(41)
    np.testing.assert_allclose(inner.state.step, [0.2, 0.1, 0.1, 0.2])
    np.testing.assert_array_equal(inner.state.delta[:, 0], [0, -1, -1, 0])
    np.testing.assert_array_equal(inner.state.gradient[:, 0], [1, -2, -2, 1])
    np.testing.assert_array_equal(inner.state.value, [0, 1, 1, 0])
    np.testing.assert_array_equal(inner.state.rises, 0)
    np.testing.assert_array_equal(inner.state.step_then, 0.2)
    np.testing.assert_array_equal(inner.state.value_then, 1)


def test_movement_is_equation_3():
    X = np.full((1, *SHAPE), 0.5, np.float32)
    inner = climb(None, X, delta=np.full((1, 20), 0.02, np.float32), previous=np.full((1, 20), 0.06, np.float32),
                  step=np.array([0.04]))  # fmt: skip
    inner.move(1)
    np.testing.assert_allclose(inner.state.delta, 0.02 + 0.75 * 0.04 + 0.25 * (0.02 - 0.06), rtol=1e-6)
    inner.state.step = np.array([0.5])
    inner.move(1)
    assert inner.state.delta.max() <= 0.1 + 1e-8


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (1.0, 64.0)])
def test_ratio_ignores_logits_scaled_or_shifted(scale, shift):
    network, X = small_network(), example_images()
    face = FaceClassifier.from_network(network)
    y = face.predict(X)
    attack = {"eps": 0.005, "loss": "dlr", "max_iter": 10, "random_state": 0}
    plain = APGD(face, **attack).generate(X, y)
    values = face.value_and_gradient(plain, y, "margin")[0]
    *rest, kernel, bias = network.get_weights()
    network.set_weights([*rest, kernel * scale, bias * scale + shift])
    changed = FaceClassifier.from_network(network)
    ours = changed.value_and_gradient(APGD(changed, **attack).generate(X, y), y, "margin")[0] / scale
    np.testing.assert_allclose(ours, values, rtol=0.05, atol=0.02)


def test_best_loss_is_returned_where_an_image_withstands(face):
    """And no worse than PGD's by much: usually better, with no step to choose."""
    X = example_images(n=30)
    y = face.predict(X)
    loss = {}
    for kind in (APGD, PGD):
        attack = kind(face, eps=0.001, max_iter=20, random_state=0)
        X_adv = attack.generate(X, y)
        withstood = ~attack.report_.success
        loss[kind] = np.where(withstood, face.value_and_gradient(X_adv, y, "odds")[0], np.nan)
    assert np.nanmedian(loss[APGD] - loss[PGD]) > -1e-3
    assert np.isfinite(loss[APGD]).sum() > 10


@pytest.mark.parametrize("norm", DUAL)
def test_more_restarts_and_more_targets_win_more(face, norm):
    X, eps = example_images(n=40), EPS[norm] / 2
    y = face.predict(X)

    def won(**parameters):
        attack = APGD(face, eps=eps, norm=norm, max_iter=3, random_state=0, **parameters)
        attack.generate(X, y)
        return attack.report_.success

    once, twice = won(), won(n_restarts=2)
    one, four = won(loss="dlr", n_targets=1), won(loss="dlr", n_targets=9)
    assert (twice >= once).all() and (four >= one).all()
    assert 0 < once.mean() < 1 and 0 < one.mean() < 1


def test_targets_are_the_largest_other_logits(face, monkeypatch):
    X = example_images()
    y, seen = face.predict(X), []
    monkeypatch.setattr(Climb, "run", lambda self, X, y, aim, *others: seen.append(aim))
    APGD(face, n_targets=3, n_restarts=2).generate(X, y)
    ranked = np.argsort(-face.logits(X), axis=1)
    np.testing.assert_array_equal(seen, ranked[:, [1, 1, 2, 2, 3, 3]].T)


@pytest.mark.parametrize(
    "parameters", [{"norm": "linf"}, {"norm": "l2"}, {"norm": "l1"}, {"loss": "dlr", "n_targets": 2}]
)
def test_batches_and_order_do_not_matter(face, parameters):
    X = example_images(n=20)
    y = face.predict(X)
    eps = EPS[parameters.get("norm", "linf")] / 2
    attack = APGD(face, eps=eps, max_iter=8, random_state=3, **parameters)
    whole = attack.generate(X, y)
    order = np.random.default_rng(0).permutation(20)
    shuffled = attack.set_params(batch_size=6).generate(X[order], y[order])
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-6)


def test_counts_of_gradients_are_those_of_the_network(face):
    X = example_images()
    y = face.predict(X)
    for eot_iter in (1, 3):
        before = face.pass_counts()["backward"]
        attack = APGD(face, eps=0.005, max_iter=9, random_state=0, n_restarts=3, eot_iter=eot_iter)
        attack.generate(X, y)
        assert face.pass_counts()["backward"] - before == attack.report_.n_gradients.sum()


def test_averaging_changes_nothing_without_chance(face):
    X = example_images()
    attack = APGD(face, eps=0.002, max_iter=5, random_state=0)
    np.testing.assert_allclose(attack.generate(X), attack.set_params(eot_iter=4).generate(X), atol=1e-5)


def test_too_few_classes_for_the_ratio():
    weights, bias, X = random_affine(0, 3, SHAPE)
    three = affine_face(weights, bias, SHAPE)
    with pytest.raises(ValueError, match=r'targeted loss="dlr" needs at least 4 classes, the model has 3.*"ce"'):
        APGD(three, loss="dlr", n_targets=2).generate(X)
    two = affine_face(weights[:2], bias[:2], SHAPE)
    with pytest.raises(ValueError, match="at least 3 classes"):
        APGD(two, loss="dlr").generate(X)


def test_zero_gradients_are_counted():
    face = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    attack = APGD(face, eps=0.1, max_iter=4, random_state=0)
    with pytest.warns(UserWarning, match="gradient was zero"):
        attack.generate(np.full((3, *SHAPE), 0.5, dtype=np.float32), [0, 0, 0])
    np.testing.assert_array_equal(attack.report_.n_zero_gradients, 5)
