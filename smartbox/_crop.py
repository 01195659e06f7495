"""A square about the middle of each image, brought to the size and the colour that a network takes: a linear map."""

import functools

import numpy as np
from scipy.sparse import csr_array

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601, as the loaders make grey


class Crop:
    """The part of each image about its middle, ``crop`` times as wide as the image, at another size and colour.

    Beyond its edge an image goes on with its last pixels. Bilinear; where pixels become fewer, the triangle grows with them, so
    that none is left out.

    Parameters
    ----------
    image_shape, network_shape : tuple of int
        ``(height, width, channels)`` of what comes in and goes out. A side of None goes out as it came in.
    crop : float or None
        None, for images of the network's own size, leaves pixels alone.
    """

    def __init__(self, image_shape, network_shape, crop):
        self.channels = image_shape[2], network_shape[2]
        self.axes = None
        if crop is not None:
            height, width = image_shape[:2]
            scale = crop * width / network_shape[1]
            self.axes = [_triangles(height, network_shape[0], scale), _triangles(width, network_shape[1], scale)]

    def __call__(self, X):
        """Images as the network takes them."""
        if self.axes is not None:
            X = _along(self.axes[1], _along(self.axes[0], X, 1), 2)
        came, wanted = self.channels
        if came == wanted:
            return X
        return np.repeat(X, wanted, axis=3) if came == 1 else (X * _LUMA).sum(axis=3, keepdims=True)

    def pull_back(self, gradient):
        """The adjoint: the gradient by the images as they came."""
        came, wanted = self.channels
        if came != wanted:
            gradient = gradient.sum(axis=3, keepdims=True) if came == 1 else gradient * _LUMA
        if self.axes is not None:
            gradient = _along(self.axes[0].T, _along(self.axes[1].T, gradient, 2), 1)
        return gradient


def _along(matrix, X, axis):
    """``matrix`` times one axis of the images. Sparse: a dense product would wake the threads of BLAS for little."""
    first = np.moveaxis(X, axis, 0)
    product = matrix @ first.reshape(len(first), -1)
    return np.ascontiguousarray(np.moveaxis(product.reshape(-1, *first.shape[1:]), 0, axis))


@functools.lru_cache(maxsize=64)
def _triangles(n_in, n_out, scale):
    """Matrix ``(n_out, n_in)``, rows adding up to 1: ``n_out`` pixels, each ``scale`` wide, about the middle of ``n_in``."""
    reach = max(scale, 1.0)
    centres = n_in / 2 + scale * (np.arange(n_out) + 0.5 - n_out / 2)
    pixels = np.arange(np.floor(centres[0] - reach), np.ceil(centres[-1] + reach) + 1)
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - pixels - 0.5) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    rows, columns = np.nonzero(weights)
    edges = np.clip(pixels[columns], 0, n_in - 1).astype(int)  # what lies beyond repeats the edge
    return csr_array((weights[rows, columns].astype(np.float32), (rows, edges)), shape=(n_out, n_in))
