"""The two-sample test: sums by hand, Gaussians in closed form, p-values under the null."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from scipy.stats import kstest

from smartbox.detectors import mmd_test
from smartbox.estimator_checks import example_images

RNG = np.random.default_rng(0)


def by_hand(X, Y, bandwidth):
    xx, yy, xy = (np.exp(-cdist(a, b, "sqeuclidean") / (2 * bandwidth**2)) for a, b in ((X, X), (Y, Y), (X, Y)))
    n, m = len(X), len(Y)
    return (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()


def test_statistic_and_median_distance():
    X, Y = RNG.normal(size=(12, 4)), RNG.normal(loc=1, size=(7, 4))
    result = mmd_test(X, Y, n_permutations=5, random_state=0)
    assert result.bandwidth == pytest.approx(np.median(pdist(np.concatenate([X, Y]))))
    assert result.statistic == pytest.approx(by_hand(X, Y, result.bandwidth))
    assert mmd_test(X, Y, bandwidth=0.5, n_permutations=5).statistic == pytest.approx(by_hand(X, Y, 0.5))


def test_null_is_that_of_random_partitions():
    X, Y = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2))
    result = mmd_test(X, Y, bandwidth=1.0, n_permutations=600, random_state=0)
    pooled = np.concatenate([X, Y])
    masks = [[i in rows for i in range(6)] for rows in [(0, a, b) for a in range(1, 6) for b in range(a + 1, 6)]]
    all_values = [by_hand(pooled[mask], pooled[~np.array(mask)], 1.0) for mask in masks]
    found = np.unique(result.null_distribution.round(9))
    np.testing.assert_allclose(found, np.unique(np.round(all_values, 9)))  # ten ways to halve six points
    share = np.mean(np.array(all_values) >= result.statistic - 1e-9)
    assert result.p_value == pytest.approx(share, abs=0.06)


def test_equal_sets():
    X = RNG.normal(size=(15, 3))
    result = mmd_test(X, X[::-1], bandwidth=1.3, n_permutations=200, random_state=0)
    S, n = np.exp(-cdist(X, X, "sqeuclidean") / (2 * 1.3**2)).sum(), 15
    assert result.statistic == pytest.approx(-2 * (n**2 - S) / (n**2 * (n - 1)))
    assert result.p_value > 0.95


def test_gaussians_in_closed_form():
    """N(0, s^2 I) and N(mu, s^2 I), Gretton et al.: the estimate is unbiased."""
    s, mu, h, D = 0.8, np.array([0.5, -0.3, 0.4]), 1.1, 3
    c = (h**2 / (h**2 + 2 * s**2)) ** (D / 2)
    expected = 2 * c * (1 - np.exp(-(mu @ mu) / (2 * (h**2 + 2 * s**2))))
    draws = [RNG.normal(scale=s, size=(2, 100, D)) for _ in range(100)]
    found = [mmd_test(X, Y + mu, bandwidth=h, n_permutations=1).statistic for X, Y in draws]
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(expected, abs=4 * error)
    assert error < 0.05 * expected


def test_p_values_are_uniform_under_the_null():
    p_values = [
        mmd_test(*RNG.normal(size=(2, 12, 5)), n_permutations=99, random_state=seed).p_value for seed in range(200)
    ]
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) < 0.11


def test_shifted_images_are_told_and_the_seed_decides():
    X = example_images(n=40)
    first, again = (mmd_test(X[:20], 0.3 + 0.7 * X[20:], n_permutations=199, random_state=0) for _ in range(2))
    assert first.p_value == again.p_value == 1 / 200
    np.testing.assert_array_equal(first.null_distribution, again.null_distribution)
    assert mmd_test(np.ones((3, 2)), np.ones((4, 2))).p_value == 1


@pytest.mark.parametrize(
    ("X", "Y", "more", "message"),
    [
        (np.ones((3, 2)), np.ones((3, 4)), {}, "one shape, got"),
        (np.ones((1, 2)), np.ones((3, 2)), {}, "minimum of 2"),
        (np.ones((3, 2)), np.full((3, 2), np.nan), {}, "NaN"),
        (np.ones((3, 2)), np.ones((3, 2)), {"n_permutations": 0}, "n_permutations as a whole number"),
        (np.ones((3, 2)), np.ones((3, 2)), {"bandwidth": -1}, "bandwidth as a positive number"),
    ],
)
def test_mistakes_are_told(X, Y, more, message):
    with pytest.raises(ValueError, match=message):
        mmd_test(X, Y, **more)
