"""Momentum iterative fast gradient sign method."""

from numbers import Integral, Real

import numpy as np

from smartbox import _norms
from smartbox._compat import Interval, StrOptions
from smartbox.attacks._budget import BudgetAttack, rooms


class MIFGSM(BudgetAttack):
    """Steps along a decaying sum of normalised gradients, which transfers better to unseen models.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    eps : float or str, default=8/255
        Largest size of the perturbation in ``norm``, in units of the [0, 1] intensity range; also as text, ``"8/255"``.
    norm : {"linf", "l2"}, default="linf"
        How the perturbation is measured.
    max_iter : int, default=10
        Steps; each is ``eps / max_iter`` long.
    decay : float, default=1.0
        Share of the momentum that a step keeps; 0 is the basic iterative method.
    loss : {"odds", "ce"}, default="odds"
        "odds" is cross-entropy without its saturation; "ce" is cross-entropy as float32 computes it.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the direction of images whose gradient is zero from the start.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`.

    Notes
    -----
    All steps are taken, also by images that are wrong already: momentum is for transfer to other models, where the largest loss
    counts. A gradient of zero adds nothing to the momentum.

    References
    ----------
    .. [1] Dong, Liao, Pang, Su, Zhu, Hu, Li. "Boosting Adversarial Attacks with Momentum", CVPR 2018, algorithm 1, equations 6
       and 7.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import MIFGSM
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_images=2), smartbox.load_sample_model()
    >>> X_adv = MIFGSM(face, eps="8/255").generate(faces.images, faces.target)
    >>> face.score(X_adv, faces.target) < 0.5
    True
    """

    _parameter_constraints = {
        **BudgetAttack._parameter_constraints,
        "norm": [StrOptions({"linf", "l2"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "decay": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        model,
        *,
        eps=8 / 255,
        norm="linf",
        max_iter=10,
        decay=1.0,
        loss="odds",
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.eps = eps
        self.norm = norm
        self.max_iter = max_iter
        self.decay = decay
        self.loss = loss
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _perturb(self, model, X, y, rng):
        eps = self._eps()
        low, high = rooms(X)
        delta, momentum = np.zeros_like(low), np.zeros_like(low)
        n_zero = np.zeros(len(X), dtype=int)
        for _ in range(self.max_iter):
            _, _, gradient, was_zero = self._uphill(model, X + delta.reshape(X.shape), y, rng)
            n_zero += was_zero
            size = _norms.size(gradient, "l1")[:, None].astype(gradient.dtype)
            fresh = np.where(was_zero[:, None] & momentum.any(axis=1, keepdims=True), 0, gradient / size)
            momentum = np.float32(self.decay) * momentum + fresh
            step = _norms.steepest(momentum, low - delta, high - delta, eps / self.max_iter, self.norm)
            delta = _norms.project(delta + step, low, high, eps, self.norm)
        done = np.full(len(X), self.max_iter)
        return X + delta.reshape(X.shape), {"n_iterations": done, "n_gradients": done, "n_zero_gradients": n_zero}
