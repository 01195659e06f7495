"""What FGSM, PGD and their kin share: a ball of radius eps, a loss to climb, and the help of chance where it is flat."""

from numbers import Real

import numpy as np

from smartbox import _norms
from smartbox._checks import as_number
from smartbox._compat import Interval, StrOptions
from smartbox.base import BaseAttack

# "ce" keeps the arithmetic of float32 cross-entropy, see FGSM's Notes.
LOSSES = {"odds": "odds", "ce": "saturating_cross_entropy"}


class BudgetAttack(BaseAttack):
    """An attack whose perturbation is at most ``eps`` in a norm."""

    _parameter_constraints = {
        **BaseAttack._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="left"), str],
        "norm": [StrOptions(set(_norms.NORMS))],
        "loss": [StrOptions(set(LOSSES))],
    }

    def _uphill(self, model, X, y, rng):
        """Objective (to maximise), logits, its gradient as rows ``(n, d)``, and where that was zero.

        Where every entry is zero or not finite there is no way up: a random direction stands in, and is counted.
        """
        values, logits, gradient = model.value_and_gradient(X, y, LOSSES[self.loss])
        gradient = gradient.reshape(len(X), -1)
        if self.targeted:
            values, gradient = -values, -gradient
        usable = np.isfinite(gradient).all(axis=1) & gradient.any(axis=1)
        if not usable.all():
            gradient = gradient.copy()
            gradient[~usable] = rng.take(np.flatnonzero(~usable)).normal(gradient.shape[1])
        return values, logits, gradient, ~usable

    def _eps(self):
        return as_number(self.eps, "eps")


def rooms(X):
    """How far each pixel can fall and rise, as rows: ``(-x, 1 - x)``."""
    flat = X.reshape(len(X), -1)
    return -flat, 1 - flat
