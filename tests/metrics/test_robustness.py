"""Accuracy under several attacks, with certificates and with rejection: brute force over images and thresholds."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from smartbox.metrics import accuracy_at_rejection, accuracy_rejection_curve, certified_accuracy, worst_case_accuracy


@pytest.fixture(params=[0, 1, 2])
def drawn(request):
    rng = np.random.default_rng(request.param)
    y = rng.integers(0, 4, 60)
    predicted = np.where(rng.uniform(size=60) < 0.7, y, rng.integers(0, 4, 60))
    return y, predicted, rng.integers(0, 15, 60) / 10


def test_worst_case_is_the_share_that_is_right_under_all(drawn):
    y, predicted, _ = drawn
    others = {"a": predicted, "b": np.roll(predicted, 1), "clean": y}
    by_hand = np.mean([all(labels[i] == y[i] for labels in others.values()) for i in range(len(y))])
    assert worst_case_accuracy(y, others) == by_hand == worst_case_accuracy(y, list(others.values()))
    assert by_hand <= min(accuracy_score(y, labels) for labels in others.values())
    assert worst_case_accuracy(y, {"a": predicted}) == accuracy_score(y, predicted)
    assert worst_case_accuracy(y.astype(str), [y.astype(str)]) == 1


def test_certified_accuracy_counts_every_image(drawn):
    y, predicted, radii = drawn
    for at in (0.0, 0.3, 0.35, 2.0):
        by_hand = np.mean([a == b and r >= at for a, b, r in zip(y, predicted, radii, strict=True)])
        assert certified_accuracy(y, predicted, radii, at=at) == by_hand
    curve = certified_accuracy(y, predicted, radii, at=np.linspace(0, 2, 9))
    assert curve.shape == (9,) and (np.diff(curve) <= 0).all()


def test_curve_is_what_each_threshold_leaves(drawn):
    y, predicted, scores = drawn
    curve = accuracy_rejection_curve(y, predicted, scores)
    np.testing.assert_array_equal(curve.threshold, np.unique(scores)[::-1])
    for rate, accuracy, right, threshold in zip(
        *[curve[key] for key in ("rejection_rate", "accuracy", "right", "threshold")], strict=True
    ):
        left = scores <= threshold
        assert rate == pytest.approx(np.mean(~left)) and accuracy == accuracy_score(y[left], predicted[left])
        assert right == np.mean((y == predicted) & left)
    assert curve.accuracy[0] == accuracy_score(y, predicted)


def test_one_point_of_the_curve(drawn):
    y, predicted, scores = drawn
    for rate in (0.0, 0.05, 0.3, 0.99):
        allowed = [t for t in np.unique(scores) if np.mean(scores > t) <= rate + 1e-12]
        left = scores <= min(allowed)
        assert accuracy_at_rejection(y, predicted, scores, rate=rate) == accuracy_score(y[left], predicted[left])
    assert accuracy_at_rejection(np.arange(10), np.r_[np.arange(7), 0, 0, 0], np.arange(10), rate=0.3) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: worst_case_accuracy([1, 2], {}), "at least one attack"),
        (lambda: worst_case_accuracy([1, 2], {"pgd": [1]}), "one length"),
        (lambda: certified_accuracy([1, 2], [1, 2], [0.1, np.nan]), "NaN"),
        (lambda: certified_accuracy([1, 2], [1, 2], [0.1, -1]), "negative"),
        (lambda: certified_accuracy([1, 2], [1, 2], [0.1]), "one for each label"),
        (lambda: certified_accuracy([1, -1], [1, -1], [0.1, 0.0]), "y_true holds -1, which stands for an abstention"),
        (
            lambda: certified_accuracy(["a", "rejected"], ["a", "b"], [1, 1]),
            "y_true holds 'rejected', which stands for",
        ),
        (lambda: certified_accuracy([1, 2], [1, 2], [0.1, 1], at=[0, np.nan]), "at must hold numbers.*nan"),
        (lambda: certified_accuracy([1, 2], [1, 2], [0.1, 1], at=-0.5), "at must hold numbers.*-0.5"),
        (lambda: certified_accuracy([1, 2], [1, 2], [0.1, 1], at="far"), "at must hold numbers.*'far'"),
        (lambda: accuracy_rejection_curve([1, 2], [1, 2], [0.1, np.nan]), "NaN"),
        (lambda: accuracy_at_rejection([1, 2], [1, 2], [0.1, 0.2], rate=5), "divide a percentage"),
    ],
)
def test_mistakes_say_what_to_do(call, words):
    with pytest.raises(ValueError, match=words):
        call()
