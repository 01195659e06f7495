"""Alignment against SciPy's interpolation and the places that were asked for."""

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from smartbox.datasets import align_faces
from smartbox.estimator_checks import example_images


def some_eyes(n, seed=0):
    """Two eyes in images of 30 x 40, tilted by up to 45 degrees."""
    rng = np.random.default_rng(seed)
    left = rng.uniform((8, 10), (14, 18), size=(n, 2))
    return np.stack([left, left + rng.uniform((8, -8), (16, 8), size=(n, 2))], axis=1)


def test_eyes_come_to_their_places():
    """Coordinates as grey values: the aligned image shows at each eye's place where the eye was."""
    y, x = np.mgrid[:30, :40] / 40
    eyes = some_eyes(7)
    images = np.broadcast_to(np.stack([x, y], axis=-1), (7, 30, 40, 2))
    places = np.array([[0.3, 0.4], [0.7, 0.5]])
    aligned = align_faces(images, eyes, image_shape=(60, 80), places=places)
    # a place in parts of the sides lies at place * size - 1/2; a quarter of it is taken from each of the four pixels around
    corner = np.floor(places * (80, 60) - 0.5).astype(int)
    part = places * (80, 60) - 0.5 - corner
    for eye in range(2):
        (column, row), (across, down) = corner[eye], part[eye]
        upper = aligned[:, row, column] * (1 - across) + aligned[:, row, column + 1] * across
        lower = aligned[:, row + 1, column] * (1 - across) + aligned[:, row + 1, column + 1] * across
        np.testing.assert_allclose(40 * (upper * (1 - down) + lower * down), eyes[:, eye], atol=1e-3)


def test_every_pixel_is_scipys():
    """The same similarity by SciPy: bilinear, with repeated edges."""
    images, eyes = example_images((30, 40, 3), n=5), some_eyes(5)
    aligned = align_faces(images, eyes, image_shape=(24, 20))
    places = np.array([[0.318, 0.314], [0.668, 0.314]]) * (20, 24) - 0.5
    for image, (left, right), out in zip(images, eyes, aligned, strict=True):
        before, after = places[1] - places[0], right - left
        size, angle = np.hypot(*after) / np.hypot(*before), np.arctan2(*after[::-1]) - np.arctan2(*before[::-1])
        turn = size * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # by (row, column)
        shift = left[::-1] - turn @ places[0][::-1]
        for channel in range(3):
            expected = affine_transform(image[..., channel], turn, shift, (24, 20), order=1, mode="nearest")
            np.testing.assert_allclose(out[..., channel], expected, atol=1e-5)


def test_eyes_in_place_leave_the_image_alone():
    images = example_images((20, 20, 1))
    eyes = np.tile(np.array([[0.3, 0.4], [0.7, 0.4]]) * 20 - 0.5, (len(images), 1, 1))
    out = align_faces(images, eyes, image_shape=(20, 20), places=[[0.3, 0.4], [0.7, 0.4]])
    np.testing.assert_allclose(out, images, atol=1e-5)
    assert out.dtype == np.float32 and out.min() >= 0 and out.max() <= 1


def test_many_are_as_one_by_one():
    images, eyes = example_images((30, 40, 1), n=70), some_eyes(70)
    whole = align_faces(images, eyes, image_shape=(10, 10))
    np.testing.assert_array_equal(whole[69], align_faces(images[69:], eyes[69:], image_shape=(10, 10))[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eyes": np.zeros((12, 2))}, "eyes as finite numbers of shape"),
        ({"eyes": np.full((12, 2, 2), np.nan)}, "eyes as finite numbers"),
        ({"eyes": np.ones((12, 2, 2))}, "exchange them"),
        ({"places": [[0.7, 0.3], [0.3, 0.3]]}, "exchange them"),
        ({"image_shape": (0, 5)}, "image_shape"),
        ({"images": np.ones((2, 3))}, "images as an array"),
    ],
)
def test_mistakes_are_named(change, message):
    given = {"images": example_images((30, 40, 1)), "eyes": some_eyes(12), **change}
    with pytest.raises(ValueError, match=message):
        align_faces(given.pop("images"), given.pop("eyes"), **given)
