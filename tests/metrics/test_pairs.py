"""Pairs of embeddings against brute force, whatever the size of the blocks."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from smartbox.metrics import _pairs as module
from smartbox.metrics import all_pair_scores, equal_error_rate, match_pairs, pair_scores


def embedded(seed=0, n=37, d=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.integers(0, 5, n)


@pytest.mark.parametrize("block", [1, 50, 2**23])
def test_all_pairs_are_those_of_scipy(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", block)
    embeddings, y = embedded()
    pairs = all_pair_scores(embeddings, y)
    np.testing.assert_allclose(pairs.scores, 1 - pdist(embeddings, "cosine"), atol=1e-6)
    np.testing.assert_array_equal(pairs.is_genuine, pdist(y[:, None], "cityblock") == 0)
    assert pairs.scores.dtype == np.float32
    i, j = np.triu_indices(len(y), 1)
    np.testing.assert_allclose(pair_scores(embeddings, np.stack([i, j], axis=1)), pairs.scores, atol=1e-6)


def test_length_of_an_embedding_does_not_matter():
    embeddings, y = embedded()
    lengths = np.logspace(-20, 20, len(y))[:, None]
    np.testing.assert_allclose(
        all_pair_scores(embeddings * lengths, y).scores, all_pair_scores(embeddings, y).scores, atol=1e-6
    )
    assert np.all(all_pair_scores(np.zeros((3, 2)), [0, 0, 1]).scores == 0)


def test_embeddings_that_tell_identities_apart():
    y = np.repeat(np.arange(8), 4)
    pairs = all_pair_scores(np.eye(8)[y], y)
    assert pairs.is_genuine.sum() == 8 * 6
    assert equal_error_rate(pairs.scores, pairs.is_genuine) == 0


@pytest.mark.parametrize("seed", range(5))
def test_matched_pairs_are_all_of_one_identity_and_as_many_of_two(seed):
    y = np.random.default_rng(seed).choice(["ann", "bob", "dan", "eve", "kim"], 30)
    result = match_pairs(y, random_state=seed)
    pairs = [tuple(pair) for pair in result.pairs.tolist()]
    genuine = [(i, j) for i, j in itertools.combinations(range(len(y)), 2) if y[i] == y[j]]
    assert pairs[: len(genuine)] == genuine
    assert len(set(pairs)) == len(pairs) == 2 * len(genuine)
    assert all(i < j and y[i] != y[j] for i, j in pairs[len(genuine) :])
    np.testing.assert_array_equal(result.is_genuine, [y[i] == y[j] for i, j in pairs])
    np.testing.assert_array_equal(result.pairs, match_pairs(y, random_state=seed).pairs)


def test_impostor_pairs_are_uniform():
    y = np.r_[0, 0, 0, 1, 1, 2, 3, 4, 5]  # 4 pairs of one identity, 32 of two: drawn rather than listed
    drawn = np.concatenate([match_pairs(y, random_state=s).pairs[4:] for s in range(3000)])
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 32
    np.testing.assert_allclose(counts, 3000 * 4 / 32, rtol=0.25)


def test_fewer_pairs_of_two_identities_than_of_one():
    result = match_pairs([0, 0, 0, 0, 1], random_state=0)
    assert result.is_genuine.sum() == 6 and len(result.pairs) == 10


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: all_pair_scores([[1.0]], [0]), "at least two images"),
        (lambda: all_pair_scores([1.0, 2.0], [0, 1]), "one feature vector an image"),
        (lambda: all_pair_scores([[1.0], [np.nan]], [0, 1]), "NaN or infinity in 1 of 2 rows, first in row 1"),
        (lambda: all_pair_scores([[1.0], [2.0]], [0]), "got 1 for 2 embeddings"),
        (lambda: pair_scores([[1.0], [2.0]], [["a", "b"]]), "rather than names of files"),
        (lambda: pair_scores([[1.0], [2.0]], [[0, 2]]), "rows 0 to 1 of the embeddings, got 0 to 2"),
        (lambda: pair_scores([[1.0], [2.0]], [[-1, 0]]), "got -1 to 0"),
        (lambda: match_pairs([0, 1, 2]), "two images of one"),
        (lambda: match_pairs([0, 0]), "two identities"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
