"""JPEG through the codec against its own arithmetic in floating point."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn, idctn

from smartbox.defenses import JPEGCompression
from smartbox.defenses._jpeg import from_blocks, in_blocks
from smartbox.estimator_checks import example_images


def eight_bit(X):
    return np.rint(X * np.float32(255)) / np.float32(255)


def table(quality):
    """The codec's quantisation of brightness."""
    file = BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(file, format="JPEG", quality=quality)
    return np.array(Image.open(file).quantization[0]).reshape(8, 8)


@pytest.mark.parametrize("quality", [30, 75, 90])
def test_equals_cosine_transform_and_rounding(quality):
    """The codec computes in whole numbers: blocks with a coefficient near a tie may round to the other side."""
    X = eight_bit(example_images((64, 48, 1), n=10))
    out = JPEGCompression(quality=quality).transform(X)
    n_compared = 0
    for image, recoded in zip(X[..., 0], out[..., 0], strict=True):
        for row, column in np.ndindex(8, 6):
            block = np.s_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            scaled = dctn(image[block] * 255.0 - 128, norm="ortho") / table(quality)
            if np.abs(np.abs(scaled - np.rint(scaled)) - 0.5).min() > 0.03:
                n_compared += 1
                expected = idctn(np.rint(scaled) * table(quality), norm="ortho") + 128
                np.testing.assert_allclose(recoded[block] * 255, np.clip(expected, 0, 255), atol=1.5)
    assert n_compared > 10


def test_constant_images_and_constant_blocks_stay():
    for shape in ((12, 20, 1), (9, 7, 3)):
        X = np.stack([np.full(shape, value, np.float32) for value in (0, 0.3, 0.5, 1)])
        np.testing.assert_allclose(JPEGCompression(quality=75).transform(X), X, atol=1.01 / 255)
    blocks = np.kron(np.float32([[0.2, 0.6], [1, 0.4]]), np.ones((8, 8), np.float32))[None, ..., None]
    np.testing.assert_allclose(JPEGCompression(quality=75).transform(blocks), blocks, atol=2.01 / 255)


def test_error_falls_with_quality():
    X = example_images((40, 32, 1))
    errors = [np.square(JPEGCompression(quality=q).transform(X) - X).mean() for q in (10, 30, 50, 75, 90, 95)]
    assert (np.diff(errors) < 0).all()


def test_blocks_are_undone_and_sizes_need_not_be_multiples():
    X = example_images((13, 21, 3))
    np.testing.assert_allclose(from_blocks(in_blocks(X), X.shape), X, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 8, 1), (16, 16, 3)])
def test_the_way_back_is_that_of_soft_rounding(shape):
    """Finite differences of ``round(c) + (c - round(c))**3`` in the place of rounding, written as loops over blocks."""
    X = 0.2 + 0.6 * example_images(shape, n=2).astype(np.float64)
    defense = JPEGCompression(quality=60)
    tables = {1: [table(60)], 3: _tables_of_colour(60)}[shape[2]]
    v, u = np.random.default_rng(0).normal(size=(2, *X.shape))

    def soft(X):
        planes = _in_planes(X * 255)
        planes[..., 0] -= 128
        out = np.empty_like(planes)
        for row, column, plane in np.ndindex(shape[0] // 8, shape[1] // 8, shape[2]):
            block = np.s_[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8, plane]
            c = dctn(planes[block], axes=(1, 2), norm="ortho") / tables[plane]
            c = hold[row, column, plane] + (c - hold[row, column, plane]) ** 3
            out[block] = idctn(c * tables[plane], axes=(1, 2), norm="ortho")
        return _from_planes(out) / 255

    hold = np.empty((shape[0] // 8, shape[1] // 8, shape[2], len(X), 8, 8))
    planes = _in_planes(X * 255)
    planes[..., 0] -= 128
    for row, column, plane in np.ndindex(hold.shape[:3]):
        block = planes[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8, plane]
        hold[row, column, plane] = np.rint(dctn(block, axes=(1, 2), norm="ortho") / tables[plane])
    numeric = ((soft(X + 1e-6 * u) - soft(X - 1e-6 * u)) * v).sum() / 2e-6
    _, pull_back = defense.vjp(X.astype(np.float32))
    np.testing.assert_allclose((pull_back(v) * u).sum(), numeric, rtol=2e-3)


def _tables_of_colour(quality):
    file = BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, format="JPEG", quality=quality)
    tables = [np.array(values).reshape(8, 8) for values in Image.open(file).quantization.values()]
    return [tables[0], tables[1], tables[1]]


def _in_planes(X):
    """ITU-R BT.601 as JFIF has it."""
    if X.shape[3] == 1:
        return X.copy()
    red, green, blue = np.moveaxis(X, 3, 0)
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([light, (blue - light) / 1.772, (red - light) / 1.402], axis=3)


def _from_planes(planes):
    if planes.shape[3] == 1:
        return planes
    light, to_blue, to_red = np.moveaxis(planes, 3, 0)
    red, blue = light + 1.402 * to_red, light + 1.772 * to_blue
    return np.stack([red, (light - 0.299 * red - 0.114 * blue) / 0.587, blue], axis=3)


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match=r"1 \(grey\) or 3 \(colour\) channels for JPEG, got 2"):
        JPEGCompression().transform(example_images((8, 8, 2)))
