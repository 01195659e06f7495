"""Projected gradient descent."""

from numbers import Integral, Real

import numpy as np

from smartbox import _norms
from smartbox._checks import as_number
from smartbox._compat import Interval
from smartbox.attacks._budget import LOSSES, BudgetAttack, rooms
from smartbox.attacks._search import Best, value_and_logits


class PGD(BudgetAttack):
    """Steps up the loss, each followed by a projection back into the ball around the image.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    eps : float or str, default=8/255
        Largest size of the perturbation in ``norm``, in units of the [0, 1] intensity range; also as text, ``"8/255"``.
    norm : {"linf", "l2", "l1"}, default="linf"
        How the perturbation is measured.
    max_iter : int, default=40
        Steps of each start.
    step_size : float, str or None, default=None
        Length of a step in ``norm``; None takes ``2.5 * eps / max_iter``.
    n_restarts : int, default=1
        Independent starts; each goes on with the images that have withstood so far.
    random_start : bool, default=True
        Begin at a uniform draw from the ball; False begins at the image (the basic iterative method [2]_).
    early_stop : bool, default=True
        Leave an image as soon as it is adversarial, and one that is wrong from the start alone. False spends all steps and
        returns the adversarial point of largest loss: for training and for transfer to other models.
    loss : {"odds", "ce"}, default="odds"
        "odds" is cross-entropy without its saturation; "ce" is cross-entropy as float32 computes it.
    eot_iter : int or None, default=None
        Draws of the chance in a Pipeline's steps over which gradients are averaged and success is judged, see Notes; None
        takes 20. Without chance it is not used.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the starts, a stream an image: an image's start depends on neither batch nor order.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`.

    See Also
    --------
    FGSM : One such step.

    Notes
    -----
    Each step is the exact maximiser of the linearised loss in the step's ball and the pixel box, each projection the exact
    Euclidean one onto ball and box. In l1, where one pixel a step is too slow, the step is shared by the steepest hundredth of
    the pixels at first and by ever fewer later on. An image that withstands all starts is returned at its largest loss.

    Where a Pipeline has steps with chance, the attack climbs the mean over draws of its own, fresh ones at every step,
    which are never the deployed ones [4]_. It takes an image for adversarial where nine draws in ten are; the report
    tells what the deployed draw makes of it.

    References
    ----------
    .. [1] Madry, Makelov, Schmidt, Tsipras, Vladu. "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
       section 2.1.
    .. [2] Kurakin, Goodfellow, Bengio. "Adversarial Examples in the Physical World", ICLR workshop 2017, section 2.2.
    .. [3] Tramèr, Boneh. "Adversarial Training and Robustness for Multiple Perturbations", NeurIPS 2019 (shared l1 steps).
    .. [4] Athalye, Engstrom, Ilyas, Kwok. "Synthesizing Robust Adversarial Examples", ICML 2018, equation 2.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import PGD
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_images=2), smartbox.load_sample_model()
    >>> X_adv = PGD(face, eps="4/255", max_iter=10, random_state=0).generate(faces.images, faces.target)
    >>> bool(abs(X_adv - faces.images).max() <= 4 / 255 + 1e-6)
    True
    """

    _parameter_constraints = {
        **BudgetAttack._parameter_constraints,
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "step_size": [Interval(Real, 0, None, closed="neither"), str, None],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "random_start": ["boolean"],
        "early_stop": ["boolean"],
    }

    def __init__(
        self,
        model,
        *,
        eps=8 / 255,
        norm="linf",
        max_iter=40,
        step_size=None,
        n_restarts=1,
        random_start=True,
        early_stop=True,
        loss="odds",
        eot_iter=None,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.eps = eps
        self.norm = norm
        self.max_iter = max_iter
        self.step_size = step_size
        self.n_restarts = n_restarts
        self.random_start = random_start
        self.early_stop = early_stop
        self.loss = loss
        self.eot_iter = eot_iter
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _perturb(self, model, X, y, rng):
        won = self._succeeds(model, X, y) if self.early_stop else np.zeros(len(X), dtype=bool)
        best, rows = Best(X, y, won), np.flatnonzero(~won)
        for restart in range(self.n_restarts):
            if rows.size:
                self._climb(model, X, rows, rng.spawn(restart).take(rows), best)
            if self.early_stop:
                rows = np.flatnonzero(~best.won)
        return best.X, best.counts

    def _climb(self, model, X, rows, rng, best):
        """One start on some rows; ``best`` keeps what is found."""
        eps, step = self._eps(), self._step_size()
        x, y = X[rows], best.y[rows]
        low, high = rooms(x)
        delta = np.zeros_like(low)
        if self.random_start:
            delta = _norms.random_start(rng, low, high, eps, self.norm)
        for k in range(self.max_iter):
            at = x + delta.reshape(x.shape)
            values, logits, gradient, was_zero = self._uphill(model, at, y, rng)
            best.counts["n_gradients"][rows] += 1
            best.counts["n_zero_gradients"][rows] += was_zero
            won = self._reached(model, model.classes_[logits.argmax(axis=1)], y)
            best.offer(rows, at, values, won)
            if self.early_stop and won.any():
                going = np.flatnonzero(~won)
                rows, x, y, rng = rows[going], x[going], y[going], rng.take(going)
                delta, low, high, gradient = delta[going], low[going], high[going], gradient[going]
                if not rows.size:
                    return
            delta = delta + self._step(gradient, low - delta, high - delta, step, k)
            delta = _norms.project(delta, low, high, eps, self.norm)
            best.counts["n_iterations"][rows] += 1
        at = x + delta.reshape(x.shape)
        values, logits = value_and_logits(model, at, y, LOSSES[self.loss], self.targeted)
        best.offer(
            rows,
            at,
            -values if self.targeted else values,
            self._reached(model, model.classes_[logits.argmax(axis=1)], y),
        )

    def _step_size(self):
        return 2.5 * self._eps() / self.max_iter if self.step_size is None else as_number(self.step_size, "step_size")

    def _step(self, gradient, low, high, step, k):
        if self.norm != "l1" or self.max_iter == 1:
            return _norms.steepest(gradient, low, high, step, self.norm)
        # From a hundredth of the pixels at the start down to the single steepest one at two thirds of the way.
        most = max(1, gradient.shape[1] // 100)
        share = round(most ** max(0.0, 1 - 1.5 * k / self.max_iter))
        if share == 1:
            return _norms.steepest(gradient, low, high, step, "l1")
        cap = np.float32(step / share)
        return _norms.steepest(gradient, np.maximum(low, -cap), np.minimum(high, cap), step, "l1")
