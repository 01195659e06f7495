"""Gaussian blur."""

from numbers import Real

import numpy as np
from scipy.ndimage import gaussian_filter

from smartbox._checks import check_reach
from smartbox._compat import Interval
from smartbox.base import BaseDefense


class GaussianBlur(BaseDefense):
    """Convolve each image with a Gaussian, the mitigation that the SmartBox paper proposes.

    Parameters
    ----------
    sigma : float, default=1.0
        Standard deviation of the kernel in pixels, at most the longer side of the images; 0 returns them as they are. 0.5 to
        1.5 suits 96 x 84 faces, twice that 192 x 168.

    Notes
    -----
    The kernel is sampled to four standard deviations and normalised to sum 1, edges are reflected, and channels are left apart.
    With reflected edges the blur is its own adjoint, so the gradient through it is exact.

    References
    ----------
    .. [1] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation Algorithms for
       Face Recognition", BTAS 2018, section 2.3, equation 3.

    Examples
    --------
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import GaussianBlur
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> GaussianBlur(sigma=1.0).transform(faces.images).shape
    (4, 96, 84, 1)
    """

    _parameter_constraints = {"sigma": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, *, sigma=1.0):
        self.sigma = sigma

    def _apply(self, X, draw):
        check_reach(self.sigma, X.shape[1:], "sigma", always=1)
        return X.copy() if self.sigma == 0 else gaussian_filter(X, (0, self.sigma, self.sigma, 0), mode="reflect")

    def _pull_back(self, X, draw, gradient):
        return self._apply(np.asarray(gradient, dtype=np.float32), draw)
