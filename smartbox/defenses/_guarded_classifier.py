"""Detect, then reject or mitigate."""

from numbers import Integral, Real

from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from smartbox._compat import Interval
from smartbox._guarded import MitigatedModel
from smartbox._model import DefendedModel, fitted_detector, guarded_model, steps_of, with_gradient
from smartbox.defenses._model_defense import ModelDefense


class GuardedClassifier(ModelDefense):
    """A face model behind a detector: what is flagged is rejected or, with a defence, mitigated and then named.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        A fitted model. Never copied nor trained.
    detector : BaseDetector
        A fitted detector; clones refer to the same one. Its ``threshold_`` decides, see `BaseDetector.calibrate`. Among the
        values of a grid search each goes in a FrozenEstimator, lest scikit-learn forget what it has learnt. Its own parameters
        (``detector__C``) cannot be set from here, since it is not fitted again.
    defense : BaseDefense or Pipeline of them, default=None
        Cleans the images that are flagged, and no others, before the model names them. One that has learnt something goes in a
        FrozenEstimator, lest a clone forget it. None rejects them.
    reject_label : int, str or None, default=None
        What a flagged image is called; none of the model's labels. None stands for -1, or for text labels ``"rejected"``.
        Not used with a defence.
    scale : float, default=1.0
        Logits for each unit of the detector's score: what an attack weighs them by. Predictions are the same for any.

    Attributes
    ----------
    classes_ : ndarray
        The model's labels and, without a defence, last the one for rejection: the columns of `decision_function`. Set by `fit`,
        without which everything else works.

    See Also
    --------
    smartbox.as_face_model : A model and a detector as one model, for attacks alone.
    smartbox.metrics.accuracy_rejection_curve : Accuracy on what is left at each rejection rate.

    Notes
    -----
    An attack on this classifier (or on a Pipeline that ends in it) has to get past both. Without a defence rejection is one more
    label, which it must not reach; its gradient is that of the detector's score. With a defence the gradient is that of the way
    which an image takes, with the defence's own stand-in where it has no true one (BPDA); the jump at the detector's
    threshold has no gradient and is left out. `score` counts rejected images as mistakes.

    References
    ----------
    .. [1] Carlini, Wagner. "Adversarial Examples Are Not Easily Detected: Bypassing Ten Detection Methods", AISec 2017,
       section 3.
    .. [2] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation Algorithms for
       Face Recognition", BTAS 2018, section 2.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.defenses import GaussianBlur, GuardedClassifier
    >>> from smartbox.detectors import PCADetector
    >>> faces, face = make_faces(n_images=1), smartbox.load_sample_model()
    >>> X_adv = FGSM(face, eps="16/255").generate(faces.images, faces.target)
    >>> X, y, _ = make_detection_set(faces.images, X_adv)
    >>> detector = PCADetector(random_state=0).fit(X, y)
    >>> guarded = GuardedClassifier(face, detector=detector)
    >>> bool((guarded.predict(X_adv)[detector.predict(X_adv) == 1] == -1).all())
    True
    >>> mitigated = GuardedClassifier(face, detector=detector, defense=GaussianBlur())
    >>> bool(mitigated.score(X_adv, faces.target) > face.score(X_adv, faces.target))
    True
    """

    _parameter_constraints = {
        "model": "no_validation",
        "detector": "no_validation",
        "defense": "no_validation",
        "reject_label": "no_validation",
        "scale": [Interval(Real, 0, None, closed="neither")],
    }
    _shared = ("model", "detector")

    def __init__(self, model, *, detector, defense=None, reject_label=None, scale=1.0):
        self.model = model
        self.detector = detector
        self.defense = defense
        self.reject_label = reject_label
        self.scale = scale

    def flagged(self, X):
        """Boolean ``(n,)``: the images that the detector takes for attacked."""
        return self._flagged(self._ready(X))

    def decision_function(self, X):
        """Logits of each label in ``classes_``, shape ``(n, n_classes)``; of two labels the second less the first, ``(n,)``."""
        logits = self._as_face_model().logits(self._ready(X))
        return logits if logits.shape[1] > 2 else logits[:, 1] - logits[:, 0]

    def _predict(self, X):
        # By the model's own predict, since that of a smoothed one is more than the largest of its logits.
        flagged, model = self._flagged(X), self._as_face_model()
        if self.defense is None:
            return self._with_rejections(self.model.predict(X), flagged, model.reject_label)
        if not flagged.any():
            return self.model.predict(X)
        X = X.copy()
        for _, defense in model.defended.defenses:
            X[flagged] = defense.transform(X[flagged])
        return self.model.predict(X)

    def _flagged(self, X):
        detector = fitted_detector(self.detector)
        return detector.decision_function(X) > detector.threshold_

    def _as_face_model(self):
        self._validate_params()
        model = self._face_model()
        if self.defense is None:
            return guarded_model(model, self.detector, scale=self.scale, reject_label=self.reject_label)
        defenses = list(steps_of(Pipeline([("defense", self.defense)])))
        _check_defenses(defenses)
        return MitigatedModel(model, DefendedModel(defenses, model), fitted_detector(self.detector))

    def _validate_params(self):
        super()._validate_params()
        label = self.reject_label
        is_whole = isinstance(label, Integral) and not isinstance(label, bool) and -(2**63) <= label < 2**63
        if not (label is None or isinstance(label, str) or is_whole):
            raise ValueError(
                f"expected reject_label as a whole number, text or None, got {label!r}: use e.g. -1, for text labels 'rejected'."
            )


def _check_defenses(defenses):
    """Refuse what cleans no images, has no gradient, or has yet to learn."""
    for _, defense in defenses:
        if isinstance(defense, type) or not hasattr(defense, "transform"):
            what = f"the class {defense.__name__}" if isinstance(defense, type) else repr(defense)
            raise ValueError(
                f"expected defense as a defence, a Pipeline of such or None, got {what}: pass an instance, e.g. GaussianBlur()."
            )
    for _, defense in with_gradient(defenses):
        try:
            if hasattr(defense, "fit"):
                check_is_fitted(defense)
        except NotFittedError as error:
            name = type(defense).__name__
            raise ValueError(
                f"the defence {name} is not fitted, and GuardedClassifier does not fit it: fit it on clean faces first, and pass "
                f"FrozenEstimator({name}(...).fit(X)), which no clone forgets."
            ) from error
