"""Defensive distillation, a defence known to be broken."""

from numbers import Real

import numpy as np
from scipy.special import softmax
from sklearn.utils import check_random_state

from smartbox._compat import Interval
from smartbox._losses import softened, softly_labelled
from smartbox._model import FaceModelMixin
from smartbox._objectives import OBJECTIVES
from smartbox._training import Lesson, measured
from smartbox.defenses._retrained import RetrainedClassifier, new_seed, sealed, untrained


class DefensiveDistillation(RetrainedClassifier):
    """A network that learns another one's softened softmax. It hides its gradients and resists nobody: a negative control.

    A teacher learns the labels through ``softmax(logits / temperature)``; a student of the same layers learns, at the same
    temperature, the teacher's shares of each image; it is used at temperature 1.

    Parameters
    ----------
    estimator : FaceClassifier
        What to train, twice and from new weights, by its ``epochs``, ``optimizer`` and so on; never changed itself, and whether
        it is fitted does not matter.
    temperature : float, default=20.0
        How much the logits are divided by in training. 1 is ordinary training, and then a student of its probabilities.
    random_state : int, RandomState or None, default=None
        Draws initial weights, dropout and the order of images; None leaves that to the random state of ``estimator``.

    Attributes
    ----------
    estimator_ : FaceClassifier
        The student.
    teacher_ : FaceClassifier
    classes_ : ndarray of shape (n_classes,)
    image_shape_ : tuple of int

    See Also
    --------
    AdversarialTraining : A mitigation that an attack's own gradients do not undo.

    Notes
    -----
    The student's logits are about ``temperature`` times as large as usual. Cross-entropy in float32 then has no gradient left,
    so that attacks with ``loss="ce"`` stand still and the network looks robust. Nothing has moved but the scale [2]_: the same
    attack on `softened` succeeds, and so do attacks on the log-odds or on margins, which is what they climb by default.

    Both losses are multiplied by the temperature, so that a learning rate means what it does without.

    References
    ----------
    .. [1] Papernot, McDaniel, Wu, Jha, Swami. "Distillation as a Defense to Adversarial Perturbations against Deep Neural
       Networks", IEEE Symposium on Security and Privacy 2016, section 4.
    .. [2] Carlini, Wagner. "Towards Evaluating the Robustness of Neural Networks", IEEE Symposium on Security and Privacy 2017,
       section 9 (how it is broken).

    Examples
    --------
    >>> from smartbox import FaceClassifier
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import DefensiveDistillation
    >>> faces = make_faces(n_identities=3, n_images=8, image_shape=(24, 24))
    >>> distilled = DefensiveDistillation(FaceClassifier(epochs=2), temperature=20, random_state=0)
    >>> distilled.fit(faces.images, faces.target).predict(faces.images).shape
    (24,)
    """

    _parameter_constraints = {
        "estimator": "no_validation",
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(self, estimator, *, temperature=20.0, random_state=None):
        self.estimator = estimator
        self.temperature = temperature
        self.random_state = random_state

    def softened(self):
        """The student with its logits divided by the temperature, as a model to attack: its predictions are the same.

        Returns
        -------
        model : object
            With ``logits``, ``predict``, ``value_and_gradient`` and ``vjp``.
        """
        return SoftenedModel(self._trained(), self.temperature)

    def _train(self, X, y, sample_weight, validation_data):
        teacher, student = untrained(self.estimator), untrained(self.estimator)
        if self.random_state is not None:
            teacher.random_state = new_seed(check_random_state(self.random_state))
        teacher._fit(X, y, sample_weight, validation_data, _TeacherLesson(self.temperature))
        self.teacher_ = sealed(teacher)
        student.random_state = new_seed(teacher.random_state)  # or it would begin as the teacher did
        return sealed(
            student._fit(X, y, sample_weight, validation_data, _StudentLesson(self.temperature, self.teacher_))
        )


class SoftenedModel(FaceModelMixin):
    """A face model whose logits are divided by a temperature.

    Parameters
    ----------
    model : FaceModelMixin
    temperature : float
    """

    def __init__(self, model, temperature):
        self.model = model
        self.temperature = np.float32(temperature)
        self.classes_ = model.classes_
        self.image_shape_ = model.image_shape_

    def logits(self, X):
        """The model's logits, divided."""
        return self.model.logits(X) / self.temperature

    def value_and_gradient(self, X, y, objective="cross_entropy"):
        """As the model's own, of the divided logits."""
        logits = self.logits(X)
        values, cotangents = OBJECTIVES[objective](np, logits, self.is_label(y))
        return values, logits, self.vjp(X, cotangents)

    def vjp(self, X, cotangents):
        """As the model's own, of the divided logits."""
        return self.model.vjp(X, cotangents / self.temperature)


class _TeacherLesson(Lesson):
    """Labels, through a softmax at a temperature."""

    def __init__(self, temperature):
        self.temperature = temperature
        self.objective = softened(temperature)

    def evaluate(self, engine, X, index):
        return measured("val", engine, X, index, self.temperature)


class _StudentLesson(_TeacherLesson):
    """The shares that a teacher gives each label."""

    inputs = ("images", "index", "outputs")

    def __init__(self, temperature, teacher):
        super().__init__(temperature)
        self.teacher = teacher
        self.objective = softly_labelled(temperature)

    def begin(self, network, X, index, weight):
        self.shares = softmax(self.teacher.logits(X) / np.float32(self.temperature), axis=1)
        return X, index, weight

    def batch(self, X, index, rows):
        return X[rows], index[rows], self.shares[rows]
