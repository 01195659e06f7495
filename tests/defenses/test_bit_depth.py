"""Bit-depth reduction against its definition."""

import numpy as np
import pytest

from smartbox.defenses import BitDepthReduction
from smartbox.estimator_checks import example_images


@pytest.mark.parametrize("bits", [1, 3, 4, 8])
def test_nearest_of_few_levels(bits):
    X = example_images((40, 30, 1))
    out = BitDepthReduction(bits=bits).transform(X)
    levels = np.arange(2**bits) / (2**bits - 1)
    assert len(np.unique(out)) <= 2**bits
    np.testing.assert_allclose(out, levels[np.abs(X[..., None] - levels).argmin(axis=-1)], atol=1e-6)
    assert np.abs(out - X).max() <= 0.5 / (2**bits - 1) + 1e-6
    np.testing.assert_array_equal(BitDepthReduction(bits=bits).transform(out), out)


def test_half_a_step_goes_to_the_even_level():
    X = np.float32([0.5, 1.5, 2.5]).reshape(1, 1, 3, 1) / 3
    np.testing.assert_allclose(BitDepthReduction(bits=2).transform(X).ravel() * 3, [0, 2, 2], atol=1e-6)


def test_the_way_back_is_the_identity():
    X = example_images()
    v = np.random.default_rng(0).normal(size=X.shape)
    np.testing.assert_array_equal(BitDepthReduction().vjp(X)[1](v), v)
