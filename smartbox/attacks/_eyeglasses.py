"""Spectacles with a coloured frame."""

from numbers import Integral, Real

import numpy as np
from scipy.special import expit

from smartbox._checks import as_number
from smartbox._compat import Interval
from smartbox.attacks._eyeglass_frame import spectacles, total_variation, unit_steepest, unprintability
from smartbox.attacks._eyeglass_motion import Motion
from smartbox.attacks._search import uphill, values_of
from smartbox.base import BaseAttack

_SOLID = np.linspace(0.1, 0.9, 5)  # grey levels of the frames that are tried first
# Mean probability, of any other label or of the one to reach, from which on a wearer has got far enough.
_DODGED, _IMPERSONATED = 0.99, 0.95


class Eyeglasses(BaseAttack):
    """Put spectacles on each face whose frame is coloured so that the face is taken for another.

    Only the frame changes, and there as much as it likes: what counts is its area, not the size of the change. To leave the own
    label is dodging; with ``targeted=True`` the label to reach is impersonated.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    mask : ndarray of bool, shape (height, width), default=None
        Where the frame lies. None draws two rims and a bridge where faces that fill the image, as those of Extended Yale B do,
        have their eyes: about 7 % of the pixels.
    max_iter : int, default=300
        Steps at most.
    step_size : float or str, default=20/255
        Largest change of a pixel in a step without momentum.
    momentum : float, default=0.4
        Share of the last step that the next one keeps.
    smoothness : float, default=0.0
        Weight of the frame's total variation beside the loss, for patches of colour that a camera can tell apart.
    printability : float, default=0.0
        Weight of the distance to printable colours, 16 levels in each channel, beside the loss.
    motion : float, default=0.0
        How far the frame may slip on the face: up to so many pixels down and across, and degrees of turn, either way, drawn anew
        for each image in each step. The paper's for glasses to be worn is 4; the spectacles returned are where they belong.
    shared : bool, default=False
        Whether images with the same label in ``y`` show one person, who wears one frame on all of them; they must be in one
        batch. With ``targeted=True`` the label is the target, so that people who reach for the same one would share a frame:
        give one person at a time.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images at a time; without ``shared`` the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the motions, and a direction where the gradient is zero.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`.

    Notes
    -----
    The three gradients, of the loss, the variation and the printability, each have their largest entry brought to 1 before they
    are weighed, so that a weight of 1 counts as much as the loss. Colours are those of 8 bits after each step. The frame starts
    as the best of five grey ones, and stops when the label's probability is below 1 % (dodging) or above 95 % (impersonation),
    in the mean over the wearer's images. Unlike the paper, a step that leaves [0, 1] is cut there rather than skipped. With
    ``motion`` one lucky place says little: all ``max_iter`` steps are taken, and the last frame is kept.

    References
    ----------
    .. [1] Sharif, Bhagavatula, Bauer, Reiter. "Accessorize to a Crime: Real and Stealthy Attacks on State-of-the-Art Face
       Recognition", CCS 2016, sections 4 and 5, equations 2 to 5.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import Eyeglasses
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_images=1), smartbox.load_sample_model()
    >>> X_adv = Eyeglasses(face, max_iter=20).generate(faces.images, faces.target)
    >>> face.score(X_adv, faces.target) < 0.2
    True
    >>> bool(((X_adv != faces.images).mean() < 0.08))
    True
    """

    _parameter_constraints = {
        **BaseAttack._parameter_constraints,
        "mask": ["array-like", None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "step_size": [Interval(Real, 0, None, closed="neither"), str],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "smoothness": [Interval(Real, 0, None, closed="left")],
        "printability": [Interval(Real, 0, None, closed="left")],
        "motion": [Interval(Real, 0, None, closed="left")],
        "shared": ["boolean"],
    }

    def __init__(
        self,
        model,
        *,
        mask=None,
        max_iter=300,
        step_size=20 / 255,
        momentum=0.4,
        smoothness=0.0,
        printability=0.0,
        motion=0.0,
        shared=False,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.mask = mask
        self.max_iter = max_iter
        self.step_size = step_size
        self.momentum = momentum
        self.smoothness = smoothness
        self.printability = printability
        self.motion = motion
        self.shared = shared
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _labels(self, y, n_images, model):
        y = super()._labels(y, n_images, model)
        if not self.shared or n_images <= self.batch_size:
            return y
        if y is None:
            raise ValueError(
                f"expected y, who is on each image, for shared frames in several batches, got None: give it, or batch_size of "
                f"at least {n_images}."
            )
        labels, wearer = np.unique(y, return_inverse=True)
        batch, (first, last) = np.arange(n_images) // self.batch_size, np.zeros((2, len(labels)), dtype=int)
        last[wearer] = batch  # of several the last one counts
        first[wearer[::-1]] = batch[::-1]
        if (first < last).any():
            raise ValueError(
                f"expected all images of a wearer of shared frames in one batch of {self.batch_size}, got those of "
                f"{labels[(first < last).argmax()]!r} in several: sort the images by y, or give a larger batch_size, "
                f"{n_images} for one batch."
            )
        return y

    def _perturb(self, model, X, y, rng):
        mask = self._mask(X.shape[1:3])
        wearer = np.unique(y, return_inverse=True)[1] if self.shared else np.arange(len(X))
        goal = _IMPERSONATED if self.targeted else _DODGED
        fitting = _Fitting(X, wearer, mask, self._solid(model, X, y, wearer, mask), goal)
        velocity = np.zeros_like(fitting.frames)
        step = np.float32(as_number(self.step_size, "step_size"))
        slips = rng.spawn(0)
        for _ in range(self.max_iter):
            rows = fitting.rows()
            if not rows.size:
                break
            motion = Motion(slips.uniform(3), self.motion, mask) if self.motion else None
            worn = fitting.worn(rows, motion)
            values, logits, gradient, flat = uphill(
                model, worn, y[rows], rng.take(rows), "odds", targeted=self.targeted
            )
            if not motion:
                fitting.note(rows, values, self._reached(model, model.classes_[logits.argmax(axis=1)], y[rows]))
            fitting.count(rows, flat)
            gradient = gradient.reshape(worn.shape)
            direction = fitting.by_wearer(motion.pull_back(gradient) if motion else gradient, rows)
            velocity = np.float32(self.momentum) * velocity + step * self._direction(direction, fitting.frames, mask)
            fitting.move(velocity)
        rows = fitting.rows()
        if rows.size:
            fitting.note(rows, *self._judge(model, fitting.worn(rows), y[rows]))
        return fitting.best_worn(), fitting.counts

    def _direction(self, gradient, frames, mask):
        direction = unit_steepest(gradient, mask)
        for weight, penalty in ((self.smoothness, total_variation), (self.printability, unprintability)):
            if weight:
                direction = direction - np.float32(weight) * unit_steepest(penalty(frames, mask)[1], mask)
        return direction

    def _solid(self, model, X, y, wearer, mask):
        """The best grey frame of each wearer."""
        levels = np.rint(_SOLID * 255).astype(np.float32) / np.float32(255)
        worn = (np.where(mask[..., None], level, X) for level in levels)
        values = np.stack([np.bincount(wearer, self._judge(model, each, y)[0]) for each in worn])
        best = levels[values.argmax(axis=0)]
        return np.broadcast_to(best[:, None, None, None], (len(best), *X.shape[1:])).copy()

    def _judge(self, model, X, y):
        """What is to be raised, and whether it is enough."""
        logits = model.logits(X)
        values = values_of(model, logits, y, "odds", self.targeted)
        won = self._reached(model, model.classes_[logits.argmax(axis=1)], y)
        return -values if self.targeted else values, won

    def _mask(self, size):
        if self.mask is None:
            return spectacles(*size)
        mask = np.asarray(self.mask)
        if mask.shape != size or mask.dtype.kind != "b" or not mask.any():
            raise ValueError(
                f"expected mask as a boolean array of shape {size}, like an image, with a pixel set, got {mask.dtype} "
                f"{mask.shape}: e.g. image > 0.5."
            )
        return mask


class _Fitting:
    """The frames of a batch: those worn now, and for each wearer the best so far."""

    def __init__(self, X, wearer, mask, frames, goal):
        self.X, self.wearer, self.mask = X, wearer, mask[..., None]
        self.frames, self.best = frames, frames.copy()
        self.n_images, self.goal = np.bincount(wearer), goal
        self.won, self.value = np.zeros(len(frames)), np.full(len(frames), -np.inf)
        self.going = np.ones(len(frames), dtype=bool)
        self.counts = {
            name: np.zeros(len(X), dtype=int) for name in ("n_iterations", "n_gradients", "n_zero_gradients")
        }

    def rows(self):
        """Images whose wearer is not yet far enough."""
        return np.flatnonzero(self.going[self.wearer])

    def worn(self, rows, motion=None):
        frames = self.frames[self.wearer[rows]]
        if motion is None:
            return np.where(self.mask, frames, self.X[rows])
        cover = motion.move(np.broadcast_to(self.mask, (*frames.shape[:-1], 1)).astype(frames.dtype))
        return np.clip(self.X[rows] * (1 - cover) + motion.move(frames * self.mask), 0, 1)  # rounding may pass 1

    def best_worn(self):
        return np.where(self.mask, self.best[self.wearer], self.X)

    def by_wearer(self, gradient, rows):
        total = np.zeros_like(self.frames)
        np.add.at(total, self.wearer[rows], gradient)
        return total

    def note(self, rows, values, won):
        """Keep frames that win on more images, or on as many with a larger mean; send those home that are far enough."""
        won, value, probability = (self._mean(rows, each) for each in (won, values, expit(values)))
        better = self.going & ((won > self.won) | ((won == self.won) & (value > self.value)))
        self.best[better], self.won[better], self.value[better] = self.frames[better], won[better], value[better]
        self.going &= probability <= self.goal

    def count(self, rows, flat):
        self.counts["n_gradients"][rows] += 1
        self.counts["n_iterations"][rows] += 1
        self.counts["n_zero_gradients"][rows] += flat

    def move(self, velocity):
        moved = np.rint(np.clip(self.frames + velocity, 0, 1) * 255) / np.float32(255)
        self.frames = np.where(self.going[:, None, None, None], moved, self.frames).astype(np.float32)

    def _mean(self, rows, values):
        return np.bincount(self.wearer[rows], values, len(self.frames)) / self.n_images
