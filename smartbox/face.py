"""Face classifiers: a Keras network as a scikit-learn classifier, with the gradients that attacks need."""

import os
from importlib.resources import files
from numbers import Integral, Real

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

from smartbox._checks import check_images, check_labels
from smartbox._compat import Interval
from smartbox._model import LOGITS, FaceModelMixin, as_face_model
from smartbox._packing import is_network, pack_state, unpack_state
from smartbox._rollback import unchanged_on_failure
from smartbox._serialization import load_keras_file, naming, read_file, save_face
from smartbox._training import Lesson, make_optimizer, seeded_layers, train
from smartbox.base import ImageEstimator
from smartbox.networks import NETWORKS

__all__ = ["FaceClassifier", "as_face_model", "load_sample_model"]


class FaceClassifier(FaceModelMixin, ClassifierMixin, ImageEstimator):
    """Closed-set face identification by a Keras network.

    Parameters
    ----------
    network : "paper", callable or keras.Model, default="paper"
        What to train: the paper's network, or a builder ``(image_shape, n_classes) -> keras.Model``. A
        keras.Model is taken as trained: ``fit`` then checks the labels and trains nothing, and clones share
        the network.
    epochs : int, default=60
        Passes over the training images.
    batch_size : int, default=32
        Images in one training step.
    optimizer : str or keras.optimizers.Optimizer, default="sgd"
        Keras' name of an optimiser, which then rises to ``learning_rate`` over the first twentieth of the
        steps and decays by a cosine (with momentum 0.9 for "sgd"); an optimiser object is used with its own
        settings.
    learning_rate : float, default=0.02
        The highest learning rate.
    patience : int or None, default=None
        Stop after so many epochs without a lower validation loss, and keep the best weights. Without
        validation data in `fit`, a tenth of the training images, of each identity alike, is held out. None
        trains all epochs.
    random_state : int, RandomState or None, default=None
        Draws initial weights, dropout and the order of images.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    network_ : keras.Model
        The trained network.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; the columns of the logits.
    image_shape_ : tuple of int
        ``(height, width, channels)``.
    history_ : dict of list
        Loss and accuracy of each epoch, on training and validation images.

    See Also
    --------
    smartbox.load_sample_model : A trained one that comes with the package.

    Notes
    -----
    A network that ends in a softmax is used without it, on the same weights: attacks need logits. With two
    classes ``decision_function`` is the difference of the two logits, as scikit-learn wants it; `logits`
    always has one column a class.

    References
    ----------
    .. [1] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation
       Algorithms for Face Recognition", BTAS 2018, section 3.

    Examples
    --------
    >>> from smartbox import FaceClassifier
    >>> from smartbox.datasets import make_faces
    >>> faces = make_faces(n_identities=3, n_images=8, image_shape=(24, 24))
    >>> face = FaceClassifier(epochs=2, random_state=0).fit(faces.images, faces.target)
    >>> face.predict(faces.images).shape
    (24,)
    """

    _parameter_constraints = {
        "network": "no_validation",
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": "no_validation",
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        network="paper",
        *,
        epochs=60,
        batch_size=32,
        optimizer="sgd",
        learning_rate=0.02,
        patience=None,
        random_state=None,
        verbose=0,
    ):
        self.network = network
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.patience = patience
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def from_network(cls, network, *, classes=None):
        """Make a fitted classifier of a trained network.

        Parameters
        ----------
        network : keras.Model or path
            One image input, one output of a column a class (logits or softmax); or the path of such a
            ``.keras`` file, which is refused if it could run code.
        classes : array-like of shape (n_classes,), optional
            The label of each output, in the order of the outputs. None numbers them from 0. ``classes_`` and the
            columns of the logits are sorted, whatever that order.

        Returns
        -------
        face : FaceClassifier
        """
        if not is_network(network):
            if not isinstance(network, (str, os.PathLike)):
                raise ValueError(f"expected a keras.Model or the path of a .keras file, got {type(network).__name__}.")
            with naming(network):
                return cls.from_network(load_keras_file(network), classes=classes)
        face = cls(network)
        engine = face._engine(network)
        classes = np.arange(engine.n_outputs) if classes is None else np.asarray(classes)
        if classes.shape != (engine.n_outputs,) or not np.array_equal(np.unique(classes), np.sort(classes)):
            raise ValueError(
                f"expected classes as {engine.n_outputs} distinct labels, one for each output of the network in its "
                f"order, got {np.array2string(classes, threshold=20)} of shape {classes.shape}."
            )
        columns = np.argsort(classes)
        face._adopt(network, classes[columns], columns)
        return face

    def fit(self, X, y, sample_weight=None, *, validation_data=None):
        """Train the network from new weights; a given keras.Model is left as it is.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,)
            Identity of each image; at least two identities.
        sample_weight : array-like of shape (n,), optional
            Weight of each image in the loss.
        validation_data : tuple of (X, y), optional
            Measured after each epoch, and used by ``patience``.

        Returns
        -------
        self : FaceClassifier
        """
        self._validate_params()
        with unchanged_on_failure(self):
            if is_network(self.network):
                return self._fit_nothing(X, y)
            self._columns = None
            return self._fit(X, y, sample_weight, validation_data, Lesson())

    def _fit(self, X, y, sample_weight, validation_data, lesson):
        """`fit`, from any lesson."""
        X = self._check_images(X, reset=True)
        y = self._check_identities(X, y)
        sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        rng = check_random_state(self.random_state)
        classes = np.unique(y)
        X, y, sample_weight, validation = self._hold_out(X, y, sample_weight, validation_data, classes, rng)
        with seeded_layers(rng):
            network = self._build(len(classes))
            engine = self._engine(network)
        if engine.n_outputs != len(classes):
            raise ValueError(
                f"the network has {engine.n_outputs} outputs, but y holds {len(classes)} identities: the "
                "builder must use the n_classes that it is given."
            )
        index = self._outputs_of(np.searchsorted(classes, y).astype(np.int32))
        X, index, sample_weight = lesson.begin(network, X, index, sample_weight)
        n_steps = self.epochs * -(-len(X) // self.batch_size)
        self.history_ = train(
            engine,
            network,
            X,
            index,
            sample_weight,
            optimizer=make_optimizer(self.optimizer, self.learning_rate, n_steps),
            epochs=self.epochs,
            batch_size=self.batch_size,
            rng=rng,
            validation=validation,
            patience=self.patience,
            verbose=self.verbose,
            lesson=lesson,
        )
        self._adopt(network, classes, self._columns)
        return self

    def logits(self, X):
        """Logits of each image.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        logits : ndarray of shape (n, n_classes), float32
        """
        X, engine = self._ready(X)
        return self._sorted(engine.logits(X))

    def decision_function(self, X):
        """Logits ``(n, n_classes)``; for two classes the second less the first, ``(n,)``."""
        logits = self.logits(X)
        return logits if len(self.classes_) > 2 else logits[:, 1] - logits[:, 0]

    def predict_proba(self, X):
        """Softmax of the logits, shape ``(n, n_classes)``."""
        return softmax(self.logits(X).astype(np.float64), axis=1)

    def value_and_gradient(self, X, y, objective="cross_entropy"):
        """An objective of the logits and its gradient by the image, in one compiled pass.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,)
            Labels among ``classes_``.
        objective : {"cross_entropy", "odds", "margin", "saturating_cross_entropy"}, default="cross_entropy"
            All grow as the label loses. "odds" is the log-odds against the label, whose softplus is the
            cross-entropy; "margin" is the largest other logit less the label's; the last is cross-entropy as
            float32 softmax computes it.

        Returns
        -------
        values : ndarray of shape (n,)
        logits : ndarray of shape (n, n_classes)
        gradient : ndarray like X
        """
        X, engine = self._ready(X)
        y = check_labels(y, len(X), self.classes_)
        index = self.label_index(y)
        index = self._outputs_of(index)
        values, logits, gradient = engine.value_and_gradient(X, index, objective)
        return values, self._sorted(logits), gradient

    def vjp(self, X, cotangents):
        """Gradient of ``(cotangents * logits(X)).sum()`` by the images.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        cotangents : ndarray of shape (n, n_classes)

        Returns
        -------
        gradient : ndarray like X
        """
        X, engine = self._ready(X)
        cotangents = np.asarray(cotangents, dtype=np.float32)
        if cotangents.shape != (len(X), len(self.classes_)):
            raise ValueError(
                f"expected cotangents of shape {(len(X), len(self.classes_))}, one a logit, got {cotangents.shape}."
            )
        return engine.vjp(X, self._unsorted(cotangents))

    def vjps(self, X, cotangents):
        """Several gradients an image on one forward pass, about 1.5 times as fast as one `vjp` after the other.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        cotangents : ndarray of shape (n, count, n_classes)

        Returns
        -------
        gradients : ndarray of shape (n, count, height, width, channels)
            ``gradients[:, i]`` is ``vjp(X, cotangents[:, i])``.
        """
        X, engine = self._ready(X)
        cotangents = np.asarray(cotangents, dtype=np.float32)
        if cotangents.ndim != 3 or cotangents.shape[::2] != (len(X), len(self.classes_)):
            raise ValueError(
                f"expected cotangents of shape ({len(X)}, count, {len(self.classes_)}), one a logit, got "
                f"{cotangents.shape}."
            )
        return engine.vjps(X, cotangents if self._columns is None else cotangents[..., np.argsort(self._columns)])

    def layer_names(self, kind):
        """Names of the network's layers of a kind, in its order.

        Parameters
        ----------
        kind : {"convolution", "vector", "dense"}
            "convolution": convolutions of any sort, and networks inside the network that give maps. "vector": what gives one
            vector an image, i.e. flattening, global pooling, dense layers and networks inside the network; the last one,
            which gives the logits, is called ``"<logits>"``. "dense": hidden dense layers, those before the logits.

        Returns
        -------
        names : list of str
            For `activations`.
        """
        check_is_fitted(self, "network_")
        return self._engine(self.network_).layer_names(kind)

    def activations(self, X, layers):
        """Outputs of inner layers.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        layers : sequence of str
            Names of layers of ``network_``; ``"<logits>"`` stands for the logits, ``"<pixels>"`` for the images.

        Returns
        -------
        outputs : list of ndarray
            One array a layer, images along the first axis.
        """
        X, engine = self._ready(X)
        layers = [layers] if isinstance(layers, str) else list(layers)
        outputs = engine.activations(X, layers)
        return [self._sorted(out) if name == LOGITS else out for name, out in zip(layers, outputs, strict=True)]

    def activations_vjp(self, X, layers, cotangents):
        """Gradient by the images of ``sum((c * a).sum() for c, a in zip(cotangents, activations(X, layers)))``.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        layers : sequence of str
            Names of layers of ``network_``.
        cotangents : sequence of ndarray
            One array a layer, of the shape of its output.

        Returns
        -------
        gradient : ndarray like X
        """
        X, engine = self._ready(X)
        layers = [layers] if isinstance(layers, str) else list(layers)
        by_output = [
            self._unsorted(cotangent) if name == LOGITS else cotangent
            for name, cotangent in zip(layers, cotangents, strict=True)
        ]
        return engine.activations_vjp(X, layers, by_output)

    def last_dropout(self):
        """Name and rate of the last layer that drops single units, ``(str, float)``; None if there is none."""
        check_is_fitted(self, "network_")
        return self._engine(self.network_).last_dropout()

    def head(self, layer, activations):
        """Logits from the output of an inner layer: only the part of the network behind it runs.

        Parameters
        ----------
        layer : str
            Name of a layer of ``network_`` that every path to the logits passes.
        activations : ndarray of shape (n, ...)
            What the layer is taken to have returned for ``n`` images.

        Returns
        -------
        logits : ndarray of shape (n, n_classes), float32
        """
        check_is_fitted(self, "network_")
        return self._sorted(self._engine(self.network_).head(layer, activations))

    def head_vjp(self, layer, activations, cotangents):
        """Gradient by ``activations`` of ``(cotangents * head(layer, activations)).sum()``.

        Parameters
        ----------
        layer : str
            As for `head`.
        activations : ndarray of shape (n, ...)
            As for `head`.
        cotangents : ndarray of shape (n, n_classes)

        Returns
        -------
        gradient : ndarray like activations
        """
        check_is_fitted(self, "network_")
        return self._engine(self.network_).head_vjp(layer, activations, self._unsorted(np.asarray(cotangents)))

    def pass_counts(self):
        """Images passed ``forward`` and ``backward`` through the network so far, and how many ``traces``.

        All classifiers, attacks and Pipelines on the same network share these counts.
        """
        check_is_fitted(self, "network_")
        return dict(self._engine(self.network_).counts)

    def save(self, path):
        """Write the fitted classifier to one file of plain arrays; `smartbox.load` reads it.

        Parameters
        ----------
        path : str or path
            Where to; by custom with the ending ``.smartbox``. An older file is replaced only once the new one
            is whole.

        Raises
        ------
        ValueError
            If `smartbox.load` would refuse the file, since the network holds layers that are not Keras' own.
        """
        check_is_fitted(self, "network_")
        save_face(self, path)

    # The network's output behind each of classes_; None if the outputs are in that order.
    _columns = None

    def _sorted(self, logits):
        return logits if self._columns is None else logits[:, self._columns]

    def _unsorted(self, cotangents):
        return cotangents if self._columns is None else cotangents[:, np.argsort(self._columns)]

    def _outputs_of(self, index):
        return index if self._columns is None else self._columns[index]

    def _output_labels(self):
        """The label of each output of the network, in its order."""
        return self.classes_ if self._columns is None else self.classes_[np.argsort(self._columns)]

    def _ready(self, X):
        check_is_fitted(self, "network_")
        return self._check_images(X), self._engine(self.network_)

    @staticmethod
    def _engine(network):
        from smartbox._engine import engine_of

        return engine_of(network)

    def _build(self, n_classes):
        builder = NETWORKS.get(self.network) if isinstance(self.network, str) else self.network
        if not callable(builder):
            raise ValueError(
                f"expected network as one of {sorted(NETWORKS)}, a builder (image_shape, n_classes) -> "
                f"keras.Model, or a keras.Model, got {self.network!r}."
            )
        network = builder(self.image_shape_, n_classes)
        if not is_network(network):
            raise ValueError(f"expected the network builder to return a keras.Model, got {type(network).__name__}.")
        return network

    def _check_identities(self, X, y):
        if y is None:
            raise ValueError("FaceClassifier requires y to be passed, but the target y is None: one identity an image.")
        y = column_or_1d(y, warn=True)
        if len(y) != len(X):
            raise ValueError(f"expected one label an image, got {len(X)} images and {len(y)} labels.")
        check_classification_targets(y)
        if len(np.unique(y)) < 2:
            raise ValueError(
                f"the classifier can't train when only one class is present: y holds {y.tolist()[0]!r} "
                "alone, expected at least two identities."
            )
        return y

    def _hold_out(self, X, y, weight, validation_data, classes, rng):
        """Training part and validation part, the latter as ``(X, index)`` or None."""
        if validation_data is None and self.patience is not None:
            labels, counts = np.unique(y, return_counts=True)
            if counts.min() < 2:
                raise ValueError(
                    "patience holds out images of each identity, but y holds only one of "
                    f"{labels.tolist()[counts.argmin()]!r}: add another, pass validation_data, or use "
                    "patience=None."
                )
            n_val = max(-(-len(y) // 10), len(classes))
            X, X_val, y, y_val, weight, _ = train_test_split(
                X, y, weight, test_size=n_val, stratify=y, random_state=rng
            )
            validation_data = X_val, y_val
        if validation_data is None:
            return X, y, weight, None
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            raise ValueError(f"expected validation_data as a tuple (X, y), got {type(validation_data).__name__}.")
        X_val = check_images(validation_data[0], image_shape=self.image_shape_, name="validation_data[0]")
        y_val = check_labels(validation_data[1], len(X_val), classes, name="validation_data[1]")
        return X, y, weight, (X_val, self._outputs_of(np.searchsorted(classes, y_val)))

    def _fit_nothing(self, X, y):
        X = check_images(X, image_shape=self._engine(self.network).image_shape)
        y = self._check_identities(X, y)
        classes = getattr(self, "classes_", np.unique(y))
        check_labels(y, len(y), classes)
        n_outputs = self._engine(self.network).n_outputs
        if n_outputs != len(classes):
            raise ValueError(
                f"the given network has {n_outputs} outputs, but y holds {len(classes)} identities: use "
                "FaceClassifier.from_network(network, classes=...) to say which they are."
            )
        self._adopt(self.network, classes, self._columns)
        return self

    def _adopt(self, network, classes, columns=None):
        self.network_ = network
        self.classes_ = classes
        self._columns = None if columns is None or np.array_equal(columns, np.arange(len(columns))) else columns
        self.image_shape_ = self._engine(network).image_shape
        if None not in self.image_shape_:
            self.n_features_in_ = int(np.prod(self.image_shape_))

    def _unbounded(self):
        check_is_fitted(self, "network_")
        return _UnboundedFace(self)

    def __sklearn_clone__(self):
        """A given network is shared and stays fitted: no Keras model is copied behind the user's back."""
        given = is_network(self.network)
        parameters = {
            name: value if name == "network" and given else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        copy = type(self)(**parameters)
        if given and getattr(self, "network_", None) is self.network:
            copy._adopt(self.network_, self.classes_, self._columns)
        return copy

    def __getstate__(self):
        return pack_state(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(unpack_state(state))


class _UnboundedFace:
    """Logits and gradients for pixels of any value, which a network takes though images have none beyond [0, 1]."""

    def __init__(self, face):
        self.face = face
        self.engine = face._engine(face.network_)

    def logits(self, X):
        return self.face._sorted(self.engine.logits(X))

    def vjp(self, X, cotangents):
        return self.engine.vjp(X, self.face._unsorted(cotangents))


def load_sample_model():
    """The paper's network, trained on the built-in faces: for examples that run in seconds.

    Trained on the training part (`FaceProtocol`, seed 0) of ``make_faces()``: 38 identities, images 96 x 84,
    grey. ``python -m smartbox.data.make_sample_model`` makes its file anew.

    Returns
    -------
    face : FaceClassifier
        Fitted.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> faces = make_faces(n_images=2)
    >>> smartbox.load_sample_model().score(faces.images, faces.target) > 0.9
    True
    """
    return read_file(files("smartbox") / "data" / "sample_model.smartbox")[0]
