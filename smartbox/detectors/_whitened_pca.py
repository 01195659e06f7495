"""Size of whitened principal component coefficients."""

from numbers import Real

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from smartbox._compat import Interval
from smartbox._packing import compact
from smartbox.base import BaseDetector
from smartbox.detectors._pooled import nearest_clean
from smartbox.detectors._rows import principal_coefficients

_HELD_OUT = 0.2  # of the clean images
_FEWEST = 4  # clean images: two to learn from, and two held out, since the size of one has no spread
_LEAST_VARIANCE = 1e-12  # of a component, by the largest, to count in the rank; and of logarithms


class WhitenedPCADetector(TransformerMixin, BaseDetector):
    """Tell attacked from clean faces by the size of their late principal components, in units of the clean ones.

    Parameters
    ----------
    first : float, default=0.5
        Where the block of components that is used begins, as a share of all that have variance; ordered from large to small.
    last : float, default=1.0
        Where it ends.
    random_state : int, RandomState or None, default=None
        Draws the clean images that are held out.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial: 0, even odds, or what `calibrate` has set.
    pca_ : PCA
    block_ : slice
        The components in use.
    log_means_ : ndarray of shape (2,)
        Mean logarithm of the size, of clean and of attacked images.
    log_variance_ : float
        Variance of the logarithm within both.

    Notes
    -----
    The size is the mean square of the whitened coefficients of the block, 1 on average for the images whose components they
    are. For other images it is much larger, since there are hardly more images than components. A fifth of the clean images
    is therefore held out, and the Gaussians of the logarithm are fitted to these and the attacked images made of them (whose
    nearest clean image in pixels they are). The score is the logarithm of the ratio of the two likelihoods.
    Both Gaussians share a variance, unlike the paper's: else an attack stronger than those in training passes for clean.

    References
    ----------
    .. [1] Hendrycks, Gimpel. "Early Methods for Detecting Adversarial Images", ICLR 2017 Workshop, section 3.1.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import WhitenedPCADetector
    >>> faces = make_faces(n_images=4)
    >>> X_adv = FGSM(smartbox.load_sample_model(), eps="16/255").generate(faces.images, faces.target)
    >>> X, y, groups = make_detection_set(faces.images, X_adv)
    >>> WhitenedPCADetector(random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    _parameter_constraints = {
        "first": [Interval(Real, 0, 1, closed="left")],
        "last": [Interval(Real, 0, 1, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(self, *, first=0.5, last=1.0, random_state=None):
        self.first = first
        self.last = last
        self.random_state = random_state

    def transform(self, X):
        """The whitened coefficients of the block.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        coefficients : ndarray of shape (n, n_components)
        """
        check_is_fitted(self, "threshold_")
        return self._coefficients(self._check_images(X))

    def _fit(self, X, y):
        if self.first >= self.last:
            raise ValueError(f"expected first below last, got first={self.first} and last={self.last}.")
        clean, attacked = X[y == 0], X[y == 1]
        if len(clean) < _FEWEST:
            raise ValueError(
                f"expected at least {_FEWEST} clean images, two of them to hold out, got {len(clean)}: pass more faces."
            )
        order = check_random_state(self.random_state).permutation(len(clean))
        held_out = np.zeros(len(clean), dtype=bool)
        held_out[order[: max(2, int(_HELD_OUT * len(clean)))]] = True
        self._decompose(clean[~held_out])
        of_held_out = held_out[nearest_clean(attacked, clean)]
        logs = [
            np.log(self._size(self._coefficients(images)))
            for images in (clean[held_out], attacked[of_held_out] if of_held_out.any() else attacked)
        ]
        self.log_means_ = np.array([each.mean() for each in logs])
        spread = np.concatenate([each - each.mean() for each in logs])
        self.log_variance_ = max(float(np.mean(spread**2)), _LEAST_VARIANCE)

    def _decompose(self, clean):
        flat = clean.reshape(len(clean), -1)
        self.pca_ = compact(PCA(min(len(flat) - 1, flat.shape[1]), svd_solver="full", whiten=True).fit(flat))
        variances = self.pca_.explained_variance_
        rank = max(1, int(np.sum(variances > _LEAST_VARIANCE * variances[0])))
        first = min(int(self.first * rank), rank - 1)
        self.block_ = slice(first, max(first + 1, round(self.last * rank)))

    def _coefficients(self, X):
        return principal_coefficients(self.pca_, X.reshape(len(X), -1), self.block_)

    def _size(self, coefficients):
        """Mean square, ``(n,)``; never 0, for the logarithm's sake."""
        return np.mean(coefficients.astype(np.float64) ** 2, axis=1) + np.finfo(np.float32).tiny

    def _slope(self):
        return (self.log_means_[1] - self.log_means_[0]) / self.log_variance_

    def _score(self, X):
        return self._slope() * (np.log(self._size(self._coefficients(X))) - self.log_means_.mean())

    def _value_and_gradient(self, X):
        coefficients = self._coefficients(X)
        by_coefficients = 2 * coefficients / (self._size(coefficients)[:, None] * coefficients.shape[1])
        axes = self.pca_.components_[self.block_] / np.sqrt(self.pca_.explained_variance_[self.block_, None])
        gradient = self._slope() * by_coefficients @ axes
        return self._score(X), gradient.astype(np.float32).reshape(X.shape)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
