"""What the classifiers that a mitigation trains have in common: they answer as the FaceClassifier that they have trained."""

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from smartbox._checks import check_images
from smartbox._compat import FrozenEstimator
from smartbox._model import FaceModelMixin
from smartbox._packing import is_network
from smartbox._rollback import unchanged_on_failure
from smartbox._shared import changed_copy, split_shared
from smartbox.base import ImageEstimator
from smartbox.face import FaceClassifier


class RetrainedClassifier(FaceModelMixin, ClassifierMixin, ImageEstimator):
    """A classifier that trains a network of its own, made as that of its parameter ``estimator``.

    A subclass writes ``_train(X, y, sample_weight, validation_data)``, which returns the trained FaceClassifier: it becomes
    ``estimator_``, and all that attacks, detectors and Pipelines ask of a face model is asked of it.
    """

    _uses_weights = False  # whether those of a trained ``estimator`` are attacked or trained further

    def fit(self, X, y, sample_weight=None, *, validation_data=None):
        """Train the network from new weights; ``estimator`` is left as it is.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,)
            Identity of each image; at least two identities.
        sample_weight : array-like of shape (n,), optional
            Weight of each image in the loss.
        validation_data : tuple of (X, y), optional
            Measured after each epoch, and used by the estimator's ``patience``.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If ``estimator`` is no FaceClassifier, the images do not suit the network that it was given, or the identities are
            not those of weights that are to be used.
        """
        self._validate_params()
        given = thawed(self.estimator)
        if not isinstance(given, FaceClassifier):
            raise ValueError(
                f"expected estimator as a FaceClassifier, got {given!r}: pass one, e.g. {type(self).__name__}(FaceClassifier(), "
                "...). None is only for the benchmark, which supplies its own."
            )
        given._validate_params()
        with unchanged_on_failure(self):
            X = self._check_images(X, reset=True)
            y = given._check_identities(X, y)
            self._check_given(given, X, y)
            self.estimator_ = self._train(X, y, sample_weight, validation_data)
            self.classes_ = self.estimator_.classes_
        return self

    def set_params(self, **params):
        """As scikit-learn's, but nested parameters of ``estimator`` are set on a shallow copy: a given one stays as it is.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : object
        """
        plain, inside = split_shared(params, ("estimator",))
        super().set_params(**plain)
        for some in inside.values():
            self.estimator = changed_copy(self.estimator, some, owner=self, path="estimator", trains=True)
        return self

    def logits(self, X):
        """Logits of each image, shape ``(n, n_classes)``, float32."""
        return self._trained().logits(self._check_images(X))

    def decision_function(self, X):
        """Logits ``(n, n_classes)``; for two classes the second less the first, ``(n,)``."""
        return self._trained().decision_function(self._check_images(X))

    def predict_proba(self, X):
        """Softmax of the logits, shape ``(n, n_classes)``."""
        return self._trained().predict_proba(self._check_images(X))

    def value_and_gradient(self, X, y, objective="cross_entropy"):
        """As `FaceClassifier.value_and_gradient`."""
        return self._trained().value_and_gradient(self._check_images(X), y, objective)

    def vjp(self, X, cotangents):
        """As `FaceClassifier.vjp`."""
        return self._trained().vjp(self._check_images(X), cotangents)

    def vjps(self, X, cotangents):
        """As `FaceClassifier.vjps`."""
        return self._trained().vjps(self._check_images(X), cotangents)

    def layer_names(self, kind):
        """As `FaceClassifier.layer_names`."""
        return self._trained().layer_names(kind)

    def activations(self, X, layers):
        """As `FaceClassifier.activations`."""
        return self._trained().activations(self._check_images(X), layers)

    def activations_vjp(self, X, layers, cotangents):
        """As `FaceClassifier.activations_vjp`."""
        return self._trained().activations_vjp(self._check_images(X), layers, cotangents)

    def last_dropout(self):
        """As `FaceClassifier.last_dropout`."""
        return self._trained().last_dropout()

    def head(self, layer, activations):
        """As `FaceClassifier.head`."""
        return self._trained().head(layer, activations)

    def head_vjp(self, layer, activations, cotangents):
        """As `FaceClassifier.head_vjp`."""
        return self._trained().head_vjp(layer, activations, cotangents)

    def pass_counts(self):
        """As `FaceClassifier.pass_counts`."""
        return self._trained().pass_counts()

    def _unbounded(self):
        """As `FaceClassifier`'s, for the noise of smoothing."""
        return self._trained()._unbounded()

    def _check_given(self, given, X, y):
        """That the images suit the given network, and the identities its weights where these are used."""
        trained = getattr(given, "network_", None) if self._uses_weights else None
        network = given.network if is_network(given.network) else trained
        if network is not None:
            check_images(X[:1], image_shape=given._engine(network).image_shape)
        if trained is None:
            return
        known, came = given.classes_.tolist(), np.unique(y).tolist()
        if known != came:
            others = [label for label in (*came, *known) if (label in known) != (label in came)]
            raise ValueError(
                f"the estimator is trained on {len(known)} identities, {known[0]!r} to {known[-1]!r}, but y holds {len(came)}, "
                f"{came[0]!r} to {came[-1]!r} (not in both: {', '.join(map(repr, others[:5]))}): pass faces of the same "
                "identities, or an unfitted estimator; FaceClassifier.from_network(network, classes=...) says whom it knows."
            )

    def _trained(self):
        check_is_fitted(self, "estimator_")
        return self.estimator_


def thawed(estimator):
    """What is inside a FrozenEstimator."""
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return estimator


def untrained(estimator, *, keep_weights=False):
    """A FaceClassifier to train that makes its network as ``estimator`` does, given or trained though that may be.

    With ``keep_weights``, where it is trained, training begins at its weights.
    """
    estimator = thawed(estimator)
    trained = estimator.network if is_network(estimator.network) else getattr(estimator, "network_", None)
    if trained is None or not (keep_weights or is_network(estimator.network)):
        return clone(estimator)
    builder = _SameLayers(trained, keep_weights=keep_weights)
    face = FaceClassifier(**{**estimator.get_params(deep=False), "network": builder})
    if keep_weights:
        face._columns = estimator._columns
    return face


def sealed(face):
    """``face``, its network taken as given if it was made of a given one: files and pickles need no builder then."""
    return face.set_params(network=face.network_) if isinstance(face.network, _SameLayers) else face


def new_seed(random_state):
    """A seed drawn from a random state."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


class _SameLayers:
    """Builds a network of the same layers as a given one, with new weights or its own."""

    def __init__(self, network, *, keep_weights=False):
        self.network = network
        self.keep_weights = keep_weights

    def __call__(self, image_shape, n_classes):
        import keras

        outputs = self.network.outputs[0].shape[1]
        if outputs != n_classes:
            raise ValueError(
                f"the network of the estimator has {outputs} outputs, but y holds {n_classes} identities: give the faces that it "
                "was trained on, or a FaceClassifier that builds its network (network='paper' or a builder) and is not fitted."
            )
        network = keras.models.clone_model(self.network)
        if self.keep_weights:
            network.set_weights(self.network.get_weights())
        return network
