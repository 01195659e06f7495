"""What FGSM, PGD and their kin share: a ball of radius eps, a loss to climb, and the help of chance where it is flat."""

from numbers import Real

from smartbox import _norms
from smartbox._checks import as_number
from smartbox._compat import Interval, StrOptions
from smartbox.attacks._search import uphill
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
        """`uphill` on the attack's own loss."""
        return uphill(model, X, y, rng, LOSSES[self.loss], targeted=self.targeted)

    def _validate_params(self):
        super()._validate_params()
        self._eps()  # text shows its mistakes only when it is read

    def _eps(self):
        eps = as_number(self.eps, "eps")
        if self.norm == "linf" and eps > 1:
            raise ValueError(
                f"expected a linf eps of at most 1, the whole intensity range, got {self.eps!r}: did you mean {eps:g}/255?"
            )
        return eps


def rooms(X):
    """How far each pixel can fall and rise, as rows: ``(-x, 1 - x)``."""
    flat = X.reshape(len(X), -1)
    return -flat, 1 - flat
