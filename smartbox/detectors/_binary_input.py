"""A binary network on the pixels."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from smartbox._compat import HasMethods
from smartbox.base import BaseDetector
from smartbox.face import FaceClassifier

_DEFAULT = {"optimizer": "adam", "learning_rate": 1e-3, "epochs": 20}


class BinaryInputDetector(BaseDetector):
    """Tell attacked from clean faces by a network of the face classifier's kind, trained on the images themselves.

    The score is the difference of its two logits, adversarial less clean.

    Parameters
    ----------
    estimator : FaceClassifier, default=None
        What to train on the labels clean and adversarial; it is cloned, and its ``random_state`` is set by this detector's.
        None trains the paper's network for 20 epochs with Adam: under the face classifier's own SGD it may take many epochs to
        leave chance, since attacked and clean faces differ so little.
    random_state : int, RandomState or None, default=None
        Draws initial weights, dropout and the order of images.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial: 0, the network's own boundary, or what `calibrate` has set.
    estimator_ : FaceClassifier
        The trained network, of two classes.

    See Also
    --------
    ArtifactDetector : A binary network on the activations of a face network.

    Notes
    -----
    What it learns is specific to the attack and to its strength: trained at one ``eps``, it misses smaller ones [1]_. With
    ``patience``, the estimator holds images out at random, of a face and its attacked twin perhaps the one and not the other.

    References
    ----------
    .. [1] Gong, Wang, Ku. "Adversarial and Clean Data Are Not Twins", arXiv:1704.04960, 2017, section 4.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import BinaryInputDetector
    >>> faces = make_faces(n_images=1)
    >>> X_adv = FGSM(smartbox.load_sample_model(), eps="16/255").generate(faces.images, faces.target)
    >>> X, y, groups = make_detection_set(faces.images, X_adv)
    >>> detector = BinaryInputDetector(smartbox.FaceClassifier(epochs=2), random_state=0).fit(X, y)
    >>> detector.decision_function(X).shape
    (76,)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "decision_function", "vjp"]), None],
        "random_state": ["random_state"],
    }

    def __init__(self, estimator=None, *, random_state=None):
        self.estimator = estimator
        self.random_state = random_state

    def _fit(self, X, y):
        estimator = FaceClassifier(**_DEFAULT) if self.estimator is None else clone(self.estimator)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self.estimator_ = estimator.set_params(random_state=seed).fit(X, y)

    def _score(self, X):
        return self.estimator_.decision_function(X)

    def _value_and_gradient(self, X):
        cotangents = np.broadcast_to(np.array([-1, 1], dtype=np.float32), (len(X), 2))
        return self._score(X), self.estimator_.vjp(X, cotangents)
