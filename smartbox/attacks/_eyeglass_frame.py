"""The frame of a pair of spectacles: where it lies, how rough its colours are, and how far from what a printer can print."""

import numpy as np

# Of height and width, on faces cropped as those of Extended Yale B: the middle of the eyes of the mean face.
_EYE_ROW, _EYE_COLUMNS = 0.24, (0.21, 0.79)
_RIM = 0.115, 0.19  # half axes of the ellipse around a rim, of height and width
_THICKNESS = 0.045  # of the width
_EPSILON = 1e-8  # keeps the root of the variation differentiable
LEVELS = np.linspace(0.08, 0.92, 16).astype(np.float32)  # what a printer is taken to reach, in each channel


def spectacles(height, width):
    """Two rims and a bridge as a boolean ``(height, width)``, about 7 % of the pixels."""
    y, x = np.mgrid[:height, :width] + 0.5
    row, thick = _EYE_ROW * height, _THICKNESS * width
    high, wide = _RIM[0] * height, _RIM[1] * width
    mask = (np.abs(y - row) <= thick / 2) & (
        np.abs(x - width / 2) <= (_EYE_COLUMNS[1] - _EYE_COLUMNS[0]) * width / 2 - wide
    )
    for column in _EYE_COLUMNS:
        down, across = y - row, x - column * width
        outer = (down / high) ** 2 + (across / wide) ** 2
        inner = (down / (high - thick)) ** 2 + (across / (wide - thick)) ** 2
        mask |= (outer <= 1) & (inner > 1)
    return mask


def total_variation(frames, mask):
    """Roughness of each frame and its gradient.

    The root of the squared differences to the pixels below and at the right, summed over the mask, channels apart; differences to
    pixels outside of the mask do not count. 0 for one colour.

    Parameters
    ----------
    frames : ndarray of shape (n, height, width, channels)
    mask : boolean ndarray of shape (height, width)

    Returns
    -------
    values : ndarray of shape (n,)
    gradient : ndarray like frames
    """
    down, right = np.zeros_like(frames), np.zeros_like(frames)
    down[:, :-1] = (frames[:, :-1] - frames[:, 1:]) * (mask[:-1] & mask[1:])[..., None]
    right[:, :, :-1] = (frames[:, :, :-1] - frames[:, :, 1:]) * (mask[:, :-1] & mask[:, 1:])[..., None]
    length = np.sqrt(down**2 + right**2 + frames.dtype.type(_EPSILON))
    values = (length - np.sqrt(frames.dtype.type(_EPSILON))).sum(axis=(1, 2, 3))
    down, right = down / length, right / length
    gradient = down + right
    gradient[:, 1:] -= down[:, :-1]
    gradient[:, :, 1:] -= right[:, :, :-1]
    return values, gradient


def unprintability(frames, mask):
    """Distance of each frame to the nearest printable one, ``(n,)`` summed over the mask, and its gradient.

    The published score is the product over all printable colours, which thirty factors below 1 bring under what float32 can
    tell from 0; the distance to the nearest is 0 in the same places.
    """
    nearest = LEVELS[np.rint((frames - LEVELS[0]) / (LEVELS[1] - LEVELS[0])).astype(int).clip(0, len(LEVELS) - 1)]
    away = (frames - nearest) * mask[..., None]
    return np.abs(away).sum(axis=(1, 2, 3)), np.sign(away)


def unit_steepest(gradient, mask):
    """Each gradient within the mask, its largest entry 1; zero stays zero."""
    inside = gradient * mask[..., None]
    largest = np.abs(inside).max(axis=(1, 2, 3), keepdims=True)
    return inside / np.where(largest > 0, largest, 1)
