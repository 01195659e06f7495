"""Cosines to templates as the logits of a face model."""

import numpy as np
from sklearn.utils import gen_batches

from smartbox._checks import check_labels
from smartbox._model import LOGITS, PIXELS, DefendedModel, FaceModelMixin
from smartbox._objectives import OBJECTIVES

_BATCH_SIZE = 64  # faces whose gradient is taken at once, for an embedder that does not say


class CosineModel(FaceModelMixin):
    """What a gallery and a verifier have in common: the view that attacks have of them.

    A class has ``embedder``, ``scale``, ``classes_``, sorted, and ``image_shape_``. It writes ``_templates()``, the `Templates`
    of people, and ``_bar()``: column and threshold of the class of those who are nobody, or None where there is none.
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
        """``scale`` times the cosines, a column for each of ``classes_``, float32.

        Whoever is nobody ("impostor", or ``unknown`` of a gallery) has the threshold in place of a cosine, so that the largest
        logit is the decision.
        """
        return self._logits(self.cosines(X))

    def people(self):
        """Which of ``classes_`` are people: all but that of those who are nobody."""
        bar = self._bar()
        columns = np.arange(len(self.classes_))
        return columns if bar is None else np.delete(columns, bar[0])

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
        return self._pull_back(X, np.asarray(cotangents, dtype=np.float32), ndim=2)

    def vjps(self, X, cotangents):
        """Several gradients an image on two forward passes, for ``cotangents`` ``(n, count, n_classes)``: ``(n, count, ...)``."""
        return self._pull_back(X, np.asarray(cotangents, dtype=np.float32), ndim=3)

    def layer_names(self, kind):
        """Names of layers inside the embedder's network; see `FaceClassifier.layer_names`. An embedder without one has none."""
        return self.embedder.layer_names(kind) if hasattr(self.embedder, "layer_names") else []

    def activations(self, X, layers):
        """Outputs of layers inside the embedder's network; see `FaceClassifier.activations`."""
        X, layers = self._check_images(X), [layers] if isinstance(layers, str) else list(layers)
        read = [name for name in layers if name != PIXELS]
        if set(read) <= {LOGITS}:  # which any embedder can give
            found = {LOGITS: self.logits(X)} if read else {}
        else:
            found = dict(zip(read, self.embedder.activations(X, read), strict=True))
            if LOGITS in found:
                found[LOGITS] = self._logits(self._templates().cosines(found[LOGITS]))
        return [X if name == PIXELS else found[name] for name in layers]

    def activations_vjp(self, X, layers, cotangents):
        """Gradient by the images of what `activations` gives; see `FaceClassifier.activations_vjp`."""
        X, layers = self._check_images(X), [layers] if isinstance(layers, str) else list(layers)
        gradient, inner, by_inner = np.zeros_like(X), [], []
        for name, each in zip(layers, cotangents, strict=True):
            if name == PIXELS:
                gradient += each
            elif name == LOGITS:
                gradient += self.vjp(X, each)
            else:
                inner.append(name)
                by_inner.append(each)
        return gradient + self.embedder.activations_vjp(X, inner, by_inner) if inner else gradient

    def last_dropout(self):
        """Name and rate of the last dropout layer inside the embedder's network, or None."""
        return self.embedder.last_dropout() if hasattr(self.embedder, "last_dropout") else None

    def head(self, layer, activations):
        """Logits from the output of a layer inside the embedder's network; see `FaceClassifier.head`."""
        return self._logits(self._templates().cosines(self.embedder.head(layer, activations)))

    def head_vjp(self, layer, activations, cotangents):
        """Gradient by ``activations`` of ``(cotangents * head(layer, activations)).sum()``."""
        embeddings, cotangents = self.embedder.head(layer, activations), np.asarray(cotangents, dtype=np.float32)
        by_embedding = self._by_embedding(self._templates(), embeddings, cotangents)
        return self.embedder.head_vjp(layer, activations, by_embedding)

    def _pull_back(self, X, cotangents, ndim):
        templates, X = self._templates(), self._check_images(X)
        n_images, n_classes = len(X), len(self.classes_)
        if cotangents.ndim != ndim or (len(cotangents), cotangents.shape[-1]) != (n_images, n_classes):
            raise ValueError(
                f"expected cotangents in {ndim} dimensions, for {n_images} images and {n_classes} classes, one a logit, got "
                f"shape {cotangents.shape}."
            )
        gradient = np.empty((*cotangents.shape[:-1], *X.shape[1:]), dtype=np.float32)
        for batch in self._batches(X):
            embeddings, pull_back = self.embedder.vjp(X[batch])
            gradient[batch] = pull_back(self._by_embedding(templates, embeddings, cotangents[batch]))
        return gradient

    def _embed(self, X):
        return self.embedder.transform(self._check_images(X))

    def _batches(self, X):
        return gen_batches(len(X), getattr(self.embedder, "batch_size", _BATCH_SIZE))

    def _with_bar(self, cosines):
        bar = self._bar()
        if bar is None:
            return cosines
        column, threshold = bar
        # Just below the threshold, so that who reaches it is not nobody, whichever of equals comes first.
        return np.insert(cosines, column, np.nextafter(np.float32(threshold), np.float32(-2)), axis=1)

    def _logits(self, cosines):
        return self._with_bar(cosines) * np.float32(self.scale)

    def _by_embedding(self, templates, embeddings, cotangents):
        """The gradient by the embeddings, of that by the logits; the bar has none."""
        bar = self._bar()
        of_people = np.float32(self.scale) * (cotangents if bar is None else np.delete(cotangents, bar[0], axis=-1))
        if cotangents.ndim == 2:
            return templates.pull_back(embeddings, of_people)
        n, count = cotangents.shape[:2]
        flat = templates.pull_back(np.repeat(embeddings, count, axis=0), of_people.reshape(n * count, -1))
        return flat.reshape(n, count, -1)


def cosine_model(model):
    """The gallery or verifier at the end of a model, behind any defences; None if something else stands there."""
    while isinstance(model, DefendedModel):
        model = model.model
    return model if isinstance(model, CosineModel) else None
