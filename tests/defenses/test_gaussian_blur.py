"""Gaussian blur against its kernel."""

import numpy as np
import pytest

from smartbox.defenses import GaussianBlur
from smartbox.estimator_checks import example_images


def kernel(sigma):
    """Taps sampled to four standard deviations, normalised to sum 1."""
    reach = int(4 * sigma + 0.5)
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    return taps / taps.sum()


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.0, 1.5])
def test_impulse_response_is_the_kernel(sigma):
    X = np.zeros((1, 21, 23, 1), dtype=np.float32)
    X[0, 10, 11, 0] = 1
    taps = kernel(sigma)
    reach = len(taps) // 2
    out = GaussianBlur(sigma=sigma).transform(X)[0, :, :, 0]
    np.testing.assert_allclose(out[10 - reach : 11 + reach, 11 - reach : 12 + reach], np.outer(taps, taps), atol=1e-7)
    np.testing.assert_allclose(out.sum(), 1, rtol=1e-6)


def test_constants_stay_and_images_and_channels_are_left_apart():
    X = np.stack([np.full((9, 8, 3), value, dtype=np.float32) * np.float32([1, 0.5, 0]) for value in (0, 0.3, 1)])
    np.testing.assert_allclose(GaussianBlur(sigma=1.5).transform(X), X, atol=1e-6)


def test_sigma_zero_returns_the_images_themselves():
    X = example_images()
    out = GaussianBlur(sigma=0).transform(X)
    np.testing.assert_array_equal(out, X)
    assert not np.shares_memory(out, X)


def test_two_blurs_are_one_of_the_summed_variance():
    X = example_images((40, 40, 1))
    twice = GaussianBlur(sigma=2.0).transform(GaussianBlur(sigma=1.5).transform(X))
    np.testing.assert_allclose(twice, GaussianBlur(sigma=2.5).transform(X), atol=2e-3)


def test_linear():
    X, Y = example_images(), example_images(seed=1)
    blur = GaussianBlur(sigma=1.2).transform
    np.testing.assert_allclose(blur(0.3 * X + 0.7 * Y), 0.3 * blur(X) + 0.7 * blur(Y), atol=1e-6)


@pytest.mark.parametrize("sigma", [0, 0.5, 1.0, 3.0])
def test_pull_back_is_the_adjoint(sigma):
    """``<v, B u> = <B' v, u>``, also where the kernel is wider than the image and folds at both edges."""
    X = example_images((7, 6, 2))
    rng = np.random.default_rng(0)
    v = rng.normal(size=X.shape).astype(np.float32)
    Z, pull_back = GaussianBlur(sigma=sigma).vjp(X)
    inner = np.sum(v * Z, axis=(1, 2, 3), dtype=np.float64), np.sum(pull_back(v) * X, axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(*inner, rtol=1e-4, atol=1e-4)


def test_white_noise_variance_falls_as_the_theory_says():
    X = 0.5 + 0.05 * np.random.default_rng(0).normal(size=(40, 64, 64, 1)).astype(np.float32)
    for sigma in (0.8, 1.0, 1.5):
        ratio = GaussianBlur(sigma=sigma).transform(X)[:, 8:-8, 8:-8].var() / X.var()  # edges are averaged less
        np.testing.assert_allclose(ratio, np.sum(kernel(sigma) ** 2) ** 2, rtol=0.03)
        np.testing.assert_allclose(ratio, 1 / (4 * np.pi * sigma**2), rtol=0.06)


def test_negative_sigma_is_refused():
    with pytest.raises(ValueError, match="sigma"):
        GaussianBlur(sigma=-1).transform(example_images())


def test_a_kernel_far_wider_than_the_image_is_refused():
    X = example_images((9, 7, 1), n=2)
    left = GaussianBlur(sigma=9).transform(X).std(axis=(1, 2, 3)) / X.std(axis=(1, 2, 3))
    assert (left < 0.01).all()  # exp(-pi**2 / 2) of the longest wave that the image can show
    for sigma in (9.5, 1e9):
        with pytest.raises(ValueError, match=r"expected sigma of at most 9 for images of 9 x 7 pixels, got"):
            GaussianBlur(sigma=sigma).transform(X)
