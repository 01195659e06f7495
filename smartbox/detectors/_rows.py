"""Products whose rows do not depend on one another.

BLAS sums a product of matrices in an order that depends on their sizes, so that the last bits of a face's score, and with
them the side of the threshold that it falls on, would change with the batch.
"""

import numpy as np


def row_products(X, W):
    """``X @ W``, each row by a product of its own: its bits are the same in any batch."""
    return np.matmul(np.ascontiguousarray(X)[:, None, :], W)[:, 0]


def principal_coefficients(pca, X, used=slice(None)):
    """``pca.transform(X)[:, used]``, whose rows are the same in any batch."""
    coefficients = row_products(X - pca.mean_, pca.components_[used].T)
    if not pca.whiten:
        return coefficients
    scale = np.sqrt(pca.explained_variance_[used])
    return coefficients / np.maximum(scale, np.finfo(scale.dtype).eps)  # as scikit-learn, for those without variance


def linear_scores(judge, F):
    """``judge.decision_function(F)`` of a Pipeline that ends in a linear judge; the rows are the same in any batch."""
    return row_products(judge[:-1].transform(F), judge[-1].coef_.T)[:, 0] + judge[-1].intercept_[0]
