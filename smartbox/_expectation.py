"""A model with chance in it as an attack sees it: an expectation over draws of the attacker's own."""

import numpy as np
from sklearn.utils import gen_batches

from smartbox._model import DefendedModel, FaceModelMixin, through
from smartbox._streams import ATTACKERS, ImageStreams

_ROWS = 128  # images and draws that go through the network at once


class ExpectedModel(FaceModelMixin):
    """The mean over draws of a model with chance: deterministic, so that any attack climbs it as any other model.

    The draws are keyed by the seed and the image that is asked about. They change with every step of an attack, and
    are the same at any batch size and order. Gradients and values are means over the draws, those of the margin
    excepted: that, and the logits by which an attack judges its success, are those of the deciding draw, than which
    nine tenths of the draws are at least as good for the attacker. One lucky draw is no success.

    Parameters
    ----------
    model : DefendedModel, GuardedModel or PairModel
        With chance: it has ``drawn(rng)``, the same model bound to the streams of `ImageStreams`.
    n_draws : int
        Draws for each image.
    seed : int
        The attack's own.
    before : list of (str, BaseDefense), default=()
        Steps without chance in front of it, which need no more than one pass.

    References
    ----------
    .. [1] Athalye, Engstrom, Ilyas, Kwok. "Synthesizing Robust Adversarial Examples", ICML 2018, equation 2.
    """

    is_expectation = True

    def __init__(self, model, *, n_draws, seed, before=()):
        self.model = model
        self.n_draws = n_draws
        self.seed = seed
        self.before = before
        self.classes_ = model.classes_
        self.image_shape_ = model.image_shape_
        self.reject_label = getattr(model, "reject_label", None)

    def identify(self, X):
        """The label of a guarded model's face model, in the draws that are deployed."""
        return DefendedModel(self.before, self.model).identify(X)

    def label_index(self, y):
        """As the model's own."""
        return self.model.label_index(y)

    def objective(self, logits, y, objective, towards):
        """As the model's own."""
        return self.model.objective(logits, y, objective, towards)

    def logits(self, X):
        """Mean logits."""
        return self._logits(X).mean(axis=1)

    def decide(self, X, y, towards):
        """What the deciding draw predicts, where ``y`` is to be reached or, without ``towards``, to be left."""
        return self.classes_[self.value_and_logits(X, y, "margin", towards)[1].argmax(axis=1)]

    def value_and_logits(self, X, y, objective, towards):
        """An objective, and the logits of the deciding draw."""
        logits = self._logits(X, y)
        return self._judge(self._each(logits, y, objective, towards), logits, y, objective, towards)

    def value_and_gradient(self, X, y, objective="cross_entropy", towards=False):
        """As `value_and_logits`, and the mean gradient by the images."""
        images, pull_back = through(self.before, X)
        values, logits, gradient = [], [], np.empty_like(images)
        more = () if self.reject_label is None else (towards,)
        for part, image, drawn in self._draws(X):
            of_draws = drawn.value_and_gradient(images[image], y[image], objective, *more)
            values.append(of_draws[0])
            logits.append(of_draws[1])
            gradient[part] = self._by_image(of_draws[2]).mean(axis=1)
        values, logits = (self._by_image(np.concatenate(parts)) for parts in (values, logits))
        return *self._judge(values, logits, y, objective, towards), pull_back(gradient)

    def vjp(self, X, cotangents):
        """Gradient of ``(cotangents * logits(X)).sum()`` by the images: that of the mean."""
        images, pull_back = through(self.before, X)
        gradient = np.empty_like(images)
        for part, image, drawn in self._draws(X):
            gradient[part] = self._by_image(drawn.vjp(images[image], cotangents[image])).mean(axis=1)
        return pull_back(gradient)

    def _logits(self, X, y=None):
        """Logits of each draw, ``(n, n_draws, n_classes)``; those of pairs depend on the labels that are asked about."""
        images, of_pairs = through(self.before, X)[0], y is not None and hasattr(self.model, "logits_of_pairs")
        return self._by_image(
            np.concatenate(
                [
                    drawn.logits_of_pairs(images[image], y[image]) if of_pairs else drawn.logits(images[image])
                    for _, image, drawn in self._draws(X)
                ]
            )
        )

    def _draws(self, X):
        """Some images at a time, with all draws of each: which, their numbers repeated, the model in those draws."""
        streams = ImageStreams.from_images(X, ATTACKERS + self.seed)
        keys = np.stack([streams.spawn(draw).keys for draw in range(self.n_draws)], axis=1)
        for part in gen_batches(len(X), max(1, _ROWS // self.n_draws)):
            image = np.repeat(np.arange(len(X))[part], self.n_draws)
            yield part, image, self.model.drawn(ImageStreams(keys[part].ravel()))

    def _by_image(self, rows):
        return rows.reshape(-1, self.n_draws, *rows.shape[1:])

    def _each(self, logits, y, objective, towards):
        """An objective in each draw, ``(n, n_draws)``."""
        rows = logits.reshape(-1, logits.shape[2])
        return self._by_image(self.model.objective(rows, np.repeat(y, self.n_draws), objective, towards)[0])

    def _judge(self, values, logits, y, objective, towards):
        margins = values if objective == "margin" else self._each(logits, y, "margin", towards)
        place = -(-9 * self.n_draws // 10) - 1
        best_first = np.argsort(margins if towards else -margins, axis=1, kind="stable")
        deciding = best_first[:, place : place + 1]
        logits = np.take_along_axis(logits, deciding[..., None], axis=1)[:, 0]
        if objective == "margin":
            return np.take_along_axis(values, deciding, axis=1)[:, 0], logits
        return values.mean(axis=1), logits
