"""A face model under Gaussian noise: votes over draws, and the smoothed classifier as a model that attacks can climb."""

from numbers import Integral

import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.utils import check_random_state, gen_batches

from smartbox._guarded import MitigatedModel
from smartbox._model import DefendedModel, FaceModelMixin, seeded
from smartbox._objectives import OBJECTIVES
from smartbox._streams import ATTACKERS, ImageStreams
from smartbox.base import ImageEstimator

_BLOCK_PIXELS = 2**21  # of noise at a time: 16 MB in float64, and a few arrays of that size beside it
# Draws at a time for each image. The same for any number of images, since sums in another order round differently.
_BLOCK_DRAWS = 16
_ROLES = {"select": 0, "estimate": 1, "attack": 2}


class SmoothedModel(FaceModelMixin):
    """The classifier of largest mean probability under Gaussian noise, by draws.

    Its logits are ``log of the mean over draws of softmax(logits(x + noise))``: the mean is taken before the logarithm, since it
    is the mean that names a face. No two roles share draws, so that what is deployed is never the noise that an attack has seen.

    Parameters
    ----------
    model : FaceModelMixin
        The face model.
    sigma : float
        Standard deviation of the noise, in units of the [0, 1] intensity range. It is never cut off at the range.
    n_draws : int
        Draws for logits and gradients.
    random_state : int, RandomState or None
        With a number, an image meets the same noise at each call.
    seed : int, optional
        Stands in for ``random_state``; see `seeded`.

    References
    ----------
    .. [1] Salman, Li, Razenshteyn, Zhang, Zhang, Bubeck, Yang. "Provably Robust Deep Learning via Adversarially Trained Smoothed
       Classifiers", NeurIPS 2019, section 3, equation 6.
    """

    def __init__(self, model, *, sigma, n_draws, random_state, seed=None):
        self.model = model
        self.sigma = sigma
        self.n_draws = n_draws
        self.random_state = random_state
        self.seed = seed
        self.classes_ = model.classes_
        self.image_shape_ = model.image_shape_

    def streams(self, X):
        """One source of noise for each role, a stream an image."""
        fresh = self.seed is None
        seed = check_random_state(self.random_state).randint(2**63, dtype=np.int64) if fresh else self.seed
        streams = ImageStreams.from_images(X, seed)
        return {role: streams.spawn(number) for role, number in _ROLES.items()}

    def seeded(self, seed):
        """The same with a number of its own or, where it has none, the attacker's: an attack by it then repeats."""
        own = ATTACKERS + seed if self.seed is None and not isinstance(self.random_state, Integral) else self.seed
        model = seeded(self.model, seed)
        if own == self.seed and model is self.model:
            return self
        return SmoothedModel(model, sigma=self.sigma, n_draws=self.n_draws, random_state=self.random_state, seed=own)

    def votes(self, X, streams, n_draws):
        """How many of ``n_draws`` noisy copies of each image are seen as each class, ``(n, n_classes)``."""
        columns = np.arange(len(self.classes_))
        counts = np.zeros((len(X), len(columns)), dtype=int)
        for rows, _, logits in self._noisy_logits(X, streams, n_draws):
            counts[rows] += (logits.argmax(axis=2)[..., None] == columns).sum(axis=1)
        return counts

    def draws(self, X, streams, n_draws):
        """The model's logits of ``n_draws`` noisy copies of each image, ``(n, n_draws, n_classes)``, float32."""
        found = np.empty((len(X), n_draws, len(self.classes_)), dtype=np.float32)
        for rows, draws, logits in self._noisy_logits(X, streams, n_draws):
            found[rows, draws] = logits
        return found

    def logits(self, X):
        """Logarithms of the mean probabilities, ``(n, n_classes)``, float64."""
        return _log_mean(self._log_probabilities(X, self.streams(X)["attack"]))

    def value_and_gradient(self, X, y, objective="cross_entropy"):
        """An objective of the mean probabilities and its gradient by the image, both on the same draws."""
        streams = self.streams(X)["attack"]
        log_p = self._log_probabilities(X, streams)
        logits = _log_mean(log_p)
        values, cotangents = OBJECTIVES[objective](np, logits, self.is_label(y))
        return values, logits, self._pull_back(X, streams, log_p, cotangents)

    def vjp(self, X, cotangents):
        """Gradient of ``(cotangents * logits(X)).sum()`` by the images."""
        return self.vjps(X, np.asarray(cotangents)[:, None])[:, 0]

    def vjps(self, X, cotangents):
        """Gradients for several cotangents ``(n, count, n_classes)`` an image, on the same draws."""
        streams = self.streams(X)["attack"]
        log_p = self._log_probabilities(X, streams)
        each = [self._pull_back(X, streams, log_p, some) for some in np.moveaxis(cotangents, 1, 0)]
        return np.stack(each, axis=1)

    def _noisy(self, X, streams, n_draws):
        """Blocks of noisy images ``(rows, draws, height, width, channels)`` with their places; each image in order of draws."""
        n_rows = max(1, _BLOCK_PIXELS // (_BLOCK_DRAWS * X[0].size))
        for rows in gen_batches(len(X), n_rows):
            some = streams.take(rows)
            for draws in gen_batches(n_draws, _BLOCK_DRAWS):
                shape = (rows.stop - rows.start, draws.stop - draws.start, *X.shape[1:])
                noise = some.normal(int(np.prod(shape[1:]))).reshape(shape)
                noise *= self.sigma
                noise += X[rows][:, None]
                yield rows, draws, noise.astype(np.float32)

    def _noisy_logits(self, X, streams, n_draws):
        """Blocks of the model's logits of noisy images, ``(rows, draws, n_classes)``, with their places."""
        model = unbounded(self.model)
        for rows, draws, noisy in self._noisy(X, streams, n_draws):
            yield rows, draws, model.logits(_flat(noisy)).reshape(*noisy.shape[:2], -1)

    def _log_probabilities(self, X, streams):
        """``(n, n_draws, n_classes)``; in float64, whose underflow is far off."""
        log_p = np.empty((len(X), self.n_draws, len(self.classes_)))
        for rows, draws, logits in self._noisy_logits(X, streams, self.n_draws):
            log_p[rows, draws] = log_softmax(logits.astype(np.float64), axis=2)
        return log_p

    def _pull_back(self, X, streams, log_p, cotangents):
        """From the log of the mean to each draw's logits, and through the model to the image."""
        # Ratios of a draw's probability to the mean, at most n_draws however small both are.
        pulled = np.exp(log_p - _log_mean(log_p)[:, None]) * np.asarray(cotangents, dtype=np.float64)[:, None]
        slopes = (pulled - np.exp(log_p) * pulled.sum(axis=2, keepdims=True)) / self.n_draws
        model, gradient = unbounded(self.model), np.zeros(X.shape)
        for rows, draws, noisy in self._noisy(X, streams, self.n_draws):
            some = slopes[rows, draws].astype(np.float32)
            through = model.vjp(_flat(noisy), some.reshape(-1, some.shape[2]))
            gradient[rows] += through.reshape(noisy.shape).sum(axis=1, dtype=np.float64)
        return gradient.astype(np.float32)


class CutModel:
    """A model that takes pixels of [0, 1] only, with the cut to this range as its first step."""

    def __init__(self, model):
        self.model = model

    def logits(self, X):
        """The model's own, of the images cut to [0, 1]."""
        return self.model.logits(np.clip(X, 0, 1))

    def vjp(self, X, cotangents):
        """As the model's own; what was cut off has no gradient."""
        return np.where((X >= 0) & (X <= 1), self.model.vjp(np.clip(X, 0, 1), cotangents), np.float32(0))


def unbounded(model):
    """A view with ``logits`` and ``vjp`` for pixels of any value, as noise makes them.

    A network takes them as they are. What checks its images for itself, such as a defence, is no classifier of noisy images
    unless they are cut first; with the cut it is one, to which the theorem applies as to any other.
    """
    if hasattr(model, "_unbounded"):
        return model._unbounded()
    return CutModel(model) if isinstance(model, (DefendedModel, MitigatedModel, ImageEstimator)) else model


def _flat(noisy):
    return noisy.reshape(-1, *noisy.shape[2:])


def _log_mean(log_p):
    return logsumexp(log_p, axis=1) - np.log(log_p.shape[1])
