"""What detectors that look inside a network share: features of its activations, and a judge of these features."""

from collections.abc import Mapping

import numpy as np
from sklearn.base import TransformerMixin, clone
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from smartbox._model import FaceModelMixin
from smartbox.base import BaseDetector, ImageEstimator, ModelReferenceMixin

_BATCH_SIZE = 64  # images whose activations are held at a time: about 1.5 MB each for the paper's network


class NetworkFeatures(ModelReferenceMixin, TransformerMixin, ImageEstimator):
    """Images in, a table out: numbers made of a network's activations.

    A subclass has the parameter ``model`` and writes ``_layers(face)``, the names of the layers that it reads;
    ``_summarise(activations)``, which makes ``(n, k)`` of the list of their outputs for ``n`` images; and, where the
    features are differentiable, ``_spread(activations, cotangents)``, which takes the gradient of a value by the
    features to those by each layer's output. One that learns from clean images writes ``_learn(batches)``, where
    ``batches()`` begins a new pass over lists of activations of clean images.
    """

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
        face, X = self._face_model(), self._check_images(X, reset=True)
        if y is not None:
            y = self._check_two_classes(y, X)
            X = X[y == y.min()]
        self.layers_ = list(self._layers(face))
        self._learn(lambda: (face.activations(X[batch], self.layers_) for batch in gen_batches(len(X), _BATCH_SIZE)))
        return self

    def transform(self, X):
        """The features of each image.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        features : ndarray of shape (n, n_features)
        """
        check_is_fitted(self, "layers_")
        face, X = self._face_model(), self._check_images(X)
        batches = gen_batches(len(X), _BATCH_SIZE)
        return np.concatenate([self._summarise(face.activations(X[batch], self.layers_)) for batch in batches])

    def vjp(self, X):
        """The features of each image and the way back.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        features : ndarray of shape (n, n_features)
        pull_back : callable
            Takes the gradient of a value by the features to that by the images.
        """
        features, face, X = self.transform(X), self._face_model(), self._check_images(X)

        def pull_back(cotangents):
            gradient = np.empty_like(X)
            for batch in gen_batches(len(X), _BATCH_SIZE):
                spread = self._spread(face.activations(X[batch], self.layers_), cotangents[batch])
                gradient[batch] = face.activations_vjp(X[batch], self.layers_, spread)
            return gradient

        return features, pull_back

    def _learn(self, batches):
        """Nothing, unless a subclass does."""

    def __sklearn_tags__(self):
        return _float32_out(super().__sklearn_tags__())


class FeatureDetector(ModelReferenceMixin, TransformerMixin, BaseDetector):
    """A detector that judges features of a network.

    A subclass has the parameter ``model`` and writes ``_make_features()``, an unfitted `NetworkFeatures`;
    ``_fit_features(F, y)`` and ``_score_features(F)`` on their table ``F``; and, where the score is differentiable,
    ``_features_gradient(F)``, the gradient of each score by its row.

    Attributes
    ----------
    features_ : NetworkFeatures
    """

    def _fit(self, X, y):
        self._face_model()  # whose message, where there is none, names this class and not that of its features
        self.features_ = self._make_features().fit(X, y)
        self._fit_features(self.features_.transform(X), y)

    def _score(self, X):
        return self._score_features(self.features_.transform(X))

    def _value_and_gradient(self, X):
        features, pull_back = self.features_.vjp(X)
        return self._score_features(features), pull_back(self._features_gradient(features))

    def transform(self, X):
        """The detector's features of each image.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        features : ndarray of shape (n, n_features)
        """
        check_is_fitted(self, "threshold_")
        return self.features_.transform(self._check_images(X))

    def __sklearn_tags__(self):
        return _float32_out(super().__sklearn_tags__())


def _float32_out(tags):
    tags.transformer_tags.preserves_dtype = ["float32"]
    return tags


def layers_to_read(face, layers, *kinds):
    """The layers that the user named, or, for None, all of some kinds (see `FaceClassifier.layer_names`)."""
    if layers is not None:
        named = [layers] if isinstance(layers, str) else list(layers)
        if not named or not all(isinstance(name, str) for name in named):
            raise ValueError(f"expected layers as the names of at least one layer, or None for the usual ones, got {layers!r}.")
        return named
    names = [name for kind in kinds for name in face.layer_names(kind)] if hasattr(face, "layer_names") else []
    if not names:
        raise ValueError(
            f"found no {' or '.join(kinds)} layer at the top level of the model's network ({type(face).__name__}): name the "
            "layers to read by the parameter layers."
        )
    return names


def check_layers(detector, model):
    """Ask ``model`` for the layers that a detector is to read, with one grey image, so that a wrong name shows before any work.

    Parameters
    ----------
    detector : estimator
        Not fitted; one that looks into no network is not asked.
    model : face model
        Trained or not: only its layers matter.

    Raises
    ------
    ValueError
        If one of the layers is none of the network's.
    """
    if not isinstance(detector, FeatureDetector):
        return
    features = clone(detector).set_params(model=model)._make_features()
    names = list(features._layers(model))
    model.activations(np.full((1, *model.image_shape_), 0.5, dtype=np.float32), names)


def through_softmax(p, cotangents):
    """The gradient by logits, of that by their softmax ``p``; classes along the last axis."""
    return p * (cotangents - (p * cotangents).sum(axis=-1, keepdims=True))


def detection_scores(detectors, X):
    """Scores of several fitted detectors, with one pass over the network where they share it.

    Parameters
    ----------
    detectors : dict of {str: BaseDetector}
        Fitted detectors by name.
    X : array-like of shape (n, height, width, channels)
        Images in [0, 1].

    Returns
    -------
    scores : dict of {str: ndarray of shape (n,)}
        As ``decision_function`` of each.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import PCADetector, detection_scores
    >>> faces, face = make_faces(n_images=1), smartbox.load_sample_model()
    >>> X, y, _ = make_detection_set(faces.images, FGSM(face, eps="16/255").generate(faces.images, faces.target))
    >>> detection_scores({"pca": PCADetector(random_state=0).fit(X, y)}, X)["pca"].shape
    (76,)
    """
    if not isinstance(detectors, Mapping):
        raise ValueError(
            f"expected detectors as a dict of fitted detectors by name, got {type(detectors).__name__}: e.g. {{'pca': detector}}."
        )
    for name, detector in detectors.items():
        if not hasattr(detector, "decision_function") or isinstance(detector, FaceModelMixin):
            raise ValueError(f"expected detectors[{name!r}] as a fitted detector, got {type(detector).__name__}.")
    inside = {}  # by the model that they look into
    for name, detector in detectors.items():
        check_is_fitted(detector, "threshold_")
        if isinstance(detector, FeatureDetector):
            face = detector._face_model()
            inside.setdefault(id(face), (face, {}))[1][name] = detector
    scores = {}
    for face, sharing in inside.values():
        images = next(iter(sharing.values()))._check_images(X)
        layers = list(dict.fromkeys(name for one in sharing.values() for name in one.features_.layers_))
        tables = {name: [] for name in sharing}
        for batch in gen_batches(len(images), _BATCH_SIZE):
            found = dict(zip(layers, face.activations(images[batch], layers), strict=True))
            for name, one in sharing.items():
                tables[name].append(one.features_._summarise([found[layer] for layer in one.features_.layers_]))
        scores |= {name: one._score_features(np.concatenate(tables[name])) for name, one in sharing.items()}
    rest = {name: one.decision_function(X) for name, one in detectors.items() if name not in scores}
    return {name: scores[name] if name in scores else rest[name] for name in detectors}
