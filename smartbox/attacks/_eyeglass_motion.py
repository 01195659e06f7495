"""Small motions of a frame on a face: bilinear warps, and their way back."""

import numpy as np


class Motion:
    """One rigid motion an image, drawn anew for each object; zero comes in from outside of the image.

    Parameters
    ----------
    draws : ndarray of shape (n, 3)
        From (0, 1): 0.5 is none. Down, across and turn, each up to ``reach`` either way.
    reach : float
        Largest shift in pixels, and largest turn in degrees.
    mask : boolean ndarray of shape (height, width)
        What moves; it turns about its own middle.
    """

    def __init__(self, draws, reach, mask):
        self.size = height, width = mask.shape
        down, across, turn = (2 * draws - 1).T[..., None] * reach
        cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        row, column = (where.mean() for where in np.nonzero(mask))
        y, x = (each.ravel() for each in np.mgrid[:height, :width])
        y, x = y - row - down, x - column - across
        # Where each pixel of the result comes from: the motion backwards.
        y, x = cosine * y - sine * x + row, sine * y + cosine * x + column
        top, left = np.floor(y).astype(int), np.floor(x).astype(int)
        self._corners = [
            self._corner(top + below, left + right, np.abs(1 - below - (y - top)) * np.abs(1 - right - (x - left)))
            for below in (0, 1)
            for right in (0, 1)
        ]

    def _corner(self, y, x, weight):
        """Places in the flat batch of one of the four neighbours, and its weight: 0 where that is outside."""
        height, width = self.size
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        flat = y.clip(0, height - 1) * width + x.clip(0, width - 1)
        return flat + np.arange(len(flat))[:, None] * (height * width), weight * inside

    def move(self, images):
        """Each image ``(n, height, width, channels)`` moved."""
        flat = images.reshape(-1, images.shape[-1])
        moved = sum(flat[at] * weight[..., None] for at, weight in self._corners)
        return moved.reshape(images.shape).astype(images.dtype)

    def pull_back(self, gradient):
        """The adjoint of `move`: the gradient by the moved images in, that by the images out."""
        channels = np.moveaxis(gradient.reshape(len(gradient), -1, gradient.shape[-1]), -1, 0)
        pulled = [
            sum(np.bincount(at.ravel(), (each * weight).ravel(), each.size) for at, weight in self._corners)
            for each in channels
        ]
        return np.stack(pulled, axis=-1).reshape(gradient.shape).astype(gradient.dtype)
