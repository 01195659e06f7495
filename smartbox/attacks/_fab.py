"""Fast adaptive boundary attack."""

from numbers import Integral, Real

import numpy as np

from smartbox import _norms
from smartbox._compat import Interval, StrOptions
from smartbox.attacks._budget import rooms
from smartbox.attacks._polish import polish
from smartbox.attacks._search import MinimumNormAttack, home_of, logits_of, rivals, slopes, strongest

_DUAL = {"l1": "linf", "l2": "l2", "linf": "l1"}
# A restart is no farther from the image than half of this.
_FAR = {"l1": 5.0, "l2": 1.0, "linf": 0.3}


class FAB(MinimumNormAttack):
    """Projections onto the linearised boundary, pulled towards the image's own, and steps back once across.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    norm : {"linf", "l2", "l1"}, default="linf"
        What is to be small.
    max_iter : int, default=100
        Projections; of each target, with ``n_targets``.
    n_candidates : int, default=10
        How many classes, those of largest logit at the image, have boundaries that are looked at in each iteration.
    n_targets : int or None, default=None
        With a number, the label in ``y`` is left by going to each of so many others in turn, those of largest logit
        first (FAB-T): one gradient an iteration instead of ``n_candidates - 1``.
    n_restarts : int, default=1
        Independent starts, of each target: the first at the image, each further one at random around it. More of them
        never make a result larger.
    alpha_max : float, default=0.1
        Largest weight of the projection of the image itself.
    overshoot : float, default=0.05
        Share by which a step goes beyond the boundary.
    backward : float, default=0.9
        Share of the way from the image that is kept once an adversarial point is found.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the starts from the second on, a stream an image: an image's start depends on neither batch nor order.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`.

    See Also
    --------
    DeepFool : Projections without the pull towards the image; stops at the first success.

    Notes
    -----
    Projections are the exact ones onto hyperplane and pixel box together; where those do not meet, every pixel goes to
    its wall. Logits scaled or shifted change nothing. What is found is brought back towards the image by bisection.
    Images that are wrong from the start, and those for which nothing is found, are returned unchanged; one whose logits
    have no slope leaves. Restarts are uniform in the ball around the image with half the size of the smallest
    perturbation so far, or half of 0.3 (linf), 1 (l2) or 5 (l1) where that is less, as in the authors' code; the paper
    names no number.

    References
    ----------
    .. [1] Croce, Hein. "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML 2020,
       algorithm 1, equations 4 to 11.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FAB
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_identities=4, n_images=1), smartbox.load_sample_model()
    >>> attack = FAB(face, norm="l2", max_iter=10, n_candidates=3)
    >>> X_adv, report = attack.generate(faces.images, faces.target, return_report=True)
    >>> bool(report.success.all())
    True
    """

    _parameter_constraints = {
        **MinimumNormAttack._parameter_constraints,
        "norm": [StrOptions(set(_DUAL))],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_candidates": [Interval(Integral, 2, None, closed="left")],
        "n_targets": [Interval(Integral, 1, None, closed="left"), None],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "alpha_max": [Interval(Real, 0, 1, closed="both")],
        "overshoot": [Interval(Real, 0, None, closed="left")],
        "backward": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        model,
        *,
        norm="linf",
        max_iter=100,
        n_candidates=10,
        n_targets=None,
        n_restarts=1,
        alpha_max=0.1,
        overshoot=0.05,
        backward=0.9,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.norm = norm
        self.max_iter = max_iter
        self.n_candidates = n_candidates
        self.n_targets = n_targets
        self.n_restarts = n_restarts
        self.alpha_max = alpha_max
        self.overshoot = overshoot
        self.backward = backward
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _search(self, model, rows, rng, found, enough):
        label = model.label_index(found.y)
        logits = model.logits(found.clean[rows])
        if self.targeted:
            runs = [label[rows][:, None]]
        elif self.n_targets is None:
            runs = [rivals(model, logits, label[rows], self.n_candidates - 1)]
        else:
            runs = [target[:, None] for target in rivals(model, logits, label[rows], self.n_targets).T]
        for restart in range(self.n_restarts):
            if restart > 0:
                self._draw_near(model, rows, found)
            for number, run in enumerate(runs):
                left = np.flatnonzero(found.size[rows] > enough)
                if left.size:
                    which, at, first = rows[left], found.clean[rows[left]], logits[left]
                    if restart > 0:
                        at = self._start(rng.spawn(restart * len(runs) + number).take(left), which, found, enough)
                        first = logits_of(model, at, found.y[which], self.targeted)
                    self._walk(model, which, label[which], run[left], at, first, found, enough)

    def _draw_near(self, model, rows, found):
        """Bring what is found back towards the image: no restart shall end farther away than without it."""
        near = polish(found.clean, found.X, lambda images, which: self._succeeds(model, images, found.y[which]))
        found.offer(rows, near[rows], np.isfinite(found.size[rows]))

    def _start(self, rng, rows, found, enough):
        """A random point around each image, not half as far away as what is wanted or found."""
        radius = np.minimum(found.size[rows], enough if enough > 0 else _FAR[self.norm]) / 2
        clean = found.clean[rows]
        return clean + _norms.random_start(rng, *rooms(clean), radius, self.norm).reshape(clean.shape)

    def _walk(self, model, rows, label, towards, at, logits, found, enough):
        """All iterations of some images from ``at`` towards the boundaries to the classes in ``towards``."""
        for _ in range(self.max_iter):
            home = strongest(logits, towards[:, 0]) if self.targeted else home_of(model, logits, label)
            slope, height = self._nearest(model, at, logits, home, towards)
            flat = ~slope.any(axis=1)
            found.count(rows, flat, towards.shape[1])
            at = self._step(found.clean[rows], at, slope, height)
            logits = logits_of(model, at, found.y[rows], self.targeted)
            won = self._won(model, logits, found.y[rows]) & ~flat
            found.offer(rows, at, won)
            back = np.flatnonzero(won)
            if back.size:
                clean = found.clean[rows[back]]
                at[back] = clean + np.float32(self.backward) * (at[back] - clean)
                logits[back] = logits_of(model, at[back], found.y[rows[back]], self.targeted)
            going = np.flatnonzero(~flat & (found.size[rows] > enough))
            rows, label, towards, at, logits = rows[going], label[going], towards[going], at[going], logits[going]
            if not rows.size:
                return

    def _nearest(self, model, at, logits, home, towards):
        """Slope, as rows, and height of ``logit of the class - logit of home`` for the class of nearest boundary."""
        rows = np.arange(len(at))
        best = np.full(len(at), np.inf)
        slope, height = np.zeros((len(at), at[0].size), np.float32), np.zeros(len(at))
        gradients = np.moveaxis(slopes(model, at, home, towards), 1, 0)
        for target, gradient in zip(towards.T, gradients, strict=True):
            gap = (logits[rows, target] - logits[rows, home]).astype(np.float64)
            size = _norms.size(gradient, _DUAL[self.norm])
            usable = np.isfinite(size) & (size > 0)
            distance = np.where(usable, np.abs(gap) / np.where(usable, size, 1), np.inf)
            closer = distance < best
            best[closer], slope[closer], height[closer] = distance[closer], gradient[closer], gap[closer]
        return slope, height

    def _step(self, clean, at, slope, height):
        """The next point: between the projections of this point and of the image, each with its overshoot."""
        x, x0 = at.reshape(slope.shape), clean.reshape(slope.shape)
        here = to_boundary(slope, height, *rooms(at), self.norm)
        height_of_image = height + np.einsum("ij,ij->i", slope, x0 - x, dtype=np.float64)
        there = to_boundary(slope, height_of_image, *rooms(clean), self.norm)
        sizes = [np.maximum(_norms.size(way, self.norm), 1e-12) for way in (here, there)]
        alpha = np.minimum(sizes[0] / (sizes[0] + sizes[1]), self.alpha_max)[:, None].astype(np.float32)
        eta = np.float32(1 + self.overshoot)
        return np.clip((1 - alpha) * (x + eta * here) + alpha * (x0 + eta * there), 0, 1).reshape(at.shape)


def to_boundary(slope, height, low, high, norm):
    """The least row in ``norm`` between the walls with ``height + slope . row = 0``; the walls, where none gets there.

    Each pixel goes its pace, 1 in linf and the slope in l2, until its wall; in l1 one after the other, the steepest
    first. What has been gained is piecewise linear, so that sorting by arrival finds the end exactly.
    """
    slope = np.where(height[:, None] > 0, -slope, slope)
    gap, weight = np.abs(height)[:, None], np.abs(slope).astype(np.float64)
    room = np.where(slope > 0, high, -low).astype(np.float64)
    if norm == "l1":
        order = np.argsort(-weight, axis=1, kind="stable")
        gain, wall = (np.take_along_axis(rows, order, axis=1) for rows in (weight * room, room))
        share = np.clip(gap - (np.cumsum(gain, axis=1) - gain), 0, gain) / np.where(gain > 0, gain, 1)
        reach = np.zeros_like(weight)
        np.put_along_axis(reach, order, share * wall, axis=1)
    else:
        pace = weight if norm == "l2" else np.where(weight > 0, 1.0, 0.0)
        arrival = np.where(pace > 0, room / np.where(pace > 0, pace, 1), 0)
        order = np.argsort(arrival, axis=1, kind="stable")
        parts = (arrival, weight * room, weight * pace)
        time, gain, speed = (np.take_along_axis(part, order, axis=1) for part in parts)
        moving = np.cumsum(speed[:, ::-1], axis=1)[:, ::-1]  # speed of this pixel and of those that arrive later
        before = np.cumsum(gain, axis=1) - gain
        enough = before + time * moving >= gap
        first = np.where(enough.any(axis=1), enough.argmax(axis=1), -1)[:, None]
        spent, rate, last = (np.take_along_axis(rows, first, axis=1) for rows in (before, moving, time))
        end = np.minimum(np.maximum(gap - spent, 0) / np.where(rate > 0, rate, 1), last)
        end = np.where(enough.any(axis=1, keepdims=True), end, last)
        reach = np.minimum(end * pace, room)
    return (np.sign(slope) * reach).astype(np.float32)
