"""Artefact learning: a binary network on the activations of a face network."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.utils import check_random_state

from smartbox._compat import Interval
from smartbox.detectors._features import FeatureDetector, NetworkFeatures, layers_to_read
from smartbox.detectors._group_scaler import GroupScaler
from smartbox.detectors._rows import row_products

_EPOCHS = 50
_BATCH_SIZE = 64
_FEWEST_TO_STOP_EARLY = 100  # a tenth of fewer images would tell little


class NetworkActivations(NetworkFeatures):
    """The activations of chosen layers, side by side.

    Parameters
    ----------
    model : FaceClassifier or other model with ``activations(X, layers)``
        Whose activations are read. Never copied.
    layers : sequence of str, default=None
        Names of layers, ``"<logits>"`` among them; None takes all that give one vector an image: flattened maps, global
        pooling, dense layers, logits.

    Attributes
    ----------
    layers_ : list of str
    n_units_ : list of int
        Columns that each layer takes.

    References
    ----------
    .. [1] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation Algorithms for
       Face Recognition", BTAS 2018, section 2.2.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.detectors import NetworkActivations
    >>> faces, face = make_faces(n_identities=2, n_images=2), smartbox.load_sample_model()
    >>> NetworkActivations(face, layers=["dense2", "<logits>"]).fit(faces.images).transform(faces.images).shape
    (4, 138)
    """

    _parameter_constraints = {"model": "no_validation", "layers": [list, tuple, str, None]}

    def __init__(self, model, *, layers=None):
        self.model = model
        self.layers = layers

    def _layers(self, face):
        return layers_to_read(face, self.layers, "vector")

    def _learn(self, batches):
        self.n_units_ = [each[0].size for each in next(batches())]

    def _summarise(self, activations):
        return np.concatenate([each.reshape(len(each), -1) for each in activations], axis=1)

    def _spread(self, activations, cotangents):
        parts = np.split(cotangents, np.cumsum(self.n_units_)[:-1], axis=1)
        return [part.reshape(each.shape) for part, each in zip(parts, activations, strict=True)]


class ArtifactDetector(FeatureDetector):
    """Tell attacked from clean faces by a binary network on what a face network makes of them.

    The activations of chosen layers, scaled by what clean images show, go through two hidden layers to one logit, the score.

    Parameters
    ----------
    model : FaceClassifier or other model with ``activations(X, layers)``
        Whose activations are read. Never copied.
    layers : sequence of str, default=None
        As for `NetworkActivations`: None takes every layer that gives one vector an image.
    hidden_layer_sizes : tuple of int, default=(256, 64)
        Units of the binary network's hidden layers.
    alpha : float, default=1e-4
        Weight of the squared weights in its loss.
    random_state : int, RandomState or None, default=None
        Draws its initial weights, the order of images and those held out.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial: 0, the network's own boundary, or what `calibrate` has set.
    features_ : NetworkActivations
    scaler_ : GroupScaler
        Of the clean images' activations: ``mean_`` and ``scale_`` of each unit.
    mlp_ : MLPClassifier

    See Also
    --------
    BinaryInputDetector : A binary network on the pixels.

    Notes
    -----
    The square of a unit's scale is its variance plus the mean variance of its layer: divided by its standard deviation alone, a
    unit that hardly any clean training face excites would drown all others once a face of another identity excites it.

    Training lasts 50 epochs at most. From 100 images on, it stops ten epochs after the best accuracy on a tenth that is held out
    at random. The detector knows no groups: of a face and its attacked twin, the one may be held out and the other not, which at
    worst stops training at another epoch. What `predict` achieves must be measured on faces of other groups (GroupKFold).

    References
    ----------
    .. [1] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation Algorithms for
       Face Recognition", BTAS 2018, section 2.2.
    .. [2] Gong, Wang, Ku. "Adversarial and Clean Data Are Not Twins", arXiv:1704.04960, 2017.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import ArtifactDetector
    >>> faces, face = make_faces(n_images=2), smartbox.load_sample_model()
    >>> X, y, groups = make_detection_set(faces.images, FGSM(face, eps="16/255").generate(faces.images, faces.target))
    >>> ArtifactDetector(face, random_state=0).fit(X, y).score(X, y) > 0.8
    True
    """

    _parameter_constraints = {
        "model": "no_validation",
        "layers": [list, tuple, str, None],
        "hidden_layer_sizes": [tuple, list, Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, model, *, layers=None, hidden_layer_sizes=(256, 64), alpha=1e-4, random_state=None):
        self.model = model
        self.layers = layers
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.random_state = random_state

    def _make_features(self):
        return NetworkActivations(self.model, layers=self.layers)

    def _validate_params(self):
        super()._validate_params()
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object))
        if not all(isinstance(size, Integral) and not isinstance(size, bool) and size >= 1 for size in sizes):
            raise ValueError(
                f"expected hidden_layer_sizes as numbers of units from 1 on, such as (256, 64), got {self.hidden_layer_sizes!r}."
            )

    def _fit_features(self, F, y):
        self.scaler_ = GroupScaler(self.features_.n_units_).fit(F[y == 0])
        self.mlp_ = MLPClassifier(
            self.hidden_layer_sizes,
            alpha=self.alpha,
            batch_size=min(_BATCH_SIZE, len(F)),
            max_iter=_EPOCHS,
            early_stopping=len(F) >= _FEWEST_TO_STOP_EARLY,
            random_state=check_random_state(self.random_state).randint(2**31 - 1),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs are meant
            self.mlp_.fit(self.scaler_.transform(F).astype(np.float32), y)  # half the time of float64

    def _score_features(self, F):
        return self._forward(F)[-1][:, 0]

    def _features_gradient(self, F):
        hidden = self._forward(F)[1:-1]
        gradient = np.ones((len(F), 1))
        for output, weights in zip([None, *hidden[::-1]], self.mlp_.coefs_[::-1], strict=True):
            if output is not None:
                gradient = gradient * (output > 0)
            gradient = row_products(gradient, weights.T)
        return gradient / self.scaler_.scale_

    def _forward(self, F):
        """The scaled features, the output of each hidden layer, and the logit, which ``predict_proba`` would round to 1."""
        outputs = [self.scaler_.transform(F)]
        for i, (weights, bias) in enumerate(zip(self.mlp_.coefs_, self.mlp_.intercepts_, strict=True), start=1):
            out = row_products(outputs[-1], weights) + bias
            outputs.append(out if i == len(self.mlp_.coefs_) else np.maximum(out, 0))
        return outputs
