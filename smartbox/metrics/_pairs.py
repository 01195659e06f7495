"""Pairs of embedded faces: which there are, and how similar the two of each are."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_random_state

from smartbox.protocol import check_labels

_BLOCK_ELEMENTS = 2**23  # of similarities or gathered features at a time: 32 MB


def all_pair_scores(embeddings: ArrayLike, y: ArrayLike) -> Bunch:
    """Cosine similarity of every pair of images.

    Parameters
    ----------
    embeddings : array-like of shape (n_images, n_features)
        Of any length; computed in float32.
    y : array-like of shape (n_images,)
        Identity of each image.

    Returns
    -------
    pairs : Bunch
        Of the ``n_pairs = n_images (n_images - 1) / 2`` pairs i < j, in the order of ``np.triu_indices(n_images,
        1)``; for `roc_points`, `verification_report` and the displays.

        scores : ndarray of float32, shape (n_pairs,)
            In [-1, 1]; 0 where an embedding is zero.
        is_genuine : ndarray of bool, shape (n_pairs,)
            Whether both are of one identity.

    Raises
    ------
    ValueError
        If lengths do not fit, or if an embedding is not finite.

    Notes
    -----
    Besides the result, 5 bytes a pair, it needs some 100 MB whatever the number of images. Of 13,233 images
    (Labeled Faces in the Wild) there are 88 million pairs; `match_pairs` draws a part of them.

    Examples
    --------
    >>> from smartbox.metrics import all_pair_scores
    >>> pairs = all_pair_scores([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], ["ann", "ann", "bob"])
    >>> pairs.scores, pairs.is_genuine
    (array([1., 0., 0.], dtype=float32), array([ True, False, False]))
    """
    unit = _unit_rows(embeddings)
    _, codes = np.unique(_check_identities(y, len(unit)), return_inverse=True)
    n = len(unit)
    scores, is_genuine = np.empty(n * (n - 1) // 2, np.float32), np.empty(n * (n - 1) // 2, bool)
    start, filled = 0, 0
    while start < n - 1:
        stop = min(n - 1, start + max(1, _BLOCK_ELEMENTS // (n - start)))
        upper = np.arange(start + 1, n) > np.arange(start, stop)[:, None]  # each pair once, row by row
        size = np.count_nonzero(upper)
        scores[filled : filled + size] = (unit[start:stop] @ unit[start + 1 :].T)[upper]
        is_genuine[filled : filled + size] = (codes[start:stop, None] == codes[start + 1 :])[upper]
        start, filled = stop, filled + size
    return Bunch(scores=np.clip(scores, -1, 1, out=scores), is_genuine=is_genuine)


def pair_scores(embeddings: ArrayLike, pairs: ArrayLike) -> NDArray:
    """Cosine similarity of given pairs of images.

    Parameters
    ----------
    embeddings : array-like of shape (n_images, n_features)
        Of any length; computed in float32.
    pairs : array-like of int, shape (n_pairs, 2)
        Rows of the two images of each pair, e.g. of `match_pairs` or `smartbox.datasets.load_pairs`.

    Returns
    -------
    scores : ndarray of float32, shape (n_pairs,)
        In [-1, 1]; 0 where an embedding is zero.

    Raises
    ------
    ValueError
        If shapes do not fit, if a pair names no image, or if an embedding is not finite.

    Examples
    --------
    >>> from smartbox.metrics import pair_scores
    >>> pair_scores([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], [[0, 1], [2, 1]])
    array([1., 0.], dtype=float32)
    """
    unit = _unit_rows(embeddings)
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu" or len(pairs) == 0:
        raise ValueError(
            f"pairs must be row numbers of shape (n_pairs, 2), got shape {pairs.shape} and dtype {pairs.dtype}; pass "
            "load_pairs(path, filenames=...).pairs rather than names of files."
        )
    if pairs.min() < 0 or pairs.max() >= len(unit):
        raise ValueError(
            f"pairs must name rows 0 to {len(unit) - 1} of the embeddings, got {pairs.min()} to {pairs.max()}; "
            "embed all the images that the pairs were made for."
        )
    scores = np.empty(len(pairs), np.float32)
    n_rows = max(1, _BLOCK_ELEMENTS // unit.shape[1] // 2)
    for start in range(0, len(pairs), n_rows):
        block = pairs[start : start + n_rows]
        scores[start : start + n_rows] = np.einsum("ij,ij->i", unit[block[:, 0]], unit[block[:, 1]])
    return np.clip(scores, -1, 1, out=scores)


def match_pairs(y: ArrayLike, *, random_state=None) -> Bunch:
    """All pairs of images of one identity, and as many of two identities, drawn at random.

    Parameters
    ----------
    y : array-like of shape (n_images,)
        Identity of each image.
    random_state : int, RandomState instance or None, default=None
        Draws the pairs of two identities.

    Returns
    -------
    result : Bunch
        pairs : ndarray of int, shape (n_pairs, 2)
            Rows i < j of the two images; no pair twice. Those of one identity come first.
        is_genuine : ndarray of bool, shape (n_pairs,)
            Whether both are of one identity. If there are fewer pairs of two identities than of one, all of them
            are taken.

    Raises
    ------
    ValueError
        If labels are missing, if no identity has two images, or if there is only one identity.

    Examples
    --------
    >>> from smartbox.metrics import match_pairs
    >>> result = match_pairs(["ann", "ann", "bob", "bob", "eve"], random_state=0)
    >>> result.pairs[result.is_genuine].tolist(), int((~result.is_genuine).sum())
    ([[0, 1], [2, 3]], 2)
    """
    _, codes, counts = np.unique(check_labels(y, "y"), return_inverse=True, return_counts=True)
    if len(counts) < 2 or counts.max() < 2:
        raise ValueError(
            f"y must hold two identities at least and two images of one at least, got {len(counts)} identities with "
            f"up to {counts.max()} images each; add images."
        )
    rng = check_random_state(random_state)
    order = np.argsort(codes, kind="stable")
    start = np.cumsum(counts) - counts
    place = np.arange(len(codes)) - np.repeat(start, counts)  # within the identity
    first = np.repeat(np.arange(len(codes)), place)
    second = np.arange(place.sum()) - np.repeat(np.cumsum(place) - place, place) + np.repeat(start, counts)[first]
    genuine = np.sort(np.stack([order[second], order[first]], axis=1), axis=1)
    genuine = genuine[np.lexsort(genuine.T[::-1])]
    impostors = _impostor_pairs(codes, counts, len(genuine), rng)
    return Bunch(
        pairs=np.concatenate([genuine, impostors]),
        is_genuine=np.arange(len(genuine) + len(impostors)) < len(genuine),
    )


def _impostor_pairs(codes, counts, n_wanted, rng):
    """Distinct pairs i < j of two identities: uniform draws without return."""
    n = len(codes)
    n_there = (n**2 - int((counts.astype(np.int64) ** 2).sum())) // 2
    if 2 * n_wanted >= n_there:  # so many that they can all be listed
        i, j = np.triu_indices(n, 1)
        apart = codes[i] != codes[j]
        there = np.stack([i[apart], j[apart]], axis=1)
        return there[np.sort(rng.permutation(n_there)[:n_wanted])]
    keys = np.empty(0, np.int64)
    while len(keys) < n_wanted:
        i, j = rng.randint(n, size=(2, 2 * n_wanted + 16))
        apart = codes[i] != codes[j]
        drawn = np.minimum(i, j)[apart] * np.int64(n) + np.maximum(i, j)[apart]
        keys = np.r_[keys, drawn]
        keys = keys[np.sort(np.unique(keys, return_index=True)[1])]  # the first of equals, in the order drawn
    return np.stack(np.divmod(np.sort(keys[:n_wanted]), n), axis=1)


def _unit_rows(embeddings):
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or len(embeddings) < 2 or embeddings.shape[1] == 0 or embeddings.dtype.kind not in "fiub":
        raise ValueError(
            "embeddings must be real numbers of shape (n_images, n_features) with at least two images, got shape "
            f"{embeddings.shape} and dtype {embeddings.dtype}; pass one feature vector an image."
        )
    embeddings = embeddings.astype(np.float32)
    if not np.isfinite(embeddings).all():
        bad = ~np.isfinite(embeddings).all(axis=1)
        raise ValueError(
            f"embeddings must be finite, got NaN or infinity in {bad.sum()} of {len(bad)} rows, first in row "
            f"{np.argmax(bad)}; leave those images out."
        )
    largest = np.abs(embeddings).max(axis=1, keepdims=True)
    embeddings /= np.where(largest > 0, largest, 1)  # lest a square overflow or vanish
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(length > 0, length, 1)


def _check_identities(y, n_images):
    labels = check_labels(y, "y")
    if len(labels) != n_images:
        raise ValueError(
            f"y must hold one identity an image, got {len(labels)} for {n_images} embeddings; pass both for the same images."
        )
    return labels
