"""Cosines to templates as the logits of a face model."""

import numpy as np
from sklearn.utils import gen_batches

from smartbox._checks import check_labels
from smartbox._model import FaceModelMixin
from smartbox._objectives import OBJECTIVES

_BATCH_SIZE = 64  # faces whose gradient is taken at once, for an embedder that does not say


class CosineModel(FaceModelMixin):
    """What a gallery and a verifier have in common: the view that attacks have of them.

    A class has ``embedder``, ``scale``, ``classes_`` and ``image_shape_``, and writes ``_templates()``, the `Templates` of its
    first classes, and ``_bar()``, the cosine that stands for one more class, or None where there is none.
    """

    def cosines(self, X):
        """Cosine of each image to each person enrolled, in [-1, 1].

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        cosines : ndarray of shape (n, n_identities), float32
        """
        templates = self._templates()
        return templates.cosines(self._embed(X))

    def logits(self, X):
        """``scale`` times the cosines, one column a class, shape ``(n, n_classes)`` float32."""
        return self._logits(self.cosines(X))

    def value_and_gradient(self, X, y, objective="cross_entropy"):
        """An objective of the logits and its gradient by the image; see `FaceClassifier.value_and_gradient`."""
        if not isinstance(objective, str) or objective not in OBJECTIVES:
            raise ValueError(f"expected objective as one of {', '.join(sorted(OBJECTIVES))}, got {objective!r}.")
        templates, X = self._templates(), self._check_images(X)
        is_label = self.is_label(check_labels(y, len(X), self.classes_))
        values, logits, gradient = [], [], np.empty_like(X)
        for batch in self._batches(X):
            embeddings, pull_back = self.embedder.vjp(X[batch])
            logits.append(self._logits(templates.cosines(embeddings)))
            value, cotangents = OBJECTIVES[objective](np, logits[-1], is_label[batch])
            values.append(value)
            gradient[batch] = pull_back(self._by_embedding(templates, embeddings, cotangents))
        return np.concatenate(values), np.concatenate(logits), gradient

    def vjp(self, X, cotangents):
        """Gradient of ``(cotangents * logits(X)).sum()`` by the images, for ``cotangents`` of shape ``(n, n_classes)``."""
        return self.vjps(X, np.asarray(cotangents)[:, None])[:, 0]

    def vjps(self, X, cotangents):
        """Several gradients an image, for ``cotangents`` ``(n, count, n_classes)``: ``(n, count, ...)``."""
        templates, X = self._templates(), self._check_images(X)
        cotangents = np.asarray(cotangents, dtype=np.float32)
        if cotangents.ndim != 3 or cotangents.shape[::2] != (len(X), len(self.classes_)):
            raise ValueError(
                f"expected cotangents for {len(X)} images and {len(self.classes_)} classes, one a logit, got shape "
                f"{cotangents.shape}."
            )
        gradients = np.empty((len(X), cotangents.shape[1], *X.shape[1:]), dtype=np.float32)
        for batch in self._batches(X):
            embeddings, pull_back = self.embedder.vjp(X[batch])
            for i in range(cotangents.shape[1]):
                gradients[batch, i] = pull_back(self._by_embedding(templates, embeddings, cotangents[batch, i]))
        return gradients

    def _embed(self, X):
        return self.embedder.transform(self._check_images(X))

    def _batches(self, X):
        return gen_batches(len(X), getattr(self.embedder, "batch_size", _BATCH_SIZE))

    def _with_bar(self, cosines):
        bar = self._bar()
        if bar is None:
            return cosines
        return np.column_stack([cosines, np.full(len(cosines), bar, dtype=np.float32)])

    def _logits(self, cosines):
        return self._with_bar(cosines) * np.float32(self.scale)

    def _by_embedding(self, templates, embeddings, cotangents):
        """The gradient by the embeddings, of that by the logits; the bar has none."""
        n_people = len(templates.starts)
        return templates.pull_back(embeddings, np.float32(self.scale) * cotangents[:, :n_people])
