"""What detectors share that compare a face with clean ones inside a network: channel means, and features of unseen images."""

from copy import copy

import numpy as np
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils import gen_batches

from smartbox.detectors._features import _BATCH_SIZE, NetworkFeatures, layers_to_read

_N_FOLDS = 5
_FEWEST = 10  # different clean images below which none is left out
_GOLDEN = (np.sqrt(5) - 1) / 2


class PooledFeatures(NetworkFeatures):
    """Features made of the channel means of some layers, by comparison with those of clean images.

    A subclass has the parameters ``model`` and ``layers`` and writes three methods on ``tables``, a list with one array
    ``(n, n_channels)`` a layer: ``_learn_tables(tables)`` of clean images; ``_measure(tables)``, the features ``(n, k)``; and
    ``_measure_vjp(tables, cotangents)``, which takes the gradient of a value by the features to those by the tables.
    """

    def _layers(self, face):
        return layers_to_read(face, self.layers, "convolution", "dense")

    def fit_transform(self, X, y=None):
        """Learn from the clean images, and return features of each image as if the model had not seen it.

        A clean image is more like itself, and an attacked one more like the image that it was made of, than new images are
        like those learnt: a judge trained on such features would draw its boundary at the wrong place. The clean images are
        therefore parted in five, and a part's features, and those of the attacked images made of it, come from what the four
        others teach. What an attacked image was made of is taken to be the clean image nearest in pixels. So this differs from
        ``fit(X, y).transform(X)``, as with scikit-learn's TargetEncoder. With fewer than ten clean images nothing is
        left out.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,), optional
            1 adversarial, 0 clean: the former are not learnt from. None takes all images for clean.

        Returns
        -------
        features : ndarray of shape (n, n_features)
        """
        X = self.fit(X, y)._check_images(X)
        is_clean = np.ones(len(X), dtype=bool) if y is None else np.asarray(y).ravel() == np.min(y)
        sources, source = np.unique(nearest_clean(X, X[is_clean]), return_inverse=True)
        if len(sources) < _FEWEST:
            return self.transform(X)
        # Steps of the golden ratio spread any stretch of images, e.g. an identity's, over all folds, whatever their period.
        fold = np.floor(_N_FOLDS * (source * _GOLDEN % 1)).astype(int)
        face = self._face_model()
        tables = self._joined(face.activations(X[batch], self.layers_) for batch in gen_batches(len(X), _BATCH_SIZE))
        features = None
        for k in range(_N_FOLDS):
            inside, part = fold == k, copy(self)
            part._learn_tables([table[is_clean & ~inside] for table in tables])
            found = part._measure([table[inside] for table in tables]).astype(np.float32)
            features = np.empty((len(X), found.shape[1]), np.float32) if features is None else features
            features[inside] = found
        return features

    def _learn(self, batches):
        tables = self._joined(batches())
        if len(tables[0]) < 2:
            raise ValueError(f"{type(self).__name__} learns from at least 2 clean images, got 1 sample.")
        self._learn_tables(tables)

    def _joined(self, batches):
        return [np.concatenate(parts) for parts in zip(*(self._condense(batch) for batch in batches), strict=True)]

    def _condense(self, activations):
        return [channel_means(each) for each in activations]

    def _summarise(self, activations):
        return self._measure(self._condense(activations)).astype(np.float32)

    def _spread(self, activations, cotangents):
        by_tables = self._measure_vjp(self._condense(activations), cotangents)
        return [spread_means(by, each) for by, each in zip(by_tables, activations, strict=True)]


def channel_means(activations):
    """Mean over all places of each channel, float64 of shape ``(n, channels)``; vectors stay as they are."""
    return activations.reshape(len(activations), -1, activations.shape[-1]).mean(axis=1, dtype=np.float64)


def spread_means(cotangents, activations):
    """The gradient by the activations, of that by their `channel_means`."""
    n_places = activations[0].size // activations.shape[-1]
    middle = (1,) * (activations.ndim - 2)
    return np.broadcast_to(cotangents.reshape(len(cotangents), *middle, -1) / n_places, activations.shape)


def nearest_clean(X, X_clean):
    """For each image the index of the clean image nearest to it in pixels: itself, or the one that it was made of."""
    return pairwise_distances_argmin(X.reshape(len(X), -1), X_clean.reshape(len(X_clean), -1))
