"""The elastic-net attack against the exact minimisers of affine models."""

import numpy as np
import pytest
from scipy.optimize import brentq

from smartbox import FaceClassifier
from smartbox.attacks import DDN, EAD, FMN
from smartbox.attacks._ead import shrink
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)
QUICK = {"binary_search_steps": 3, "max_iter": 30, "initial_const": 1.0, "beta": 0.01}


@pytest.fixture(scope="module")
def affine():
    """Two classes: model, images at l2 distances of 0.1 to 0.2, labels, margins and normals towards the other class."""
    weights, bias, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y = face.predict(X)
    normal, rows = weights[1 - y] - weights[y], np.arange(len(X))
    size = np.linalg.norm(normal, axis=1)
    margin = size * np.linspace(0.1, 0.2, len(X))
    logits = X.reshape(len(X), -1) @ weights.T + bias
    missing = margin - (logits[rows, y] - logits[rows, 1 - y])
    X = (X - ((missing / size**2)[:, None] * normal).reshape(X.shape)).astype(np.float32)
    return face, X, y, margin, normal


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


def minimiser(normal, beta, c):
    """Of ``||d||_2**2 + beta ||d||_1 - c normal . d``: coordinate by coordinate."""
    return np.sign(normal) * np.maximum(c * np.abs(normal) - beta, 0) / 2


def nearest(normal, margin, beta):
    """The boundary's point of smallest elastic-net size: the minimiser whose multiplier just crosses the margin."""
    top = 2 * (margin + beta * np.abs(normal).sum()) / np.square(normal).sum() + beta / np.abs(normal).max()
    c = brentq(lambda c: normal @ minimiser(normal, beta, c) - margin, 0, 10 * top)
    return minimiser(normal, beta, c)


def changes(attack, X, y):
    return (attack.generate(X, y) - X).reshape(len(X), -1).astype(np.float64)


def elastic(delta, beta):
    return np.square(delta).sum(axis=1) + beta * np.abs(delta).sum(axis=1)


def test_shrinkage_is_the_published_definition():
    rng = np.random.default_rng(0)
    z, x = rng.uniform(-0.5, 1.5, 500).astype(np.float32), rng.uniform(0, 1, 500).astype(np.float32)
    z[:50] = x[:50] + rng.uniform(-0.1, 0.1, 50).astype(np.float32)
    beta = np.float32(0.2)
    cases = [z - x > beta, np.abs(z - x) <= beta, z - x < -beta]
    assert all(case.any() for case in cases)
    expected = np.select(cases, [np.minimum(z - beta, 1), x, np.maximum(z + beta, 0)])
    np.testing.assert_allclose(shrink(z, x, beta), expected, atol=2e-7)
    np.testing.assert_array_equal(shrink(z, x, beta)[cases[1]], x[cases[1]])


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.05, 0.2])
def test_prox_finds_the_smallest_elastic_net(affine, beta, targeted):
    """With ``beta=0`` that is the l2 distance, as for Carlini and Wagner's attack."""
    face, X, y, margin, normal = affine
    attack = EAD(face, beta=beta, shrinkage="prox", max_iter=300, initial_const=0.05, targeted=targeted)
    delta = changes(attack, X, 1 - y if targeted else y)
    exact = np.array([nearest(w, m, beta) for w, m in zip(normal, margin, strict=True)])
    assert attack.report_.success.all()
    np.testing.assert_allclose(elastic(delta, beta), elastic(exact, beta), rtol=1e-2)
    assert (elastic(delta, beta) >= elastic(exact, beta) * (1 - 1e-3)).all(), "nothing is smaller than the smallest"
    if beta == 0:
        np.testing.assert_allclose(attack.report_.l2, margin / np.linalg.norm(normal, axis=1), rtol=5e-3)


@pytest.mark.parametrize(("shrinkage", "factor"), [("prox", 1), ("paper", 100)])
def test_fixed_point_of_steps_of_one_length(affine, shrinkage, factor):
    """The published threshold solves the problem for ``beta / learning_rate``; the proximal one that for ``beta``."""
    face, X, y, margin, normal = affine
    beta = 1e-3
    c = 0.5 * (2 * margin / np.square(normal).sum(axis=1)) + factor * beta / np.abs(normal).max(axis=1)
    attack = EAD(face, beta=beta, shrinkage=shrinkage)
    state = {"x": X, "y": y, "c": c.astype(np.float32), **attack._start(X, X)}
    for _ in range(800):
        images, margins, *_ = attack._advance(face, state, 0)
    assert (margins < 0).all(), "the hinge is linear all the way"
    exact = np.array([minimiser(w, factor * beta, one) for w, one in zip(normal, c, strict=True)])
    assert (exact != 0).any(axis=1).all()
    np.testing.assert_allclose((images - X).reshape(len(X), -1), exact, atol=1e-4 * np.abs(exact).max() + 1e-6)


def test_published_shrinkage_fails_at_a_constant_that_would_do(affine):
    """Where ``c |w| < beta / learning_rate`` no pixel ever moves; the problem as stated has a solution there."""
    face, X, y, margin, normal = affine
    c = 1.5 * (2 * margin / np.square(normal).sum(axis=1)).max()
    beta = 1.01 * 0.01 * c * np.abs(normal).max()
    settings = {"beta": beta, "binary_search_steps": 1, "initial_const": c, "max_iter": 200}
    paper, prox = EAD(face, **settings), EAD(face, shrinkage="prox", **settings)
    np.testing.assert_array_equal(paper.generate(X, y), X)
    assert not paper.report_.success.any()
    prox.generate(X, y)
    assert prox.report_.success.all()


