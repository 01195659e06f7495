"""Adaptive noise reduction: coarser grey levels and smoothing where an image's entropy allows them."""

import numpy as np

from smartbox._compat import StrOptions
from smartbox.base import BaseDefense

_REACH = 3  # pixels from the middle to the end of an arm of the cross
# By entropy in bits: below 4, from 4, from 5.
_ENTROPIES = np.array([4.0, 5.0])
_INTERVALS = np.array([128, 64, 43])
# 43 / 255 * 255 is 42.999996 in float32, and must count as level 43.
_TOLERANCE = 1e-4


class AdaptiveNoiseReduction(BaseDefense):
    """Quantise each image as coarsely as its entropy allows, and smooth the images of high entropy.

    With the entropy ``H`` of an image's 256 grey levels, levels are merged into intervals of 128 (``H < 4`` bits), 64
    (``4 <= H < 5``) or 43 levels. In the last case the quantised image is also smoothed by the mean over a cross of 7 x 7 pixels,
    and each pixel takes of the two, quantised and smoothed, the one nearer to what it was.

    Parameters
    ----------
    level : {"left", "mid"}, default="left"
        The level that stands for its interval: the left end, as published, which darkens images by half an interval on average,
        or the middle.

    Notes
    -----
    The entropy of a colour image is the mean over its channels. Within three pixels of the edge nothing is smoothed. The way back
    is the true gradient of the smoothing and of each pixel's choice, with the identity for the quantiser (BPDA).

    References
    ----------
    .. [1] Liang, Li, Su, Li, Shi, Wang. "Detecting Adversarial Image Examples in Deep Neural Networks with Adaptive Noise
       Reduction", IEEE Transactions on Dependable and Secure Computing 18(1), 2021, section 4.

    Examples
    --------
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import AdaptiveNoiseReduction
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> AdaptiveNoiseReduction().transform(faces.images).shape
    (4, 96, 84, 1)
    """

    bpda = True
    _parameter_constraints = {"level": [StrOptions({"left", "mid"})]}

    def __init__(self, *, level="left"):
        self.level = level

    def _apply(self, X, draw):
        quantised, smoothed, choice = self._candidates(X)
        return np.where(choice, smoothed, quantised) / np.float32(255)

    def _pull_back(self, X, draw, gradient):
        _, _, choice = self._candidates(X)
        gradient = np.asarray(gradient, dtype=np.float32)
        # The mean over a symmetric cross is its own adjoint; nothing is chosen near the edge, where np.roll wraps around.
        return np.where(choice, 0, gradient) + _cross_mean(np.where(choice, gradient, 0))

    def _candidates(self, X):
        """Quantised and smoothed grey levels 0 to 255, and where the latter are taken."""
        grey = X * np.float32(255)
        levels = np.floor(grey + np.float32(_TOLERANCE)).astype(np.int64)
        branch = np.searchsorted(_ENTROPIES, entropy(levels), side="right")
        interval = _INTERVALS[branch][:, None, None, None]
        quantised = (levels // interval * interval + (interval / 2 if self.level == "mid" else 0)).astype(np.float32)
        smoothed = _cross_mean(quantised)
        choice = np.abs(smoothed - grey) <= np.abs(quantised - grey)
        choice &= (branch == len(_ENTROPIES))[:, None, None, None]
        inside = np.zeros_like(choice)
        inside[:, _REACH:-_REACH, _REACH:-_REACH] = True
        return quantised, smoothed, choice & inside


def entropy(levels):
    """Entropy in bits of the grey levels 0 to 255 of each image ``(n, height, width, channels)``, the mean over channels."""
    n, height, width, channels = levels.shape
    # one histogram for each image and channel, all counted at once
    which = np.arange(n * channels).reshape(n, 1, 1, channels)
    counts = np.bincount((256 * which + levels).ravel(), minlength=256 * n * channels).reshape(n, channels, 256)
    share = counts / (height * width)
    return -(share * np.log2(np.where(counts > 0, share, 1))).sum(axis=2).mean(axis=1)


def _cross_mean(images):
    """Mean over the 13 pixels of the cross around each pixel; within three pixels of the edge it means nothing."""
    total = images.copy()
    for axis in (1, 2):
        for shift in range(1, _REACH + 1):
            total += np.roll(images, shift, axis) + np.roll(images, -shift, axis)
    return total / np.float32(4 * _REACH + 1)
