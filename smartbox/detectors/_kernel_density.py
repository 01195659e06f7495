"""Kernel density of the last hidden layer, and dropout uncertainty."""

from numbers import Integral, Real

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state

from smartbox._compat import Interval
from smartbox._model import LOGITS, PIXELS
from smartbox._packing import compact
from smartbox._streams import ImageStreams
from smartbox.detectors._bandwidth import most_likely_bandwidth
from smartbox.detectors._dropout_uncertainty import DropoutUncertainty
from smartbox.detectors._features import layers_to_read
from smartbox.detectors._logistic import LogisticDetector
from smartbox.detectors._pooled import PooledFeatures, channel_means, spread_means
from smartbox.detectors._rows import principal_coefficients


class KernelDensityFeatures(PooledFeatures):
    """Log density of a face's last hidden layer among those of its predicted identity, and dropout uncertainty.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The network that is looked into. Never copied.
    layer : str or None, default=None
        Name of the layer whose output is compared, by its channel means if it gives maps; None takes the last hidden
        dense layer, or the last convolution where there is none.
    n_components : int or None, default=32
        Number of principal components that the layer is reduced to, at most what the clean images span. None reduces nothing.
    bandwidth : float or None, default=None
        Standard deviation of the Gaussian kernel, in units of the layer. None chooses the one of largest leave-one-out
        likelihood of the clean images.
    n_passes : int, default=50
        Passes with dropout; 0 leaves the uncertainty at 0, as it is for a network without dropout.
    random_state : int, RandomState or None, default=None
        Draws the units that drop out, from one stream an image.

    Attributes
    ----------
    layers_ : list of str
        The layers in use.
    pca_ : PCA or None
    points_ : ndarray of shape (n_clean, n_components)
        The clean images, reduced.
    point_classes_ : ndarray of shape (n_clean,)
        Column of the logits that is largest for each of them.
    bandwidth_ : float
        The bandwidth in use.
    dropout_ : tuple of (str, float) or None
        Name and rate of the dropout layer in use.

    Notes
    -----
    The first feature is ``log(mean(exp(-|z - z_i|^2 / (2 bandwidth^2))))`` over the clean images ``z_i`` of the class that the
    model predicts; over all clean images where it predicted this class for none. The second is the variance of the class
    probabilities over the passes, summed over classes; the authors' code has its mean. Only the last dropout
    layer that drops single units does so, and the rest of the network is as at any prediction. Classes are
    predicted for the clean images too, since the labels of a detection set do not tell identities.

    References
    ----------
    .. [1] Feinman, Curtin, Shintre, Gardner. "Detecting Adversarial Samples from Artifacts", arXiv:1703.00410, 2017, sections 4
       and 5.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.detectors import KernelDensityFeatures
    >>> faces = make_faces(n_images=2)
    >>> features = KernelDensityFeatures(smartbox.load_sample_model(), n_passes=5, random_state=0)
    >>> features.fit(faces.images).transform(faces.images).shape
    (76, 2)
    """

    _parameter_constraints = {
        "model": "no_validation",
        "layer": [str, None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "bandwidth": [Interval(Real, 0, None, closed="neither"), None],
        "n_passes": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, model, *, layer=None, n_components=32, bandwidth=None, n_passes=50, random_state=None):
        self.model = model
        self.layer = layer
        self.n_components = n_components
        self.bandwidth = bandwidth
        self.n_passes = n_passes
        self.random_state = random_state

    def fit(self, X, y=None):
        """Learn from the clean images.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,), optional
            1 adversarial, 0 clean: the former are left out. None takes all images for clean.

        Returns
        -------
        self : object
        """
        self._validate_params()
        face = self._face_model()
        self.dropout_ = face.last_dropout() if self.n_passes and hasattr(face, "last_dropout") else None
        self.seed_ = check_random_state(self.random_state).randint(2**63, dtype=np.int64)
        return super().fit(X, y)

    def _layers(self, face):
        layer = layers_to_read(face, self.layer, "convolution", "dense")[-1]
        return [layer, LOGITS] if self.dropout_ is None else [layer, LOGITS, self.dropout_[0], PIXELS]

    def _condense(self, activations):
        """The hidden layer, the logits and the uncertainty."""
        hidden, logits = (channel_means(each) for each in activations[:2])
        if self.dropout_ is None:
            return [hidden, logits, np.zeros((len(hidden), 1))]
        return [hidden, logits, self._uncertainty().value(*self._dropping(activations))[:, None]]

    def _learn_tables(self, tables):
        hidden, logits, _ = tables
        self.pca_ = None
        if self.n_components is not None:
            self.pca_ = compact(
                PCA(min(self.n_components, len(hidden) - 1, hidden.shape[1]), svd_solver="full").fit(hidden)
            )
        self.points_ = self._reduced(hidden)
        self.point_classes_ = logits.argmax(axis=1)
        self.bandwidth_ = self.bandwidth or most_likely_bandwidth(self.points_, self.point_classes_)

    def _measure(self, tables):
        hidden, logits, uncertainty = tables
        kernel, exponents = self._exponents(self._reduced(hidden), logits.argmax(axis=1))
        return np.column_stack([logsumexp(exponents, axis=1) - np.log(kernel.sum(axis=1)), uncertainty])

    def _measure_vjp(self, tables, cotangents):
        """The gradient by the hidden layer, of that by the density."""
        hidden, logits = tables
        reduced = self._reduced(hidden)
        shares = softmax(self._exponents(reduced, logits.argmax(axis=1))[1], axis=1)
        by_reduced = cotangents[:, :1] * (shares @ self.points_ - reduced) / self.bandwidth_**2
        return by_reduced if self.pca_ is None else by_reduced @ self.pca_.components_

    def _spread(self, activations, cotangents):
        tables = [channel_means(each) for each in activations[:2]]
        spread = [spread_means(self._measure_vjp(tables, cotangents), activations[0]), np.zeros_like(activations[1])]
        if self.dropout_ is not None:
            gradient = self._uncertainty().gradient(*self._dropping(activations))
            weights = cotangents[:, 1].reshape(-1, *(1,) * (gradient.ndim - 1))
            spread += [weights * gradient, np.zeros_like(activations[3])]
        return spread

    def _exponents(self, reduced, classes):
        """Which points each image is compared with, and the kernels' exponents, minus infinity elsewhere."""
        is_compared = classes[:, None] == self.point_classes_
        is_compared |= ~is_compared.any(axis=1, keepdims=True)
        squares = cdist(reduced, self.points_, "sqeuclidean")
        return is_compared, np.where(is_compared, -squares / (2 * self.bandwidth_**2), -np.inf)

    def _reduced(self, hidden):
        return hidden if self.pca_ is None else principal_coefficients(self.pca_, hidden)

    def _uncertainty(self):
        return DropoutUncertainty(self._face_model(), *self.dropout_, self.n_passes)

    def _dropping(self, activations):
        """The dropout layer's output, and the streams of the images."""
        return activations[2], ImageStreams.from_images(activations[3], self.seed_)


class KernelDensityDetector(LogisticDetector):
    """Tell attacked from clean faces by the density of the last hidden layer and the uncertainty under dropout.

    A logistic regression on the `KernelDensityFeatures`.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The network that is looked into. Never copied.
    layer : str or None, default=None
        Name of the layer whose output is compared; None takes the last hidden dense layer.
    n_components : int or None, default=32
        Number of principal components that the layer is reduced to.
    bandwidth : float or None, default=None
        Standard deviation of the Gaussian kernel; None chooses the most likely one.
    n_passes : int, default=50
        Passes with dropout.
    C : float, default=1.0
        Inverse strength of the regression's regularisation.
    random_state : int, RandomState or None, default=None
        Draws the units that drop out, and the noise of the noisy images among the negatives.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial: 0, even odds, or what `calibrate` has set.
    features_ : KernelDensityFeatures
    judge_ : Pipeline
        The scaling and the regression.

    Notes
    -----
    Negatives are the clean images and, of each, one with Gaussian noise as large as the attacks in training. For a network
    without dropout the density decides alone. ``value_and_gradient`` is exact for the predicted class and the units that
    dropped out, which the next image, however near, draws anew.

    References
    ----------
    .. [1] Feinman, Curtin, Shintre, Gardner. "Detecting Adversarial Samples from Artifacts", arXiv:1703.00410, 2017.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import KernelDensityDetector
    >>> faces, face = make_faces(n_images=2), smartbox.load_sample_model()
    >>> X_adv = FGSM(face, eps="16/255").generate(faces.images, faces.target)
    >>> X, y, groups = make_detection_set(faces.images, X_adv)
    >>> KernelDensityDetector(face, n_passes=5, random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    _parameter_constraints = {
        **KernelDensityFeatures._parameter_constraints,
        "C": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, model, *, layer=None, n_components=32, bandwidth=None, n_passes=50, C=1.0, random_state=None):
        self.model = model
        self.layer = layer
        self.n_components = n_components
        self.bandwidth = bandwidth
        self.n_passes = n_passes
        self.C = C
        self.random_state = random_state

    def _make_features(self):
        parameters = {name: value for name, value in self.get_params(deep=False).items() if name != "C"}
        return KernelDensityFeatures(**parameters)
