"""What is enrolled in a gallery, as points on the unit sphere, and the cosines to them in blocks of bounded memory."""

from numbers import Real

import numpy as np

_BLOCK = 2**26  # bytes of one block of cosines
_GROUP = 64  # owners that share one maximum in the search for the nearest
_MOST_CANDIDATES = 64  # for each of the nearest; where more are nearly alike, all are scored


def enrol(enrolled, labels, embeddings, template):
    """Add embeddings to what is enrolled.

    Parameters
    ----------
    enrolled : tuple or None
        What this function returned before; None begins.
    labels : ndarray of shape (n,)
        Whose embedding each is.
    embeddings : ndarray of shape (n, n_features), float32
        Of l2 norm 1.
    template : {"mean", "max"}
        Whether one point a person is kept, or one an embedding.

    Returns
    -------
    identities : ndarray of shape (n_identities,)
        Sorted.
    counts : ndarray of shape (n_identities,)
        Embeddings of each.
    kept : ndarray of shape (n_identities, n_features) or (n_embeddings, n_features)
        Sums of embeddings in float64, or the embeddings themselves, grouped by identity.
    """
    known, counts, kept = (labels[:0], np.zeros(0, dtype=int), None) if enrolled is None else enrolled
    identities = np.unique(np.concatenate([known, labels]))
    old, new = np.searchsorted(identities, known), np.searchsorted(identities, labels)
    total = np.bincount(new, minlength=len(identities))
    total[old] += counts
    if template == "mean":
        sums = np.zeros((len(identities), embeddings.shape[1]))
        if kept is not None:
            sums[old] = kept
        np.add.at(sums, new, embeddings)
        return identities, total, sums
    owner = np.concatenate([np.repeat(old, counts), new])
    points = embeddings if kept is None else np.concatenate([kept, embeddings])
    return identities, total, points[np.argsort(owner, kind="stable")]


def unit_rows(kept):
    """Points of length 1, float32."""
    return (kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)).astype(np.float32)


