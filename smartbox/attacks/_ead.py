"""Elastic-net attack."""

from numbers import Real

import numpy as np

from smartbox._compat import Interval, StrOptions
from smartbox.attacks._penalty import PenaltyAttack, row_sums


class EAD(PenaltyAttack):
    """Carlini and Wagner's attack with an l1 term, by shrinkage: few pixels change, the others not at all.

    Minimises ``c * max(margin lacking, 0) + ||x' - x||_2**2 + beta * ||x' - x||_1`` over images ``x'`` in [0, 1], where
    ``c`` is searched for each image.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    decision_rule : {"en", "l1"}, default="en"
        Which success is the best one: that of smallest elastic-net size ``||.||_2**2 + beta * ||.||_1``, or of smallest
        l1 norm.
    beta : float, default=1e-3
        Weight of the l1 norm. With 0 the problem is that of `CarliniL2`.
    confidence : float, default=0
        By how much the attacker's logit is to lead.
    binary_search_steps : int, default=9
        Constants ``c`` that are tried for each image.
    max_iter : int, default=1000
        Steps at each constant.
    learning_rate : float, default=0.01
        Length of the first step, in units of the gradient; later steps shrink with ``sqrt(1 - k / max_iter)``.
    initial_const : float or "auto", default=1e-3
        The first ``c``. "auto", an extension, takes for each image what an affine model would need; see `CarliniL2`.
    init : {"image", "ddn", "fmn"}, default="image"
        Where each constant's steps begin. "image" is as published; the others, extensions, begin at the nearest point
        that `DDN`, or `FMN` in l1, finds in a quarter of ``max_iter`` steps; see `CarliniL2`. "fmn" suits the decision
        rule "l1", "ddn" the rule "en" with a small ``beta``; with ``targeted`` FMN misses many targets in few steps.
    abort_early : bool, default=True
        Leave an image's constant as soon as a tenth of the steps has not lowered its objective by 0.01 %.
    shrinkage : {"paper", "prox"}, default="paper"
        The threshold below which a pixel's change becomes none: ``beta`` as published, or ``beta`` times the step
        length, which solves the problem as stated. See Notes.
    eot_iter : int or None, default=None
        Draws of the chance in a Pipeline's steps over which gradients are averaged and success is judged; None takes 20. Without
        chance it is not used.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws a direction where a head start meets a gradient of zero; without one nothing is drawn.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`.

    See Also
    --------
    CarliniL2 : The same without the l1 term.

    Notes
    -----
    A proximal step of length ``a`` for ``beta * ||.||_1`` shrinks by ``a * beta``. The published rule, its authors'
    code and later ones shrink by ``beta``: at the first steps, ``a = 0.01``, this solves the problem for ``beta / a``,
    a hundredfold weight, and as the steps shorten it pulls the image back to where it began. It is sparser at equal
    ``beta``, and can fail at a ``c`` that would do.

    Constants, stopping, failures and images that are wrong from the start are as in `CarliniL2`, and so is the end: the
    best success is brought back towards the image by bisection, which scales its change and so leaves unchanged pixels
    unchanged. Extrapolated points are clipped to [0, 1]. A step takes two forward passes and one backward.

    References
    ----------
    .. [1] Chen, Sharma, Zhang, Yi, Hsieh. "EAD: Elastic-Net Attacks to Deep Neural Networks via Adversarial Examples",
       AAAI 2018, equations 7 to 9, algorithm 1.
    .. [2] Beck, Teboulle. "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems", SIAM Journal
       on Imaging Sciences 2009.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import EAD
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_identities=4, n_images=1), smartbox.load_sample_model()
    >>> attack = EAD(face, beta=0.01, binary_search_steps=3, max_iter=20, initial_const=1)
    >>> X_adv = attack.generate(faces.images, faces.target)
    >>> bool(attack.report_.success.all() and (X_adv == faces.images).mean() > 0.5)
    True
    """

    _parameter_constraints = {
        **PenaltyAttack._parameter_constraints,
        "decision_rule": [StrOptions({"en", "l1"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "shrinkage": [StrOptions({"paper", "prox"})],
        "init": [StrOptions({"image", "ddn", "fmn"})],
    }

    def __init__(
        self,
        model,
        *,
        decision_rule="en",
        beta=1e-3,
        confidence=0,
        binary_search_steps=9,
        max_iter=1000,
        learning_rate=0.01,
        initial_const=1e-3,
        init="image",
        abort_early=True,
        shrinkage="paper",
        eot_iter=None,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.decision_rule = decision_rule
        self.beta = beta
        self.confidence = confidence
        self.binary_search_steps = binary_search_steps
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.initial_const = initial_const
        self.init = init
        self.abort_early = abort_early
        self.shrinkage = shrinkage
        self.eot_iter = eot_iter
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _start(self, x, at):
        return {"at": at.copy(), "ahead": at.copy()}

    def _sizes(self, delta):
        """The objective's size, and the one that ranks successes."""
        l1 = row_sums(np.abs(delta))
        size = row_sums(np.square(delta)) + np.float32(self.beta) * l1
        return size, l1 if self.decision_rule == "l1" else size

    def _advance(self, model, state, k):
        x, ahead = state["x"], state["ahead"]
        length = np.float32(self.learning_rate * np.sqrt(1 - k / self.max_iter))
        threshold = np.float32(self.beta) * (length if self.shrinkage == "prox" else np.float32(1))
        _, gradient, flat = self._slope(model, ahead, state)
        gradient += 2 * (ahead - x)
        images = shrink(ahead - length * gradient, x, threshold)
        state["ahead"] = np.clip(images + np.float32(k / (k + 3)) * (images - state["at"]), 0, 1)
        state["at"] = images
        margins = self._margins(model, images, state["y"])
        return images, margins, *self._sizes(images - x), flat


def shrink(z, x, threshold):
    """Pull ``z`` towards ``x`` by ``threshold``, no farther than to ``x`` itself, and into [0, 1]."""
    moved = np.clip(z - np.clip(z - x, -threshold, threshold), 0, 1)
    return np.where(np.abs(z - x) <= threshold, x, moved)
