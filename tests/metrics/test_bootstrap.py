"""Intervals by identity: against drawing images one by one, closed forms, and what must not matter."""

import numpy as np
import pytest
from sklearn.metrics import precision_score, roc_auc_score, roc_curve

from smartbox.metrics import bootstrap_by_identity, detection_report
from smartbox.metrics._detection import _Rates

SEED = 3


@pytest.fixture(scope="module")
def detected():
    """Scores with ties of 12 people's faces and their attacked twins."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 20)
    y = np.tile([0, 1], 120)
    return y, np.round(rng.normal(size=240) + y + rng.normal(size=12)[groups], 1), groups


def repeated(multiplicities, groups, *arrays):
    """Each array with the images of a person as often as the person was drawn."""
    rows = np.concatenate([np.tile(np.flatnonzero(groups == g), m) for g, m in enumerate(multiplicities)])
    return [array[rows] for array in arrays]


def test_weighted_rates_are_those_of_repeated_images(detected):
    y, scores, groups = detected
    draws = np.random.RandomState(SEED).multinomial(12, np.full(12, 1 / 12), 25)
    found = _Rates(scores, y == 1, 0.5)(draws[:, groups].astype(float))
    for i, draw in enumerate(draws):
        y_drawn, drawn = repeated(draw, groups, y, scores)
        fpr, tpr, _ = roc_curve(y_drawn, drawn, drop_intermediate=False)
        expected = {
            "precision": precision_score(y_drawn, drawn > 0.5),
            "recall": np.mean(drawn[y_drawn == 1] > 0.5),
            "accuracy": np.mean((drawn > 0.5) == y_drawn),
            "fpr": np.mean(drawn[y_drawn == 0] > 0.5),
            "roc_auc": roc_auc_score(y_drawn, drawn),
            "tpr_at_fpr_1": tpr[fpr <= 0.01].max(),
            "tpr_at_fpr_5": tpr[fpr <= 0.05].max(),
        }
        assert {name: values[i] for name, values in found.items()} == pytest.approx(expected)


def test_intervals_of_a_report_are_the_quantiles_over_drawn_identities(detected):
    y, scores, groups = detected
    report = detection_report(y, scores, threshold=0.5, groups=groups, random_state=SEED)
    plain = detection_report(y, scores, threshold=0.5)
    assert {name: report[name] for name in plain} == dict(plain)
    draws = np.random.RandomState(SEED).multinomial(12, np.full(12, 1 / 12), 2000)
    aucs = [roc_auc_score(*repeated(draw, groups, y, scores)) for draw in draws[:300]]
    low, high = report.intervals.roc_auc
    assert (low, high) == pytest.approx(np.quantile(aucs, [0.025, 0.975]), abs=0.03)
    for name, (low, high) in report.intervals.items():
        assert low <= report[name] <= high, name


def test_the_normal_approximation_for_many_identities_of_one_image():
    right = np.arange(400) < 300
    interval = bootstrap_by_identity(right, np.arange(400), random_state=0)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (interval.low, interval.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.008)
    assert interval.n_undefined == 0


def test_people_count_not_images():
    """Ten images of a person that all say the same are worth one."""
    right = np.arange(60) < 40
    once = bootstrap_by_identity(right, np.arange(60), random_state=0)
    tenfold = bootstrap_by_identity(np.repeat(right, 10), np.repeat(np.arange(60), 10), random_state=0)
    assert (once.low, once.high) == pytest.approx((tenfold.low, tenfold.high))


def test_width_shrinks_with_the_root_of_the_number_of_identities():
    widths = []
    for n in (50, 800):
        interval = bootstrap_by_identity(np.arange(n) % 2, np.arange(n), random_state=0)
        widths.append(interval.high - interval.low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.1)


def test_agreement_has_no_width():
    interval = bootstrap_by_identity(np.ones(30), np.arange(30) % 5, random_state=0)
    assert interval.low == interval.high == 1


def test_order_of_images_and_names_of_people_do_not_matter(detected):
    y, scores, groups = detected
    shuffled = np.random.default_rng(1).permutation(len(y))
    names = np.array([f"p{g:02d}" for g in groups])
    one = detection_report(y, scores, groups=groups).intervals
    other = detection_report(y[shuffled], scores[shuffled], groups=names[shuffled]).intervals
    assert dict(one) == {k: pytest.approx(v) for k, v in other.items()}


def test_many_images_are_weighed_a_few_draws_at_a_time(detected, monkeypatch):
    y, scores, groups = detected
    whole = detection_report(y, scores, groups=groups).intervals
    monkeypatch.setattr("smartbox.metrics._bootstrap._WEIGHTS_AT_A_TIME", 1000)
    assert detection_report(y, scores, groups=groups).intervals == whole


def test_draws_that_leave_the_statistic_undefined_are_counted():
    """Of two people only one has attacked faces: a quarter of the draws has none of them."""
    y, groups = np.array([0, 0, 1]), np.array([0, 0, 1])
    rates = _Rates(np.array([0.0, 1.0, 2.0]), y == 1, 0.5)
    found = bootstrap_by_identity(rates, groups, random_state=0)
    assert found.recall.n_undefined / 2000 == pytest.approx(0.25, abs=0.04)
    assert (found.recall.low, found.recall.high) == (1, 1)
    only_clean = detection_report([0, 0], [1.0, -1.0], groups=[0, 1])
    assert np.isnan(only_clean.intervals.recall).all() and only_clean.intervals.fpr == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 0], [0, 0]), "at least two identities"),
        (([1, 0], [0, 1, 2]), "one length"),
        (([1, np.nan], [0, 1]), "NaN"),
        (([1, 0], [0, np.nan]), "label for every image"),
        ((lambda weights: weights.sum(axis=0), [0, 1, 2]), "one number a draw"),
        ((lambda weights: 3.0, [0, 1]), "one number a draw"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_by_identity(*arguments)


@pytest.mark.parametrize("wrong", [{"n_resamples": 0}, {"n_resamples": 2.5}, {"confidence": 95}, {"confidence": 0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        bootstrap_by_identity([1, 0], [0, 1], **wrong)


def test_a_report_refuses_groups_of_another_length():
    with pytest.raises(ValueError, match="one identity an image"):
        detection_report([0, 1], [1.0, 2.0], groups=[0])
