"""Clean and attacked images in one set."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from smartbox.datasets import make_detection_set


@pytest.fixture
def faces():
    X = np.random.RandomState(0).uniform(0, 0.9, (6, 4, 3, 1)).astype(np.float32)
    return X, X + np.float32(0.1)


def test_order(faces):
    X, X_adv = faces
    stacked, y, groups = make_detection_set(X, X_adv)
    np.testing.assert_array_equal(stacked[:6], X)
    np.testing.assert_array_equal(stacked[6:], X_adv)
    assert stacked.dtype == np.float32
    assert y.tolist() == [0] * 6 + [1] * 6
    assert groups.tolist() == [*range(6), *range(6)]


def test_folds_keep_twins_together(faces):
    identity = np.array(["ada", "bob", "ada", "cy", "bob", "cy"])
    X, y, groups = make_detection_set(*faces, groups=identity)
    assert groups.tolist() == [*identity, *identity]
    for train, test in GroupKFold(3).split(X, y, groups):
        assert not set(groups[train]) & set(groups[test])
        assert y[test].mean() == 0.5


def test_inputs_are_not_shared(faces):
    X, X_adv = faces
    stacked, _, _ = make_detection_set(X, X_adv)
    assert not np.shares_memory(stacked, X)


def test_lists_are_taken():
    X, y, _ = make_detection_set([[0.0, 1.0]], [[0.5, 1.0]])
    assert X.shape == (2, 2)
    assert y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, X_adv: (X, X_adv[:5], None), r"shape of X, \(6, 4, 3, 1\), got \(5, 4, 3, 1\)"),
        (lambda X, X_adv: (X[:0], X_adv[:0], None), "at least one image"),
        (lambda X, X_adv: (X[:, 0, 0, 0], X_adv, None), "shape of X"),
        (lambda X, X_adv: (X[:, 0, 0, 0], X_adv[:, 0, 0, 0], None), r"at least one image.*got shape \(6,\)"),
        (lambda X, X_adv: (X, X_adv, range(12)), r"one entry an image, \(6,\), got shape \(12,\)"),
    ],
)
def test_errors(faces, change, message):
    X, X_adv, groups = change(*faces)
    with pytest.raises(ValueError, match=message):
        make_detection_set(X, X_adv, groups=groups)
