"""Mahalanobis distances to the classes inside a network."""

from numbers import Real

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf

from smartbox._compat import Interval
from smartbox._model import LOGITS
from smartbox.detectors._logistic import LogisticDetector
from smartbox.detectors._pooled import PooledFeatures
from smartbox.detectors._rows import row_products

_LEAST_SHARE = 1e-6  # of the mean variance of a layer's units: so much is added to each


class MahalanobisDistances(PooledFeatures):
    """Squared Mahalanobis distance of a face to the nearest identity, one for each of several layers.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The network that is looked into. Never copied.
    layers : sequence of str or None, default=None
        Names of layers, whose channel means are compared; None takes all convolutions and hidden dense layers.

    Attributes
    ----------
    layers_ : list of str
        The layers in use, then ``"<logits>"``.
    means_ : list of ndarray of shape (n_classes, n_channels)
        Mean of each class that the model predicted for a clean image, in each layer.
    whitening_ : list of ndarray of shape (n_channels, n_channels)
        A square root of the inverse covariance about the class means.

    Notes
    -----
    Class means are those of the model's predictions for the clean images, since the labels of a detection set do not tell
    identities. One covariance serves all classes; it is shrunk after Ledoit and Wolf, for there are often fewer images than
    units. ``fit_transform`` differs from ``fit`` and ``transform``: see there.

    References
    ----------
    .. [1] Lee, Lee, Lee, Shin. "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
       Attacks", NeurIPS 2018, equations 1 and 2. The features are -1 times its confidence score.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.detectors import MahalanobisDistances
    >>> faces = make_faces(n_images=2)
    >>> distances = MahalanobisDistances(smartbox.load_sample_model(), layers=["dense1", "dense2"])
    >>> distances.fit(faces.images).transform(faces.images).shape
    (76, 2)
    """

    _parameter_constraints = {"model": "no_validation", "layers": ["array-like", str, None]}

    def __init__(self, model, *, layers=None):
        self.model = model
        self.layers = layers

    def _layers(self, face):
        return [*super()._layers(face), LOGITS]

    def _learn_tables(self, tables):
        *tables, logits = tables
        _, classes = np.unique(logits.argmax(axis=1), return_inverse=True)
        is_of = np.eye(classes.max() + 1)[classes]
        self.means_ = [is_of.T @ table / is_of.sum(axis=0)[:, None] for table in tables]
        self.whitening_ = [
            _root_of_inverse(table - means[classes], table) for table, means in zip(tables, self.means_, strict=True)
        ]

    def _measure(self, tables):
        return np.stack([self._to_classes(layer, table).min(axis=1) for layer, table in enumerate(tables[:-1])], axis=1)

    def _measure_vjp(self, tables, cotangents):
        gradients = []
        for layer, table in enumerate(tables[:-1]):
            W = self.whitening_[layer]
            nearest = self.means_[layer][self._to_classes(layer, table).argmin(axis=1)]
            gradients.append(2 * cotangents[:, layer, None] * ((table - nearest) @ W @ W.T))
        return [*gradients, np.zeros_like(tables[-1])]

    def _to_classes(self, layer, table):
        """Squared distances ``(n, n_classes)`` in one layer."""
        W = self.whitening_[layer]
        return cdist(row_products(table, W), row_products(self.means_[layer], W), "sqeuclidean")


def _root_of_inverse(deviations, table):
    """``W`` such that ``W @ W.T`` is the inverse of the shrunk covariance of the deviations from class means."""
    covariance = LedoitWolf(assume_centered=True, store_precision=False).fit(deviations).covariance_
    least = _LEAST_SHARE * table.var(axis=0).mean() or 1.0  # 1 for a layer that is constant
    lower = cholesky(covariance + least * np.eye(len(covariance)), lower=True)
    return solve_triangular(lower, np.eye(len(lower)), lower=True).T


class MahalanobisDetector(LogisticDetector):
    """Tell attacked from clean faces by their distance to the identities in the layers of a network.

    A logistic regression on the `MahalanobisDistances` of all layers.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The network that is looked into. Never copied.
    layers : sequence of str or None, default=None
        Names of layers, whose channel means are compared; None takes all convolutions and hidden dense layers.
    C : float, default=1.0
        Inverse strength of the regression's regularisation.
    random_state : int, RandomState or None, default=None
        Draws the noise of the noisy images among the negatives.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial: 0, even odds, or what `calibrate` has set.
    features_ : MahalanobisDistances
    judge_ : Pipeline
        The scaling and the regression.

    Notes
    -----
    Negatives are the clean images and, of each, one with Gaussian noise as large as the attacks in training. Faces of
    identities that the clean images in training lack are far from all classes, clean or attacked. The step of the image
    towards smaller distance, which the paper takes before it measures, is left out: it costs a gradient a layer.
    ``value_and_gradient`` is exact wherever the nearest identity does not change.

    References
    ----------
    .. [1] Lee, Lee, Lee, Shin. "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
       Attacks", NeurIPS 2018.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import MahalanobisDetector
    >>> faces, face = make_faces(n_identities=10, n_images=8), smartbox.load_sample_model()
    >>> X_adv = FGSM(face, eps="16/255").generate(faces.images, faces.target)
    >>> X, y, groups = make_detection_set(faces.images, X_adv)
    >>> MahalanobisDetector(face, layers=["dense1", "dense2"], random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    _parameter_constraints = {
        "model": "no_validation",
        "layers": ["array-like", str, None],
        "C": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(self, model, *, layers=None, C=1.0, random_state=None):
        self.model = model
        self.layers = layers
        self.C = C
        self.random_state = random_state

    def _make_features(self):
        return MahalanobisDistances(self.model, layers=self.layers)
