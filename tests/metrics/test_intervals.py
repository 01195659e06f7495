"""Wilson's interval and McNemar's test against SciPy, sums of binomial terms, and figures worked out by hand."""

from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from smartbox.metrics import mcnemar_test, wilson_interval


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilson_equals_scipy(confidence):
    for n in (1, 7, 264):
        hits = np.arange(n + 1)
        low, high = wilson_interval(hits, n, confidence=confidence)
        expected = [binomtest(int(k), n).proportion_ci(confidence, method="wilson") for k in hits]
        np.testing.assert_allclose(low, [ci.low for ci in expected], atol=1e-12)
        np.testing.assert_allclose(high, [ci.high for ci in expected], atol=1e-12)
        assert low[0] == 0 and high[-1] == 1


def test_wilson_solves_its_equation():
    # The ends are the shares p whose own standard error puts the observed share 1.96 of them away.
    for end in wilson_interval(225, 264):
        assert abs(225 / 264 - end) / np.sqrt(end * (1 - end) / 264) == pytest.approx(1.959964, abs=1e-6)


def test_wilson_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    low, high = wilson_interval(rng.binomial(100, 0.9, size=20_000), 100)
    assert np.mean((low <= 0.9) & (high >= 0.9)) == pytest.approx(0.95, abs=0.02)


def test_wilson_of_numbers_and_arrays():
    assert wilson_interval(3, 10) == tuple(float(end[0]) for end in wilson_interval([3], [10]))
    assert wilson_interval(np.ones((2, 1), int), [5, 6, 7])[0].shape == (2, 3)


@pytest.mark.parametrize("only_a, only_b", [(0, 0), (1, 0), (6, 0), (5, 5), (10, 3), (2, 40)])
def test_mcnemar_is_twice_the_binomial_tail(only_a, only_b):
    right_a = np.r_[np.ones(only_a), np.zeros(only_b), np.ones(20), np.zeros(4)]
    right_b = np.r_[np.zeros(only_a), np.ones(only_b), np.ones(20), np.zeros(4)]
    result = mcnemar_test(right_a, right_b)
    n = only_a + only_b
    tail = sum(comb(n, i) for i in range(min(only_a, only_b) + 1)) / 2**n
    assert result.pvalue == pytest.approx(min(1, 2 * tail))
    assert (result.n_only_a, result.n_only_b) == (only_a, only_b)
    assert result.difference == pytest.approx(right_b.mean() - right_a.mean())
    assert mcnemar_test(right_b, right_a).pvalue == result.pvalue


def test_identical_systems_do_not_differ():
    assert mcnemar_test([True, False, True], [True, False, True]).pvalue == 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: wilson_interval(0.5, 10), "pass counts, not shares"),
        (lambda: wilson_interval(11, 10), "got .11. of .10."),
        (lambda: wilson_interval(0, 0), "n_trials >= 1"),
        (lambda: wilson_interval(1, 2, confidence=95), "divide a percentage"),
        (lambda: mcnemar_test([], []), "non-empty"),
        (lambda: mcnemar_test([1, 0], [1]), "right_b must be of shape"),
        (lambda: mcnemar_test(["ann"], ["bob"]), "True and False"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
