"""One start of Auto-PGD in l1: sparse steps, in balls that shrink."""

import numpy as np

from smartbox import _norms
from smartbox.attacks._apgd_climb import Climb

_SHARE, _EVERY = 0.2, 0.04  # of the pixels that the first steps move; of the steps between two checks
_SPARSER, _FEWER, _SHORTER, _SHORTEST = 0.95, 1.5, 1.5, 0.1


class SparseClimb(Climb):
    """Steps of equal length on the pixels of largest slope, fewer and fewer of them, without momentum.

    The ball is first three times as large as allowed, then twice, then as allowed: a better beginning than a random one.

    Beyond the paper, a pixel that is at a wall of the box counts neither among those that a step moves nor among those that
    the perturbation is made of; it is pushed along if its slope is large enough, lest the projection take from it. Otherwise
    the search stands still once it moves nothing but pixels without room: on affine models, at 88 to 97 % of the optimum.
    With it, one pixel at a time, the optimum is the only place of rest.
    """

    def __init__(self, attack, model, objective, towards):
        super().__init__(attack, model, objective, towards)
        self.largest, n, third = self.eps, attack.max_iter, int(0.3 * attack.max_iter)
        self.radii = {0: 3 * self.eps, third: 2 * self.eps, 2 * third: self.eps}  # the last one holds where all are 0
        self.eps = self.radii[0]
        self.checks = set()
        every, begins = max(1, int(_EVERY * n)), sorted(self.radii)
        for begin, end in zip(begins, [*begins[1:], n], strict=True):
            self.checks.update(range(begin + every, end, every))

    def begin(self, X, y, aim, rows, rng):
        super().begin(X, y, aim, rows, rng)
        n_pixels = self.state.delta.shape[1]
        self.settle(np.full(len(X), n_pixels), np.full(len(X), max(1, int(_SHARE * n_pixels))), self.eps)

    def settle(self, support, n_moved, step):
        """Keep the size of the best point's support, the number of pixels to be moved, and by how much in all."""
        s = self.state
        s.support, s.n_moved, s.step = support, n_moved, np.broadcast_to(step, support.shape)

    def allowed(self):
        return _norms.size(self.state.delta, "l1") <= self.largest * (1 + 1e-6)

    def check(self, k):
        """Two thirds of the best point's pixels move from now on; as far as ever if they have become fewer."""
        s = self.state
        support = self.count(s.best_delta)
        sparser = support < _SPARSER * s.support
        step = np.where(sparser, self.eps, np.maximum(s.step / _SHORTER, _SHORTEST * self.eps))
        self.settle(support, self.fewer(support), step)
        self.go_back(sparser)

    def move(self, k):
        """A projected step up, or the projection of the best point onto the next smaller ball."""
        s = self.state
        if k > 0 and k in self.radii:
            self.eps = self.radii[k]
            s.delta = self.project(s.best_delta)
            s.best_value = np.full(len(s.delta), -np.inf)
            support = self.count(s.delta)
            self.settle(support, self.fewer(support), self.eps)
        else:
            s.delta = self.project(s.delta + self.push())

    def push(self):
        """The step, before the projection: the same for each pixel whose slope is among the largest of those with room."""
        s = self.state
        slope = np.abs(s.gradient)
        with_room = np.where(np.where(s.gradient > 0, s.delta < s.high, s.delta > s.low), slope, 0)
        most = s.n_moved.max()
        leaders = -np.sort(np.partition(-with_room, most - 1, axis=1)[:, :most], axis=1)
        least = np.take_along_axis(leaders, s.n_moved[:, None] - 1, axis=1)
        n_with_room = np.sum((with_room >= least) & (with_room > 0), axis=1)
        length = (s.step / np.maximum(n_with_room, 1)).astype(np.float32)[:, None]
        return np.where(slope >= least, np.sign(s.gradient) * length, np.float32(0))

    def count(self, delta):
        """How many pixels each perturbation is made of, those at a wall aside."""
        s = self.state
        return np.sum((delta != 0) & (delta > s.low) & (delta < s.high), axis=1)

    def fewer(self, support):
        return np.maximum(1, (support / _FEWER).astype(int))
