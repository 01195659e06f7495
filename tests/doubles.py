"""Stand-ins: models with known answers, and estimators that read tables so that scikit-learn can check them."""

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from smartbox import FaceClassifier
from smartbox._model import LOGITS, PIXELS, FaceModelMixin
from smartbox._objectives import OBJECTIVES
from smartbox.base import BaseDetector
from smartbox.detectors._features import NetworkFeatures
from smartbox.estimator_checks import example_images


class NumpyModel(FaceModelMixin):
    """Logits linear in the pixels, for images of any size: class ``k`` weighs them by a wave of frequency ``k + 1``."""

    image_shape_ = (None, None, None)

    def __repr__(self):  # part of the names of tests, which must not change from process to process
        return f"NumpyModel({len(self.classes_)})"

    def __init__(self, n_classes=3):
        self.classes_ = np.arange(n_classes)

    def _weights(self, X):
        d = int(np.prod(X.shape[1:]))
        place = np.arange(d) / d
        return np.sin(2 * np.pi * (self.classes_[:, None] + 1) * place + 1 + self.classes_[:, None]).astype(np.float32)

    def logits(self, X):
        # in float64, whose rounding does not show the number of rows
        return (X.reshape(len(X), -1).astype(np.float64) @ self._weights(X).T).astype(np.float32)

    def value_and_gradient(self, X, y, objective="cross_entropy"):
        logits = self.logits(X)
        values, cotangents = OBJECTIVES[objective](np, logits, self.is_label(y))
        return values, logits, self.vjp(X, cotangents)

    def vjp(self, X, cotangents):
        return (cotangents @ self._weights(X)).astype(np.float32).reshape(X.shape)

    def layer_names(self, kind):
        return {"convolution": ["conv1", "conv2"], "vector": ["dense1", LOGITS], "dense": ["dense1"]}[kind]

    def activations(self, X, layers):
        """conv1 sees a pixel and its right neighbour, conv2 a pixel and the one two to the left; dense1 bends the logits."""
        return [self._layer(X, name)[0] for name in layers]

    def activations_vjp(self, X, layers, cotangents):
        return np.sum(
            [self._layer(X, name)[1](cotangent) for name, cotangent in zip(layers, cotangents, strict=True)],
            axis=0,
            dtype=np.float32,
        )

    def _layer(self, X, name):
        """Output of a layer and its way back."""
        if name == PIXELS:
            return X, lambda cotangent: cotangent
        if name == LOGITS:
            return self.logits(X), lambda cotangent: self.vjp(X, cotangent)
        if name == "dense1":
            bent = np.tanh(0.3 * self.logits(X))
            return bent, lambda cotangent: self.vjp(X, 0.3 * cotangent * (1 - bent**2))
        shift = {"conv1": -1, "conv2": 2}[name]
        here, there = np.array(
            [[1, 3, -2], [2, -1, 3]], np.float32
        )  # weights of the two pixels in each of three channels
        grey = X.mean(axis=3, keepdims=True)
        inner = here * grey + there * np.roll(grey, shift, axis=2)

        def pull_back(cotangent):
            slope = cotangent * np.cos(inner) / X.shape[3]
            grey = slope @ here + np.roll(slope @ there, -shift, axis=2)
            return np.broadcast_to(grey[..., None], X.shape)

        return np.sin(inner), pull_back


class BrightDetector(BaseDetector):
    """Fitted by nature: flags images of any size whose mean exceeds a threshold."""

    def __init__(self, threshold=0.45):
        self.threshold = threshold

    @property
    def threshold_(self):
        return self.threshold

    def _score(self, X):
        return X.mean(axis=(1, 2, 3), dtype=np.float64)

    def _value_and_gradient(self, X):
        return self._score(X), np.full_like(X, 1 / X[0].size)


