"""Square against the optimum of affine models, and the rules of its search."""

import numpy as np
import pytest

from smartbox import FaceClassifier
from smartbox._streams import ImageStreams
from smartbox.attacks import Square
from smartbox.attacks._square import stripes, window, window_side
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, small_network

SHAPE = (4, 5, 1)
EPS = {"linf": 0.002, "l2": 0.02, "l1": 0.2}


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("shape", [(4, 5, 1), (3, 3, 3)])
def test_reaches_the_best_of_the_ball(shape, targeted):
    """On two affine classes every pixel ends at the wall of the ball or the box that its weight asks for."""
    d = int(np.prod(shape))
    weights = np.random.default_rng(0).normal(size=(2, d))
    face = affine_face(weights, np.array([100.0, 0.0]), shape)
    X = np.random.default_rng(1).uniform(size=(5, *shape)).astype(np.float32)
    attack = Square(face, eps=0.2, max_queries=1500, targeted=targeted, random_state=0)
    X_adv = attack.generate(X, np.full(5, int(targeted)))
    best = np.clip(X + 0.2 * np.sign(weights[1] - weights[0]).reshape(shape), 0, 1)
    np.testing.assert_allclose(X_adv, best, atol=1e-6)
    np.testing.assert_array_equal(attack.report_.n_iterations, 1500)
    np.testing.assert_array_equal(attack.report_.n_gradients, 0)


@pytest.mark.parametrize("norm", EPS)
def test_best_margin_never_falls_and_all_stays_in_ball_and_box(face, norm):
    X, eps = example_images(), EPS[norm]
    y, margins = face.predict(X), []
    for max_queries in (1, 10, 100):
        attack = Square(face, eps=eps, norm=norm, max_queries=max_queries, random_state=0)
        X_adv = attack.generate(X, y)
        assert attack.report_[norm].max() <= eps * (1 + 1e-6) + 1e-7 and X_adv.min() >= 0 and X_adv.max() <= 1
        margins.append(face.value_and_gradient(X_adv, y, "margin")[0])
    assert (margins[1] >= margins[0]).mean() > 0.7 and np.median(margins[2] - margins[0]) > 0


@pytest.mark.parametrize("norm", EPS)
def test_each_query_keeps_or_raises_the_margin(face, norm, monkeypatch):
    X = example_images()
    y, offered = face.predict(X), []
    from smartbox.attacks._search import Best

    inner = Best.offer

    def spy(self, *found):
        inner(self, *found)
        offered.append(self.value.copy())

    monkeypatch.setattr(Best, "offer", spy)
    X_adv = Square(face, eps=EPS[norm], norm=norm, max_queries=60, random_state=0).generate(X, y)
    assert (np.diff(offered, axis=0) >= 0).all()
    np.testing.assert_allclose(face.value_and_gradient(X_adv, y, "margin")[0], offered[-1], atol=1e-5)


@pytest.mark.parametrize(("norm", "dual", "share"), [("l2", 2, 0.5), ("l1", np.inf, 0.4)])
def test_comes_near_the_best_of_the_ball(norm, dual, share):
    """Of two affine classes on an image that is not square, in the middle of the box: ``eps`` times the dual norm."""
    shape, rng = (9, 5, 1), np.random.default_rng(0)
    weights = rng.normal(size=(2, 45))
    face = affine_face(weights, np.array([100.0, 0.0]), shape)
    X = rng.uniform(0.45, 0.55, size=(5, *shape)).astype(np.float32)
    attack = Square(face, eps=0.4, norm=norm, max_queries=300, random_state=0)
    X_adv = attack.generate(X, np.zeros(5, int))
    gain = (X_adv - X).reshape(5, -1).astype(np.float64) @ (weights[1] - weights[0])
    best = 0.4 * np.linalg.norm(weights[1] - weights[0], dual)
    assert (gain > share * best).all() and (gain <= best * (1 + 1e-6)).all()


@pytest.mark.parametrize(("norm", "eps"), [("l2", 0.5), ("l1", 10.0)])
def test_is_exactly_within_eps_on_faces(norm, eps):
    """96 x 84 pixels, many at a wall: ``eps`` to a millionth, although each of them is rounded."""
    X = example_images((96, 84, 1), n=4)
    flat = affine_face(np.random.default_rng(0).normal(size=(2, 8064)), np.array([1e4, 0.0]), (96, 84, 1))
    attack = Square(flat, eps=eps, norm=norm, max_queries=60, random_state=0)
    attack.generate(X, np.zeros(4, int))
    assert not attack.report_.success.any()
    assert (attack.report_[norm] <= eps * (1 + 1e-6)).all() and (attack.report_[norm] > 0.8 * eps).all()


def test_schedule_is_the_papers():
    """Halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10000 queries; on 100 x 100 pixels."""
    share = {1: 0.8, 10: 0.8, 11: 0.4, 51: 0.2, 201: 0.1, 501: 0.05, 1001: 0.025, 2001: 0.0125, 4001: 0.8 / 128,
             6001: 0.8 / 256, 8001: 0.8 / 512}  # fmt: skip
    for query, p in share.items():
        assert window_side(query, 10000, 0.8, (100, 100, 1)) == round(np.sqrt(p * 10000))
    assert window_side(6, 5000, 0.8, (100, 100, 1)) == window_side(12, 10000, 0.8, (100, 100, 1))
    assert window_side(1, 5000, 1.0, (96, 84, 1)) == 84 and window_side(4999, 5000, 0.8, (4, 5, 1)) == 1


def test_windows_are_squares_at_every_place():
    rng = ImageStreams(np.arange(4000, dtype=np.uint64))
    inside, signs = window(rng, (6, 5, 3), 2)
    assert inside.shape == (4000, 6, 5, 1) and signs.shape == (4000, 1, 1, 3)
    np.testing.assert_array_equal(inside.sum(axis=(1, 2, 3)), 4)
    assert (inside.any(axis=1).sum(axis=1) == 2).all() and (inside.any(axis=2).sum(axis=1) == 2).all()
    corners = inside.reshape(4000, -1).argmax(axis=1)
    assert len(np.unique(corners)) == 5 * 4
    assert abs(signs.mean()) < 0.05 and abs(stripes(rng, (6, 5, 3)).mean()) < 0.05


@pytest.mark.parametrize(
    ("norm", "eps", "targeted"), [("linf", 0.05, 0), ("linf", 0.05, 1), ("l2", 0.5, 1), ("l1", 5, 0)]
)
def test_batches_and_order_do_not_matter(face, norm, eps, targeted):
    X = example_images(n=20)
    y = (face.predict(X) + targeted) % 5
    attack = Square(face, eps=eps, norm=norm, max_queries=40, targeted=bool(targeted), random_state=3)
    whole = attack.generate(X, y)
    assert attack.report_.success.any()
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(attack.set_params(batch_size=6).generate(X[order], y[order]), whole[order])


def test_queries_are_counted_and_the_winners_leave(face):
    X = example_images()
    y = face.predict(X)
    y[:4] = (y[:4] + 1) % 5
    attack = Square(face, eps=0.05, max_queries=30, random_state=0)
    before = face.pass_counts()["forward"]
    X_adv = attack.generate(X, y)
    queries = attack.report_.n_iterations
    assert face.pass_counts()["forward"] - before == queries.sum() + 4 * len(X)  # clean twice, and twice for the report
    np.testing.assert_array_equal(queries[:4], 0)
    np.testing.assert_array_equal(X_adv[:4], X[:4])
    assert (queries[~attack.report_.success] == 30).all() and (queries[attack.report_.success] < 30).any()
