"""Detection reports, populations and conformal thresholds."""

import warnings
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, precision_score, recall_score, roc_auc_score, roc_curve

from smartbox.metrics import conformal_threshold, detection_population, detection_report


def truncated(share):
    return np.floor(round(share * 10_000, 6)) / 100


@pytest.mark.parametrize("threshold", [0.0, 0.7])
def test_equals_scikit_learn(threshold):
    rng = np.random.default_rng(0)
    y = rng.random(600) < 0.5
    scores = np.round(rng.normal(size=600) + y, 1)
    report = detection_report(y, scores, threshold=threshold)
    y_pred = scores > threshold
    assert report.precision == pytest.approx(precision_score(y, y_pred))
    assert report.recall == pytest.approx(recall_score(y, y_pred))
    assert report.accuracy == pytest.approx(accuracy_score(y, y_pred))
    assert report.fpr == pytest.approx(y_pred[~y].mean())
    assert report.roc_auc == pytest.approx(roc_auc_score(y, scores))
    fpr, tpr, _ = roc_curve(y, scores, drop_intermediate=False)
    assert report.tpr_at_fpr_1 == pytest.approx(tpr[fpr <= 0.01].max())
    assert report.tpr_at_fpr_5 == pytest.approx(tpr[fpr <= 0.05].max())
    assert (report.n_clean, report.n_attacked) == (np.sum(~y), np.sum(y))


def test_gaussian_closed_forms():
    noise = norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    report = detection_report(np.repeat([0, 1], 10_000), np.r_[noise, noise + 2], threshold=1.0)
    assert report.roc_auc == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=1e-3)
    assert report.recall == pytest.approx(norm.cdf(1), abs=1e-3)
    assert report.fpr == pytest.approx(norm.sf(1), abs=1e-3)
    assert report.tpr_at_fpr_5 == pytest.approx(norm.sf(norm.isf(0.05) - 2), abs=1e-3)
    assert report.tpr_at_fpr_1 == pytest.approx(norm.sf(norm.isf(0.01) - 2), abs=1e-3)


def test_the_threshold_itself_is_not_flagged():
    report = detection_report([0, 1, 1], [0.0, 0.0, 1.0])
    assert (report.fpr, report.recall, report.precision) == (0, 0.5, 1)


def test_constant_scores_earn_one_half():
    assert detection_report([0, 1, 1, 0, 1], np.full(5, 3.0)).roc_auc == 0.5


def test_nan_flags_nothing_and_counts_as_lowest():
    y, scores = [0, 0, 1, 1], np.array([0.5, -1.0, np.nan, 2.0])
    report = detection_report(y, scores)
    lowest = detection_report(y, [0.5, -1.0, -1e9, 2.0])
    assert report.roc_auc == lowest.roc_auc == 0.5
    assert report.recall == 0.5
    assert np.isnan(scores[2])  # the caller's array is left alone
    assert detection_report(y, [np.nan] * 4).roc_auc == 0.5


def test_undefined_figures_are_nan_without_noise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        only_attacked = detection_report([1, 1], [1.0, -1.0])
        only_clean = detection_report([0, 0], [-1.0, -1.0])
        few = detection_report([0] * 20 + [1], np.arange(21))
    assert only_attacked.recall == 0.5 and only_attacked.precision == 1
    assert np.isnan([only_attacked.fpr, only_attacked.roc_auc, only_attacked.tpr_at_fpr_5]).all()
    assert only_clean.fpr == 0
    assert np.isnan([only_clean.precision, only_clean.recall, only_clean.roc_auc]).all()
    assert np.isnan(few.tpr_at_fpr_1) and few.tpr_at_fpr_5 == 1


