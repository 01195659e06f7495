"""What the attacks of smallest perturbation and the parts of AutoAttack share."""

import numpy as np

from smartbox import _norms
from smartbox._objectives import OBJECTIVES
from smartbox.attacks._polish import polish
from smartbox.base import BaseAttack

COUNTS = ("n_iterations", "n_gradients", "n_zero_gradients")


def value_and_gradient(model, X, y, objective, targeted):
    """As the model's own. A guarded model has to know whether its rejection sides with ``y`` or against it, one with
    chance which of the draws decide."""
    towards = (targeted,) if getattr(model, "reject_label", None) is not None or is_expected(model) else ()
    return model.value_and_gradient(X, y, objective, *towards)


def value_and_logits(model, X, y, objective, targeted):
    """The objective's values and the logits. Of a model with chance they are those by which the attack is to judge."""
    if is_expected(model):
        return model.value_and_logits(X, y, objective, targeted)
    logits = model.logits(X)
    return values_of(model, logits, y, objective, targeted), logits


def logits_of(model, X, y, targeted):
    """The logits alone."""
    return model.logits(X) if not is_expected(model) else value_and_logits(model, X, y, "margin", targeted)[1]


def is_expected(model):
    """Whether gradients are means over draws of chance already."""
    return hasattr(model, "value_and_logits")  # a smoothed model averages too, but its logits are final


def values_of(model, logits, y, objective, targeted):
    """The objective's values alone, from logits."""
    if getattr(model, "reject_label", None) is None:
        return OBJECTIVES[objective](np, logits, model.is_label(y))[0]
    return model.objective(logits, y, objective, targeted)[0]


def uphill(model, X, y, rng, objective, *, targeted=False, n_draws=1):
    """Objective (to maximise), logits, its gradient as rows ``(n, d)``, and where that was zero.

    A gradient that is zero or not finite shows no way: a random direction stands in. Over ``n_draws`` calls of a model
    with chance of its own everything is averaged.
    """
    values, logits, gradient = value_and_gradient(model, X, y, objective, targeted)
    for draw in range(1, n_draws):
        more = zip((values, logits, gradient), value_and_gradient(model, X, y, objective, targeted), strict=True)
        values, logits, gradient = (old + (new - old) / np.float32(draw + 1) for old, new in more)
    gradient = gradient.reshape(len(X), -1)
    if targeted:
        values, gradient = -values, -gradient
    usable = np.isfinite(gradient).all(axis=1) & gradient.any(axis=1)
    if not usable.all():
        gradient = gradient.copy()
        gradient[~usable] = rng.take(np.flatnonzero(~usable)).normal(gradient.shape[1])
    return values, logits, gradient, ~usable


def slopes(model, X, home, others):
    """Gradients of each other logit less that of home, ``(n, count, d)``, for columns ``others`` ``(n, count)``."""
    columns = np.arange(len(model.classes_))
    cotangents = (others[..., None] == columns).astype(np.float32) - (home[:, None, None] == columns)
    vjps = getattr(model, "vjps", None)  # a model of one's own may have vjp alone
    if vjps is None:
        gradients = np.stack([model.vjp(X, each) for each in np.moveaxis(cotangents, 1, 0)], axis=1)
    else:
        gradients = vjps(X, cotangents)
    return gradients.reshape(*others.shape, -1)


def unit(rows):
    """Rows of l2 norm 1; zero stays zero."""
    return rows / np.maximum(_norms.size(rows, "l2"), 1e-30)[:, None].astype(rows.dtype)


def cosine(start, end, k, n):
    """From ``start`` at ``k = 0`` to ``end`` at ``k = n``, along half a cosine."""
    return end + (start - end) * (1 + np.cos(np.pi * k / n)) / 2


def without_walls(slope, at):
    """Zero where a pixel stands at the wall that its slope points to: it cannot move there."""
    x = at.reshape(slope.shape)
    return np.where(((slope > 0) & (x >= 1)) | ((slope < 0) & (x <= 0)), np.float32(0), slope)


def rivals(model, logits, home, count):
    """Columns of the ``count`` largest logits other than ``home``, shape ``(n, at most count)``; the largest first.

    A guarded model's rejection is nobody's goal, hence not among them.
    """
    others, n_rivals = logits.copy(), logits.shape[1] - 1
    if getattr(model, "reject_label", None) is not None:
        others, n_rivals = others[:, :-1], n_rivals - 1
    others[np.arange(len(home)), home] = -np.inf
    return np.argsort(-others, axis=1, kind="stable")[:, : min(count, n_rivals)]


def strongest(logits, goal):
    """Column of the largest logit other than ``goal``: what keeps an image from being seen as ``goal``."""
    others = logits.copy()
    others[np.arange(len(goal)), goal] = -np.inf
    return others.argmax(axis=1)


def home_of(model, logits, label):
    """Column to get away from: the label's, or where it is larger the rejection's."""
    if getattr(model, "reject_label", None) is None:
        return label
    return np.where(logits[:, -1] > logits[np.arange(len(label)), label], logits.shape[1] - 1, label)


class MinimumNormAttack(BaseAttack):
    """An attack that looks for the nearest adversarial point.

    A subclass has a parameter or attribute ``norm`` and writes ``_search(model, rows, rng, found, enough)``, which
    offers points to ``found``. Images that are wrong from the start are not searched for; others may leave the search
    with a point within ``enough``.
    """

    def _perturb(self, model, X, y, rng, enough=0.0):
        found = Nearest(X, y, self.norm)
        everyone = np.arange(len(X))
        found.offer(everyone, X, self._succeeds(model, X, y))
        rows = found.missing(everyone, enough)
        if rows.size:
            self._search(model, rows, rng.take(rows), found, enough)
        X_adv = polish(X, found.X, lambda images, which: self._succeeds(model, images, y[which]))
        return X_adv, found.counts

    def _won(self, model, logits, y):
        return self._reached(model, model.classes_[logits.argmax(axis=1)], y)


class Nearest:
    """The nearest adversarial point found so far for each image of a batch: the image itself where there is none."""

    def __init__(self, X, y, norm):
        self.clean, self.y, self.norm = X, y, norm
        self.X = X.copy()
        self.size = np.full(len(X), np.inf)
        self.counts = {name: np.zeros(len(X), dtype=int) for name in COUNTS}

    def offer(self, rows, X, won):
        """Keep what is adversarial and nearer."""
        size = _norms.size((X - self.clean[rows]).reshape(len(rows), -1), self.norm)
        nearer = won & (size < self.size[rows])
        kept = rows[nearer]
        self.X[kept], self.size[kept] = X[nearer], size[nearer]

    def missing(self, rows, enough):
        """Those of ``rows`` whose nearest point is farther than ``enough``."""
        return rows[self.size[rows] > enough]

    def count(self, rows, flat, n_gradients=1):
        self.counts["n_iterations"][rows] += 1
        self.counts["n_gradients"][rows] += n_gradients
        self.counts["n_zero_gradients"][rows] += flat


class Best:
    """The best point found so far for each image of a batch: adversarial before not, then by loss."""

    def __init__(self, X, y, won):
        self.X, self.y, self.won = X.copy(), y, won.copy()
        self.value = np.where(won, np.inf, -np.inf)
        self.counts = {name: np.zeros(len(X), dtype=int) for name in COUNTS}

    def offer(self, rows, X, values, won):
        """Keep what wins, or where nothing has, what is higher."""
        better = (won & ~self.won[rows]) | ((won == self.won[rows]) & (values > self.value[rows]))
        kept = rows[better]
        self.X[kept], self.value[kept], self.won[kept] = X[better], values[better], won[better]
