"""What C&W and EAD share: a size plus ``c`` times a hinge is minimised, and ``c`` searched for each image."""

from numbers import Integral, Real

import numpy as np

from smartbox._compat import Interval, StrOptions
from smartbox.attacks._ddn import DDN
from smartbox.attacks._fmn import FMN
from smartbox.attacks._polish import polish
from smartbox.attacks._search import value_and_gradient, value_and_logits
from smartbox.base import BaseAttack

_LARGEST_CONST = 1e10
_GAIN = np.float32(0.999)  # from a head start, an image leaves when a constant has not bettered it by a thousandth


class PenaltyAttack(BaseAttack):
    """An attack that minimises ``size(x' - x) + c * max(confidence - margin(x'), 0)`` for some constants ``c``.

    The margin is the attacker's: largest other logit less the label's, or with ``targeted`` the reverse. A subclass
    writes ``_start(x, at)``, which gives its arrays of state for images ``x`` and the points where to begin;
    ``_sizes(delta)``, the size in the objective and the one that ranks successes; and ``_advance(model, state, k)``,
    which makes step ``k`` and returns the images to judge, their margins, both sizes, and where the hinge had no slope.
    ``state`` holds one entry an image: those arrays, ``x``, ``y``, ``c``, and its place in the batch, ``rows``.
    """

    _parameter_constraints = {
        **BaseAttack._parameter_constraints,
        "confidence": [Interval(Real, 0, None, closed="left")],
        "binary_search_steps": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "initial_const": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "abort_early": ["boolean"],
    }

    def _perturb(self, model, X, y, rng):
        best = _Best(X)
        rows = np.flatnonzero(~self._met(self._margins(model, X, y)))
        search = _ConstantSearch(self._first_constants(model, X, y, rows, best))
        starts = X if self.init == "image" else self._head_start(model, X, y, rows, rng, best)
        for step in range(self.binary_search_steps):
            if not rows.size:
                break
            if step == self.binary_search_steps - 1 >= 9:
                search.repeat_best()
            rank = best.rank[rows]
            won, stuck = self._descend(model, X, y, starts, search.c, rows, best)
            search.update(rows, won[rows])
            going = ~stuck[rows]
            if self.init != "image":
                starts = np.where(np.isfinite(best.rank)[:, None, None, None], best.X, starts)
                going &= ~np.isfinite(rank) | (best.rank[rows] < _GAIN * rank)
            rows = rows[going]

        def judge(images, which):
            return self._met(self._margins(model, images, y[which]))

        counts = {name: getattr(best, name) for name in ("n_iterations", "n_gradients", "n_zero_gradients")}
        return polish(X, best.X, judge), counts

    def _head_start(self, model, X, y, rows, rng, best):
        """Points of a short attack of smallest norm, which count as found; the image itself where it finds none."""
        starts = X.copy()
        if rows.size:
            steps = {"max_iter": max(10, self.max_iter // 4), "targeted": self.targeted}
            # Targets lie far beyond the linearised boundary: there the published radius finds more, and nearer.
            radius = 1.0 if self.targeted else "auto"
            starter = FMN(None, norm="l1", **steps) if self.init == "fmn" else DDN(None, init_eps=radius, **steps)
            starts[rows], counts = starter._perturb(model, X[rows], y[rows], rng.take(rows))
            for name, values in counts.items():
                getattr(best, name)[rows] += values
            met = rows[self._met(self._margins(model, starts[rows], y[rows]))]
            best.offer(met, starts[met], self._sizes(starts[met] - X[met])[1])
        return starts

    def _descend(self, model, X, y, starts, c, rows, best):
        """One minimisation at each row's constant. Returns, for the whole batch, who won and whom no constant moves."""
        won, stuck = np.zeros((2, len(X)), dtype=bool)
        state = {"rows": rows, "x": X[rows], "y": y[rows], "c": c[rows].astype(np.float32)}
        state |= self._start(X[rows], starts[rows])
        state["lowest"] = state["before"] = np.full(len(rows), np.inf, dtype=np.float32)
        state["lately"] = np.zeros(len(rows), dtype=bool)
        window = max(1, self.max_iter // 10)
        for k in range(self.max_iter):
            rows = state["rows"]
            images, margins, size, rank, flat = self._advance(model, state, k)
            met = self._met(margins)
            best.offer(rows[met], images[met], rank[met])
            state["lately"] = met if self._settles() and k % window == 0 else state["lately"] | met
            won[rows] = state["lately"]
            best.count(rows, flat)
            going = np.ones(len(rows), dtype=bool)
            if k == 0:  # flat at the image itself: no step was made, and none ever will be
                stuck[rows[flat]], going = True, ~flat
            loss = size + state["c"] * np.maximum(np.float32(self.confidence) - margins, 0)
            state["lowest"] = np.minimum(state["lowest"], loss)
            if self.abort_early and (k + 1) % window == 0:
                going &= state["lowest"] <= np.float32(0.9999) * state["before"]
                state["before"], state["lowest"] = state["lowest"], np.full(len(rows), np.inf, dtype=np.float32)
            if not going.all():
                if not going.any():
                    break
                state = {name: values[going] for name, values in state.items()}
        return won, stuck

    def _settles(self):
        """Whether a constant is judged by its last tenth of the steps, which come to rest, rather than by any step."""
        return False

    def _slope(self, model, images, state):
        """Margins, the gradient of ``c`` times the hinge, and where a needed one is all zero or not finite."""
        values, _, gradient = value_and_gradient(model, images, state["y"], "margin", self.targeted)
        margins = -values if self.targeted else values
        unmet = ~self._met(margins)
        rows = gradient.reshape(len(images), -1)
        usable = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
        if not usable.all():
            gradient = np.where(usable[:, None, None, None], gradient, np.float32(0))
        push = np.where(unmet, state["c"] if self.targeted else -state["c"], np.float32(0))
        return margins, push[:, None, None, None] * gradient, unmet & ~usable

    def _margins(self, model, X, y):
        values, _ = value_and_logits(model, X, y, "margin", self.targeted)
        return -values if self.targeted else values

    def _met(self, margins):
        return (margins > 0) & (margins >= np.float32(self.confidence))

    def _first_constants(self, model, X, y, rows, best):
        """``initial_const``, or where an affine model begins to give in: ``2 (m + confidence) / ||grad m||**2``."""
        if self.initial_const != "auto":
            return np.full(len(X), float(self.initial_const))
        c = np.ones(len(X))
        if rows.size:
            values, _, gradient = value_and_gradient(model, X[rows], y[rows], "margin", self.targeted)
            missing = self.confidence + (values if self.targeted else -values).astype(np.float64)
            steepness = np.square(gradient.reshape(len(rows), -1), dtype=np.float64).sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                c[rows] = 2 * missing / steepness
            best.n_gradients[rows] += 1
        return np.where((c > 0) & (c < _LARGEST_CONST), c, 1.0)


class _ConstantSearch:
    """The bisection of each image's constant: tenfold until it succeeds once, halving the bracket from then on."""

    def __init__(self, c):
        self.c = c
        self.low, self.high = np.zeros(len(c)), np.full(len(c), np.inf)

    def update(self, rows, won):
        c = self.c[rows]
        self.high[rows] = np.where(won, np.minimum(self.high[rows], c), self.high[rows])
        self.low[rows] = np.where(won, self.low[rows], np.maximum(self.low[rows], c))
        low, high = self.low[rows], self.high[rows]
        middle = low + (np.where(np.isfinite(high), high, low) - low) / 2
        self.c[rows] = np.where(np.isfinite(high), middle, np.minimum(10 * c, _LARGEST_CONST))

    def repeat_best(self):
        """Back to the smallest constant that succeeded, for the last step of a long search."""
        self.c = np.where(np.isfinite(self.high), self.high, self.c)


class _Best:
    """The smallest success of each image over all steps and constants; the image itself where there is none."""

    def __init__(self, X):
        self.X = X.copy()
        self.rank = np.full(len(X), np.inf, dtype=np.float32)
        self.n_iterations, self.n_gradients, self.n_zero_gradients = np.zeros((3, len(X)), dtype=int)

    def offer(self, rows, images, rank):
        better = rank < self.rank[rows]
        kept = rows[better]
        self.X[kept], self.rank[kept] = images[better], rank[better]

    def count(self, rows, flat):
        self.n_iterations[rows] += 1
        self.n_gradients[rows] += 1
        self.n_zero_gradients[rows] += flat


def row_sums(values):
    """Sum over each image, in float32: it depends on no other image."""
    return values.sum(axis=(1, 2, 3))
