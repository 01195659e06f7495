"""Open-set identification against brute force, and against the closed set it becomes."""

import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning

from smartbox.metrics import dir_at_far, open_set_curve, rank_k_accuracy

NAMES = np.array(["eve", "ann", "bob", "dan"])  # columns need not be sorted


def probes(seed, n=80, ties=True):
    rng = np.random.default_rng(seed)
    y = rng.choice([*NAMES, "kim", "lea"], n)
    scores = rng.normal(size=(n, 4)) + (y[:, None] == NAMES)
    return y, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("k", [1, 2, 4])
def test_curve_against_a_loop(k):
    y, scores = probes(0, ties=False)
    curve = open_set_curve(y, scores, classes=NAMES, k=k)
    known = np.isin(y, NAMES)
    for threshold, far, rate in zip(curve.thresholds, curve.far, curve.dir, strict=True):
        found = [
            row[list(NAMES).index(name)] >= threshold and name in NAMES[np.argsort(-row)[:k]]
            for row, name in zip(scores[known], y[known], strict=True)
        ]
        assert rate == pytest.approx(np.mean(found))
        assert far == np.mean(scores[~known].max(axis=1) >= threshold)
    assert curve.far[0] == 0 == curve.dir[0] and curve.far[-1] == 1
    assert np.all(np.diff(curve.far) >= 0) and np.all(np.diff(curve.dir) >= -1e-15)


def test_ties_count_as_the_mean_over_orders():
    y, scores = probes(1, n=30)
    scores = np.round(scores)
    rng = np.random.default_rng(2)
    exact = open_set_curve(y, scores, classes=NAMES)
    known = np.isin(y, NAMES)
    own = (y[known, None] == NAMES).argmax(axis=1)
    order = rng.random((20_000, *scores[known].shape))  # breaks the ties, each time in another order
    first = np.argmax(np.where(scores[known] == scores[known].max(axis=1, keepdims=True), order, -1), axis=2) == own
    for threshold in np.unique(scores):
        at = np.searchsorted(-exact.thresholds, -threshold, side="right") - 1
        reached = scores[known][np.arange(len(own)), own] >= threshold
        assert exact.dir[at] == pytest.approx((first & reached).mean(), abs=5e-3)


def test_without_a_bar_it_is_closed_set_identification():
    y, scores = probes(3)
    known = np.isin(y, NAMES)
    for k in (1, 3):
        expected = rank_k_accuracy(y[known], scores[known], k=k, classes=NAMES)
        assert open_set_curve(y, scores, classes=NAMES, k=k).dir[-1] == pytest.approx(expected)
        assert dir_at_far(y, scores, 1, classes=NAMES, k=k) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_rate_at_far_is_the_best_of_the_curve(seed):
    y, scores = probes(seed)
    curve = open_set_curve(y, scores, classes=NAMES)
    n_strangers = np.sum(~np.isin(y, NAMES))
    for far in (1 / n_strangers, 0.1, 0.3, 1):
        assert dir_at_far(y, scores, far, classes=NAMES) == pytest.approx(curve.dir[curve.far <= far].max())


def test_what_cannot_be_scored_is_not_identified():
    y, scores = ["ann", "bob", "kim"], np.array([[np.nan, 1.0], [0.0, 1.0], [np.nan, np.nan]])
    curve = open_set_curve(y, scores, classes=["ann", "bob"])
    np.testing.assert_array_equal(curve.thresholds, [np.inf, 1, -np.inf, -np.inf])
    np.testing.assert_array_equal(curve.dir, [0, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(curve.far, [0, 0, 1, 1])
    assert dir_at_far(y, scores, 1, classes=["ann", "bob"]) == 0.5


def test_far_below_one_stranger_is_not_measurable():
    y, scores = probes(4)
    n_strangers = np.sum(~np.isin(y, NAMES))
    with pytest.warns(UndefinedMetricWarning, match=f"{n_strangers} strangers"):
        assert np.isnan(dir_at_far(y, scores, 0.9 / n_strangers, classes=NAMES))


@pytest.mark.parametrize(
    "y, options, message",
    [
        (["ann", "bob"], {}, "all are enrolled.*cmc_curve"),
        (["kim", "lea"], {}, "none are enrolled"),
        ([0, 1], {}, "labels of one type"),
        (["ann", "kim"], {"k": 3}, "k must be an integer from 1 to n_classes = 2"),
        (["ann", "kim"], {"k": 1.0}, "k must be an integer"),
        (["ann", "kim", "lea"], {}, "one row a probe"),
    ],
)
def test_refuses(y, options, message):
    with pytest.raises(ValueError, match=message):
        open_set_curve(y, np.eye(2), classes=["ann", "bob"], **options)
    with pytest.raises(ValueError, match=message):
        dir_at_far(y, np.eye(2), 0.5, classes=["ann", "bob"], **options)


def test_refuses_far():
    with pytest.raises(ValueError, match="divide a percentage"):
        dir_at_far(["ann", "kim"], np.eye(2), 5, classes=["ann", "bob"])
