"""Widths of Gaussian kernels, chosen from the data."""

import numpy as np
from scipy.special import logsumexp
from sklearn.metrics import euclidean_distances

# To choose from, by the root mean square distance between points of a class.
_CANDIDATES = np.logspace(-2, 0.5, 26)


def median_distance(points):
    """Median distance between two of the points; 1 if that is 0."""
    pairs = np.triu_indices(len(points), k=1)
    return float(np.median(euclidean_distances(points)[pairs])) or 1.0


def most_likely_bandwidth(points, classes):
    """The bandwidth under which each point is most likely, given the others of its class; some scale if all are alone."""
    groups = [points[classes == each] for each in np.unique(classes)]
    squares = [euclidean_distances(group, squared=True) for group in groups if len(group) > 1]
    total = sum(table.sum() for table in squares)
    if total == 0:  # no two points of a class, or equal ones
        return float(np.sqrt(points.var(axis=0).sum())) or 1.0
    for table in squares:
        np.fill_diagonal(table, np.inf)  # leaves the point itself out
    candidates = _CANDIDATES * np.sqrt(total / sum(table.size - len(table) for table in squares))

    def log_likelihood(bandwidth):
        logs = [logsumexp(-table / (2 * bandwidth**2), axis=1) - np.log(len(table) - 1) for table in squares]
        return sum(each.sum() for each in logs) - sum(map(len, logs)) * points.shape[1] * np.log(bandwidth)

    return float(max(candidates, key=log_likelihood))
