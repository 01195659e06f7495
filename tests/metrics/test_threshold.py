"""Thresholds from held-out claims, and what a verifier is worth at them."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from smartbox.metrics import (
    choose_threshold,
    det_points,
    equal_error_rate,
    fold_accuracy,
    tar_at_far,
    verification_report,
)
from tests.metrics.test_verification import gaussian_scores, scores_with_ties


def accuracy_at(scores, genuine, threshold):
    return np.mean((np.asarray(scores) >= threshold) == np.asarray(genuine, bool))


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_is_more_accurate(seed):
    scores, genuine = scores_with_ties(seed, n=25)
    sign = -1 if seed % 2 else 1  # also where the scores mislead, so that one answer for all is best
    found = choose_threshold(sign * scores, genuine)
    everywhere = np.r_[np.linspace(-5, 5, 2001), -np.inf, np.inf]
    best = max(accuracy_at(sign * scores, genuine, t) for t in everywhere)
    assert accuracy_at(sign * scores, genuine, found) == best


def test_middle_of_the_widest_of_the_best():
    assert choose_threshold([5, 4, 1, 0], [1, 1, 0, 0]) == 2.5
    # 3 of 4 right from 1 to 2, and from 3 to 9
    assert choose_threshold([9, 3, 2, 1], [1, 0, 1, 0]) == 6
    # scores shared by one genuine and one impostor claim do not part a stretch: 3 of 4 right from 0 to 10
    assert choose_threshold([10, 7, 7, 0], [1, 1, 0, 0]) == 5
    # accepting nothing is best, and so is accepting everything
    assert choose_threshold([1, 2, 3], [1, 0, 0]) == np.inf
    assert choose_threshold([3, 2, 1], [0, 1, 1]) == -np.inf
    assert choose_threshold([1.0, 1.0], [1, 0]) in (np.inf, -np.inf)


def test_infinite_and_neighbouring_scores():
    inf = np.inf
    assert choose_threshold([inf, 0, -inf], [1, 1, 0]) == 0
    assert accuracy_at([inf, 0.0], [1, 0], choose_threshold([inf, 0.0], [1, 0])) == 1
    assert accuracy_at([inf, -inf], [1, 0], choose_threshold([inf, -inf], [1, 0])) == 1
    above = np.nextafter(1.0, 2)
    assert choose_threshold([above, 1.0], [1, 0]) == above


@pytest.mark.parametrize("d_prime", [1.0, 2.0])
def test_gaussian_thresholds(d_prime):
    scores, genuine = gaussian_scores(d_prime, n=4001)
    assert choose_threshold(scores, genuine) == pytest.approx(d_prime / 2, abs=2e-2)
    assert choose_threshold(scores, genuine, rule="eer") == pytest.approx(d_prime / 2, abs=2e-3)
    assert choose_threshold(scores, genuine, rule=0.01) == pytest.approx(norm.isf(0.01), abs=1e-2)


@pytest.mark.parametrize("far", [0.02, 0.1, 0.5])
def test_threshold_at_a_rate_keeps_it_and_gives_the_tar(far):
    scores, genuine = scores_with_ties(3)
    report = verification_report(scores, genuine, threshold=choose_threshold(scores, genuine, rule=far))
    assert report.far <= far
    assert report.tar == tar_at_far(scores, genuine, far)


def test_report_against_scikit_learn():
    scores, genuine = scores_with_ties(4, n=1000)
    report = verification_report(scores, genuine, threshold=0.3)
    accepted = scores >= 0.3
    assert report.accuracy == np.mean(accepted == genuine)
    assert report.balanced_accuracy == pytest.approx(balanced_accuracy_score(genuine, accepted))
    assert report.hter == pytest.approx(1 - report.balanced_accuracy)
    assert report.roc_auc == pytest.approx(roc_auc_score(genuine, scores))
    assert report.eer == equal_error_rate(scores, genuine)
    assert (report.n_genuine, report.n_impostors) == (genuine.sum(), (~genuine).sum())
    assert list(report.tar_at_far) == [1e-2, 1e-3, 1e-4]
    assert report.tar_at_far[1e-2] == tar_at_far(scores, genuine, 1e-2)
    assert np.isnan(report.tar_at_far[1e-3]) and np.isnan(report.tar_at_far[1e-4])  # of some 600 impostors


def test_rejecting_all_claims_of_all_probes():
    genuine = np.arange(264 * 38) % 38 == 0
    report = verification_report(np.zeros(len(genuine)), genuine, threshold=1)
    assert report.accuracy == pytest.approx(37 / 38)
    assert report.balanced_accuracy == 0.5


def test_threshold_is_not_rounded_to_the_type_of_the_scores():
    score = np.float32(0.1)  # a little more than 0.1
    between = (float(score) + 0.1) / 2
    assert verification_report(np.array([score, 0], np.float32), [1, 0], threshold=between).tar == 1
    assert verification_report(np.array([score, 0], np.float32), [1, 0], threshold=float(score) + 1e-9).tar == 0


def test_folds_by_hand():
    scores = np.array([5.0, 1.0, 4.0, 0.0, 2.0, 3.0])
    genuine = np.array([1, 0, 1, 0, 1, 0])
    result = fold_accuracy(scores, genuine, folds=["a", "a", "b", "b", "c", "c"])
    # Without a: best from 0 to 2, which is wider than from 3 to 4. Without b: from 3 to 5. Without c: from 1 to 4.
    np.testing.assert_array_equal(result.thresholds, [1.0, 4.0, 2.5])
    np.testing.assert_array_equal(result.accuracies, [0.5, 1, 0])
    assert result.accuracy == pytest.approx(0.5)
    assert result.standard_error == pytest.approx(np.std([0.5, 1, 0], ddof=1) / np.sqrt(3))


def test_numbered_folds_are_those_of_labeled_faces_in_the_wild():
    rng = np.random.default_rng(0)
    genuine = np.tile(np.repeat([True, False], 30), 10)  # ten folds, those of one person first
    scores = rng.normal(size=600) + 2 * genuine
    by_number, by_name = fold_accuracy(scores, genuine), fold_accuracy(scores, genuine, folds=np.repeat(range(10), 60))
    np.testing.assert_array_equal(by_number.thresholds, by_name.thresholds)
    np.testing.assert_array_equal(by_number.accuracies, by_name.accuracies)
    assert by_number.accuracy == pytest.approx(norm.cdf(1), abs=0.04)


@pytest.mark.parametrize("d_prime", [1.0, 2.0])
def test_det_of_gaussians_is_a_line(d_prime):
    scores, genuine = gaussian_scores(d_prime)
    points = det_points(scores, genuine)
    inner = (points.far > 0.01) & (points.far < 0.99) & (points.frr > 0.01) & (points.frr < 0.99)
    np.testing.assert_allclose(points.frr_deviate[inner], -d_prime - points.far_deviate[inner], atol=5e-3)
    assert np.all(np.diff(points.far_deviate) >= 0) and np.all(np.diff(points.frr_deviate) <= 0)


def test_det_is_finite_and_clipped_by_the_number_of_claims():
    points = det_points([3.0, 2.0, 1.0, 0.0, -1.0], [1, 1, 0, 0, 0])
    assert points.far_deviate[0] == pytest.approx(norm.ppf(1 / 6)) and points.far_deviate[-1] == pytest.approx(
        norm.ppf(5 / 6)
    )
    assert points.frr_deviate[0] == pytest.approx(norm.ppf(3 / 4)) and points.frr_deviate[-1] == pytest.approx(
        norm.ppf(1 / 4)
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: choose_threshold([1.0, 0.0], [1, 0], rule="best"), "rule must be 'accuracy', 'eer'"),
        (lambda: choose_threshold([1.0, 0.0], [1, 0], rule=1), "strictly between 0 and 1"),
        (lambda: choose_threshold([1.0, 0.0], [1, 0], rule=0.1), "with 1 impostor claims; pass at least 10"),
        (lambda: verification_report([1.0, 0.0], [1, 0], threshold="0"), "choose_threshold gives one"),
        (lambda: verification_report([1.0, 0.0], [1, 0], threshold=np.nan), "threshold must be a number"),
        (lambda: fold_accuracy([1.0, 0.0], [1, 0]), r"at most the number of genuine or impostor claims \(1\), got 10"),
        (lambda: fold_accuracy([1.0, 0.0], [1, 0], folds=[1, 1]), "at least two folds"),
        (lambda: fold_accuracy([1.0, 0.0], [1, 0], folds=[1]), "each of the 2 claims, got 1"),
        (lambda: det_points([1.0, 0.0], [1, 1]), "genuine ones only"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
