"""Square's moves in l1 and l2: a bump in one window, paid for by what that window and another one held."""

import numpy as np

from smartbox import _norms

# By norm: the power of a pixel that adds up to the norm's, and that of the distance by which a bump falls off.
_POWERS = {"l1": (1, 4), "l2": (2, 2)}
_NOTHING = 1e-6  # what a bump and its opposite leave, where the window held just that


def first_bumps(rng, shape, eps, norm):
    """A bump in each tile of a grid, five along the image's shorter side, for each image of ``rng``: ``(n, *shape)``."""
    height, width, channels = shape
    side = max(1, min(height, width) // 5)
    grid = height // side, width // side
    draws = rng.uniform(grid[0] * grid[1] * (1 + channels)).reshape(-1, *grid, 1, 1, 1 + channels)
    tiles = _signs(draws[..., 1:]) * _turned(bump(side, norm), draws[..., :1] < 0.5)
    tiles = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(len(draws), grid[0] * side, grid[1] * side, channels)
    delta = np.zeros((len(draws), *shape), np.float32)
    top, left = (height - grid[0] * side) // 2, (width - grid[1] * side) // 2
    delta[:, top : top + grid[0] * side, left : left + grid[1] * side] = tiles
    size = _norms.size(delta.reshape(len(delta), -1), norm)
    return delta * (eps / size).astype(np.float32)[:, None, None, None]


def next_bump(rng, delta, side, eps, norm):
    """``delta`` with a new bump in one random window and nothing in another; each channel keeps what the two held.

    What ``delta`` has left of ``eps`` is shared out among the channels.
    """
    channels = delta.shape[3]
    draws = rng.uniform(5 + channels)
    here, there = (_window(draws[:, i : i + 2], delta.shape[1:3], side) for i in (0, 2))
    power = _POWERS[norm][0]
    unused = (eps**power - _norms.size(delta.reshape(len(delta), -1), norm) ** power)[:, None]
    delta = delta.copy()
    old = delta[here]
    delta[here] = 0
    held = _spent(old, power) + _spent(delta[there], power)
    delta[there] = 0
    draws = draws[:, None, None, 4:]
    added = _signs(draws[..., 1:]) * _turned(bump(side, norm), draws[..., :1] < 0.5)
    new = added + _to_one(old, power)
    new = np.where(_spent(new, power)[:, None, None, :] > _NOTHING, new, added)
    budget = np.maximum(held + unused / channels, 0) ** (
        1 / power
    )  # less than was held, where rounding went beyond eps
    delta[here] = _to_one(new, power) * budget[:, None, None, :]
    return delta


def bump(side, norm):
    """Two hills of opposite sign, one above the other, in a square: ``(side, side, 1)``, of norm 1."""
    power, falls = _POWERS[norm]
    halves = (hill(half, side, falls)[None, :, :, None] for half in (side // 2, side - side // 2))
    upper, lower = (_to_one(half, power) for half in halves)
    return _to_one(np.concatenate([upper, -lower], axis=1), power)[0]


def hill(height, width, falls):
    """``sum of 1 / j**falls``, from 1 plus the larger of the two distances to the middle, to that of the farthest pixel."""
    sides = (np.abs(np.arange(length) - length // 2) for length in (height, width))
    distance = np.maximum(*np.meshgrid(*sides, indexing="ij"))
    terms = 1 / np.arange(1, max(height, width) // 2 + 2) ** float(falls)
    return np.cumsum(terms[::-1])[::-1][distance]


def bump_side(side, shape):
    """The next odd number from 3 on, if the image is large enough for it."""
    return min(max(side, 3) // 2 * 2 + 1, *shape[:2])


def _window(draws, shape, side):
    """Index of a square at a random place of each image."""
    rows = np.arange(len(draws))[:, None, None]
    tops, lefts = (np.floor(draws[:, i] * (shape[i] - side + 1)).astype(int)[:, None] + np.arange(side) for i in (0, 1))
    return rows, tops[:, :, None], lefts[:, None, :]


def _spent(windows, power):
    """What each channel adds to the norm's power: ``(n, channels)``."""
    return np.sum(np.abs(windows) ** power, axis=(1, 2), dtype=np.float64)


def _to_one(windows, power):
    """Each channel at norm 1; zero stays zero."""
    spent = _spent(windows, power)
    return windows / (np.where(spent > 0, spent, 1) ** (1 / power))[:, None, None, :]


def _signs(draws):
    return np.where(draws < 0.5, np.float32(-1), np.float32(1))


def _turned(square, which):
    return np.where(which, square.transpose(1, 0, 2), square)
