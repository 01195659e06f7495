"""One random stream for every image, so that an image's noise does not depend on its batch, its place or its neighbours."""

import numpy as np
from scipy.special import ndtri

# Deployed seeds lie below it and those of attackers above, so that no draw of the one is by design one of the other.
ATTACKERS = 2**63
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z):
    """The finaliser of SplitMix64: turns a counter into 64 well-mixed bits."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class ImageStreams:
    """Random numbers keyed by a seed and the content of each image.

    Counter-based (SplitMix64), so that whole batches are drawn at once, and any subset or order of the images draws the same
    numbers for each of them.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        One key an image; see `from_images`.
    """

    def __init__(self, keys):
        self.keys = keys
        self._drawn = np.zeros(len(keys), dtype=np.uint64)

    @classmethod
    def from_images(cls, X, seed):
        """Key each float32 image ``(n, h, w, c)`` by its pixels' bits and ``seed``."""
        words = np.ascontiguousarray(X, dtype=np.float32).reshape(len(X), -1).view(np.uint32)
        odd = _mix(np.arange(1, words.shape[1] + 1, dtype=np.uint64) * _GOLDEN) | np.uint64(1)
        keys = np.empty(len(X), dtype=np.uint64)
        for start in range(0, len(X), 256):  # products of 64 bits need twice the memory of the images
            block = slice(start, start + 256)
            keys[block] = (words[block].astype(np.uint64) * odd).sum(axis=1, dtype=np.uint64)
        return cls(_mix(keys + _mix(np.uint64([seed]) + _GOLDEN)))

    def take(self, rows):
        """Streams of some of the images, at the state that they are in."""
        part = ImageStreams(self.keys[rows])
        part._drawn = self._drawn[rows].copy()
        return part

    def spawn(self, number):
        """Independent streams of the same images, e.g. one for each restart."""
        return ImageStreams(_mix(self.keys + np.uint64(number + 1) * _mix(_GOLDEN[None])))

    def bits(self, count):
        """Uint64 draws, shape ``(n, count)``; every call goes on where the last one stopped."""
        counter = self._drawn[:, None] + np.arange(1, count + 1, dtype=np.uint64)
        self._drawn += np.uint64(count)
        return _mix(self.keys[:, None] + counter * _GOLDEN)

    def uniform(self, count):
        """Float64 draws from the open interval (0, 1), shape ``(n, count)``."""
        return ((self.bits(count) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, count):
        """Float64 draws from N(0, 1), shape ``(n, count)``."""
        return ndtri(self.uniform(count))
