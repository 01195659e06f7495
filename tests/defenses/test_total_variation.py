"""Total variation against closed forms and a general minimiser."""

import numpy as np
import pytest
from scipy.optimize import minimize

from smartbox._streams import ImageStreams
from smartbox.defenses import TotalVariation
from smartbox.defenses._total_variation import adjoint, differences
from smartbox.estimator_checks import example_images

BEND = 1 / 255


def total_variation(z):
    return np.sqrt(np.square(differences(z)).sum(axis=0)).sum(axis=(1, 2, 3))


def objective(z, x, kept, weight):
    """Of one image ``(1, h, w, 1)``, with differences below a grey level squared."""
    length = np.sqrt(np.square(differences(z)).sum(axis=0))
    bent = np.where(length < BEND, length**2 / (2 * BEND), length - BEND / 2)
    return (kept * np.square(z - x)).sum() / 2 + weight * bent.sum()


@pytest.mark.parametrize("shape", [(1, 2), (2, 1)])
@pytest.mark.parametrize(
    ("pair", "expected"), [((0.2, 0.9), (0.3, 0.8)), ((0.9, 0.5), (0.8, 0.6)), ((0.45, 0.6), None)]
)
def test_two_pixels_approach_by_the_weight_or_meet(shape, pair, expected):
    X = np.float32(pair).reshape(1, *shape, 1)
    out = TotalVariation(weight=0.1, drop=0.0, max_iter=500).transform(X).ravel()
    if expected is None:  # closer than twice the weight
        np.testing.assert_allclose(out, np.mean(pair), atol=BEND)
    else:
        np.testing.assert_allclose(out, expected, atol=1e-4)


def test_without_weight_nothing_kept_changes():
    X = example_images()
    np.testing.assert_array_equal(TotalVariation(weight=0, drop=0.0).transform(X), X)
    half = TotalVariation(weight=0, random_state=0).transform(X)
    assert 0.4 < np.mean(half == X) < 0.65 and half.min() >= 0 and half.max() <= 1


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_a_large_weight_leaves_the_mean_of_what_is_kept(drop):
    X = 0.2 + 0.6 * example_images((5, 4, 1), n=3)
    defense = TotalVariation(weight=20.0, drop=drop, max_iter=3000)
    kept = defense._draw(X, ImageStreams.from_images(X, 0))
    out, _ = defense.vjp(X, rng=ImageStreams.from_images(X, 0))
    mean = (kept * X).sum(axis=(1, 2), keepdims=True) / kept.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(out, np.broadcast_to(mean, X.shape), atol=2e-3)


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_a_general_minimiser_finds_nothing_lower(drop):
    X = example_images((8, 7, 1), n=2)
    defense = TotalVariation(weight=0.05, drop=drop, max_iter=1500)
    kept = defense._draw(X, ImageStreams.from_images(X, 0)).astype(np.float64)
    out, _ = defense.vjp(X, rng=ImageStreams.from_images(X, 0))
    for x, mask, z in zip(X[:, None].astype(np.float64), kept[:, None], out[:, None].astype(np.float64), strict=True):

        def function(flat, x=x, mask=mask):
            return objective(flat.reshape(x.shape), x, mask, 0.05)

        found = minimize(function, z.ravel(), method="L-BFGS-B", options={"maxiter": 300, "maxfun": 40000})
        assert function(z.ravel()) <= found.fun + 1e-4
        assert function(z.ravel()) < 0.95 * function(x.ravel()) or drop


def test_steps_lower_the_objective_and_variation_falls():
    X = example_images((24, 20, 1), n=3)
    ends = [
        TotalVariation(weight=0.1, drop=0.0, max_iter=k).transform(X).astype(np.float64) for k in (1, 5, 20, 100, 400)
    ]
    values = np.array([[objective(z[None], x[None], 1.0, 0.1) for z, x in zip(end, X, strict=True)] for end in ends])
    assert (np.diff(values, axis=0) < 1e-6).all()
    assert (total_variation(ends[-1]) < total_variation(X)).all()


def test_differences_and_adjoint():
    u = np.random.default_rng(0).normal(size=(3, 6, 5, 2))
    v = np.random.default_rng(1).normal(size=(2, *u.shape))
    np.testing.assert_allclose((differences(u) * v).sum(), (u * adjoint(v)).sum(), rtol=1e-12)


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_the_way_back_is_the_derivative_of_the_minimum(drop):
    """Small images, solved to the end. Where a length crosses the bend within the step the two may differ: most must agree."""
    X = 0.2 + 0.6 * example_images((6, 5, 1), n=16)
    defense = TotalVariation(weight=0.02, drop=drop, max_iter=1000)
    rng = np.random.default_rng(0)
    v, u = rng.normal(size=(2, *X.shape)).astype(np.float32)
    step = np.float32(2e-3) * u

    def clean(images):
        return defense.vjp(images, rng=ImageStreams.from_images(X, 0))

    numeric = np.sum(v * (clean(X + step)[0].astype(np.float64) - clean(X - step)[0]), axis=(1, 2, 3)) / 2
    analytic = np.sum(clean(X)[1](v) * step, axis=(1, 2, 3), dtype=np.float64)
    assert np.median(np.abs(analytic - numeric)) < 0.05 * np.median(np.abs(numeric))
    assert np.corrcoef(analytic, numeric)[0, 1] > 0.97


def test_what_is_dropped_is_not_looked_at():
    X = example_images()
    defense = TotalVariation(max_iter=10)
    kept = defense._draw(X, ImageStreams.from_images(X, 0))
    np.testing.assert_allclose(kept.mean(), 0.5, atol=0.05)
    one, pull_back = defense.vjp(X, rng=ImageStreams.from_images(X, 0))
    other, _ = defense.vjp(np.where(kept > 0, X, 1 - X), rng=ImageStreams.from_images(X, 0))
    np.testing.assert_array_equal(one, other)
    assert not pull_back(np.ones_like(X))[np.broadcast_to(kept == 0, X.shape)].any()


def test_chance_is_in_what_is_dropped():
    assert TotalVariation().has_chance and not TotalVariation(drop=0.0).has_chance
