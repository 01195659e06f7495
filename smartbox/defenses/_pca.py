"""Reconstruction from principal components."""

from numbers import Integral, Real

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from smartbox._compat import Interval
from smartbox._packing import compact
from smartbox._rollback import unchanged_on_failure
from smartbox.base import BaseDefense


class PCAReconstruction(BaseDefense):
    """Keep of each image what the leading principal components of clean images can show.

    Parameters
    ----------
    n_components : int or float, default=100
        How many components, or all that the images have where these are fewer; below 1 the share of the variance that
        they hold.
    random_state : int, RandomState or None, default=None
        For scikit-learn's randomised solver, which it takes for few components of many images.

    Attributes
    ----------
    pca_ : PCA
        Fitted on the images that ``fit`` was given: clean training faces.
    n_components_ : int
        The number of components in use.

    Notes
    -----
    Reconstructions are clipped to [0, 1]. The way back is the exact gradient, that of the clipping included.

    References
    ----------
    .. [1] Bhagoji, Cullina, Sitawarin, Mittal. "Enhancing Robustness of Machine Learning Systems via Data Transformations",
       CISS 2018, section III (reconstruction in the space of pixels).

    Examples
    --------
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import PCAReconstruction
    >>> faces = make_faces(n_identities=4, n_images=4)
    >>> PCAReconstruction(n_components=5).fit_transform(faces.images).shape
    (16, 96, 84, 1)
    """

    _parameter_constraints = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
        ],
        "random_state": ["random_state"],
    }

    def __init__(self, *, n_components=100, random_state=None):
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y=None):
        """Learn the components.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Clean images in [0, 1].
        y : ignored

        Returns
        -------
        self : PCAReconstruction
        """
        self._validate_params()
        with unchanged_on_failure(self):
            X = self._check_images(X, reset=True)
            rows = X.reshape(len(X), -1)
            rank = max(1, min(len(rows) - 1, rows.shape[1]))
            n_components = min(self.n_components, rank)
            solver = "full" if n_components < 1 else "auto"
            self.pca_ = compact(PCA(n_components, svd_solver=solver, random_state=self.random_state).fit(rows))
            self.n_components_ = int(self.pca_.n_components_)
        return self

    def _apply(self, X, draw):
        return self._reconstructed(X)

    def _pull_back(self, X, draw, gradient):
        shown = self._reconstructed(X)
        free = np.where((shown >= 0) & (shown <= 1), gradient, 0)
        return self._projected(free.reshape(len(X), -1)).reshape(X.shape).astype(np.float32)

    def _reconstructed(self, X):
        mean = self.pca_.mean_.astype(np.float64)
        return (mean + self._projected(X.reshape(len(X), -1) - mean)).reshape(X.shape)

    def _projected(self, rows):
        # In float64, whose rounding does not show the number of rows.
        components = self.pca_.components_.astype(np.float64)
        return (rows.astype(np.float64) @ components.T) @ components

    def _clean(self, X, rng=None):
        check_is_fitted(self, "pca_")
        return super()._clean(X, rng)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "pca_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        return tags
