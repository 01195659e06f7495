"""Square's moves in l1 and l2 against the paper's formulas written out in loops, and what they leave alone."""

import numpy as np
import pytest

from smartbox import _norms
from smartbox._streams import ImageStreams
from smartbox.attacks._square_bumps import bump, bump_side, first_bumps, hill, next_bump

SHAPES = [(96, 84, 1), (4, 5, 1), (1, 7, 2), (9, 2, 1), (12, 11, 3)]
POWER = {"l1": 1, "l2": 2}


def streams(n, seed=0):
    return ImageStreams(np.arange(n, dtype=np.uint64) + np.uint64(1000 * seed))


def written_out(height, width, falls):
    """Equation 2 of the paper, whose pixels count from 1: ``sum over k <= M of 1 / (n + 1 - k)**2``."""
    values, n = np.zeros((height, width)), max(height, width) // 2
    for r in range(1, height + 1):
        for s in range(1, width + 1):
            last = n - max(abs(r - height // 2 - 1), abs(s - width // 2 - 1))
            values[r - 1, s - 1] = sum(1 / (n + 1 - k) ** falls for k in range(last + 1))
    return values


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (3, 5), (4, 4), (8, 17)])
@pytest.mark.parametrize("falls", [2, 4])
def test_hills_are_the_papers(height, width, falls):
    np.testing.assert_allclose(hill(height, width, falls), written_out(height, width, falls), rtol=1e-12)


@pytest.mark.parametrize("norm", POWER)
@pytest.mark.parametrize("side", [1, 2, 3, 7, 84])
def test_bumps_are_two_hills_of_opposite_sign_and_norm_one(norm, side):
    square = bump(side, norm)
    assert square.shape == (side, side, 1)
    np.testing.assert_allclose(_norms.size(square.reshape(1, -1), norm), 1)
    assert (square[: side // 2] > 0).all() and (square[side // 2 :] < 0).all()
    if side > 1:
        halves = [_norms.size(half.reshape(1, -1), norm) for half in (square[: side // 2], square[side // 2 :])]
        np.testing.assert_allclose(*halves)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", POWER)
def test_first_bumps_fill_a_grid_to_the_norm(norm, shape):
    delta = first_bumps(streams(50), shape, 0.7, norm)
    assert delta.shape == (50, *shape) and delta.dtype == np.float32
    np.testing.assert_allclose(_norms.size(delta.reshape(50, -1), norm), 0.7, rtol=1e-6)
    side = max(1, min(shape[:2]) // 5)
    rest = shape[0] * shape[1] - (shape[0] // side) * (shape[1] // side) * side**2
    np.testing.assert_array_equal((delta == 0).sum(axis=(1, 2, 3)), rest * shape[2])
    assert len(np.unique(delta.reshape(50, -1), axis=0)) > 25


def told(draws, delta, side, eps, norm):
    """Algorithm 3 of the paper for one image: a loop over channels, windows as slices."""
    p, (height, width, channels) = POWER[norm], delta.shape
    tops = [int(u * (height - side + 1)) for u in draws[[0, 2]]]
    lefts = [int(u * (width - side + 1)) for u in draws[[1, 3]]]
    here, there = (np.s_[top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True))
    square = bump(side, norm)[..., 0]
    square = square.T if draws[4] < 0.5 else square
    either = np.zeros((height, width), bool)
    either[here] = either[there] = True
    left_over = eps**p - np.sum(np.abs(delta) ** p)
    new = delta.astype(np.float64)
    for channel in range(channels):
        old = delta[..., channel][here].astype(np.float64)
        size = np.sum(np.abs(old) ** p) ** (1 / p)
        added = square * (-1 if draws[5 + channel] < 0.5 else 1)
        shape = added + (old / size if size > 0 else 0)
        shape = added if np.allclose(shape, 0, atol=1e-6) else shape  # of which the paper says nothing
        budget = np.sum(np.abs(delta[..., channel][either]) ** p) + left_over / channels
        new[..., channel][there] = 0
        new[..., channel][here] = shape / np.sum(np.abs(shape) ** p) ** (1 / p) * budget ** (1 / p)
    return new


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", POWER)
def test_next_bump_is_algorithm_3(norm, shape):
    """And what it makes has norm ``eps`` again, whatever part of it the box had cut off."""
    n, eps, draws = 20, 0.7, streams(20, seed=1).uniform(5 + shape[2])
    side = bump_side(3, shape)
    delta = 0.9 * first_bumps(streams(n), shape, eps, norm)
    made = next_bump(streams(n, seed=1), delta, side, eps, norm)
    np.testing.assert_allclose(_norms.size(made.reshape(n, -1), norm), eps, rtol=1e-6)
    for i in range(n):
        np.testing.assert_allclose(made[i], told(draws[i], delta[i], side, eps, norm), atol=1e-6)


def test_sides_are_odd_if_the_image_is_large_enough():
    assert [bump_side(side, (96, 84, 1)) for side in (1, 3, 4, 5, 83, 84)] == [3, 3, 5, 5, 83, 84]
    assert bump_side(5, (4, 9, 1)) == 4 and bump_side(1, (1, 9, 1)) == 1


@pytest.mark.parametrize("norm", POWER)
def test_nothing_left_to_give_leaves_nothing(norm):
    """A perturbation that the box has eaten up starts anew; one that rounding has pushed beyond ``eps`` comes back."""
    shape = (9, 8, 1)
    made = next_bump(streams(5), np.zeros((5, *shape), np.float32), 3, 0.7, norm)
    np.testing.assert_allclose(_norms.size(made.reshape(5, -1), norm), 0.7, rtol=1e-6)
    beyond = first_bumps(streams(5), shape, 0.7 * (1 + 1e-4), norm)
    made = next_bump(streams(5), beyond, 7, 0.7, norm)
    np.testing.assert_allclose(_norms.size(made.reshape(5, -1), norm), 0.7, rtol=1e-6)
