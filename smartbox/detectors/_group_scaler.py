"""Scaling of features that come in groups of like ones, most of them silent most of the time."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

# Of the mean variance of all columns, in case a whole group hardly varies.
_LEAST_VARIANCE = 1e-6


class GroupScaler(TransformerMixin, BaseEstimator):
    """Centre each column, and divide by the root of its variance plus the mean variance of its group.

    Divided by its standard deviation alone, a column that hardly ever stirs in training, such as a unit that no known face
    excites or a minimum behind a rectifier, would drown all others once it does.

    Parameters
    ----------
    sizes : sequence of int
        Columns of each group, one group after the other.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n_features,)
    """

    def __init__(self, sizes):
        self.sizes = sizes

    def fit(self, X, y=None):
        """Learn means and scales."""
        X = X.astype(np.float64)
        self.mean_, variances = X.mean(axis=0), X.var(axis=0)
        groups = np.split(variances, np.cumsum(self.sizes)[:-1])
        total = variances + np.repeat([group.mean() for group in groups], self.sizes)
        total += _LEAST_VARIANCE * variances.mean()
        self.scale_ = np.sqrt(np.where(total > 0, total, 1.0))
        return self

    def transform(self, X):
        """Centred and divided, in float64."""
        return (X - self.mean_) / self.scale_
