"""A face model and a detector seen as one model: where the detector flags, a further class wins or a defence steps in."""

import numpy as np

from smartbox._model import FaceModelMixin, draws_chance, seeded
from smartbox._objectives import OBJECTIVES


class GuardedModel(FaceModelMixin):
    """A face model behind a detector, for attacks that have to get past both.

    The logits are the model's own and one more, ``largest logit + scale * (score - threshold)``: it is the largest
    exactly where the detector flags the image. To leave a label then means to reach another one, rejection not being
    one; to reach a label means to beat all others, rejection being one of them.

    Parameters
    ----------
    model : FaceModelMixin
        The face model.
    detector : BaseDetector
        Fitted, with a gradient (``value_and_gradient``).
    scale : float
        Logits for each unit of the detector's score. The decision is the same for any; the way there is not.
    reject_label : object
        What `predict` says of a flagged image; none of the model's labels.

    References
    ----------
    .. [1] Carlini, Wagner. "Adversarial Examples Are Not Easily Detected: Bypassing Ten Detection Methods", AISec 2017,
       section 3 (one classifier of both; there the further logit is a product, which needs positive logits).
    """

    def __init__(self, model, detector, *, scale, reject_label):
        self.model = model
        self.detector = detector
        self.scale = scale
        self.reject_label = reject_label
        self.classes_ = np.append(model.classes_, reject_label)
        self.image_shape_ = model.image_shape_

    @property
    def has_chance(self):
        """Whether the face model has."""
        return draws_chance(self.model)

    def seeded(self, seed):
        """The same with the face model seeded."""
        model = seeded(self.model, seed)
        return GuardedModel(model, self.detector, scale=self.scale, reject_label=self.reject_label)

    def drawn(self, rng):
        """The same with the draws of ``rng`` in the face model; the detector looks at what comes in."""
        return GuardedModel(self.model.drawn(rng), self.detector, scale=self.scale, reject_label=self.reject_label)

    def in_expectation(self, n_draws, seed):
        """The model as an attack sees it, which does not know what will be drawn."""
        from smartbox._expectation import ExpectedModel

        return ExpectedModel(self, n_draws=n_draws, seed=seed)

    def identify(self, X):
        """The label that the face model gives, whether or not the detector flags the image."""
        return self.model.predict(X)

    def label_index(self, y):
        """Column of each label; rejection is the last."""
        columns = np.searchsorted(self.model.classes_, y)
        return np.where(np.asarray(y) == self.reject_label, len(self.model.classes_), columns)

    def logits(self, X):
        """Logits ``(n, n_classes + 1)``; float64, lest a score just above the threshold be rounded to a tie."""
        logits = self.model.logits(X).astype(np.float64)
        return self._joined(logits, self.detector.decision_function(X))

    def value_and_gradient(self, X, y, objective="cross_entropy", towards=False):
        """An objective that grows as the label loses, and its gradient by the image.

        Without ``towards`` rejection sides with the label: both are to lose. With it rejection is among the others.
        """
        logits, scores, slope = self._forward(X)
        joined = self._joined(logits, scores)
        values, cotangents = self.objective(joined, y, objective, towards)
        return values, joined, self._pull_back(X, joined, cotangents, slope)

    def vjp(self, X, cotangents):
        """Gradient of ``(cotangents * logits(X)).sum()`` by the images."""
        logits, scores, slope = self._forward(X)
        return self._pull_back(X, self._joined(logits, scores), cotangents, slope)

    def objective(self, logits, y, objective, towards=False):
        """Values ``(n,)`` and their slopes by the logits."""
        index = self.label_index(y)
        if towards:
            return OBJECTIVES[objective](np, logits, index[:, None] == np.arange(logits.shape[1]))
        rows, own = np.arange(len(logits)), logits[:, :-1].copy()
        rejected = logits[:, -1] > own[rows, index]
        own[rows, index] = np.maximum(own[rows, index], logits[:, -1])
        values, slopes = OBJECTIVES[objective](np, own, index[:, None] == np.arange(own.shape[1]))
        slopes = np.column_stack([slopes, np.where(rejected, slopes[rows, index], 0)])
        slopes[rows[rejected], index[rejected]] = 0
        return values, slopes

    def _forward(self, X):
        scores, slope = self.detector.value_and_gradient(X)
        return self.model.logits(X).astype(np.float64), scores, slope

    def _joined(self, logits, scores):
        surplus = self.scale * (np.asarray(scores, dtype=np.float64) - self.detector.threshold_)
        return np.column_stack([logits, logits.max(axis=1) + surplus])

    def _pull_back(self, X, joined, cotangents, slope):
        own, of_rejection = np.array(cotangents[:, :-1], dtype=np.float64), np.asarray(cotangents[:, -1])
        own[np.arange(len(own)), joined[:, :-1].argmax(axis=1)] += of_rejection
        through_model = self.model.vjp(X, own.astype(np.float32))
        return (through_model + (self.scale * of_rejection)[:, None, None, None] * slope).astype(np.float32)


