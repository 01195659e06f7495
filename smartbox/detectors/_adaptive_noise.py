"""Detection by adaptive noise reduction: does the label survive denoising?"""

import numpy as np

from smartbox._checks import check_images
from smartbox._compat import StrOptions
from smartbox.base import BaseDetector, ModelReferenceMixin
from smartbox.defenses import AdaptiveNoiseReduction


class AdaptiveNoiseDetector(ModelReferenceMixin, BaseDetector):
    """Call a face attacked if the model gives it another label once its noise is reduced.

    The score is ``max(other logits) - logit`` of the reduced image, "logit" being that of the label which the image had before:
    above 0 the label has changed. Nothing is learnt; ``fit`` checks its input and sets the threshold to 0.

    Parameters
    ----------
    model : FaceClassifier or other face model
        Whose labels are compared. Never copied.
    level : {"left", "mid"}, default="left"
        As for `AdaptiveNoiseReduction`: the end of an interval of grey levels that stands for it, as published, or the middle,
        which darkens nothing and flags fewer clean faces.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial: 0, where the label changes, or what `calibrate` has set.

    See Also
    --------
    smartbox.defenses.AdaptiveNoiseReduction : The noise reduction alone.

    Notes
    -----
    `value_and_gradient` is a stand-in: the quantiser counts as the identity, smoothing and the choice at each pixel have their
    true gradient (see `AdaptiveNoiseReduction`), and the label of the image counts as fixed.

    The published figures count only images whose label the attack did change, with their own originals as the clean ones:
    `smartbox.metrics.detection_population` with the rule ``"successful"`` picks them.

    References
    ----------
    .. [1] Liang, Li, Su, Li, Shi, Wang. "Detecting Adversarial Image Examples in Deep Neural Networks with Adaptive Noise
       Reduction", IEEE Transactions on Dependable and Secure Computing 18(1), 2021.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import DeepFool
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import AdaptiveNoiseDetector
    >>> faces, face = make_faces(n_images=1), smartbox.load_sample_model()
    >>> X, y, groups = make_detection_set(faces.images, DeepFool(face).generate(faces.images, faces.target))
    >>> AdaptiveNoiseDetector(face).fit(X, y).score(X, y) > 0.5
    True
    """

    bpda = True
    _parameter_constraints = {"model": "no_validation", "level": [StrOptions({"left", "mid"})]}

    def __init__(self, model, *, level="left"):
        self.model = model
        self.level = level

    def _fit(self, X, y):
        # A missing model and images that it cannot take show here, not at the first prediction.
        check_images(X[:1], image_shape=self._face_model().image_shape_)

    def _score(self, X):
        face = self._face_model()
        own = face.is_label(face.predict(X))
        logits = face.logits(self._reduction().transform(X))
        return np.where(own, -np.inf, logits).max(axis=1) - logits[own]

    def _value_and_gradient(self, X):
        face = self._face_model()
        reduced, pull_back = self._reduction().vjp(X)
        scores, _, gradient = face.value_and_gradient(reduced, face.predict(X), "margin")
        return scores, pull_back(gradient)

    def _reduction(self):
        return AdaptiveNoiseReduction(level=self.level)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # it learns nothing of y
        return tags
