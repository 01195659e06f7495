"""One start of Auto-PGD: the loop that all norms share, with the step and its halving for linf and l2."""

import numpy as np
from sklearn.utils import Bunch

from smartbox import _norms
from smartbox.attacks._budget import rooms
from smartbox.attacks._search import is_expected, unit, uphill

_MOMENTUM, _RISING = np.float32(0.75), 0.75


class Climb:
    """One start of some images. ``state`` holds a row for each; all rows of an adversarial image leave together."""

    def __init__(self, attack, model, objective, towards):
        self.attack, self.model, self.objective, self.towards = attack, model, objective, towards
        self.eps = attack._eps()
        self.checks = checkpoints(attack.max_iter)
        self.n_draws = 1 if is_expected(model) else attack.eot_iter or 1

    def run(self, X, y, aim, rows, rng, best):
        self.begin(X, y, aim, rows, rng)
        for k in range(self.attack.max_iter + 1):
            rng = self.evaluate(rng, best)
            if not self.state.rows.size or k == self.attack.max_iter:
                return
            if k == 0:
                self.state.rises = np.zeros_like(self.state.rises)
                self.state.value_then = self.state.best_value
            elif k in self.checks:
                self.check(k)
            self.move(k)
            best.counts["n_iterations"][self.state.rows] += 1

    def begin(self, X, y, aim, rows, rng):
        """A random point of the ball, from which nothing is known yet."""
        low, high = rooms(X)
        delta = _norms.random_start(rng, low, high, self.eps, self.attack.norm)
        nowhere, step = np.full(len(X), -np.inf), np.full(len(X), 2 * self.eps)
        self.state = Bunch(
            X=X, y=y, aim=aim, rows=rows, low=low, high=high, delta=delta, previous=delta, gradient=delta,
            value=nowhere, best_value=nowhere, best_delta=delta, best_gradient=delta, rises=np.zeros(len(X), int),
            step=step, step_then=step, value_then=nowhere,
        )  # fmt: skip

    def evaluate(self, rng, best):
        """Loss and gradient where the images are now. What is adversarial is kept in ``best`` and leaves."""
        s, attack = self.state, self.attack
        at = s.X + s.delta.reshape(s.X.shape)
        values, logits, gradient, flat = uphill(
            self.model, at, s.aim, rng, self.objective, targeted=self.towards, n_draws=self.n_draws
        )
        allowed = self.allowed()
        won = allowed & attack._reached(self.model, self.model.classes_[logits.argmax(axis=1)], s.y)
        best.counts["n_gradients"][s.rows] += self.n_draws
        best.counts["n_zero_gradients"][s.rows] += flat & ~won
        best.offer(s.rows, at, np.where(allowed, values, -np.inf), won)
        s.rises, s.value, s.gradient = s.rises + (values > s.value), values, gradient
        better = values > s.best_value
        s.best_value = np.where(better, values, s.best_value)
        s.best_delta = np.where(better[:, None], s.delta, s.best_delta)
        s.best_gradient = np.where(better[:, None], gradient, s.best_gradient)
        if won.any():
            going = np.flatnonzero(~won)
            self.state, rng = Bunch(**{name: array[going] for name, array in s.items()}), rng.take(going)
        return rng

    def allowed(self):
        """Which images are where they may be returned: all, unless the search strays beyond ``eps``."""
        return np.ones(len(self.state.rows), dtype=bool)

    def check(self, k):
        """Conditions 1 and 2 of the paper: where one holds, half the step, from the best point on."""
        s = self.state
        since = k - max([0, *(w for w in self.checks if w < k)])
        stuck = (s.step == s.step_then) & (s.best_value == s.value_then)
        halved = (s.rises < _RISING * since) | stuck
        s.step_then, s.value_then, s.rises = s.step, s.best_value, np.zeros_like(s.rises)
        s.step = np.where(halved, s.step / 2, s.step)
        self.go_back(halved)

    def go_back(self, which):
        """To the best point so far."""
        s = self.state
        s.delta = np.where(which[:, None], s.best_delta, s.delta)
        s.gradient = np.where(which[:, None], s.best_gradient, s.gradient)
        s.value = np.where(which, s.best_value, s.value)

    def move(self, k):
        """A projected step up, three quarters of it and a quarter of the last movement."""
        s = self.state
        ascent = np.sign(s.gradient) if self.attack.norm == "linf" else unit(s.gradient)
        ahead = self.project(s.delta + s.step[:, None].astype(np.float32) * ascent)
        if k > 0:
            ahead = self.project(s.delta + _MOMENTUM * (ahead - s.delta) + (1 - _MOMENTUM) * (s.delta - s.previous))
        s.previous, s.delta = s.delta, ahead

    def project(self, delta):
        return _norms.project(delta, self.state.low, self.state.high, self.eps, self.attack.norm)


def checkpoints(max_iter):
    """Steps after which the step's length is looked at: ``22, 41, 57, 70, 80, 87, 93, 99`` of 100."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return {int(np.ceil(round(share * max_iter, 6))) for share in shares[1:-1]}