class MitigatedModel(FaceModelMixin):
    """A face model with defences before it for those images that a detector flags, and for no others.

    The gradient is that of the way which an image takes, with the defences' own stand-ins (BPDA [1]_). The switch between the two
    ways is constant almost everywhere; that it jumps at the detector's threshold no gradient tells.

    Parameters
    ----------
    model : FaceModelMixin
        The face model, for images that are not flagged.
    defended : DefendedModel
        The same model behind defences, for those that are.
    detector : BaseDetector
        Fitted; no gradient of it is needed.
    rng : ImageStreams, optional
        One stream an image, where defences with chance draw from; None leaves them to their own ``random_state``.

    References
    ----------
    .. [1] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.1.
    """

    def __init__(self, model, defended, detector, *, rng=None):
        self.model = model
        self.defended = defended
        self.detector = detector
        self.rng = rng
        self.classes_ = model.classes_
        self.image_shape_ = model.image_shape_

    @property
    def has_chance(self):
        """Whether one of the two ways has."""
        return any(map(draws_chance, (self.model, self.defended)))

    def seeded(self, seed):
        """The same with the face model seeded on both ways."""
        return MitigatedModel(seeded(self.model, seed), seeded(self.defended, seed), self.detector, rng=self.rng)

    def drawn(self, rng):
        """The same with the draws of ``rng`` on both ways; the detector looks at what comes in."""
        return MitigatedModel(self.model, self.defended, self.detector, rng=rng)

    def in_expectation(self, n_draws, seed):
        """The model as an attack sees it, which does not know what will be drawn."""
        from smartbox._expectation import ExpectedModel

        return ExpectedModel(self, n_draws=n_draws, seed=seed)

    def logits(self, X):
        """Logits ``(n, n_classes)`` of each image on its way."""
        return self._each_on_its_way(X, lambda model, rows: (model.logits(X[rows]),))[0]

    def value_and_gradient(self, X, y, objective="cross_entropy"):
        """As the model's own, each image on its way."""
        y = np.asarray(y)
        return self._each_on_its_way(X, lambda model, rows: model.value_and_gradient(X[rows], y[rows], objective))

    def vjp(self, X, cotangents):
        """As the model's own, each image on its way."""
        return self._each_on_its_way(X, lambda model, rows: (model.vjp(X[rows], cotangents[rows]),))[0]

    def _each_on_its_way(self, X, function):
        """What ``function(model, rows)`` returns for the flagged rows and for the others, put together again."""
        flagged = self.detector.decision_function(X) > self.detector.threshold_
        ways = [(model, np.flatnonzero(which)) for model, which in ((self.model, ~flagged), (self.defended, flagged))]
        rows, parts = zip(
            *[(rows, function(self._bound(model, rows), rows)) for model, rows in ways if rows.size], strict=True
        )
        back = np.argsort(np.concatenate(rows))
        return tuple(np.concatenate(arrays)[back] for arrays in zip(*parts, strict=True))

    def _bound(self, model, rows):
        return model.drawn(self.rng.take(rows)) if self.rng is not None and draws_chance(model) else model
