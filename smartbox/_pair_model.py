"""Pairs of faces as one face model: each image against a reference of its own."""

import numpy as np

from smartbox._model import FaceModelMixin, draws_chance, through
from smartbox._objectives import OBJECTIVES


class PairModel(FaceModelMixin):
    """Whether each image matches its reference, for many pairs at once.

    Label ``i`` is the person of reference ``i``, the last label nobody. A label says which pair an image belongs to: objectives
    and decisions are those of two classes, its reference and nobody, so that to leave label ``i`` is to bring the cosine below
    the threshold of pair ``i``, and to reach it the contrary. As a `FaceVerifier` of each pair alone, in batches.

    Parameters
    ----------
    embedder : FaceEmbedder
    references : ndarray of shape (n_pairs, n_features)
        Embeddings of length 1.
    thresholds : ndarray of shape (n_pairs,)
        Cosine from which on a pair matches.
    image_shape : tuple of int
    defenses : list of (str, BaseDefense), default=()
        What the images pass first.
    scale : float, default=64.0
        Of the logits, see `FaceGallery`.
    rng : ImageStreams, optional
        One stream an image, where defences with chance draw from; None leaves them to their own ``random_state``.

    Notes
    -----
    Logits alone do not know the pair: those of `logits` compare with all references. An attack tells the labels where the model
    is one "in expectation", which is what this one presents itself as; without chance, of a single draw.
    """

    is_expectation = True
    n_draws = 1
    reject_label = None

    def __init__(self, embedder, references, thresholds, image_shape, *, defenses=(), scale=64.0, rng=None):
        self.embedder, self.references, self.defenses = embedder, references, list(defenses)
        self.rng = rng
        self.thresholds = np.asarray(thresholds, dtype=np.float32)
        self.scale = np.float32(scale)
        self.image_shape_ = image_shape
        self.classes_ = np.arange(len(references) + 1)

    @property
    def has_chance(self):
        """Whether a defence draws."""
        return any(draws_chance(defense) for _, defense in self.defenses)

    def drawn(self, rng):
        """The same pairs with the draws of ``rng``, one stream an image."""
        return PairModel(
            self.embedder, self.references, self.thresholds, self.image_shape_,
            defenses=self.defenses, scale=float(self.scale), rng=rng,
        )  # fmt: skip

    def in_expectation(self, n_draws, seed):
        """The pairs as an attack sees them, which does not know what will be drawn."""
        from smartbox._expectation import ExpectedModel

        return ExpectedModel(self, n_draws=n_draws, seed=seed)

    def logits(self, X):
        """``scale`` times the cosine to each reference, and the mean threshold in the last column."""
        return self._logits(self._forward(X)[0])

    def logits_of_pairs(self, X, y):
        """Logits of the pairs that ``y`` names: their references', nobody's, and of the others none that count."""
        return self._of_pairs(self._forward(X)[0], y)

    def value_and_logits(self, X, y, objective, towards):
        """An objective and the logits, of the pairs that ``y`` names."""
        logits = self.logits_of_pairs(X, y)
        return OBJECTIVES[objective](np, logits, self.is_label(y))[0], logits

    def decide(self, X, y, towards):
        """``y`` where the cosine to that reference reaches the threshold, else nobody."""
        return self.classes_[self.value_and_logits(X, y, "margin", towards)[1].argmax(axis=1)]

    def value_and_gradient(self, X, y, objective="cross_entropy", towards=False):
        """As `value_and_logits`, and the gradient by the images."""
        embeddings, pull_back = self._forward(X)
        logits = self._of_pairs(embeddings, y)
        values, cotangents = OBJECTIVES[objective](np, logits, self.is_label(y))
        own = np.take_along_axis(cotangents, np.asarray(y)[:, None], axis=1)
        return values, logits, pull_back(self.scale * own * self.references[y])

    def vjp(self, X, cotangents):
        """Gradient of ``(cotangents * logits(X)).sum()`` by the images."""
        _, pull_back = self._forward(X)
        return pull_back(self.scale * (np.asarray(cotangents, dtype=np.float32)[:, :-1] @ self.references))

    def _forward(self, X):
        """Embeddings behind the defences, and the way back."""
        Z, through_defenses = through(self.defenses, X, self.rng)
        embeddings, pull_back = self.embedder.vjp(Z)
        return embeddings, lambda cotangents: through_defenses(pull_back(cotangents))

    def _logits(self, embeddings):
        bar = np.full((len(embeddings), 1), self.thresholds.mean(), dtype=np.float32)
        return self.scale * np.concatenate([embeddings @ self.references.T, bar], axis=1)

    def _of_pairs(self, embeddings, y):
        """Logits in the columns of a pair's reference and of nobody; of the others so low that they never count."""
        logits = np.full((len(embeddings), len(self.classes_)), -4 * self.scale, dtype=np.float32)
        cosines = (embeddings * self.references[y]).sum(axis=1)
        logits[np.arange(len(logits)), y] = self.scale * cosines
        # Just below the threshold, so that who reaches it matches.
        logits[:, -1] = self.scale * np.nextafter(self.thresholds[y], np.float32(-2))
        return logits
