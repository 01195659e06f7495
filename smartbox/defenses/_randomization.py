"""Random resizing and padding."""

from numbers import Real

import numpy as np
from threadpoolctl import ThreadpoolController

from smartbox._compat import Interval, StrOptions
from smartbox.base import BaseDefense

_BLAS = ThreadpoolController()


class Randomization(BaseDefense):
    """Resize each image at random, and put it at a random place on black.

    Parameters
    ----------
    scale : (float, float), default=(0.9, 1.0)
        Smallest and largest side of the resized image as a share of the canvas that it is put on; uniform between them.
    upsample : float, default=1.1
        With "paper" the factor of an enlargement before the image is made smaller, with "xie" the size of the canvas
        as a multiple of the image; 1 to 4.
    variant : {"paper", "xie"}, default="paper"
        "paper" enlarges the image, shrinks it to a random size, and puts it on a canvas of the image's own size [1]_.
        "xie" resizes it to a random size, and puts it on a canvas larger than itself [2]_; the whole is brought back to
        the size of the image, which networks with dense layers need.
    random_state : int, RandomState or None, default=None
        Draws sizes and places, a stream an image: with a number they depend on the image alone, with None every call
        makes others.

    Notes
    -----
    Both sides share one scale; places are uniform over all that the canvas leaves. Resizing is bilinear without a
    prefilter, as in the published code of the time. Faces become smaller and move, which networks that end in dense
    layers bear badly: of 64 real faces that the paper's network all knew, 32 are still known with the default scale, 45
    with (0.95, 1.0). The paper's pick of one candidate out of several, drawn alike, is the same as one draw. All steps
    are linear, so that the gradient through them is exact. Attacks on a Pipeline climb the mean over draws of their own.

    References
    ----------
    .. [1] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation Algorithms for
       Face Recognition", BTAS 2018, section 2.3 and table 1.
    .. [2] Xie, Wang, Zhang, Ren, Yuille. "Mitigating Adversarial Effects through Randomization", ICLR 2018, section 3.

    Examples
    --------
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import Randomization
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> Randomization(random_state=0).transform(faces.images).shape
    (4, 96, 84, 1)
    """

    _parameter_constraints = {
        "scale": ["array-like"],
        "upsample": [Interval(Real, 1, 4, closed="both")],
        "variant": [StrOptions({"paper", "xie"})],
        "random_state": ["random_state"],
    }

    def __init__(self, *, scale=(0.9, 1.0), upsample=1.1, variant="paper", random_state=None):
        self.scale = scale
        self.upsample = upsample
        self.variant = variant
        self.random_state = random_state

    def _validate_params(self):
        super()._validate_params()
        scale = np.asarray(self.scale)
        if scale.shape != (2,) or scale.dtype.kind not in "iuf" or not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(
                f"expected scale as the smallest and the largest share of the canvas, 0 < low <= high <= 1, got {self.scale!r}: "
                "use e.g. (0.9, 1.0)."
            )

    def _draw(self, X, rng):
        low, high = self.scale
        draws = rng.uniform(3)
        scale = low + (high - low) * draws[:, 0]
        return [self._along(size, scale, place) for size, place in zip(X.shape[1:3], draws.T[1:], strict=True)]

    def _along(self, size, scale, place):
        """What one axis of ``size`` pixels goes through: a matrix ``(size, size)`` for each image."""
        enlarged = round(self.upsample * size)
        canvas = size if self.variant == "paper" else enlarged
        small = np.maximum(np.rint(scale * canvas), 1)
        start = np.floor(place * (canvas - small + 1))
        if self.variant == "paper":
            return _products(padded(enlarged, small, start, canvas), resizing(size, enlarged))
        return _products(resizing(canvas, size), padded(size, small, start, canvas))

    def _apply(self, X, draw):
        return along_both(X, *draw)

    def _pull_back(self, X, draw, gradient):
        return along_both(np.asarray(gradient, dtype=np.float32), *(axis.transpose(0, 2, 1) for axis in draw))


def padded(size, resized, start, canvas):
    """Bilinear resizing of ``size`` pixels to ``resized``, from ``start`` on along a canvas: matrices ``(n, canvas, size)``.

    Pixels are areas with their value in the middle; beyond the outermost middles the value stays.
    """
    resized, start = resized[:, None], start[:, None]
    place = np.arange(canvas) - start
    source = np.clip((place + 0.5) * (size / resized) - 0.5, 0, size - 1)
    weights = np.maximum(1 - np.abs(source[..., None] - np.arange(size)), 0)
    return (weights * ((place >= 0) & (place < resized))[..., None]).astype(np.float32)


def resizing(size, resized):
    """Bilinear resizing alone, one matrix ``(resized, size)``."""
    return padded(size, np.array([resized]), np.array([0]), resized)[0]


def along_both(X, rows, columns):
    """Matrices along height and width of images ``(n, height, width, channels)``, for each image its own."""
    by_channel = np.moveaxis(X, 3, 1)
    return np.moveaxis(_products(_products(rows[:, None], by_channel), columns.transpose(0, 2, 1)[:, None]), 1, 3)


def _products(A, B):
    """Many small matrix products; threads would wait for each other in each, an attack beside TensorFlow's twice as long."""
    with _BLAS.limit(limits=1, user_api="blas"):
        return A @ B