@pytest.mark.parametrize(
    "n, hits, alarms, printed",
    [
        (251, 234, 68, [77.48, 93.22, 83.06]),  # adaptive noise reduction: DeepFool, EAD-L1, EAD-EN, FGSM, L2
        (251, 247, 68, [78.41, 98.40, 85.65]),
        (251, 248, 68, [78.48, 98.80, 85.85]),
        (173, 80, 65, [55.17, 46.24, 54.33]),
        (251, 249, 68, [78.54, 99.20, 86.05]),
        (264, 253, 47, [84.33, 95.83, 89.01]),  # artifact learning: DeepFool, EAD-L1
        (264, 258, 31, [89.27, 97.72, 92.99]),
        (264, 193, 9, [95.54, 73.10, 84.84]),  # convolution filters: FGSM
        (264, 151, 116, [56.55, 57.19, 56.62]),  # PCA: L2
    ],
)
def test_truncated_percentages_of_the_paper(n, hits, alarms, printed):
    """Table 3 prints precision, recall and accuracy for n attacked and n clean images."""
    flagged = np.r_[np.arange(n) < hits, np.arange(n) < alarms]
    report = detection_report(np.repeat([1, 0], n), np.where(flagged, 1.0, -1.0))
    assert [truncated(report[key]) for key in ("precision", "recall", "accuracy")] == printed


def test_populations_by_hand():
    y, clean, adv = list("aabbc"), list("aabca"), list("abbbc")
    np.testing.assert_array_equal(detection_population(y, clean, adv), [True] * 5)
    successful = detection_population(y, clean, adv, rule="successful")
    np.testing.assert_array_equal(successful, [False, True, False, False, False])


def test_population_counts_of_the_paper():
    """264 probes, 251 right before; DeepFool fools all of these and repairs 9 of the others."""
    y = np.zeros(264, int)
    clean = np.r_[np.zeros(251, int), np.ones(13, int)]
    adv = np.r_[np.ones(251, int), np.zeros(9, int), np.full(4, 2)]
    assert detection_population(y, clean, adv, rule="successful").sum() == 251
    assert detection_population(y, clean, adv, rule="all").sum() == 264
    assert np.sum(adv == y) == 9


@pytest.mark.parametrize("n, fpr", [(19, 0.05), (20, 0.05), (99, 0.05), (227, 0.05), (49, 0.58), (9, 0.1)])
def test_conformal_threshold_is_the_order_statistic(n, fpr):
    scores = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    assert conformal_threshold(scores, fpr=fpr) == ceil((1 - Fraction(str(fpr))) * (n + 1))


def test_conformal_threshold_holds_the_false_positive_rate():
    rng = np.random.default_rng(1)
    alarms = [norm.sf(conformal_threshold(rng.normal(size=99), fpr=0.05)) for _ in range(2000)]
    # The order statistic leaves a Beta(5, 95) share above it: mean 0.05, standard deviation 0.0217.
    assert np.mean(alarms) == pytest.approx(0.05, abs=5 * 0.0217 / np.sqrt(2000))


def test_conformal_threshold_of_too_few():
    with pytest.warns(UserWarning, match="18 clean scores.*at least 19"):
        assert conformal_threshold(np.arange(18)) == np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert conformal_threshold(np.arange(19)) == 18


@pytest.mark.parametrize(
    "y, scores, kwargs, message",
    [
        ([0, 1], [1.0], {}, "shape"),
        ([1, 2], [1.0, 2.0], {}, "True and False"),
        ([0, 1], [[1.0, 2.0]], {}, "shape"),
        ([], [], {}, "non-empty"),
        ([0, 1], [1.0, 2.0], {"threshold": np.nan}, "threshold"),
        ([0, 1], [1.0, 2.0], {"threshold": "auto"}, "threshold"),
    ],
)
def test_report_refuses(y, scores, kwargs, message):
    with pytest.raises(ValueError, match=message):
        detection_report(y, scores, **kwargs)


def test_population_refuses():
    with pytest.raises(ValueError, match="rule must be one of"):
        detection_population([0], [0], [1], rule="some")
    with pytest.raises(ValueError, match="one length"):
        detection_population([0, 1], [0, 1], [1])
    with pytest.raises(ValueError, match="one type"):
        detection_population([0, 1], ["0", "1"], ["0", "1"])


@pytest.mark.parametrize("fpr", [0, 1, 5, "5%"])
def test_conformal_threshold_refuses_rate(fpr):
    with pytest.raises(ValueError, match="fpr"):
        conformal_threshold([1.0, 2.0], fpr=fpr)


def test_conformal_threshold_refuses_nan():
    with pytest.raises(ValueError, match="NaN"):
        conformal_threshold([1.0, np.nan])
