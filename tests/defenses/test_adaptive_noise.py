"""Adaptive noise reduction against the paper's rule, pixel by pixel, and what entropy is by definition."""

import numpy as np
import pytest
import scipy.stats

from smartbox.defenses import AdaptiveNoiseReduction
from smartbox.defenses._adaptive_noise import _cross_mean, entropy


def grey(levels):
    return (np.asarray(levels) / 255).astype(np.float32)


def in_levels(X):
    """Grey levels of one-channel images, without the last axis."""
    return X[..., 0].astype(np.float64) * 255


def by_the_rule(image, level="left"):
    """One image ``(height, width)`` of grey levels, read from the paper as loops, and where the smoothed level was taken."""
    height, width = image.shape
    counts = np.unique(np.floor(image), return_counts=True)[1]
    bits = scipy.stats.entropy(counts, base=2)
    interval = 128 if bits < 4 else 64 if bits < 5 else 43
    quantised = np.floor(image / interval) * interval + (interval / 2 if level == "mid" else 0)
    result, taken = quantised.copy(), np.zeros(image.shape, bool)
    for i in range(3, height - 3):
        for j in range(3, width - 3):
            arms = [
                quantised[i + k, j] + quantised[i - k, j] + quantised[i, j + k] + quantised[i, j - k] for k in (1, 2, 3)
            ]
            mean = (quantised[i, j] + sum(arms)) / 13
            if bits >= 5 and abs(mean - image[i, j]) <= abs(quantised[i, j] - image[i, j]):
                result[i, j], taken[i, j] = mean, True
    return result, taken


@pytest.mark.parametrize("shape", [(9, 9), (12, 8), (7, 30)])
@pytest.mark.parametrize("level", ["left", "mid"])
def test_images_of_high_entropy_follow_the_rule(shape, level):
    levels = np.random.default_rng(0).uniform(0, 255, size=(3, *shape, 1))
    X = grey(levels)
    cleaned = in_levels(AdaptiveNoiseReduction(level=level).transform(X))
    for image, result in zip(in_levels(X), cleaned, strict=True):
        np.testing.assert_allclose(result, by_the_rule(image, level)[0], atol=1e-3)


def test_a_branch_for_each_entropy():
    """8, 16, 31 and 32 equally frequent levels have 3, 4, 4.95 and 5 bits: two levels are left, four, four, and six or means."""
    images, intervals = [], []
    for n_levels, interval in ((8, 128), (16, 64), (31, 64)):
        levels = np.arange(n_levels) * 8
        images.append(np.resize(np.repeat(levels, 2), (2, n_levels)))
        intervals.append(interval)
    for image, interval in zip(images, intervals, strict=True):
        X = grey(image[None, :, :, None])
        cleaned = in_levels(AdaptiveNoiseReduction().transform(X))[0]
        np.testing.assert_allclose(cleaned, image // interval * interval, atol=1e-3)
    fine = np.arange(32).reshape(4, 8) * 8  # too low to be smoothed
    cleaned = in_levels(AdaptiveNoiseReduction().transform(grey(fine[None, :, :, None])))[0]
    np.testing.assert_allclose(cleaned, fine // 43 * 43, atol=1e-3)


@pytest.mark.parametrize(("level", "left", "right"), [("left", 0, 128), ("mid", 64, 192)])
def test_a_constant_image_keeps_two_levels(level, left, right):
    reduce = AdaptiveNoiseReduction(level=level).transform
    for value, expected in ((0, left), (127.5, left), (128, right), (255, right)):
        cleaned = reduce(grey(np.full((1, 10, 10, 1), value)))
        np.testing.assert_allclose(cleaned * 255, expected, atol=1e-4)
        np.testing.assert_array_equal(reduce(cleaned), cleaned)


def test_float32_levels_fall_in_their_own_bin():
    levels = np.arange(256).reshape(1, 16, 16, 1)
    assert entropy(np.floor(grey(levels) * np.float32(255) + np.float32(1e-4)).astype(int))[0] == 8
    images = np.repeat(levels, 16, axis=1)
    noise = np.random.default_rng(0).uniform(0, 0.9, images.shape) * (images < 255)
    with_noise = AdaptiveNoiseReduction().transform(grey(images + noise))
    np.testing.assert_allclose(
        in_levels(with_noise)[:, :3], images[:, :3, :, 0] // 43 * 43, atol=1e-3
    )  # the edge, unsmoothed


def test_entropy_of_colour_is_the_mean_over_channels():
    levels = np.random.default_rng(0).integers(0, 40, size=(4, 12, 10, 3)) * np.array([1, 3, 6])
    expected = [
        np.mean([scipy.stats.entropy(np.bincount(channel), base=2) for channel in image.reshape(-1, 3).T])
        for image in levels
    ]
    np.testing.assert_allclose(entropy(levels), expected, rtol=1e-12)


def test_an_impulse_is_spread_over_the_cross():
    impulse = np.zeros((1, 15, 13, 1), np.float32)
    impulse[0, 7, 6, 0] = 13
    cross = np.zeros((15, 13))
    cross[4:11, 6] = cross[7, 3:10] = 1
    np.testing.assert_allclose(_cross_mean(impulse)[0, :, :, 0], cross, rtol=1e-6)


def test_the_way_back_is_the_adjoint_with_the_identity_for_the_quantiser():
    rng = np.random.default_rng(1)
    X = grey(rng.uniform(50, 120, size=(1, 11, 10, 1)))
    _, taken = by_the_rule(in_levels(X)[0])
    assert 5 < taken.sum() < 15  # of 5 x 4 pixels inside
    u, v = rng.normal(size=(2, *X.shape)).astype(np.float32)
    ahead = np.where(taken[None, :, :, None], _cross_mean(u), u)
    _, pull_back = AdaptiveNoiseReduction().vjp(X)
    np.testing.assert_allclose((pull_back(v) * u).sum(), (v * ahead).sum(), rtol=1e-4)


def test_images_smaller_than_the_cross_are_only_quantised():
    levels = np.arange(35, dtype=float).reshape(1, 5, 7, 1) * 7
    np.testing.assert_allclose(AdaptiveNoiseReduction().transform(grey(levels)) * 255, levels // 43 * 43, atol=1e-3)
