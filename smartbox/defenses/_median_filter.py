"""Median filter."""

from numbers import Integral

import numpy as np
from scipy.ndimage import median_filter

from smartbox._checks import check_reach
from smartbox._compat import Interval
from smartbox.base import BaseDefense


class MedianFilter(BaseDefense):
    """Replace each pixel by the median of a square window around it.

    Parameters
    ----------
    size : int, default=3
        Side of the window in pixels, at most the longer side of the images; 1 returns them as they are. 2 and 3 suit 96 x 84
        faces.

    Notes
    -----
    Edges are reflected, and channels are left apart. The window of an even side reaches one pixel farther up and to the
    left, and its median is the first value beyond the middle, as in SciPy. A median is one of the window's pixels, to
    which the way back leads: the true gradient wherever no two pixels of a window are equal, and to the first of them
    where they are.

    References
    ----------
    .. [1] Xu, Evans, Qi. "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018, section
       III-B.

    Examples
    --------
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import MedianFilter
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> MedianFilter(size=3).transform(faces.images).shape
    (4, 96, 84, 1)
    """

    bpda = True  # at equal pixels, of which faces have many, there is no gradient to be compared with
    _parameter_constraints = {"size": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, *, size=3):
        self.size = size

    def _apply(self, X, draw):
        check_reach(self.size, X.shape[1:], "size", always=3)
        return smooth_by_median(X, side=self.size)

    def _pull_back(self, X, draw, gradient):
        gradient, median = np.asarray(gradient, dtype=np.float32), self._apply(X, draw)
        before, after = self.size // 2, (self.size - 1) // 2
        around = [(0, 0), (before, after), (before, after), (0, 0)]
        framed = np.pad(X, around, mode="symmetric")
        total, left = np.zeros_like(framed), np.ones(X.shape, dtype=bool)
        height, width = X.shape[1:3]
        for row, column in np.ndindex(self.size, self.size):
            window = (slice(None), slice(row, row + height), slice(column, column + width))
            chosen = left & (framed[window] == median)
            total[window] += np.where(chosen, gradient, np.float32(0))
            left &= ~chosen
        return _folded(_folded(total, before, height, 1), before, width, 2)


def _folded(framed, before, length, axis):
    """The adjoint of reflecting edges: what fell on a reflected pixel goes to the pixel itself."""
    framed = np.moveaxis(framed, axis, 0)
    home = np.pad(np.arange(length), (before, len(framed) - before - length), mode="symmetric")
    inside = framed[before : before + length].copy()
    for place in (*range(before), *range(before + length, len(framed))):
        inside[home[place]] += framed[place]
    return np.moveaxis(inside, 0, axis)


def smooth_by_median(X, *, side):
    """The median of each pixel's window; of an even number of pixels, the first beyond the middle."""
    return median_filter(X, size=(1, side, side, 1), mode="reflect")