class PixelEmbedder(BaseEstimator):
    """Embeds images of any size as their pixels less a half, and one more number, at length 1."""

    def transform(self, X):
        return self._forward(X)[0]

    def vjp(self, X):
        embeddings, norms = self._forward(X)

        def pull_back(cotangents):
            unit, length = (part[:, None] if cotangents.ndim == 3 else part for part in (embeddings, norms))
            along = (cotangents * unit).sum(axis=-1, keepdims=True)
            gradient = ((cotangents - along * unit) / length)[..., :-1].astype(np.float32)
            return gradient.reshape(*cotangents.shape[:-1], *X.shape[1:])

        return embeddings, pull_back

    def _forward(self, X):
        rows = np.pad(X.reshape(len(X), -1) - np.float32(0.5), ((0, 0), (0, 1)), constant_values=0.3)
        norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        return rows / norms, norms


def affine_face(weights, bias, image_shape):
    """A FaceClassifier whose logits are exactly ``weights @ pixels + bias``."""
    import keras

    network = keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(len(bias))])
    network.set_weights([np.asarray(weights, np.float32).T, np.asarray(bias, np.float32)])
    return FaceClassifier.from_network(network)


def random_affine(seed, n_classes, image_shape, scale=1.0):
    """Weights and bias of an affine model, and images in the middle of the box with their predicted labels."""
    rng = np.random.default_rng(seed)
    d = int(np.prod(image_shape))
    weights = rng.normal(size=(n_classes, d)) * scale
    X = rng.uniform(0.45, 0.55, size=(20, *image_shape)).astype(np.float32)
    bias = -weights.mean(axis=1) * d * 0.5
    return weights, bias, X


def small_network(image_shape=(16, 12, 1), n_classes=5, seed=0):
    """A convolutional network of fixed random weights, whose classes share the example images out."""
    import keras
    from keras import layers

    network = keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(4, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(6, 3, activation="relu", name="conv2"),
            layers.Flatten(name="flatten"),
            layers.Dense(16, activation="relu", name="dense1"),
            layers.Dense(n_classes, name="logits"),
        ]
    )
    rng = np.random.default_rng(seed)
    weights = [rng.normal(scale=1.5 / np.sqrt(np.prod(w.shape[:-1])), size=w.shape) for w in network.get_weights()]
    network.set_weights(weights)
    logits = network(example_images(image_shape, n=200, seed=1)).numpy()
    spread = logits.std(axis=0)
    network.set_weights([*weights[:-2], weights[-2] / spread, (weights[-1] - logits.mean(axis=0)) / spread])
    return network


def smooth_embedding(image_shape=(16, 12, 1), n_outputs=6, seed=0):
    """A network of fixed random weights without kinks, whose outputs are no classes."""
    import keras
    from keras import layers

    network = keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(4, 3, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(n_outputs),
        ]
    )
    rng = np.random.default_rng(seed)
    network.set_weights(
        [rng.normal(scale=1.5 / np.sqrt(np.prod(w.shape[:-1])), size=w.shape) for w in network.get_weights()]
    )
    return network


def tabular(cls):
    """A subclass of an image estimator that reads a table as images of one row, squashed into [0, 1]."""

    class Tabular(cls):
        def _check_images(self, X, *, reset=False):
            X = validate_data(self, X, reset=reset, dtype=np.float32)
            images = expit(X)[:, None, :, None]
            if reset:
                self.image_shape_ = images.shape[1:]
            return images

        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.input_tags.two_d_array = True
            return tags

    if issubclass(cls, NetworkFeatures):
        # scikit-learn's checks hand transformers labels of any kind, which mean nothing here
        def fit(self, X, y=None):
            return super(Tabular, self).fit(X)

        Tabular.fit = fit
    elif not hasattr(cls, "predict"):

        def transform(self, X):
            images = super(Tabular, self).transform(X)
            return images.reshape(len(images), -1)

        Tabular.transform = transform
    Tabular.__name__ = Tabular.__qualname__ = f"Tabular{cls.__name__}"
    globals()[Tabular.__name__] = Tabular  # where pickle looks for it
    return Tabular
