"""Differences of a network's responses from their clean averages."""

from numbers import Real

import numpy as np
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from smartbox._compat import Interval
from smartbox.detectors._features import FeatureDetector, NetworkFeatures, layers_to_read

_LEAST_SHARE = 1e-6  # of a layer's mean response: where filter and average are below it, they do not differ


class LayerDifferences(NetworkFeatures):
    """Canberra distances of each filter's responses from their average over clean faces.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The network that is looked into. Never copied.
    layers : sequence of str or None, default=None
        Names of layers; None takes all convolutions and hidden dense layers.

    Attributes
    ----------
    layers_ : list of str
        The layers in use.
    averages_ : list of ndarray
        Average output of each layer over the clean images.

    Notes
    -----
    A filter's feature is the sum over places of ``|a - m| / (|a| + |m|)``, of its response ``a`` and its average ``m``, so from 0
    to the number of places; a layer of vectors has one feature, summed over units.

    References
    ----------
    .. [1] Goswami, Ratha, Agarwal, Singh, Vatsa. "Unravelling Robustness of Deep Learning based Face Recognition Against
       Adversarial Attacks", AAAI 2018.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.detectors import LayerDifferences
    >>> faces = make_faces(n_images=2)
    >>> differences = LayerDifferences(smartbox.load_sample_model(), layers=["conv4", "dense1"])
    >>> differences.fit(faces.images).transform(faces.images).shape
    (76, 33)
    """

    _parameter_constraints = {"model": "no_validation", "layers": ["array-like", str, None]}

    def __init__(self, model, *, layers=None):
        self.model = model
        self.layers = layers

    def _layers(self, face):
        return layers_to_read(face, self.layers, "convolution", "dense")

    def _learn(self, batches):
        n_images, totals = 0, None
        for activations in batches():
            sums = [each.sum(axis=0, dtype=np.float64) for each in activations]
            totals = sums if totals is None else [total + more for total, more in zip(totals, sums, strict=True)]
            n_images += len(activations[0])
        self.averages_ = [(total / n_images).astype(np.float32) for total in totals]

    def _summarise(self, activations):
        columns = []
        for each, average in zip(activations, self.averages_, strict=True):
            gaps, sizes = _compared(each, average)
            columns.append(_summed(gaps / sizes))
        return np.concatenate(columns, axis=1)

    def _spread(self, activations, cotangents):
        spread, first = [], 0
        for each, average in zip(activations, self.averages_, strict=True):
            gaps, sizes = _compared(each, average)
            slopes = np.sign(each - average) / sizes - gaps * np.sign(each) / sizes**2
            n_columns = each.shape[-1] if each.ndim > 2 else 1
            by_filter = cotangents[:, first : first + n_columns]
            spread.append(slopes * by_filter.reshape(len(each), *(1,) * (each.ndim - 2), n_columns))
            first += n_columns
        return spread


def _compared(activations, average):
    """Numerators and denominators, in which 0 / 0 counts as 0."""
    least = np.float32(_LEAST_SHARE) * np.abs(average).mean() + np.finfo(np.float32).tiny
    return np.abs(activations - average), np.abs(activations) + np.abs(average) + least


def _summed(ratios):
    """Over places, for each filter; over units, for a layer of vectors."""
    if ratios.ndim == 2:
        return ratios.sum(axis=1, keepdims=True)
    return ratios.sum(axis=tuple(range(1, ratios.ndim - 1)))


class LayerDifferenceDetector(FeatureDetector):
    """Tell attacked from clean faces by how far a network's responses lie from their clean averages.

    A support vector machine with Gaussian kernel on the standardised `LayerDifferences`.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The network that is looked into. Never copied.
    layers : sequence of str or None, default=None
        Names of layers; None takes all convolutions and hidden dense layers.
    C : float, default=1.0
        Inverse strength of the SVM's regularisation.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial: 0, the SVM's own boundary, or what `calibrate` has set.
    features_ : LayerDifferences
    judge_ : Pipeline
        The scaling and the SVM.

    Notes
    -----
    ``value_and_gradient`` is exact wherever no response equals its average or 0. Light that moves all responses, such as
    hard shadows, looks like an attack.

    References
    ----------
    .. [1] Goswami, Ratha, Agarwal, Singh, Vatsa. "Unravelling Robustness of Deep Learning based Face Recognition Against
       Adversarial Attacks", AAAI 2018.
    .. [2] Goswami, Agarwal, Ratha, Singh, Vatsa. "Detecting and Mitigating Adversarial Perturbations for Robust Face
       Recognition", International Journal of Computer Vision 127, 2019.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import LayerDifferenceDetector
    >>> faces, face = make_faces(n_images=2), smartbox.load_sample_model()
    >>> X_adv = FGSM(face, eps="16/255").generate(faces.images, faces.target)
    >>> X, y, groups = make_detection_set(faces.images, X_adv)
    >>> LayerDifferenceDetector(face).fit(X, y).score(X, y) > 0.5
    True
    """

    _parameter_constraints = {
        "model": "no_validation",
        "layers": ["array-like", str, None],
        "C": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, model, *, layers=None, C=1.0):
        self.model = model
        self.layers = layers
        self.C = C

    def _make_features(self):
        return LayerDifferences(self.model, layers=self.layers)

    def _fit_features(self, F, y):
        # "auto" is 1 / n_features, which is right for features of variance 1
        self.judge_ = make_pipeline(StandardScaler(), SVC(C=self.C, gamma="auto")).fit(F, y)

    def _score_features(self, F):
        return self.judge_.decision_function(F)

    def _features_gradient(self, F):
        scaler, svm = (step for _, step in self.judge_.steps)
        Z, gamma = scaler.transform(F), 1 / F.shape[1]
        weights = svm.dual_coef_ * rbf_kernel(Z, svm.support_vectors_, gamma=gamma)
        return 2 * gamma * (weights @ svm.support_vectors_ - weights.sum(axis=1, keepdims=True) * Z) / scaler.scale_