@pytest.mark.parametrize("shrinkage", ["paper", "prox"])
def test_more_beta_changes_fewer_pixels(affine, shrinkage):
    face, X, y, _, _ = affine
    unchanged = []
    for beta in (0, 1, 2, 4):
        attack = EAD(face, beta=beta * (1e-3 if shrinkage == "paper" else 0.1), shrinkage=shrinkage, max_iter=200,
                     initial_const=0.1)  # fmt: skip
        unchanged.append((changes(attack, X, y) == 0).sum(axis=1).mean())
        assert attack.report_.success.all()
    assert (np.diff(unchanged) > 0).all(), unchanged


@pytest.mark.parametrize("shrinkage", ["paper", "prox"])
def test_each_rule_picks_what_it_says(face, shrinkage, monkeypatch):
    """Both see the same points, so before the way back to the image each is at least as good by its own measure."""
    monkeypatch.setattr("smartbox.attacks._penalty.polish", lambda X, X_adv, judge: X_adv)
    X = example_images(n=20)
    y, settings = face.predict(X), {**QUICK, "beta": 0.02, "shrinkage": shrinkage}
    en, l1 = (changes(EAD(face, decision_rule=rule, **settings), X, y) for rule in ("en", "l1"))
    assert (np.abs(l1).sum(axis=1) <= np.abs(en).sum(axis=1) * (1 + 1e-6)).all()
    assert (elastic(en, 0.02) <= elastic(l1, 0.02) * (1 + 1e-6)).all()
    assert (np.abs(l1).sum(axis=1) < np.abs(en).sum(axis=1)).any()


@pytest.mark.parametrize("targeted", [False, True])
def test_batches_and_order_do_not_matter_to_the_bit(face, targeted):
    X = example_images(n=17)
    y = (face.predict(X) + 1) % 5 if targeted else face.predict(X)
    attack = EAD(face, targeted=targeted, **QUICK)
    whole = attack.generate(X, y)
    assert len(set(attack.report_.n_iterations)) > 3, "images stop at different times, or there is nothing to test"
    order = np.random.default_rng(0).permutation(17)
    np.testing.assert_array_equal(attack.generate(X[order], y[order]), whole[order])
    np.testing.assert_array_equal(attack.set_params(batch_size=7).generate(X, y), whole)
    for i in range(3):
        np.testing.assert_array_equal(attack.generate(X[i : i + 1], y[i : i + 1]), whole[i : i + 1])


def test_targets_at_random_are_reached_with_their_margin(face):
    X = example_images(n=24)
    y = (face.predict(X) + np.random.default_rng(1).integers(1, 5, 24)) % 5
    attack = EAD(face, targeted=True, confidence=0.5, **{**QUICK, "max_iter": 80})
    X_adv = attack.generate(X, y)
    assert attack.report_.success.all()
    logits = face.logits(X_adv)
    others = np.where(np.arange(5) == y[:, None], -np.inf, logits)
    assert (logits[np.arange(24), y] - others.max(axis=1)).min() >= 0.5 - 1e-5
    assert X_adv.min() >= 0 and X_adv.max() <= 1
    assert (X_adv == X).mean() > 0.1, "pixels below the threshold are exactly those of the image"


def test_success_is_never_false_and_failures_come_back_unchanged(face):
    X = example_images(n=24)
    y = face.predict(X)
    attack = EAD(face, beta=0.01, binary_search_steps=1, max_iter=10, initial_const=3)
    X_adv = attack.generate(X, y)
    changed = (X_adv != X).any(axis=(1, 2, 3))
    assert 0 < changed.mean() < 1, "some fail, some do not"
    np.testing.assert_array_equal(attack.report_.success, changed)
    np.testing.assert_array_equal(face.predict(X_adv) != y, changed)


def test_images_wrong_from_the_start_stay(face):
    X = example_images()
    attack = EAD(face, **QUICK)
    np.testing.assert_array_equal(attack.generate(X, (face.predict(X) + 1) % 5), X)
    assert attack.report_.success.all() and attack.report_.n_gradients.sum() == 0


@pytest.mark.filterwarnings("ignore:.*the gradient was zero")
def test_flat_models_end_at_once():
    face = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    X = np.full((3, *SHAPE), 0.5, dtype=np.float32)
    attack = EAD(face)
    np.testing.assert_array_equal(attack.generate(X), X)
    assert not attack.report_.success.any() and (attack.report_.n_zero_gradients == 1).all()


def test_counts_of_gradients_are_those_of_the_network(face):
    before = face.pass_counts()["backward"]
    attack = EAD(face, **QUICK)
    attack.generate(example_images())
    assert face.pass_counts()["backward"] - before == attack.report_.n_gradients.sum()


@pytest.mark.parametrize(("rule", "init"), [("l1", "fmn"), ("en", "ddn")])
def test_head_start_is_never_worse_than_where_it_starts(rule, init):
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=20)
    y = face.predict(X)
    attack = EAD(
        face, decision_rule=rule, init=init, beta=0.01, binary_search_steps=3, max_iter=60, initial_const="auto"
    )
    delta = changes(attack, X, y)
    start = FMN(face, norm="l1", max_iter=15) if init == "fmn" else DDN(face, init_eps="auto", max_iter=15)
    before = (start.generate(X, y) - X).reshape(len(X), -1)
    assert attack.report_.success.all()
    size = elastic if rule == "en" else lambda delta, beta: np.abs(delta).sum(axis=1)
    assert (size(delta, 0.01) <= size(before, 0.01) * (1 + 1e-3)).all()