class Templates:
    """Points of known owners.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_features), float32
        Of l2 norm 1, grouped by owner.
    owner : ndarray of shape (n_points,), int
        Rising from 0; each owner has one point at least.

    Notes
    -----
    Products are summed in float64 and rounded once, so that the number of rows does not show in the last bit. The search for the
    nearest takes float32 products, whose error has a bound, to find out who may be among them, and scores those alone.
    """

    def __init__(self, points, owner):
        self.points, self.owner = points, owner
        self.starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])

    def blocks(self, embeddings):
        """``(rows, cosines (n_rows, n_owners) float32)`` of a block after the other."""
        wide = self.points.astype(np.float64).T
        n_rows = max(1, _BLOCK // (wide.shape[1] * wide.itemsize))
        for start in range(0, len(embeddings), n_rows):
            rows = slice(start, start + n_rows)
            yield rows, self._largest(self._products(embeddings[rows], wide))

    def cosines(self, embeddings):
        """The largest cosine to any point of each owner, ``(n, n_owners)`` float32."""
        out = np.empty((len(embeddings), len(self.starts)), dtype=np.float32)
        for rows, cosines in self.blocks(embeddings):
            out[rows] = cosines
        return out

    def nearest(self, embeddings, count):
        """Owners of the ``count`` largest cosines of each row, the largest first; of equals the first."""
        best = np.empty((len(embeddings), count), dtype=int)
        n_rows = max(1, _BLOCK // (4 * len(self.points)))
        # Summing d products of float32, in any order, errs by less than d / 2**24 of the lengths: twice that between two cosines.
        longest = np.sqrt(np.square(self.points).sum(axis=1).max())
        doubt = (self.points.shape[1] + 4) * 2.0**-23 * longest * np.linalg.norm(embeddings, axis=1)
        for start in range(0, len(embeddings), n_rows):
            rows = slice(start, start + n_rows)
            row, owner = _candidates(self._largest(embeddings[rows] @ self.points.T), count, doubt[rows])
            found = np.bincount(row, minlength=len(embeddings[rows]))
            if found.min() < count or len(row) > _MOST_CANDIDATES * count * len(found):  # too many alike
                for part, cosines in self.blocks(embeddings[rows]):
                    best[rows][part] = leading(cosines, count)
                continue
            order = np.lexsort((owner, -self.of_owners(embeddings[rows][row], owner), row))
            first = np.cumsum(found) - found
            best[rows] = owner[order[first[:, None] + np.arange(count)]]
        return best

    def of_owners(self, embeddings, owner):
        """The largest cosine of each row to the points of one owner, ``(n,)`` float32."""
        counts = np.diff(np.append(self.starts, len(self.points)))[owner]
        first = np.cumsum(counts) - counts
        row = np.repeat(np.arange(len(owner)), counts)
        point = np.arange(len(row)) - first[row] + self.starts[owner][row]
        products = np.empty(len(row), dtype=np.float32)
        n_rows = max(1, _BLOCK // (16 * self.points.shape[1]))
        for start in range(0, len(row), n_rows):
            some = slice(start, start + n_rows)
            pair = embeddings[row[some]].astype(np.float64), self.points[point[some]].astype(np.float64)
            products[some] = np.einsum("ij,ij->i", *pair)
        return np.maximum.reduceat(products, first) if len(row) else products

    def pull_back(self, embeddings, cotangents):
        """Gradient by the embeddings of ``(cotangents * cosines).sum()``; points that tie for the largest share it."""
        wide = self.points.astype(np.float64)
        if len(self.starts) < len(wide):
            products = self._products(embeddings, wide.T)
            leads = products == self._largest(products)[:, self.owner]
            cotangents = cotangents / np.add.reduceat(leads, self.starts, axis=1, dtype=np.int64)
            cotangents = np.where(leads, cotangents[:, self.owner], 0)
        return (cotangents.astype(np.float64) @ wide).astype(np.float32)

    def _products(self, embeddings, wide):
        return (embeddings.astype(np.float64) @ wide).astype(np.float32)

    def _largest(self, products):
        if len(self.starts) == len(self.points):
            return products
        return np.maximum.reduceat(products, self.starts, axis=1)


def _candidates(scores, count, doubt):
    """Rows and columns, row by row, that may be among the ``count`` largest of a row if scores lie ``doubt`` apart or less."""
    n, n_columns = scores.shape
    n_groups = n_columns // _GROUP
    # A group is every n_groups-th column, so that nothing is copied.
    grouped = scores[:, : n_groups * _GROUP].reshape(n, _GROUP, n_groups)
    if n_groups < max(count, 2) or not grouped.size:
        level = np.partition(scores, -count, axis=1)[:, -count] - doubt
        return np.nonzero(scores >= level[:, None])
    peaks = grouped.max(axis=1)
    # So many groups have a score of that level that the largest scores reach it too.
    level = np.partition(peaks, -count, axis=1)[:, -count] - doubt
    row, group = np.nonzero(peaks >= level[:, None])
    which, place = np.nonzero(grouped[row, :, group] >= level[row, None])
    rest = np.nonzero(scores[:, n_groups * _GROUP :] >= level[:, None])
    row = np.concatenate([row[which], rest[0]])
    column = np.concatenate([group[which] + n_groups * place, rest[1] + n_groups * _GROUP])
    order = np.argsort(row, kind="stable")
    return row[order], column[order]


def leading(scores, count):
    """Columns of the ``count`` largest scores of each row, the largest first; of equals the first."""
    if count < scores.shape[1]:
        last = np.partition(scores, -count, axis=1)[:, -count, None]
        kept = scores >= last
        tied = np.flatnonzero(np.count_nonzero(kept, axis=1) > count)
        if tied.size:
            level = scores[tied] == last[tied]
            spare = np.count_nonzero(kept[tied], axis=1) - count
            n_level = np.count_nonzero(level, axis=1)
            kept[tied] &= ~level | (np.cumsum(level, axis=1) <= (n_level - spare)[:, None])
        columns = np.nonzero(kept)[1].reshape(len(scores), count)
    else:
        columns = np.broadcast_to(np.arange(count), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def acceptance_threshold(scores, is_genuine, far):
    """The threshold at a false accept rate, or with None where it equals the false reject rate as nearly as may be.

    Midway between the score that gives the rates and the next lower one, so that no score lies on it.
    """
    from smartbox.metrics import roc_points

    points, n_impostors = roc_points(scores.ravel(), is_genuine.ravel()), np.count_nonzero(~is_genuine)
    if far is None:
        at = np.argmin(np.abs(points.far - points.frr))
    elif not isinstance(far, Real) or not 0 <= far <= 1 or 0 < far < 1 / n_impostors:
        raise ValueError(
            f"expected far as a rate in [0, 1], and 0 or at least 1/{n_impostors}, as there are {n_impostors} false claims, got "
            f"{far!r}."
        )
    else:
        at = np.flatnonzero(points.far <= far)[-1]
    around = np.clip(points.thresholds[[at, min(at + 1, len(points.thresholds) - 1)]], -1.0, 1.0)
    return float(np.float32(around.mean()))
