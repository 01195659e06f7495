"""The cross-attack matrix of a detector with a known answer."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from smartbox.base import BaseDetector
from smartbox.detectors import PCADetector
from smartbox.metrics import cross_attack_matrix
from smartbox.metrics._cross_attack import _parted


class Corner(BaseDetector):
    """Finds what brightens the pixels that training found brightened, and keeps the images it was given."""

    def _fit(self, X, y):
        self.seen_ = X, y
        difference = (X[y == 1].mean(axis=0) - X[y == 0].mean(axis=0)).ravel()
        self.weights_ = np.where(difference > 0.05, difference, 0)

    def _score(self, X):
        return X.reshape(len(X), -1) @ self.weights_


@pytest.fixture(scope="module")
def sets():
    """Each attack brightens a row of its own."""
    groups = np.repeat(np.arange(15), 8)
    X = np.random.default_rng(0).uniform(0, 0.3, (120, 3, 4, 1)).astype(np.float32)
    made = {}
    for i, name in enumerate("abc"):
        made[name] = X.copy()
        made[name][:, i] += 0.6
    return X, made, groups


def test_a_detector_finds_what_it_was_trained_on(sets):
    X, made, groups = sets
    matrix = cross_attack_matrix(Corner(), X, made, groups=groups, random_state=0)
    assert matrix.trained_on == ["a", "b", "c", "a + b + c", "all but the tested one"]
    assert matrix.tested_on == ["a", "b", "c"]
    np.testing.assert_array_equal(matrix.tpr[:3] > 0.5, np.eye(3, dtype=bool))
    np.testing.assert_array_equal(matrix.roc_auc[[0, 1, 2], [0, 1, 2]], 1)
    np.testing.assert_array_equal(matrix.tpr[3], 1)
    # an attack leaves the rows of the others as they are, and with them the score
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_array_equal(matrix.roc_auc[:3][off], 0.5)
    np.testing.assert_array_equal(matrix.roc_auc[4], 0.5)
    np.testing.assert_array_equal(matrix.tpr[4], matrix.fpr[4])
    assert (matrix.fpr < 0.3).all()


def test_one_and_two_attacks_have_no_row_twice(sets):
    X, made, _ = sets
    one = cross_attack_matrix(Corner(), X, {"a": made["a"]}, random_state=0)
    two = cross_attack_matrix(Corner(), X, {"a": made["a"], "b": made["b"]}, random_state=0)
    assert (one.trained_on, two.trained_on) == (["a"], ["a", "b", "a + b"])
    assert one.tpr.shape == (1, 1) and two.tpr.shape == (3, 2)


def test_a_cell_is_what_the_steps_by_hand_give(sets):
    X, made, groups = sets
    rng = np.random.RandomState(3)
    train, validation, test = _parted(groups, len(X), rng)
    detector = PCADetector(n_components=5, random_state=0)
    matrix = cross_attack_matrix(detector, X, made, groups=groups, random_state=3)
    assert not hasattr(detector, "threshold_")
    detector.fit(np.concatenate([X[train], made["a"][train]]), np.repeat([0, 1], len(train))).calibrate(X[validation])
    clean, attacked = (detector.decision_function(images[test]) for images in (X, made["b"]))
    assert matrix.tpr[0, 1] == pytest.approx(np.mean(attacked > detector.threshold_))
    assert matrix.fpr[0, 1] == pytest.approx(np.mean(clean > detector.threshold_))
    assert matrix.roc_auc[0, 1] == pytest.approx(roc_auc_score(np.repeat([0, 1], len(test)), np.r_[clean, attacked]))


def test_no_group_is_in_two_parts(sets):
    groups = sets[2]
    parts = _parted(groups, 120, np.random.RandomState(0))
    assert sorted(np.concatenate(parts)) == list(range(120))
    people = [set(groups[part]) for part in parts]
    assert [len(one) for one in people] == [9, 3, 3] and not people[0] & people[1] and not people[1] & people[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adversarial_sets": {}}, "dict of images by attack"),
        ({"adversarial_sets": [1]}, "dict of images by attack"),
        ({"adversarial_sets": {"a": np.zeros((3, 3, 4, 1))}}, "shape of X"),
        ({"groups": np.arange(3)}, "one entry an image"),
        ({"groups": np.arange(120) % 4}, "at least five"),
        ({"detector": SVC()}, "a detector of smartbox.detectors, got SVC"),
        ({"fpr": 5}, "divide a percentage by 100"),
    ],
)
def test_refusals(sets, change, message):
    X, made, groups = sets
    with pytest.raises(ValueError, match=message):
        cross_attack_matrix(**{"detector": Corner(), "X": X, "adversarial_sets": made, "groups": groups, **change})
