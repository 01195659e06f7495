"""Rank-k accuracy and the cumulative match characteristic."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from smartbox.metrics import cmc_curve, rank_k_accuracy


def cmc_by_random_tie_breaks(y, scores, n_draws, rng):
    """Rank with the tied in a random order, many times: what the expected curve stands for."""
    n_classes = scores.shape[1]
    hits = np.zeros(n_classes)
    for _ in range(n_draws):
        order = np.lexsort((rng.random(scores.shape), -scores), axis=1)
        rank = np.argmax(order == y[:, None], axis=1)
        hits += [np.sum(rank <= k) for k in range(n_classes)]
    return hits / (n_draws * len(y))


def test_identity_matrix_is_perfect_and_constant_scores_earn_chance():
    np.testing.assert_array_equal(cmc_curve(np.arange(7), np.eye(7)), np.ones(7))
    np.testing.assert_allclose(cmc_curve(np.arange(7), np.zeros((7, 7))), np.arange(1, 8) / 7)


def test_three_classes_by_hand():
    scores = [[3, 2, 1], [3, 2, 1], [3, 2, 1], [2, 2, 1], [2, 2, 2], [1, 2, 2]]
    y = [0, 1, 2, 0, 0, 0]
    # P(rank <= 1) = 1, 0, 0, 1/2, 1/3, 0;  P(rank <= 2) = 1, 1, 0, 1, 2/3, 0
    np.testing.assert_allclose(cmc_curve(y, scores), [11 / 36, 22 / 36, 1])


def test_against_random_tie_breaks():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, size=(30, 6)).astype(float)
    y = rng.integers(0, 6, size=30)
    brute = cmc_by_random_tie_breaks(y, scores, 4000, rng)
    standard_error = 0.5 / np.sqrt(4000 * 30)
    np.testing.assert_allclose(cmc_curve(y, scores, classes=range(6)), brute, atol=5 * standard_error)


def test_without_ties_it_is_accuracy_and_top_k_accuracy():
    rng = np.random.default_rng(1)
    scores, y = rng.normal(size=(200, 10)), rng.integers(0, 10, size=200)
    curve = cmc_curve(y, scores, classes=range(10))
    assert curve[0] == pytest.approx(accuracy_score(y, scores.argmax(axis=1)))
    for k in range(1, 10):
        expected = top_k_accuracy_score(y, scores, k=k, labels=range(10))
        assert rank_k_accuracy(y, scores, k=k, classes=range(10)) == pytest.approx(expected)
    assert curve[-1] == 1


def test_monotone_in_rank_even_with_many_ties():
    rng = np.random.default_rng(2)
    y, scores = rng.integers(0, 38, size=500), rng.integers(0, 9, size=(500, 38))
    curve = cmc_curve(y, scores, classes=range(38))
    assert np.all(np.diff(curve) >= 0)
    assert curve[-1] == 1


def test_invariant_under_order_of_the_columns_and_increasing_maps():
    rng = np.random.default_rng(3)
    names = np.array(list("abcdef"))
    scores, y = rng.integers(0, 3, size=(50, 6)), rng.choice(names, 50)
    curve = cmc_curve(y, scores, classes=names)
    shuffle = rng.permutation(6)
    np.testing.assert_allclose(cmc_curve(y, scores[:, shuffle], classes=names[shuffle]), curve)
    np.testing.assert_allclose(cmc_curve(y, np.exp(scores) - 5, classes=names), curve)


def test_logits_rank_where_float32_probabilities_tie():
    logits = np.float32([[300.0, 100.0, 0.0], [300.0, 100.0, 0.0], [300.0, 100.0, 0.0]])
    y = [0, 1, 2]
    np.testing.assert_allclose(cmc_curve(y, logits), [1 / 3, 2 / 3, 1])
    assert cmc_curve(y, softmax(logits, axis=1))[1] == pytest.approx(2 / 3)  # expected ties are honest


def test_nan_is_the_worst_score():
    scores = np.array([[np.nan, -9.0, -8.0], [np.nan, -9.0, -8.0]])
    np.testing.assert_array_equal(cmc_curve([0, 2], scores, classes=[0, 1, 2]), [0.5, 0.5, 1])
    np.testing.assert_allclose(cmc_curve([0], np.full((1, 3), np.nan), classes=[0, 1, 2]), [1 / 3, 2 / 3, 1])
    assert np.isnan(scores[0, 0])  # the caller's array is left alone


@pytest.mark.parametrize(
    "y, scores, classes, message",
    [
        ([0, 1], [1.0, 2.0], None, "column_stack"),
        ([0, 0], np.ones((2, 1)), None, "two classes"),
        ([0, 1, 2], np.ones((2, 3)), None, "2 rows for 3 labels"),
        ([0, 1], np.ones((2, 3)), None, "3 columns for 2 identities in y_true"),
        ([0, 1], np.ones((2, 3)), [0, 1], "in classes"),
        ([0, 1], np.ones((2, 3)), [0, 1, 1], "once"),
        ([0, 3], np.ones((2, 3)), [0, 1, 2], r"\[3\]"),
        (["a", "b"], np.ones((2, 2)), [0, 1], "enrolled"),
        ([0, 1], [["a", "b"], ["b", "a"]], None, "decision_function"),
        ([], np.ones((0, 2)), None, "non-empty"),
    ],
)
def test_refuses(y, scores, classes, message):
    with pytest.raises(ValueError, match=message):
        cmc_curve(y, scores, classes=classes)


@pytest.mark.parametrize("k", [0, 4, 1.5])
def test_rank_out_of_range(k):
    with pytest.raises(ValueError, match="n_classes = 3"):
        rank_k_accuracy([0, 1, 2], np.eye(3), k=k)
