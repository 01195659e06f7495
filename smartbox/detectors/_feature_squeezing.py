"""Feature squeezing."""

from functools import partial

import numpy as np
from scipy.special import softmax

from smartbox._checks import check_reach
from smartbox._model import LOGITS, PIXELS
from smartbox.defenses._bit_depth import reduce_bits
from smartbox.defenses._median_filter import smooth_by_median
from smartbox.detectors._features import FeatureDetector, NetworkFeatures, through_softmax
from smartbox.metrics import conformal_threshold


class SqueezingDistances(NetworkFeatures):
    """How much a face model's probabilities change when the image loses detail, one distance a squeezer.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model that is asked. Never copied.
    bits : sequence of int, default=(5, 4)
        Bits a pixel, one squeezer each: ``2^bits - 1`` steps from black to white.
    medians : sequence of int, default=(2, 3)
        Sides in pixels of square windows, one squeezer each: a pixel becomes the median of its window (of four pixels, the
        third), with edges reflected.

    Notes
    -----
    A distance is the sum of the absolute differences of the class probabilities, from 0 to 2; nothing is learnt. The way back
    of `vjp` takes each squeezer for the identity (BPDA [2]_).

    References
    ----------
    .. [1] Xu, Evans, Qi. "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018.
    .. [2] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.1.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.detectors import SqueezingDistances
    >>> faces = make_faces(n_images=2)
    >>> SqueezingDistances(smartbox.load_sample_model()).fit_transform(faces.images).shape
    (76, 4)
    """

    bpda = True

    _parameter_constraints = {"model": "no_validation", "bits": ["array-like"], "medians": ["array-like"]}

    def __init__(self, model, *, bits=(5, 4), medians=(2, 3)):
        self.model = model
        self.bits = bits
        self.medians = medians

    def _layers(self, face):
        self._squeezers()  # raises for a wrong one before any work
        for side in self.medians:
            check_reach(side, face.image_shape_, "medians", always=3)
        return [LOGITS, PIXELS]

    def _summarise(self, activations):
        logits, X = activations
        face, p = self._face_model(), _probabilities(logits)
        found = [_probabilities(face.logits(squeeze(X))) for squeeze in self._squeezers()]
        return np.stack([np.abs(p - q).sum(axis=1) for q in found], axis=1).astype(np.float32)

    def _spread(self, activations, cotangents):
        logits, X = activations
        face, p = self._face_model(), _probabilities(logits)
        by_p, by_pixels = np.zeros_like(p), np.zeros_like(X)
        for squeeze, weights in zip(self._squeezers(), cotangents.T, strict=True):
            rows = np.flatnonzero(weights)
            if rows.size:
                squeezed = squeeze(X[rows])
                q = _probabilities(face.logits(squeezed))
                by_q = weights[rows, None] * np.sign(q - p[rows])
                by_p[rows] -= by_q
                by_pixels[rows] += face.vjp(squeezed, through_softmax(q, by_q))
        return [through_softmax(p, by_p), by_pixels]

    def _squeezers(self):
        for name, values, most in (("bits", self.bits, 16), ("medians", self.medians, np.inf)):
            for value in values:
                if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 1 <= value <= most:
                    raise ValueError(f"expected {name} as whole numbers from 1 to {most:g}, got {value!r}.")
        squeezers = [partial(reduce_bits, bits=bits) for bits in self.bits]
        squeezers += [partial(smooth_by_median, side=side) for side in self.medians]
        if not squeezers:
            raise ValueError("expected at least one squeezer, got neither bits nor medians.")
        return squeezers


def _probabilities(logits):
    return softmax(logits.astype(np.float64), axis=1)


class FeatureSqueezingDetector(FeatureDetector):
    """Flag faces whose prediction changes when the image loses detail.

    The score is the largest of the `SqueezingDistances`; nothing is trained.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model that is asked. Never copied.
    bits : sequence of int, default=(5, 4)
        Bits a pixel, one squeezer each.
    medians : sequence of int, default=(2, 3)
        Sides in pixels of the windows of medians, one squeezer each.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial. ``fit`` takes the conformal quantile at 5 % of the clean images that it is
        given: optimistic where the model was trained on these; `calibrate` on validation images sets the honest one.
    features_ : SqueezingDistances

    Notes
    -----
    ``value_and_gradient`` is a stand-in: it takes the squeezer of the largest distance for the identity on the way back (BPDA).

    References
    ----------
    .. [1] Xu, Evans, Qi. "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import DeepFool
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import FeatureSqueezingDetector
    >>> faces, face = make_faces(n_images=1), smartbox.load_sample_model()
    >>> X, y, groups = make_detection_set(faces.images, DeepFool(face).generate(faces.images, faces.target))
    >>> detector = FeatureSqueezingDetector(face).fit(X, y)
    >>> bool(detector.decision_function(X[y == 1]).mean() > detector.decision_function(X[y == 0]).mean())
    True
    """

    bpda = True

    _parameter_constraints = SqueezingDistances._parameter_constraints

    def __init__(self, model, *, bits=(5, 4), medians=(2, 3)):
        self.model = model
        self.bits = bits
        self.medians = medians

    def _make_features(self):
        return SqueezingDistances(self.model, bits=self.bits, medians=self.medians)

    def _fit_features(self, F, y):
        self.threshold_ = conformal_threshold(self._score_features(F[y == 0]))

    def _score_features(self, F):
        return F.max(axis=1).astype(np.float64)

    def _features_gradient(self, F):
        return (np.arange(F.shape[1]) == F.argmax(axis=1)[:, None]).astype(np.float64)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # it is not trained
        return tags
