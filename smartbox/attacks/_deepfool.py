"""DeepFool."""

from numbers import Integral, Real

import numpy as np

from smartbox import _norms
from smartbox._compat import Interval, StrOptions
from smartbox.attacks._polish import polish
from smartbox.attacks._search import rivals, without_walls
from smartbox.base import BaseAttack

_DUAL = {"l2": "l2", "linf": "l1"}


class DeepFool(BaseAttack):
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
    long as it stays adversarial, so that the overshoot costs nothing. Pixels at 0 or 1 that would have to leave the box
    are left out of a projection, since hard shadows hold many of them. Failures return the image unchanged. Logits are
    used, never probabilities; a final softmax makes no difference.

    References
    ----------
    .. [1] Moosavi-Dezfooli, Fawzi, Frossard. "DeepFool: A Simple and Accurate Method to Fool Deep Neural Networks", CVPR 2016,
       algorithm 2, equations 7 to 12.

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
        **BaseAttack._parameter_constraints,
        "norm": [StrOptions(set(_DUAL))],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "overshoot": [Interval(Real, 0, None, closed="left")],
        "n_candidates": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        model,
        *,
        norm="l2",
        max_iter=50,
        overshoot=0.02,
        n_candidates=10,
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
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _perturb(self, model, X, y, rng):
        logits = model.logits(X)
        home = logits.argmax(axis=1)
        others = self._others(model, logits, home, y)
        goal = model.label_index(y) if self.targeted else None

        def left(index, rows):
            return index == goal[rows] if self.targeted else index != home[rows]

        X_adv, n_iterations, n_gradients, n_zero = X.copy(), *np.zeros((3, len(X)), dtype=int)
        rows = np.flatnonzero(~self._reached(model.classes_[home], y))
        total = np.zeros((len(rows), X[0].size), dtype=np.float32)
        at = X[rows]
        for _ in range(self.max_iter):
            if not rows.size:
                break
            step, flat = self._step(model, at, logits[rows], home[rows], others[rows])
            n_iterations[rows] += 1
            n_gradients[rows] += others.shape[1]
            n_zero[rows] += flat
            total += step
            x = X[rows].reshape(len(rows), -1)
            tested = np.clip(x + np.float32(1 + self.overshoot) * total, 0, 1).reshape(at.shape)
            logits[rows] = model.logits(tested)
            won = left(logits[rows].argmax(axis=1), rows)
            X_adv[rows[won]] = tested[won]
            going = ~won & ~flat
            rows, total, x = rows[going], total[going], x[going]
            total = np.clip(x + total, 0, 1) - x
            at = (x + total).reshape(len(rows), *X.shape[1:])
            if rows.size:
                logits[rows] = model.logits(at)
        X_adv = polish(model, X, X_adv, lambda predicted, which: left(model.label_index(predicted), which))
        return X_adv, {"n_iterations": n_iterations, "n_gradients": n_gradients, "n_zero_gradients": n_zero}

    def _others(self, model, logits, home, y):
        """Columns of the classes that each image may go to, shape ``(n, at most n_candidates - 1)``."""
        if self.targeted:
            return model.label_index(y)[:, None]
        return rivals(logits, home, self.n_candidates - 1)

    def _step(self, model, at, logits, home, others):
        """The way to the nearest of the linearised boundaries, and where no boundary has a slope."""
        rows = np.arange(len(at))
        best, nearest = np.full(len(at), np.inf), np.zeros((len(at), at[0].size), dtype=np.float32)
        for rival in others.T:
            towards = np.zeros_like(logits)
            towards[rows, rival] += 1
            towards[rows, home] -= 1
            slope = without_walls(model.vjp(at, towards).reshape(len(at), -1), at)
            gap = np.abs(logits[rows, home] - logits[rows, rival])
            size = _norms.size(slope, _DUAL[self.norm])
            distance = np.where(size > 0, gap / np.where(size > 0, size, 1), np.inf)
            closer = distance < best
            best[closer] = distance[closer]
            unit = np.sign(slope[closer]) if self.norm == "linf" else slope[closer] / size[closer, None]
            nearest[closer] = distance[closer, None] * unit
        return nearest, ~np.isfinite(best)
