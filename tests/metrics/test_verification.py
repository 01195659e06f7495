"""Verification: margins of claims, error rates, the paper's accuracy."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import auc, roc_auc_score, roc_curve

from smartbox.metrics import claim_scores, equal_error_rate, roc_points, tar_at_far, verification_accuracy


def scores_with_ties(seed, n=300):
    rng = np.random.default_rng(seed)
    genuine = rng.random(n) < 0.4
    return np.round(rng.normal(size=n) + genuine, 1), genuine


def gaussian_scores(d_prime, n=20_001):
    """Exact quantiles instead of draws, so that the closed forms hold to about 1 / n."""
    noise = norm.ppf((np.arange(n) + 0.5) / n)
    return np.r_[noise, noise + d_prime], np.repeat([False, True], n)


def test_points_equal_scikit_learn():
    scores, genuine = scores_with_ties(0)
    far, tar, thresholds = roc_curve(genuine, scores, drop_intermediate=False)
    points = roc_points(scores, genuine)
    np.testing.assert_allclose(points.far[:-1], far)
    np.testing.assert_allclose(points.tar[:-1], tar)
    np.testing.assert_array_equal(points.thresholds[:-1], thresholds)
    assert auc(points.far, points.tar) == pytest.approx(roc_auc_score(genuine, scores))


def test_points_are_the_definition():
    scores, genuine = scores_with_ties(1)
    points = roc_points(scores, genuine)
    accepted = scores >= points.thresholds[:, None]
    np.testing.assert_allclose(points.far, accepted[:, ~genuine].mean(axis=1))
    np.testing.assert_allclose(points.frr, (~accepted[:, genuine]).mean(axis=1))
    np.testing.assert_allclose(points.tar, 1 - points.frr)
    assert points.thresholds[0] == np.inf and points.far[0] == 0 == points.tar[0]
    assert points.thresholds[-1] == -np.inf and points.far[-1] == 1 == points.tar[-1]
    assert np.all(np.diff(points.far) >= 0) and np.all(np.diff(points.tar) >= 0)


def test_six_scores_with_ties_by_hand():
    scores = [5, 4, 3, 3, 2, 1]
    genuine = [1, 1, 1, 0, 0, 0]
    points = roc_points(scores, genuine)
    np.testing.assert_array_equal(points.thresholds, [np.inf, 5, 4, 3, 2, 1, -np.inf])
    np.testing.assert_allclose(points.far, [0, 0, 0, 1 / 3, 2 / 3, 1, 1])
    np.testing.assert_allclose(points.tar, [0, 1 / 3, 2 / 3, 1, 1, 1, 1])
    # Between thresholds 3 (FAR 1/3, FRR 0) and 4 (FAR 0, FRR 1/3) the lines cross half-way.
    assert equal_error_rate(scores, genuine) == pytest.approx(1 / 6)
    assert tar_at_far(scores, genuine, far=1 / 3) == 1
    assert tar_at_far([5, 4, 2, 3, 2, 1], genuine, far=0.5) == pytest.approx(2 / 3)


def test_separation_and_no_information():
    assert equal_error_rate([3, 2, 1, 0], [True, True, False, False]) == 0
    assert equal_error_rate([1, 0, 3, 2], [True, True, False, False]) == 1
    assert equal_error_rate([7.0] * 5, [True, False, True, False, False]) == 0.5
    rng = np.random.default_rng(4)
    assert equal_error_rate(rng.normal(size=20_000), rng.random(20_000) < 0.3) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("d_prime", [0.5, 1.0, 2.0, 3.0])
def test_gaussian_closed_forms(d_prime):
    scores, genuine = gaussian_scores(d_prime)
    points = roc_points(scores, genuine)
    assert equal_error_rate(scores, genuine) == pytest.approx(norm.cdf(-d_prime / 2), abs=2e-4)
    assert auc(points.far, points.tar) == pytest.approx(norm.cdf(d_prime / np.sqrt(2)), abs=2e-4)
    for far in (0.01, 0.1):
        assert tar_at_far(scores, genuine, far) == pytest.approx(norm.sf(norm.isf(far) - d_prime), abs=1e-3)
    inner = (points.far > 0.01) & (points.far < 0.99) & (points.frr > 0.01) & (points.frr < 0.99)
    slope, intercept = np.polyfit(norm.ppf(points.far[inner]), norm.ppf(points.frr[inner]), 1)
    assert slope == pytest.approx(-1, abs=5e-3)  # the DET line
    assert intercept == pytest.approx(-d_prime, abs=5e-3)


def test_far_below_one_impostor_is_not_measurable():
    scores, genuine = scores_with_ties(2)
    n_impostors = np.sum(~genuine)
    with pytest.warns(UndefinedMetricWarning, match=f"{n_impostors} impostor claims"):
        assert np.isnan(tar_at_far(scores, genuine, 0.99 / n_impostors))
    assert tar_at_far(scores, genuine, 1 / n_impostors) >= 0
    assert tar_at_far(scores, genuine, 1) == 1


def test_infinite_scores_are_scores():
    points = roc_points([np.inf, 0.0, -np.inf], [True, True, False])
    np.testing.assert_array_equal(points.tar[[0, -1]], [0, 1])
    assert equal_error_rate([np.inf, 0.0, -np.inf], [True, True, False]) == 0


def test_margins_against_a_loop():
    rng = np.random.default_rng(5)
    names = np.array(["eve", "ann", "bob", "dan"])  # columns need not be sorted
    logits, claims = rng.integers(-2, 3, size=(60, 4)).astype(np.float32), rng.choice(names, 60)
    margins = claim_scores(logits, claims, names)
    for row, claim, margin in zip(logits, claims, margins, strict=True):
        c = list(names).index(claim)
        assert margin == row[c] - max(np.delete(row, c))
    assert margins.dtype == np.float64


def test_positive_margin_means_predicted():
    rng = np.random.default_rng(6)
    logits, claims = rng.normal(size=(500, 5)).astype(np.float32), rng.integers(0, 5, 500)
    np.testing.assert_array_equal(claim_scores(logits, claims, range(5)) > 0, logits.argmax(axis=1) == claims)
    assert claim_scores([[400.0, 100.0]], [0], [0, 1])[0] == 300  # no saturation


def test_what_cannot_be_scored_is_not_accepted():
    nan = np.nan
    margins = claim_scores([[nan, 1.0], [nan, nan], [1.0, nan], [1.0, 0.0]], [0, 0, 0, 0], [0, 1])
    np.testing.assert_array_equal(margins, [-np.inf, -np.inf, np.inf, 1.0])


def test_accuracy_accepts_if_and_only_if_the_claim_is_predicted():
    y_pred = ["a", "b", "a", "b"]
    claims = ["a", "a", "a", "a"]
    assert verification_accuracy(y_pred, claims, [True, True, False, False]) == 0.5
    assert verification_accuracy(y_pred, claims, [1, 0, 1, 0]) == 1
    assert verification_accuracy(y_pred, claims, [0, 1, 0, 1]) == 0


# Table 2 of the paper, row by row: verification, then identification.
PRINTED = [
    [96.96, 50, 98.48, 93.56, 73.48, 93.18, 98.86, 92.80, 68.56, 93.93, 99.24, 92.04, 68.56, 93.18],
    [67.04, 79.92, 67.42, 57.95, 88.25, 0, 99.62, 92.80, 70.07, 93.18],
    [95.07, 3.4, 97.34, 86.74, 45.07, 87.50, 97.72, 85.22, 38.25, 85.98, 99.24, 83.33, 36.36, 85.60],
    [29.92, 57.19, 32.57, 18.18, 75.37, 0, 99.62, 85.60, 39.39, 85.98],
]


@pytest.mark.parametrize("n_probes, all_fit", [(264, True), (263, False), (265, False)])
def test_percentages_of_the_paper_are_truncated_counts_of_264(n_probes, all_fit):
    claims, is_genuine = np.zeros(n_probes, int), np.ones(n_probes, bool)
    decisions = np.tri(n_probes + 1, n_probes, -1, dtype=int)  # row k has k ones, that is k wrong labels
    shares = [verification_accuracy(y_pred, claims, is_genuine) for y_pred in decisions]
    possible = np.floor(np.round(np.array(shares) * 10_000, 6)) / 100
    assert np.isin(np.concatenate(PRINTED), possible).all() == all_fit


@pytest.mark.parametrize(
    "scores, genuine, message",
    [
        ([1.0, 2.0], [True], "shape"),
        ([1.0, np.nan], [True, False], "NaN, got 1 of 2"),
        ([1.0, 2.0], [True, True], "genuine ones only"),
        ([1.0, 2.0], [False, False], "impostor ones only"),
        ([1.0, 2.0], [0, 2], "True and False"),
        ([1.0, 2.0], ["a", "b"], "True and False"),
        ([[1.0], [2.0]], [True, False], "real numbers of shape"),
        ([], [], "non-empty"),
        (["a", "b"], [True, False], "real numbers"),
    ],
)
@pytest.mark.parametrize("metric", [roc_points, equal_error_rate, lambda s, g: tar_at_far(s, g, 0.1)])
def test_refuses_scores(metric, scores, genuine, message):
    with pytest.raises(ValueError, match=message):
        metric(scores, genuine)


@pytest.mark.parametrize("far", [-0.1, 5, "1%", np.nan, True])
def test_refuses_far(far):
    with pytest.raises(ValueError, match="divide a percentage"):
        tar_at_far([1.0, 2.0], [False, True], far)


@pytest.mark.parametrize(
    "y_pred, claims, genuine, message",
    [
        (["a"], ["a", "b"], [1, 1], "one length"),
        (["a", "b"], [0, 1], [1, 1], "one type"),
        (["a", "b"], ["a", "b"], [1], "shape"),
        ([[1, 0]], [0], [1], "one-hot"),
        ([0.0, np.nan], [0, 1], [1, 1], "NaN"),
    ],
)
def test_accuracy_refuses(y_pred, claims, genuine, message):
    with pytest.raises(ValueError, match=message):
        verification_accuracy(y_pred, claims, genuine)


def test_claim_of_a_stranger():
    with pytest.raises(ValueError, match=r"claims must hold enrolled identities.*\['zoe'\]"):
        claim_scores([[1.0, 2.0]], ["zoe"], ["ann", "bob"])
