"""Frames that slip: the warp against scipy and its adjoint, the gradient through it, and what a frame learnt so is worth."""

import numpy as np
from scipy import ndimage

import smartbox
from smartbox import FaceClassifier
from smartbox.attacks import Eyeglasses
from smartbox.attacks._eyeglass_frame import spectacles
from smartbox.attacks._eyeglass_motion import Motion
from smartbox.attacks._eyeglasses import _Fitting
from smartbox.datasets import make_faces
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SIZE = 24, 21


def random_motion(n=6, reach=4.0, size=SIZE, seed=0):
    return Motion(np.random.default_rng(seed).uniform(size=(n, 3)), reach, spectacles(*size))


def test_moving_is_what_scipy_does():
    draws = np.random.default_rng(0).uniform(size=(6, 3))
    images, mask = np.random.default_rng(1).uniform(size=(6, *SIZE, 2)), spectacles(*SIZE)
    middle = np.array([where.mean() for where in np.nonzero(mask)])
    moved = Motion(draws, 4.0, mask).move(images)
    for image, result, (*shift, turn) in zip(images, moved, (2 * draws - 1) * 4, strict=True):
        angle = np.deg2rad(turn)
        back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = middle - back @ (middle + shift)
        expected = [
            ndimage.affine_transform(np.pad(image[..., c], 9), back, offset + 9 - back @ (9, 9), order=1)[9:-9, 9:-9]
            for c in range(2)
        ]
        np.testing.assert_allclose(result, np.stack(expected, axis=-1), atol=1e-9)


def test_a_shift_by_whole_pixels_is_one_and_no_motion_none():
    images = np.random.default_rng(0).uniform(size=(2, *SIZE, 1))
    moved = Motion(np.array([[1, 0, 0.5], [0.5, 0.5, 0.5]]), 2, spectacles(*SIZE)).move(images)
    np.testing.assert_allclose(moved[0, 2:, :-2], images[0, :-2, 2:], atol=1e-12)
    assert not moved[0, :2].any() and not moved[0, :, -2:].any()
    np.testing.assert_allclose(moved[1], images[1], atol=1e-12)


def test_pulling_back_is_the_adjoint_of_moving():
    rng, motion = np.random.default_rng(0), random_motion()
    images, others = rng.normal(size=(2, 6, *SIZE, 3))
    there = (motion.move(images) * others).sum(axis=(1, 2, 3))
    back = (images * motion.pull_back(others)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(there, back, rtol=1e-10)


def test_the_gradient_through_a_motion_is_that_of_finite_differences():
    weights, _, X = random_affine(0, 2, (*SIZE, 1))
    X, mask, motion = X[:6].astype(np.float64), spectacles(*SIZE), random_motion()
    slope = (weights[1] - weights[0]).reshape(1, *SIZE, 1)
    rng = np.random.default_rng(0)
    frames, way = rng.uniform(0.3, 0.7, size=X.shape), rng.normal(size=X.shape) * mask[..., None]

    def value(frames):
        return (_Fitting(X, np.arange(6), mask, frames, 1).worn(np.arange(6), motion) * slope).sum(axis=(1, 2, 3))

    analytic = (motion.pull_back(np.broadcast_to(slope, X.shape)) * way).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(analytic, (value(frames + 1e-4 * way) - value(frames - 1e-4 * way)) / 2e-4, rtol=1e-6)


def test_what_does_not_move_is_worn_as_ever():
    X, mask = example_images((*SIZE, 1), n=6), spectacles(*SIZE)
    fitting = _Fitting(X, np.arange(6), mask, np.random.default_rng(0).uniform(size=X.shape).astype(np.float32), 1)
    rows = np.arange(6)
    still = Motion(np.full((6, 3), 0.5), 4.0, mask)
    np.testing.assert_allclose(fitting.worn(rows, still), fitting.worn(rows), atol=1e-6)


def test_affine_optimum_is_still_black_and_white_inside_rims():
    """Where a weight has one sign all around, slipping does not change which way it points."""
    weights, bias, X = random_affine(0, 2, (*SIZE, 1))
    X = X[:4]
    weights[0] = 0
    weights[1] = np.where(np.arange(SIZE[1]) < SIZE[1] // 2, 1, -1)[None].repeat(SIZE[0], axis=0).ravel()
    bias[:] = 1000, 0
    mask = spectacles(*SIZE)
    y = np.zeros(len(X), dtype=int)
    X_adv = Eyeglasses(affine_face(weights, bias, (*SIZE, 1)), max_iter=20, motion=1.0).generate(X, y)
    left, right = (mask & side for side in (np.arange(SIZE[1]) < 7, np.arange(SIZE[1]) > 13))
    np.testing.assert_array_equal(X_adv[:, left], 1)
    np.testing.assert_array_equal(X_adv[:, right], 0)


def test_same_seed_same_frame_in_any_batch():
    face, X = FaceClassifier.from_network(small_network()), example_images()
    y = face.predict(X)
    made = [
        Eyeglasses(face, max_iter=8, motion=1.5, batch_size=size, random_state=seed).generate(X, y)
        for size, seed in ((128, 0), (7, 0), (128, 1))
    ]
    np.testing.assert_allclose(made[0], made[1], atol=1e-6)
    assert (made[0] != made[2]).any()
    mask = spectacles(16, 12)
    np.testing.assert_array_equal(made[0][:, ~mask], X[:, ~mask])


def test_a_frame_learnt_with_motion_bears_motions_that_it_has_not_met():
    X, model = make_faces(n_identities=38, n_images=1).images[:8], smartbox.load_sample_model()
    mask, rows, y = spectacles(96, 84), np.arange(8), model.predict(X)
    unmet = [random_motion(8, 2.0, (96, 84), seed) for seed in range(6)]
    share = []
    for motion in (0.0, 2.0):
        attack = Eyeglasses(model, max_iter=30, motion=motion, random_state=0)
        worn = _Fitting(X, rows, mask, attack.generate(X, y), 1).worn
        share.append((np.array([model.predict(worn(rows, each)) for each in unmet]) != y).mean())
    assert share[1] > share[0] + 0.2
