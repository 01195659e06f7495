"""Bit-depth reduction."""

from numbers import Integral

import numpy as np

from smartbox._compat import Interval
from smartbox.base import BaseDefense


class BitDepthReduction(BaseDefense):
    """Round each pixel to one of few levels.

    Parameters
    ----------
    bits : int, default=4
        Bits a pixel: ``2**bits`` levels, ``2**bits - 1`` steps from black to white. 3 to 5 suit faces.

    Notes
    -----
    Levels are the nearest ones, half a step counting to the even level, as in [1]_: nothing gets darker. The true
    gradient is zero almost everywhere; the identity stands in for it (BPDA [2]_).

    References
    ----------
    .. [1] Xu, Evans, Qi. "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018, section
       III-A.
    .. [2] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import BitDepthReduction
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> len(np.unique(BitDepthReduction(bits=3).transform(faces.images))) <= 2**3
    True
    """

    bpda = True
    _parameter_constraints = {"bits": [Interval(Integral, 1, 16, closed="both")]}

    def __init__(self, *, bits=4):
        self.bits = bits

    def _apply(self, X, draw):
        return reduce_bits(X, bits=self.bits)


def reduce_bits(X, *, bits):
    """Round pixels to the nearest of ``2^bits`` levels."""
    steps = np.float32(2**bits - 1)
    return np.rint(X * steps) / steps
