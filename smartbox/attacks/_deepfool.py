"""DeepFool."""

from numbers import Integral, Real

import numpy as np

from smartbox import _norms
from smartbox._compat import Interval, StrOptions
from smartbox.attacks._search import MinimumNormAttack, home_of, logits_of, rivals, slopes, strongest, without_walls

_DUAL = {"l2": "l2", "linf": "l1"}
_LEAST_STEP = 0.02  # of the way so far: shorter ones would end on a curved boundary, not across
_REFINING_STEPS = 5  # at most, in a refinement, until an image is adversarial again


class DeepFool(MinimumNormAttack):
    """Repeated projection onto the nearest boundary of the linearised classifier.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    norm : {"l2", "linf"}, default="l2"
        What is to be small.
    max_iter : int, default=50
        Projections at most.
    overshoot : float, default=0.02
        Each test is made this share beyond the boundary that the steps have summed up to.
    n_candidates : int, default=10
        How many classes, those of largest logit at the image, may be the new one.
    n_refinements : int, default=2
        How often, once across, the image itself is projected onto the boundary as it is there, and the projections go
        on from that point [2]_; the nearest success counts. 0 is as published in [1]_.
    targeted : bool, default=False
        Whether to go to ``y`` alone, an extension of the published algorithm.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Not used: nothing is drawn. Here so that all attacks can be seeded alike.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`.

    Notes
    -----
    The attack leaves the predicted label, as published. An image that is not predicted as ``y`` from the start is left
    alone, since it is where the attacker wants it and might come back repaired; without ``y`` none is. (The published
    code attacks such images too: ``generate(X)`` does.) What is found is brought back towards the image by bisection as
    long as it stays adversarial, so that the overshoot costs nothing. Two refinements take a fifth more gradients and
    bring the median distance on 64 real faces from 0.138 to 0.123; with ``n_candidates=3`` it is reached in half the
    gradients. A step is no shorter than a fiftieth of the way so far, or it might end on a curved boundary, not across.
    Pixels at 0 or 1 that would have to leave the box are left out of a projection, since hard shadows hold many of
    them. Failures return the image unchanged. Logits are used, never probabilities; a final softmax makes no
    difference.

    References
    ----------
    .. [1] Moosavi-Dezfooli, Fawzi, Frossard. "DeepFool: A Simple and Accurate Method to Fool Deep Neural Networks", CVPR 2016,
       algorithm 2, equations 7 to 12.
    .. [2] Abdollahpourrostam, Abroshan, Moosavi-Dezfooli. "SuperDeepFool: A New Fast and Accurate Minimal Adversarial
       Attack", NeurIPS 2024 (the projection of the image in a refinement).

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import DeepFool
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_images=1), smartbox.load_sample_model()
    >>> attack = DeepFool(face)
    >>> X_adv = attack.generate(faces.images)
    >>> bool((face.predict(X_adv) != face.predict(faces.images)).all())
    True
    """

    _parameter_constraints = {
        **MinimumNormAttack._parameter_constraints,
        "norm": [StrOptions(set(_DUAL))],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "overshoot": [Interval(Real, 0, None, closed="left")],
        "n_candidates": [Interval(Integral, 2, None, closed="left")],
        "n_refinements": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        model,
        *,
        norm="l2",
        max_iter=50,
        overshoot=0.02,
        n_candidates=10,
        n_refinements=2,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.norm = norm
        self.max_iter = max_iter
        self.overshoot = overshoot
        self.n_candidates = n_candidates
        self.n_refinements = n_refinements
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _search(self, model, rows, rng, found, enough):
        x = found.clean[rows]
        label = model.label_index(found.y[rows])
        others = None if self.targeted else rivals(model, model.logits(x), label, self.n_candidates - 1)
        ends = self._walk(model, found, rows, x, others, self.max_iter)
        for _ in range(self.n_refinements):
            going = np.flatnonzero(np.isfinite(found.size[rows]) & (found.size[rows] > enough))
            rows, ends = rows[going], ends[going]
            if not rows.size:
                return
            again = self._from_image(model, found, rows, ends)
            ends = self._walk(model, found, rows, again, None, min(self.max_iter, _REFINING_STEPS))

    def _walk(self, model, found, rows, at, others, max_iter):
        """Project until adversarial, and return where that ended. Without ``others`` the strongest rival is the goal."""
        ends, place = at.copy(), np.arange(len(rows))
        label = model.label_index(found.y[rows])
        logits = logits_of(model, at, found.y[rows], self.targeted)
        for _ in range(max_iter):
            home, towards = self._sides(model, logits, label[place], None if others is None else others[place])
            x = found.clean[rows[place]].reshape(len(place), -1)
            total = at.reshape(x.shape) - x
            step, flat = self._step(model, at, logits, home, towards, _LEAST_STEP * _norms.size(total, self.norm))
            found.count(rows[place], flat, towards.shape[1])
            total += step
            tested = np.clip(x + np.float32(1 + self.overshoot) * total, 0, 1).reshape(at.shape)
            won = self._succeeds(model, tested, found.y[rows[place]])
            found.offer(rows[place], tested, won)
            ends[place] = tested
            going = np.flatnonzero(~won & ~flat)
            if not going.size:
                break
            place, at = place[going], np.clip(x + total, 0, 1).reshape(at.shape)[going]
            logits = logits_of(model, at, found.y[rows[place]], self.targeted)
        return ends

    def _sides(self, model, logits, label, others):
        """Columns of the class to leave, ``(n,)``, and of those to go to, ``(n, count)``."""
        if self.targeted:
            return strongest(logits, label), label[:, None]
        return home_of(model, logits, label), rivals(model, logits, label, 1) if others is None else others

    def _step(self, model, at, logits, home, towards, least):
        """The way to the nearest of the linearised boundaries, ``least`` or longer, and where no boundary has a slope."""
        gaps = np.abs(np.take_along_axis(logits, home[:, None], axis=1) - np.take_along_axis(logits, towards, axis=1))
        gradients = slopes(model, at, home, towards)
        best, nearest = np.full(len(at), np.inf), np.zeros((len(at), at[0].size), dtype=np.float32)
        for gap, gradient in zip(gaps.T, np.moveaxis(gradients, 1, 0), strict=True):
            distance, way = self._way(without_walls(gradient, at), gap, least)
            closer = distance < best
            best[closer], nearest[closer] = distance[closer], way[closer]
        return nearest, ~np.isfinite(best)

    def _from_image(self, model, found, rows, ends):
        """The image itself, projected onto the boundary as it is at ``ends``."""
        x, logits = found.clean[rows], logits_of(model, ends, found.y[rows], self.targeted)
        home, towards = self._sides(model, logits, model.label_index(found.y[rows]), None)
        slope = slopes(model, ends, home, towards)[:, 0]
        found.count(rows, ~slope.any(axis=1))
        lead = np.take_along_axis(logits, home[:, None], axis=1) - np.take_along_axis(logits, towards, axis=1)
        back = (x - ends).reshape(slope.shape)
        gap = lead[:, 0] - np.einsum(
            "ij,ij->i", slope, back
        )  # the boundary lies ahead of the image where it is positive
        _, way = self._way(without_walls(slope, x), np.maximum(gap, 0))
        return np.clip(x + np.float32(1 + self.overshoot) * way.reshape(x.shape), 0, 1)

    def _way(self, slope, gap, least=0):
        """Distance and shortest way along which a logit difference of this slope closes the gap; none where it is flat."""
        size = _norms.size(slope, _DUAL[self.norm])
        distance = np.where(size > 0, np.maximum(gap / np.where(size > 0, size, 1), least), np.inf)
        unit = np.sign(slope) if self.norm == "linf" else slope / np.where(size > 0, size, 1)[:, None]
        reach = np.where(np.isfinite(distance), distance, 0)
        return distance, (reach[:, None] * unit).astype(np.float32)
