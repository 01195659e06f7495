"""What detectors read inside the network of an embedder, by the images before the crop."""

import numpy as np
from sklearn.utils import gen_batches

from smartbox._model import LOGITS


class EmbedderLayers:
    """Inner layers of an embedder's network, under the names that `FaceClassifier` has for them.

    A class writes ``_ready(X)``, the checked images, their crop and the compiled network; ``_network()``; and ``_unit(outputs)``,
    rows of length 1 and the lengths that they had. ``"<logits>"`` stands for the embedding.
    """

    def layer_names(self, kind):
        """Names of the network's layers of a kind; see `FaceClassifier.layer_names`."""
        return self._compiled().layer_names(kind)

    def last_dropout(self):
        """Name and rate of the last layer that drops single units, ``(str, float)``; None if there is none."""
        return self._compiled().last_dropout()

    def activations(self, X, layers):
        """Outputs of inner layers.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        layers : sequence of str
            Names of layers of the network; ``"<logits>"`` stands for the embedding, of length 1.

        Returns
        -------
        outputs : list of ndarray
            One array a layer, images along the first axis.
        """
        X, crop, engine = self._ready(X)
        parts = [engine.activations(crop(X[batch]), layers) for batch in gen_batches(len(X), self.batch_size)]
        outputs = [np.concatenate(each) for each in zip(*parts, strict=True)]
        return [self._unit(out)[0] if name == LOGITS else out for name, out in zip(layers, outputs, strict=True)]

    def activations_vjp(self, X, layers, cotangents):
        """Gradient by the images of ``sum((c * a).sum() for c, a in zip(cotangents, activations(X, layers)))``.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        layers : sequence of str
            Names of layers of the network.
        cotangents : sequence of ndarray
            One array a layer, of the shape of its output.

        Returns
        -------
        gradient : ndarray like X
        """
        X, crop, engine = self._ready(X)
        gradient = np.empty_like(X)
        for batch in gen_batches(len(X), self.batch_size):
            inside = crop(X[batch])
            by_output = [
                past_length(*self._unit(engine.logits(inside)), each[batch]) if name == LOGITS else each[batch]
                for name, each in zip(layers, cotangents, strict=True)
            ]
            gradient[batch] = crop.pull_back(engine.activations_vjp(inside, layers, by_output))
        return gradient

    def head(self, layer, activations):
        """Embeddings from the output of an inner layer; see `FaceClassifier.head`."""
        return self._unit(self._compiled().head(layer, activations))[0]

    def head_vjp(self, layer, activations, cotangents):
        """Gradient by ``activations`` of ``(cotangents * head(layer, activations)).sum()``."""
        engine = self._compiled()
        by_output = past_length(*self._unit(engine.head(layer, activations)), cotangents)
        return engine.head_vjp(layer, activations, by_output)

    def _compiled(self):
        from smartbox._engine import engine_of

        return engine_of(self._network())


def past_length(unit, lengths, cotangents):
    """The gradient by rows of some lengths, of that by the same rows at length 1."""
    along = (cotangents * unit).sum(axis=-1, keepdims=True)
    return ((cotangents - along * unit) / lengths).astype(np.float32)
