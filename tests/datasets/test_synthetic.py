"""Synthetic faces: shapes, repeatability, light and shadow, identity against nuisance."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from smartbox.datasets import make_faces
from smartbox.datasets._face_renderer import HALF_WIDTH, MARGIN, build_face, cast_shadow, pixel_grid
from smartbox.datasets._synthetic import LIGHTS, _lamp_vectors

SMALL = (48, 42)


@pytest.fixture(scope="module")
def faces():
    """Ten people under all lamps, and under the first one a second time (image 64)."""
    return make_faces(n_identities=10, n_images=65, image_shape=SMALL)


def lamp(faces, azimuth, elevation):
    """Return the images of each identity under one lamp, shape (identities, rows, columns)."""
    chosen = (faces.azimuth == azimuth) & (faces.elevation == elevation)
    return faces.images[chosen, :, :, 0]


def test_fields(faces):
    assert faces.images.shape == (650, 48, 42, 1)
    assert faces.images.dtype == np.float32
    assert faces.images.min() >= 0 and faces.images.max() <= 1
    np.testing.assert_array_equal(np.rint(faces.images * 255) / np.float32(255), faces.images)
    assert faces.data.shape == (650, 48 * 42)
    assert np.shares_memory(faces.data, faces.images)
    np.testing.assert_array_equal(faces.target, np.repeat(np.arange(10), 65))
    assert faces.target_names[0] == "face01" and len(faces.target_names) == 10
    assert faces.azimuth.shape == faces.elevation.shape == (650,)
    assert "10 identities" in faces.DESCR


def test_default_image_shape():
    assert make_faces(n_identities=1, n_images=2).images.shape == (2, 96, 84, 1)


def test_lights_are_those_of_extended_yale_b():
    assert len(set(LIGHTS)) == 64
    assert LIGHTS[0] == (0, 0)
    mirrored = {(-azimuth, elevation) for azimuth, elevation in LIGHTS}
    assert set(LIGHTS) == mirrored
    np.testing.assert_allclose(np.linalg.norm(_lamp_vectors(LIGHTS), axis=1), 1)


@pytest.mark.parametrize("n_images", [8, 16, 32])
def test_every_beginning_of_the_lights_is_spread(n_images):
    azimuth, elevation = np.array(LIGHTS[:n_images]).T
    assert (azimuth > 60).any() and (azimuth < -60).any() and (np.abs(azimuth) < 20).any()
    assert (elevation > 30).any() and (elevation < -30).any()


def test_same_seed_same_faces():
    first, second = (make_faces(n_identities=2, n_images=3, image_shape=SMALL, random_state=5) for _ in "ab")
    np.testing.assert_array_equal(first.images, second.images)


def test_other_seed_other_faces():
    first, second = (make_faces(n_identities=1, n_images=1, image_shape=SMALL, random_state=s) for s in (0, 1))
    assert np.abs(first.images - second.images).mean() > 0.02


@pytest.mark.parametrize("make_state", [np.random.RandomState, np.random.default_rng])
def test_generators_are_accepted(make_state):
    first, second = (
        make_faces(n_identities=1, n_images=1, image_shape=SMALL, random_state=make_state(3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.images, second.images)


def test_global_generator_is_untouched():
    before = np.random.get_state()[1].copy()
    make_faces(n_identities=1, n_images=1, image_shape=(24, 21))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_small_call_is_part_of_large_call(faces):
    small = make_faces(n_identities=3, n_images=5, image_shape=SMALL)
    large = faces.images.reshape(10, 65, *SMALL, 1)[:3, :5].reshape(-1, *SMALL, 1)
    np.testing.assert_array_equal(small.images, large)


def test_lights_come_round_again(faces):
    assert faces.azimuth[64] == faces.azimuth[0] and faces.elevation[64] == faces.elevation[0]
    assert np.any(faces.images[64] != faces.images[0])


def test_positive_azimuth_lights_the_left_of_the_picture(faces):
    for azimuth in (50, 70, 95):
        right_lamp, left_lamp = lamp(faces, azimuth, 0), lamp(faces, -azimuth, 0)
        assert np.all(right_lamp[:, :, :21].mean((1, 2)) > 2 * right_lamp[:, :, 21:].mean((1, 2)))
        assert np.all(left_lamp[:, :, 21:].mean((1, 2)) > 2 * left_lamp[:, :, :21].mean((1, 2)))


def test_lamp_above_darkens_what_looks_down(faces):
    """The strip under the nose is darker with the lamp above than with the lamp below."""
    strip = np.s_[:, 27:31, 18:24]
    above = lamp(faces, 0, 45)[strip].mean((1, 2)) / lamp(faces, 0, 45).mean((1, 2))
    below = lamp(faces, 0, -35)[strip].mean((1, 2)) / lamp(faces, 0, -35).mean((1, 2))
    assert np.all(above < below)


def test_shadow_of_a_wall_is_as_long_as_geometry_says():
    """A wall of height 0.3 throws a shadow 0.3 / tan(elevation) long."""
    x, _ = pixel_grid((120, 105), MARGIN)
    depth = np.where(np.abs(x + 0.4) < 0.03, 0.3, 0.0).astype(np.float32)
    for elevation in (30, 45, 60):
        light = np.array([-np.cos(np.radians(elevation)), 0, np.sin(np.radians(elevation))])
        dark = cast_shadow(depth, light, softness=0.01)[60] < 0.5
        length = np.sum(dark & (x[60] > -0.37)) * 2 * MARGIN * HALF_WIDTH / 105
        assert length == pytest.approx(0.3 / np.tan(np.radians(elevation)), abs=0.06)


def test_plane_has_no_shadow():
    depth = np.zeros((40, 40), dtype=np.float32)
    np.testing.assert_array_equal(cast_shadow(depth, np.array([0.6, 0.0, 0.8])), 1)


def test_nose_casts_a_shadow_on_the_cheek():
    """Lamp on the left: right of the nose lie points that face the lamp and still do not see it."""
    face = build_face(np.random.default_rng(0), SMALL)
    light = _lamp_vectors([(60, 0)])[0]
    x, y = pixel_grid(face["depth"].shape, MARGIN)
    p, q = face["slope"]
    facing = (light[2] - p * light[0] - q * light[1]) / np.sqrt(1 + p**2 + q**2)
    blocked = (cast_shadow(face["depth"], light) < 0.1) & (facing > 0.15)
    beside = (np.abs(x) > 0.08) & (np.abs(x) < 0.5) & (y > -0.3) & (y < 0.15)
    assert np.sum(blocked & beside & (x > 0)) > 20
    assert np.sum(blocked & beside & (x < 0)) < 5


def test_exposure_is_that_of_the_real_pictures(faces):
    assert 0.2 < faces.images.mean() < 0.35
    assert (faces.images > 0.99).mean() < 0.02
    assert lamp(faces, 130, 20).mean() < 0.1
    assert lamp(faces, 0, 0).mean() > 0.3


def test_light_outweighs_identity_outweighs_pose(faces):
    cube = faces.images.reshape(10, 65, -1)
    pose = np.sqrt(((cube[:, 0] - cube[:, 64]) ** 2).mean(1))
    identity = np.sqrt(((cube[:, None, 0] - cube[None, :, 0]) ** 2).mean(2))[np.triu_indices(10, 1)]
    light = np.sqrt(((cube[:, 0] - cube[:, LIGHTS.index((-110, 15))]) ** 2).mean(1))
    assert np.median(pose) < 0.6 * np.median(identity)
    assert np.median(identity) < np.median(light)


def test_identity_can_be_learnt_in_spite_of_light(faces):
    train_x, test_x, train_y, test_y = train_test_split(
        faces.data, faces.target, test_size=0.2, stratify=faces.target, random_state=0
    )
    fisher = make_pipeline(PCA(60, random_state=0), LinearDiscriminantAnalysis()).fit(train_x, train_y)
    nearest = KNeighborsClassifier(1).fit(train_x, train_y)
    assert fisher.score(test_x, test_y) > 0.8
    assert nearest.score(test_x, test_y) < fisher.score(test_x, test_y)


@pytest.mark.parametrize("image_shape", [(24, 21), (31, 45), (97, 83), (50, 24)])
def test_any_image_shape(image_shape):
    faces = make_faces(n_identities=1, n_images=2, image_shape=image_shape)
    assert faces.images.shape == (2, *image_shape, 1)
    assert np.isfinite(faces.images).all()
    assert faces.images[0].std() > 0.05


def test_face_is_the_same_at_every_resolution():
    large, small = (
        make_faces(n_identities=1, n_images=1, image_shape=shape).images[0, ..., 0] for shape in ((96, 84), SMALL)
    )
    shrunk = large.reshape(48, 2, 42, 2).mean((1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("name", ["n_identities", "n_images"])
@pytest.mark.parametrize("value", [0, -3, 2.5, "4", True, None])
def test_bad_count(name, value):
    with pytest.raises(ValueError, match=f"{name} must be an int of at least 1, got"):
        make_faces(**{name: value})


@pytest.mark.parametrize("image_shape", [96, (96,), (96, 84, 1), (20, 21), (24, 20), (96.0, 84.0), "ab", None, (0, -1)])
def test_bad_image_shape(image_shape):
    with pytest.raises(ValueError, match="image_shape must be two ints"):
        make_faces(image_shape=image_shape)
