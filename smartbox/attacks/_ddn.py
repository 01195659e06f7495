"""Decoupled direction and norm attack."""

from numbers import Integral, Real

import numpy as np

from smartbox import _norms
from smartbox._compat import Interval, StrOptions
from smartbox.attacks._budget import rooms
from smartbox.attacks._search import MinimumNormAttack, cosine, unit, uphill, value_and_gradient

_SEARCHING = 1.3  # growth of an "auto" radius until the first success: the boundary may curve away


class DDN(MinimumNormAttack):
    """Steps up the loss on a sphere that shrinks while the image is adversarial and grows while it is not.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    max_iter : int, default=100
        Steps.
    init_eps : float or "auto", default=1.0
        Radius of the first sphere, in l2; an image unit is the [0, 1] intensity range. "auto", an extension, takes for
        each image its distance from the boundary of the linearised classifier, for one more gradient, and grows it by
        30 % a step until a first success: the published radius is several times the distance to be found on a face, and
        takes many steps to shrink. For targets, which lie farther, the published one does better.
    gamma : float, default=0.05
        Share by which the radius changes with each step.
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
    FMN : The same idea for l1, l2 and linf, with a projection instead of a sphere.
    DeepFool : Fewer, dearer steps.

    Notes
    -----
    A small ``l2`` perturbation for as many gradients as steps. The steps' length falls from 1 to 0.01 along a cosine.
    The published attack rounds every point to 8 bits; this one does not, and ends with a bisection towards the image
    instead. The loss is the odds, whose direction is that of cross-entropy without its saturation. Images that are
    wrong from the start, and those for which nothing is found, are returned unchanged.

    References
    ----------
    .. [1] Rony, Hafemann, Oliveira, Ben Ayed, Sabourin, Granger. "Decoupling Direction and Norm for
       Efficient Gradient-Based L2 Adversarial Attacks and Defenses", CVPR 2019, algorithm 1.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import DDN
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_identities=4, n_images=1), smartbox.load_sample_model()
    >>> X_adv, report = DDN(face, max_iter=30).generate(faces.images, faces.target, return_report=True)
    >>> bool(report.success.all())
    True
    """

    norm = "l2"
    _parameter_constraints = {
        **MinimumNormAttack._parameter_constraints,
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "init_eps": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "gamma": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        model,
        *,
        max_iter=100,
        init_eps=1.0,
        gamma=0.05,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.max_iter = max_iter
        self.init_eps = init_eps
        self.gamma = gamma
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _search(self, model, rows, rng, found, enough):
        x, y = found.clean[rows], found.y[rows]
        low, high = rooms(x)
        growth = max(1 + self.gamma, _SEARCHING) if self.init_eps == "auto" else 1 + self.gamma
        farthest = _norms.size(np.maximum(-low, high), "l2")
        eps, delta = self._first_radii(model, x, rows, found), np.zeros_like(low)
        for k in range(self.max_iter):
            at = x + delta.reshape(x.shape)
            _, logits, gradient, flat = uphill(model, at, y, rng, "odds", targeted=self.targeted)
            won = self._won(model, logits, y)
            found.offer(rows, at, won)
            found.count(rows, flat)
            delta = delta + np.float32(cosine(1, 0.01, k, self.max_iter)) * unit(gradient)
            grown = np.where(np.isfinite(found.size[rows]), 1 + self.gamma, growth)
            eps = np.minimum(eps * np.where(won, 1 - self.gamma, grown), farthest)
            delta = np.clip(unit(delta) * eps[:, None].astype(np.float32), low, high)
        at = x + delta.reshape(x.shape)
        found.offer(rows, at, self._succeeds(model, at, y))

    def _first_radii(self, model, x, rows, found):
        """``init_eps``, or how far each image is from where an affine model would give in; 1 where that says nothing."""
        if self.init_eps != "auto":
            return np.full(len(rows), float(self.init_eps))
        values, _, gradient = value_and_gradient(model, x, found.y[rows], "margin", self.targeted)
        found.counts["n_gradients"][rows] += 1
        steepness = _norms.size(gradient.reshape(len(x), -1), "l2")
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.abs(values) / steepness
        return np.where((distance > 0) & np.isfinite(distance), distance, 1.0)
