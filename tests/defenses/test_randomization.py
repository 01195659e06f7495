"""Random resizing and padding against what it is by definition: sizes, places, and the exact adjoint."""

import numpy as np
import pytest
import scipy.stats

from smartbox._streams import ImageStreams
from smartbox.defenses import Randomization
from smartbox.defenses._randomization import padded
from smartbox.estimator_checks import example_images

VARIANTS = ["paper", "xie"]


def noise(n, shape, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 1, size=(n, *shape)).astype(np.float32)


@pytest.mark.parametrize("variant", VARIANTS)
def test_full_scale_without_enlargement_is_the_identity(variant):
    X = noise(3, (9, 7, 2))
    out = Randomization(scale=(1, 1), upsample=1, variant=variant).transform(X)
    np.testing.assert_array_equal(out, X)


def test_a_white_image_shows_size_and_place():
    """The resized image is ``h' x w'`` ones on black; sizes are uniform, and places uniform over all that are left."""
    white = np.ones((4000, 20, 10, 1), np.float32)
    white[:, 0, 0, 0] = np.linspace(0.9, 1, 4000)  # so that each image has draws of its own
    out = Randomization(scale=(0.7, 1.0), random_state=0).transform(white)[..., 0] > 0.5
    heights, widths = out.any(axis=2).sum(axis=1), out.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(out.sum(axis=(1, 2)), heights * widths)
    np.testing.assert_array_less(np.abs(widths - heights / 2), 0.76)  # one scale for both sides
    sizes = np.bincount(heights, minlength=21)[14:]
    expected = len(out) / 6 * np.array([0.5, 1, 1, 1, 1, 1, 0.5])  # the outermost round from one side only
    assert scipy.stats.chisquare(sizes, expected).pvalue > 1e-3
    top, left = out.any(axis=2).argmax(axis=1), out.any(axis=1).argmax(axis=1)
    for height in (14, 17, 19):
        which = heights == height
        assert scipy.stats.chisquare(np.bincount(top[which], minlength=21 - height)).pvalue > 1e-3
    which = widths == 8
    assert scipy.stats.chisquare(np.bincount(left[which], minlength=3)).pvalue > 1e-3
    assert abs(np.corrcoef(top[heights == 16], left[heights == 16])[0, 1]) < 0.15


def test_resizing_by_hand():
    """Half the size takes means of neighbours; twice the size mixes three to one, and keeps the ends."""
    half, twice = (padded(4, np.array([size]), np.array([0]), size)[0] for size in (2, 8))
    np.testing.assert_allclose(half, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_allclose(twice[:4], [[1, 0, 0, 0], [0.75, 0.25, 0, 0], [0.25, 0.75, 0, 0], [0, 0.75, 0.25, 0]])
    shifted = padded(4, np.array([2]), np.array([3]), 6)[0]
    np.testing.assert_allclose(shifted[3:5], half)
    assert shifted.sum() == 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_overshoots(variant):
    X = example_images((16, 12, 3))
    out = Randomization(scale=(0.6, 0.9), variant=variant, random_state=1).transform(X)
    inside = out[out > 0]
    assert inside.max() <= X.max() and (out == 0).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_pull_back_is_the_adjoint(variant):
    """``<v, A u> = <A' v, u>`` with the same draws, and linear: no other derivative is possible."""
    X, Y = noise(5, (11, 8, 2)), noise(5, (11, 8, 2), seed=1)
    defense = Randomization(scale=(0.6, 1.0), variant=variant)
    streams = [ImageStreams.from_images(X, 3) for _ in range(3)]
    ahead, pull_back = defense.vjp(X, rng=streams[0])
    v = np.random.default_rng(2).normal(size=X.shape).astype(np.float32)
    inner = [np.sum(a * b, axis=(1, 2, 3), dtype=np.float64) for a, b in ((v, ahead), (pull_back(v), X))]
    np.testing.assert_allclose(*inner, rtol=1e-4, atol=1e-4)
    other, mixed = (defense.vjp(Z, rng=rng)[0] for Z, rng in zip((Y, 0.3 * X + 0.7 * Y), streams[1:], strict=True))
    np.testing.assert_allclose(mixed, 0.3 * ahead + 0.7 * other, atol=1e-6)


def test_deployed_draws_repeat_and_depend_on_the_image_alone():
    X = noise(40, (16, 12, 1))
    seeded = Randomization(scale=(0.5, 1.0), random_state=0)
    whole = seeded.transform(X)
    np.testing.assert_array_equal(seeded.transform(X), whole)
    np.testing.assert_array_equal(seeded.transform(X[::-1])[::-1], whole)
    np.testing.assert_array_equal(np.concatenate([seeded.transform(x[None]) for x in X]), whole)
    assert (Randomization(scale=(0.5, 1.0), random_state=1).transform(X) != whole).any()
    fresh = Randomization(scale=(0.5, 1.0))
    assert (fresh.transform(X) != fresh.transform(X)).any()


@pytest.mark.parametrize("scale", [(0.9,), (1.0, 0.9), (0, 1), (0.5, 1.1), ("a", "b"), [[0.5, 1]]])
def test_scales_that_are_none_are_refused(scale):
    with pytest.raises(ValueError, match=r"expected scale as .*\(0.9, 1.0\)"):
        Randomization(scale=scale).transform(example_images())


@pytest.mark.parametrize("upsample", [0.9, 4.1, 1e9])
def test_enlargements_beyond_use_are_refused(upsample):
    with pytest.raises(ValueError, match="upsample"):
        Randomization(upsample=upsample).transform(example_images())
