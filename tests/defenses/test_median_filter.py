"""The median filter and its exact way back."""

import numpy as np
import pytest

from smartbox.defenses import MedianFilter
from smartbox.estimator_checks import example_images


def by_the_rule(image, size):
    """One image ``(height, width)`` as loops: the sorted window's entry ``size**2 // 2``."""
    before = size // 2
    framed = np.pad(image, [(before, size - 1 - before)] * 2, mode="symmetric")
    return np.array([[np.sort(framed[i : i + size, j : j + size], axis=None)[size * size // 2]
                      for j in range(image.shape[1])] for i in range(image.shape[0])])  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_medians_by_the_rule(size):
    X = example_images((9, 7, 2), n=3)
    out = MedianFilter(size=size).transform(X)
    for image, filtered in zip(X, out, strict=True):
        for channel in range(2):
            np.testing.assert_array_equal(filtered[..., channel], by_the_rule(image[..., channel], size))


def test_ramps_stay_and_impulses_go():
    ramp = np.broadcast_to(np.linspace(0, 1, 12, dtype=np.float32)[None, :, None, None], (1, 12, 9, 1))
    np.testing.assert_array_equal(MedianFilter(size=3).transform(ramp), ramp)
    impulse = np.full((1, 9, 9, 1), 0.4, np.float32)
    impulse[0, 4, 4] = 1
    np.testing.assert_array_equal(MedianFilter(size=3).transform(impulse), np.full_like(impulse, np.float32(0.4)))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_way_back_is_the_derivative_where_all_pixels_differ(size):
    """Pixels two steps of the differences apart: no median changes hands, and the filter is linear there."""
    rng = np.random.default_rng(0)
    X = (rng.permuted(np.tile(np.arange(56), (4, 1)), axis=1) / 55).reshape(4, 8, 7, 1).astype(np.float32)
    X = 0.1 + 0.8 * X
    u = rng.uniform(-1, 1, X.shape).astype(np.float32) * np.float32(1 / 256)
    v = rng.normal(size=X.shape).astype(np.float32)
    defense = MedianFilter(size=size)
    numeric = np.sum(v * (defense.transform(X + u) - defense.transform(X - u)), axis=(1, 2, 3), dtype=np.float64)
    analytic = np.sum(defense.vjp(X)[1](v) * ((X + u) - (X - u)), axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-4, atol=1e-6)


def test_equal_pixels_share_no_gradient_twice():
    X = np.full((2, 6, 5, 1), 0.5, np.float32)
    v = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    np.testing.assert_allclose(MedianFilter(size=3).vjp(X)[1](v).sum(axis=(1, 2, 3)), v.sum(axis=(1, 2, 3)), rtol=1e-4)


def test_a_window_wider_than_the_image_is_refused():
    X = example_images((9, 7, 1), n=2)
    assert MedianFilter(size=9).transform(X).shape == X.shape
    for size in (10, 999):
        for call in (MedianFilter(size=size).transform, MedianFilter(size=size).vjp):
            with pytest.raises(ValueError, match=rf"expected size of at most 9 for images of 9 x 7 pixels, got {size}"):
                call(X)
    assert MedianFilter(size=3).transform(X[:, :1, :1]).shape == (2, 1, 1, 1)  # the default suits any image
