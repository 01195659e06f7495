"""Fast minimum-norm attack."""

from numbers import Integral, Real

import numpy as np

from smartbox import _norms
from smartbox._compat import Interval, StrOptions
from smartbox.attacks._budget import rooms
from smartbox.attacks._search import MinimumNormAttack, cosine, unit, uphill, without_walls

_DUAL = {"l1": "linf", "l2": "l2", "linf": "l1"}


class FMN(MinimumNormAttack):
    """Steps across the boundary inside a ball whose radius follows the distance to the boundary.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    norm : {"l2", "l1", "linf"}, default="l2"
        What is to be small.
    max_iter : int, default=100
        Steps.
    step_size : float, default=1.0
        Length in l2 of the first step, for every norm; the last is a hundredth of it.
    gamma : float, default=0.05
        Share by which the radius changes at first; it falls to 0.001.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the direction of images whose gradient is zero.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`.

    See Also
    --------
    DDN : Its forerunner, for l2.

    Notes
    -----
    Until an image is adversarial for the first time, the radius is the distance to the boundary of the linearised
    margin; then it shrinks while the image is adversarial and grows while it is not. Three changes to the published
    attack: that first radius is taken ``1 + gamma`` times, since on the boundary itself nothing is won, and without the
    pixels that stand at a wall; each projection is the exact one onto ball and pixel box together; and what is found
    is brought back towards the image by bisection. Images that are wrong from the start, and those for which nothing is
    found, are returned unchanged.

    References
    ----------
    .. [1] Pintor, Roli, Brendel, Biggio. "Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints",
       NeurIPS 2021, algorithm 1.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FMN
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_identities=4, n_images=1), smartbox.load_sample_model()
    >>> attack = FMN(face, norm="linf", max_iter=30)
    >>> X_adv, report = attack.generate(faces.images, faces.target, return_report=True)
    >>> bool(report.success.all())
    True
    """

    _parameter_constraints = {
        **MinimumNormAttack._parameter_constraints,
        "norm": [StrOptions(set(_DUAL))],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "step_size": [Interval(Real, 0, None, closed="neither")],
        "gamma": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        model,
        *,
        norm="l2",
        max_iter=100,
        step_size=1.0,
        gamma=0.05,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.norm = norm
        self.max_iter = max_iter
        self.step_size = step_size
        self.gamma = gamma
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _search(self, model, rows, rng, found, enough):
        x, y = found.clean[rows], found.y[rows]
        low, high = rooms(x)
        eps, delta = np.full(len(rows), np.inf), np.zeros_like(low)
        for k in range(self.max_iter):
            at = x + delta.reshape(x.shape)
            values, logits, gradient, flat = uphill(model, at, y, rng, "margin", targeted=self.targeted)
            won = self._won(model, logits, y)
            found.offer(rows, at, won)
            found.count(rows, flat)
            slope = np.where(flat, 0, _norms.size(without_walls(gradient, at), _DUAL[self.norm]))
            ahead = np.where(slope > 0, np.abs(values) / np.where(slope > 0, slope, 1), np.inf)
            gamma = cosine(self.gamma, min(self.gamma, 0.001), k, self.max_iter)
            boundary = _norms.size(delta, self.norm) + ahead
            eps = self._radius(eps, won, found.size[rows], boundary, gamma)
            step = np.float32(cosine(self.step_size, self.step_size / 100, k, self.max_iter))
            delta = _norms.project(delta + step * unit(gradient), low, high, eps, self.norm)
        at = x + delta.reshape(x.shape)
        found.offer(rows, at, self._succeeds(model, at, y))

    @staticmethod
    def _radius(eps, won, best, boundary, gamma):
        """The next radius: smaller where the image wins, larger where it has won before, else past the boundary."""
        lost = (1 + gamma) * np.where(np.isfinite(best), eps, boundary)
        return np.where(won, np.minimum(eps * (1 - gamma), best), lost)
