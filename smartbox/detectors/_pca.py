"""Principal components and a linear support vector machine."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from smartbox._compat import Interval, StrOptions
from smartbox._packing import compact
from smartbox.base import BaseDetector
from smartbox.detectors._rows import linear_scores, principal_coefficients


class PCADetector(TransformerMixin, BaseDetector):
    """Tell attacked from clean faces by a linear SVM on principal component coefficients of the pixels.

    Parameters
    ----------
    n_components : int or float, default=100
        Number of components, learnt on the clean images of the training set and at most their number; a fraction below 1
        keeps as many as explain that share of the variance.
    C : float, default=1.0
        Inverse strength of the SVM's regularisation.
    components : {"leading", "trailing"}, default="leading"
        Which components: those of largest variance, as in the paper, or those of smallest, where small perturbations show.
    whiten : bool, default=False
        Divide the coefficients by their standard deviation over the clean images; otherwise over all training images.
    magnitude : bool, default=False
        Use absolute values of the standardised coefficients. A perturbation has no preferred sign, so that a linear rule on
        signed coefficients sees little of it.
    random_state : int, RandomState or None, default=None
        Starts the truncated decomposition and the SVM's solver.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial: 0, the SVM's own boundary, or what `calibrate` has set.
    pca_ : PCA
    n_components_ : int
        The number of components in use.

    Notes
    -----
    Of fewer images than pixels, the trailing components are those in which these very images hardly differ; all others, clean or
    not, lie far out in them. Their threshold must come from `calibrate` on validation images, and is high.

    References
    ----------
    .. [1] Agarwal, Singh, Vatsa, Ratha. "Are Image-Agnostic Universal Adversarial Perturbations for Face Recognition Difficult
       to Detect?", BTAS 2018.
    .. [2] Bhagoji, Cullina, Sitawarin, Mittal. "Enhancing Robustness of Machine Learning Systems via Data Transformations",
       CISS 2018.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import PCADetector
    >>> faces = make_faces(n_images=4)
    >>> X_adv = FGSM(smartbox.load_sample_model(), eps="16/255").generate(faces.images, faces.target)
    >>> X, y, groups = make_detection_set(faces.images, X_adv)
    >>> PCADetector(random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    _parameter_constraints = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
        ],
        "C": [Interval(Real, 0, None, closed="neither")],
        "components": [StrOptions({"leading", "trailing"})],
        "whiten": ["boolean"],
        "magnitude": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self, *, n_components=100, C=1.0, components="leading", whiten=False, magnitude=False, random_state=None
    ):
        self.n_components = n_components
        self.C = C
        self.components = components
        self.whiten = whiten
        self.magnitude = magnitude
        self.random_state = random_state

    def transform(self, X):
        """The detector's features of each image.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        coefficients : ndarray of shape (n, n_components_)
            Of the principal components in use, before the SVM's own scaling.
        """
        check_is_fitted(self, "threshold_")
        return self._coefficients(self._check_images(X))

    def _coefficients(self, X):
        first = self._first()
        return principal_coefficients(self.pca_, X.reshape(len(X), -1), slice(first, first + self.n_components_))

    def _first(self):
        """The first component in use."""
        return self.pca_.n_components_ - self.n_components_ if self.components == "trailing" else 0

    def _fit(self, X, y):
        rng = check_random_state(self.random_state)
        clean = X[y == 0].reshape((y == 0).sum(), -1)
        if len(clean) < 2:
            raise ValueError("expected at least 2 clean images, of which components can be learnt, got 1: pass more faces.")
        self.pca_ = self._decompose(clean, rng)
        self.n_components_ = self._number_kept(self.pca_)
        steps = [StandardScaler(with_std=not self.whiten)]
        if self.magnitude:
            steps.append(FunctionTransformer(np.abs))
        svm = LinearSVC(C=self.C, random_state=rng.randint(2**31 - 1), max_iter=10_000)
        self.svm_ = make_pipeline(*steps, svm).fit(self._coefficients(X), y)

    def _score(self, X):
        return linear_scores(self.svm_, self._coefficients(X))

    def _value_and_gradient(self, X):
        coefficients = self._coefficients(X)
        scaler, svm = self.svm_[0], self.svm_[-1]
        slopes = svm.coef_
        if self.magnitude:
            slopes = slopes * np.sign(scaler.transform(coefficients))
        if scaler.scale_ is not None:
            slopes = slopes / scaler.scale_
        first = self._first()
        used = slice(first, first + self.n_components_)
        if self.whiten:
            slopes = slopes / np.sqrt(self.pca_.explained_variance_[used])
        gradient = (slopes @ self.pca_.components_[used]).astype(np.float32)
        return linear_scores(self.svm_, coefficients), np.broadcast_to(gradient, (len(X), X[0].size)).reshape(
            X.shape
        )

    def _decompose(self, clean, rng):
        """Truncated and quick for a few leading components, the whole spectrum otherwise."""
        rank = max(1, min(len(clean) - 1, clean.shape[1]))
        few = self.components == "leading" and isinstance(self.n_components, Integral) and 3 * self.n_components < rank
        if few:
            return compact(
                PCA(self.n_components, svd_solver="randomized", whiten=self.whiten, random_state=rng).fit(clean)
            )
        return compact(PCA(rank, svd_solver="full", whiten=self.whiten).fit(clean))

    def _number_kept(self, pca):
        available = pca.n_components_
        if isinstance(self.n_components, Integral):
            return min(self.n_components, available)
        share = np.cumsum(pca.explained_variance_ratio_)
        return min(int(np.searchsorted(share, self.n_components)) + 1, available)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
