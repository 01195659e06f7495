"""Carlini and Wagner's l2 attack."""

import numpy as np

from smartbox._compat import StrOptions
from smartbox.attacks._penalty import PenaltyAttack, row_sums

_SHRINK = np.float32(0.999999)  # keeps arctanh of black and white pixels finite
_SHARE = np.float32(0.3)  # of the distance found by a head start: as far as the mean step may go
_DECAY, _SQUARE_DECAY, _TINY = 0.9, 0.999, np.float32(1e-8)  # Adam's, as published


class CarliniL2(PenaltyAttack):
    """Near-minimal l2 change: distance and a hinge on the margin, minimised by Adam over ``arctanh`` of the pixels.

    Minimises ``||x' - x||_2**2 + c * max(margin lacking, 0)`` over ``w``, where ``x' = (tanh(w) + 1) / 2`` never leaves
    the box and ``c`` is searched for each image.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    confidence : float, default=0
        By how much the attacker's logit is to lead.
    binary_search_steps : int, default=9
        Constants ``c`` that are tried for each image: ten times the last until one succeeds, bisection from then on.
    max_iter : int, default=1000
        Steps of Adam at each constant.
    learning_rate : float, default=0.01
        Mean length of Adam's steps.
    schedule : {"cosine", "constant"}, default="cosine"
        "constant" is as published. "cosine" lets the steps fall from twice ``learning_rate`` to nothing along
        half a cosine, at each constant anew, and calls a constant large enough only if the last tenth of its steps
        holds a success.
    initial_const : float or "auto", default=1e-3
        The first ``c``. "auto", an extension, takes for each image what an affine model would need, ``2 * (m +
        confidence) / ||grad m||_2**2`` with the margin ``m`` to overcome: it saves the climb from a small constant.
    init : {"image", "ddn"}, default="image"
        Where each constant's steps begin. "image" is as published. "ddn", an extension, begins at the nearest point
        that `DDN` finds in a quarter of ``max_iter`` steps, and later constants at the nearest point so far; an image
        leaves with the first constant that has not brought it nearer by a thousandth. See Notes.
    abort_early : bool, default=True
        Leave an image's constant as soon as a tenth of the steps has not lowered its objective by 0.01 %.
    eot_iter : int or None, default=None
        Draws of the chance in a Pipeline's steps over which gradients are averaged and success is judged, see Notes; None
        takes 20. Without chance it is not used.
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
    EAD : With an l1 term, so that few pixels change.
    DeepFool : Not quite as near, in a hundredth of the gradients.

    Notes
    -----
    Adam's first step moves every pixel by the learning rate whatever the gradient, so its length grows with the image:
    0.45 in l2 for the published rate on a 96 x 84 face, more than the distance to be found. A smaller rate cannot
    travel far enough in a hundred steps. Steps that begin long and end short do both, on the same mean length. The
    first steps may cross the boundary by their length alone, which as published counts for their constant and drives
    the search below all constants that hold; the last steps of a cosine do not. With 5 constants of 100 steps on
    sixteen built-in faces, mean distances fall from 0.183 to 0.172, to random targets from 0.276 to 0.261.

    On 64 real faces and the paper's network, 5 constants of 100 steps from the image find a median distance of 0.113 in
    about 450 gradients, from DDN's points 0.106 in about 140. With "ddn" no step is longer, in the mean, than three
    tenths of the distance that is already found.

    Search, success and early stopping are of each image by itself, where the published code stops by the sum over a
    batch: the objective's lowest value in a tenth of the steps is compared with that in the tenth before. The nearest
    success over all steps and constants is brought back towards the image by bisection, as far as it keeps its margin.
    Failures come back unchanged, at once where the margin has no gradient. An image that is wrong with the margin from
    the start also stays as it is, a success of distance 0. Pixels at 0 and 1, where ``tanh`` is flat, take hundreds of
    steps to move. Logits are used, never probabilities; a final softmax makes no difference.

    Where a Pipeline has steps with chance, the attack climbs the mean over draws of its own, fresh ones at every step,
    which are never the deployed ones [2]_. It takes an image for adversarial where nine draws in ten are; the report
    tells what the deployed draw makes of it.

    References
    ----------
    .. [1] Carlini, Wagner. "Towards Evaluating the Robustness of Neural Networks", IEEE Symposium on Security and
       Privacy 2017, section V (objective f6, change of variables) and section VI-A.
    .. [2] Athalye, Engstrom, Ilyas, Kwok. "Synthesizing Robust Adversarial Examples", ICML 2018, equation 2.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import CarliniL2
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_identities=4, n_images=1), smartbox.load_sample_model()
    >>> attack = CarliniL2(face, binary_search_steps=2, max_iter=20, initial_const="auto")
    >>> X_adv = attack.generate(faces.images, faces.target)
    >>> bool(attack.report_.success.all() and attack.report_.l2.max() < 1)
    True
    """

    _parameter_constraints = {
        **PenaltyAttack._parameter_constraints,
        "schedule": [StrOptions({"cosine", "constant"})],
        "init": [StrOptions({"image", "ddn"})],
    }

    def __init__(
        self,
        model,
        *,
        confidence=0,
        binary_search_steps=9,
        max_iter=1000,
        learning_rate=0.01,
        schedule="cosine",
        initial_const=1e-3,
        init="image",
        abort_early=True,
        eot_iter=None,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.confidence = confidence
        self.binary_search_steps = binary_search_steps
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.initial_const = initial_const
        self.init = init
        self.abort_early = abort_early
        self.eot_iter = eot_iter
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _settles(self):
        return self.schedule == "cosine"

    def _start(self, x, at):
        origin, w = (np.arctanh((2 * images - 1) * _SHRINK) for images in (x, at))
        rate = np.full(len(x), self.learning_rate, dtype=np.float32)
        if self.init != "image":
            way = np.sqrt(row_sums(np.square((1 - np.square(np.tanh(w))) / 2)))  # of a step of 1 in all pixels
            found = np.sqrt(row_sums(np.square(at - x)))
            rate = np.where(found > 0, np.minimum(rate, _SHARE * found / way), rate)
        origin = (np.tanh(origin) + 1) / 2
        return {"w": w, "origin": origin, "rate": rate, "mean": np.zeros_like(w), "square": np.zeros_like(w)}

    def _sizes(self, delta):
        size = row_sums(np.square(delta))
        return size, size

    def _advance(self, model, state, k):
        tanh = np.tanh(state["w"])
        images = (tanh + 1) / 2
        margins, gradient, flat = self._slope(model, images, state)
        delta = images - state["origin"]
        gradient += 2 * delta
        gradient *= (1 - tanh * tanh) / 2
        self._adam(state, gradient, k)
        return images, margins, *self._sizes(delta), flat

    def _adam(self, state, gradient, k):
        mean, square = state["mean"], state["square"]
        mean += np.float32(1 - _DECAY) * (gradient - mean)
        square += np.float32(1 - _SQUARE_DECAY) * (np.square(gradient) - square)
        rate = state["rate"][:, None, None, None]
        if self.schedule == "cosine":
            rate = rate * np.float32(1 + np.cos(np.pi * k / self.max_iter))
        step = np.sqrt(square / np.float32(1 - _SQUARE_DECAY ** (k + 1)))
        step += _TINY
        np.divide(mean, step, out=step)
        step *= rate / np.float32(1 - _DECAY ** (k + 1))
        state["w"] -= step
