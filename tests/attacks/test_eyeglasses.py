"""Spectacles: the frame's place, its roughness and printability in closed form, and the optimum of an affine model."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

import smartbox
from smartbox import FaceClassifier
from smartbox.attacks import Eyeglasses
from smartbox.attacks._eyeglass_frame import LEVELS, spectacles, total_variation, unit_steepest, unprintability
from smartbox.datasets import make_faces
from smartbox.defenses import GaussianBlur
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


def test_spectacles_cover_seven_percent_and_are_symmetric():
    for size in ((96, 84), (192, 168), (150, 131)):
        mask = spectacles(*size)
        assert 0.065 < mask.mean() < 0.08
        np.testing.assert_array_equal(mask, mask[:, ::-1])
        eye = round(0.24 * size[0]), round(0.21 * size[1])
        assert not mask[eye], "one looks through a rim, not at it"
        assert not mask[size[0] // 2 :].any()
    assert spectacles(16, 12).any()


def test_variation_of_one_colour_is_0_and_of_an_edge_its_length():
    mask = np.ones((9, 7), dtype=bool)
    frames = np.full((3, 9, 7, 2), 0.4)
    frames[1, :, 3:] = 0.9  # an edge of 9 pixels in both channels
    frames[2, 5:, :, 0] = 0.0
    values, gradient = total_variation(frames, mask)
    np.testing.assert_allclose(values, [0, 2 * 9 * 0.5, 7 * 0.4], rtol=1e-3, atol=1e-12)
    assert not gradient[0].any()


def test_variation_looks_only_inside_the_mask():
    mask = spectacles(24, 21)
    frames = np.where(mask[..., None], 0.5, np.random.default_rng(0).uniform(size=(2, 24, 21, 1)))
    values, gradient = total_variation(frames, mask)
    np.testing.assert_allclose(values, 0, atol=1e-12)
    assert not gradient.any()


@pytest.mark.parametrize("penalty", [total_variation, unprintability])
def test_gradients_are_those_of_finite_differences(penalty):
    mask = spectacles(24, 21)
    rng = np.random.default_rng(0)
    frames, way = rng.uniform(size=(4, 24, 21, 3)), rng.normal(size=(4, 24, 21, 3))
    analytic = (penalty(frames, mask)[1] * way).sum(axis=(1, 2, 3))
    numeric = (penalty(frames + 1e-7 * way, mask)[0] - penalty(frames - 1e-7 * way, mask)[0]) / 2e-7
    np.testing.assert_allclose(analytic, numeric, rtol=1e-3)


def test_printable_frames_cost_nothing_and_others_their_distance():
    mask = spectacles(24, 21)
    frames = np.random.default_rng(0).choice(LEVELS, size=(2, 24, 21, 1)).astype(np.float64)
    np.testing.assert_allclose(unprintability(frames, mask)[0], 0, atol=1e-12)
    frames[1][mask] += 0.02
    np.testing.assert_allclose(unprintability(frames, mask)[0], [0, 0.02 * mask.sum()], atol=1e-6)
    np.testing.assert_allclose(unprintability(np.zeros((1, 24, 21, 1)), mask)[0], 0.08 * mask.sum(), rtol=1e-6)


def test_steepest_is_within_the_mask_and_at_most_1():
    mask = spectacles(24, 21)
    gradient = np.random.default_rng(0).normal(size=(3, 24, 21, 1))
    gradient[2] = 0
    step = unit_steepest(gradient, mask)
    assert not step[:, ~mask].any()
    np.testing.assert_allclose(np.abs(step).max(axis=(1, 2, 3)), [1, 1, 0])


@pytest.mark.parametrize("targeted", [False, True])
def test_nothing_outside_the_frame_changes_and_colours_have_8_bits(face, targeted):
    X = example_images()
    mask = spectacles(16, 12)
    y = (face.predict(X) + 1) % 5 if targeted else face.predict(X)
    X_adv = Eyeglasses(face, max_iter=15, targeted=targeted).generate(X, y)
    np.testing.assert_array_equal(X_adv[:, ~mask], X[:, ~mask])
    colours = X_adv[:, mask] * 255
    np.testing.assert_allclose(colours, np.rint(colours), atol=1e-4)


def test_affine_optimum_is_black_and_white():
    """With two classes the loss is linear: each pixel of the frame ends where its weight points."""
    weights, bias, X = random_affine(0, 2, (24, 21, 1))
    bias[0] += 1000  # nobody gets far enough to stop
    model = affine_face(weights, bias, (24, 21, 1))
    mask = spectacles(24, 21)
    X_adv = Eyeglasses(model, max_iter=200).generate(X, np.zeros(len(X), dtype=int))
    slope = (weights[1] - weights[0]).reshape(24, 21)
    clear = mask & (np.abs(slope) > 0.05 * np.abs(slope[mask]).max())
    np.testing.assert_array_equal(X_adv[:, clear, 0], np.broadcast_to(slope[clear] > 0, (len(X), clear.sum())))


def test_a_shared_frame_is_the_same_on_all_images_of_a_wearer(face):
    X = example_images(n=20)
    y = np.repeat([0, 1, 2, 3], 5)
    mask = spectacles(16, 12)
    X_adv = Eyeglasses(face, max_iter=10, shared=True).generate(X, y)
    frames = X_adv[:, mask]
    for person in range(4):
        assert (frames[y == person] == frames[y == person][0]).all()
    assert len(np.unique(frames.reshape(20, -1), axis=0)) == 4
    alone = Eyeglasses(face, max_iter=10, shared=True).generate(X[5:10], y[5:10])
    np.testing.assert_allclose(alone, X_adv[5:10], atol=1e-6)


def test_shared_frames_of_a_wearer_in_several_batches_are_refused(face):
    X, y = example_images(n=6), np.array([0, 0, 1, 1, 2, 2])
    attack = Eyeglasses(face, max_iter=2, shared=True, batch_size=4)
    np.testing.assert_array_equal(attack.generate(X, y)[:4], attack.generate(X[:4], y[:4]))
    with pytest.raises(ValueError, match=r"in one batch of 4, got those of .*1.* in several: sort"):
        attack.generate(X, np.array([0, 1, 2, 0, 1, 2]))
    with pytest.raises(ValueError, match="expected y"):
        attack.generate(X)
    Eyeglasses(face, max_iter=2, shared=True).generate(X)


def test_a_frame_for_one_image_is_the_same_shared_or_not(face):
    X = example_images(n=5)
    y = np.arange(5)
    frames = [Eyeglasses(face, max_iter=10, shared=shared).generate(X, y) for shared in (False, True)]
    np.testing.assert_array_equal(*frames)


def test_smooth_and_printable_frames_are_smoother_and_more_printable():
    weights, bias, X = random_affine(0, 2, (24, 21, 1))
    bias[0] += 1000  # nobody gets far enough to stop
    model, mask, y = affine_face(weights, bias, (24, 21, 1)), spectacles(24, 21), np.zeros(len(X), dtype=int)
    settings = {"max_iter": 30, "momentum": 0.0, "step_size": "4/255"}
    plain, smooth, printable = (
        Eyeglasses(model, **settings, **weights).generate(X, y)
        for weights in ({}, {"smoothness": 1.0}, {"printability": 1.0})
    )
    assert (total_variation(smooth, mask)[0] < 0.7 * total_variation(plain, mask)[0]).all()
    assert (unprintability(printable, mask)[0] < 0.7 * unprintability(plain, mask)[0]).all()


def test_dodging_and_impersonation_on_the_sample_model():
    faces, model = make_faces(n_identities=38, n_images=1), smartbox.load_sample_model()
    X = faces.images[:16]
    y = model.predict(X)
    dodged = Eyeglasses(model, max_iter=20).generate(X, y, return_report=True)[1]
    assert dodged.success.mean() > 0.9
    assert dodged.n_iterations.min() < 20
    taken = Eyeglasses(model, max_iter=20, targeted=True).generate(X, (y + 1) % 38, return_report=True)[1]
    assert taken.success.mean() > 0.5


def test_a_mask_of_ones_own_and_a_defence_before_the_model(face):
    X = example_images()
    mask = np.zeros((16, 12), dtype=bool)
    mask[3:8, 2:9] = True
    model = make_pipeline(GaussianBlur(sigma=0.5), face)
    X_adv = Eyeglasses(model, mask=mask, max_iter=10).generate(X)
    changed = (X_adv != X).any(axis=(0, 3))
    assert not changed[~mask].any() and changed[mask].any()


@pytest.mark.parametrize(
    "change",
    [{"mask": np.ones((3, 3), dtype=bool)}, {"mask": np.ones((16, 12))}, {"mask": np.zeros((16, 12), dtype=bool)},
     {"motion": -1.0}, {"momentum": 1.0}, {"step_size": 0.0}, {"step_size": "x"}, {"smoothness": -1.0}, {"max_iter": 0},
     {"shared": "yes"}],
)  # fmt: skip
def test_mistakes_are_named(face, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Eyeglasses(face).set_params(**change).generate(example_images())
