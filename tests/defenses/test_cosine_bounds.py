"""Bounds of a median cosine under noise against a cosine whose median is known, the certificate of its votes, and attacks."""

import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn.pipeline import make_pipeline

from smartbox import FaceGallery, FaceVerifier
from smartbox.attacks import PGD
from smartbox.defenses import GaussianBlur, RandomizedSmoothing
from smartbox.defenses._cosine_bounds import cosine_bounds
from tests.doubles import affine_face, random_affine

SHAPE = (4, 5, 1)
SIGMA, DRAWS = 0.1, 2000


class Angle:
    """Embeds an image as the point of the unit circle at an angle that is affine in its pixels."""

    slope = np.random.default_rng(0).normal(size=20) / 2

    def angle(self, X):
        return np.pi / 2 + (X.reshape(len(X), -1).astype(np.float64) - 0.5) @ self.slope

    def transform(self, X):
        return self.vjp(X)[0]

    def vjp(self, X):
        angle = self.angle(X)
        embeddings = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        along = np.stack([-np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)

        def pull_back(cotangents):
            back = (cotangents * (along[:, None] if cotangents.ndim == 3 else along)).sum(axis=-1, keepdims=True)
            return (back * self.slope.astype(np.float32)).reshape(*cotangents.shape[:-1], *X.shape[1:])

        return embeddings, pull_back


class East(Angle):
    """The reference of the tests below: the point at the angle 0."""

    def transform(self, X):
        return np.tile(np.float32([[1, 0]]), (len(X), 1))


@pytest.fixture(scope="module")
def circle():
    """A verifier, images, and their angles from the reference, between 0 and a half turn even under noise."""
    X = np.random.default_rng(1).uniform(0.3, 0.7, size=(24, *SHAPE)).astype(np.float32)
    embedder = Angle()
    verifier = FaceVerifier(East(), threshold=0.0).fit(X[:1]).set_params(embedder=embedder)
    return verifier, X, embedder.angle(X)


@pytest.mark.parametrize("radius", [0.0, 0.05, "0.2"])
def test_bounds_are_the_cosines_at_the_nearest_and_the_farthest_angle(circle, radius):
    """Within the radius the angle's median moves by the radius times the length of its slope; the cosine falls with it."""
    verifier, X, angle = circle
    found = RandomizedSmoothing(verifier, sigma=SIGMA, n_draws=DRAWS, random_state=0).certify_cosine(X, radius)
    reach = float(radius) * np.linalg.norm(Angle.slope)
    least, most = np.cos(angle + reach), np.cos(angle - reach)
    assert found.cosine.shape == found.low.shape == found.high.shape == (24, 1)
    assert (found.low[:, 0] <= least).all() and (found.high[:, 0] >= most).all()
    # Not by more than draws allow: the next angles whose bounds fail with a probability of 1e-6.
    q = norm.cdf(-float(radius) / SIGMA)
    slack = 1.5 * np.linalg.norm(Angle.slope) * SIGMA * 8.5 * np.sqrt(q * (1 - q) / DRAWS) / norm.pdf(norm.ppf(q))
    assert (found.low[:, 0] >= np.cos(angle + reach + slack)).all()
    assert (found.high[:, 0] <= np.cos(angle - reach - slack)).all()
    np.testing.assert_allclose(found.cosine[:, 0], np.cos(angle), atol=slack)


def test_the_radius_at_which_the_threshold_is_met_is_that_of_the_votes(circle):
    """Clopper's and Pearson's bound and the order statistics are two readings of one binomial test."""
    verifier, X, _ = circle
    smoothed = RandomizedSmoothing(verifier, sigma=SIGMA, n_draws=200, random_state=0)
    found = smoothed.certify(X)
    genuine, impostor = found.label == "genuine", found.label == "impostor"
    assert genuine.sum() > 3 and impostor.sum() > 3
    for i in np.flatnonzero(genuine | impostor):
        for share, holds in ((0.999, True), (1.001, False)):
            bounds = smoothed.certify_cosine(X[i : i + 1], share * found.radius[i])
            within = bounds.low >= 0 if genuine[i] else bounds.high < 0
            assert within.all() == holds


def test_a_bound_fails_as_rarely_as_alpha_says():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 100, 1))
    _, low, high = cosine_bounds(draws, np.float64(0.5), 0.05)
    failures = np.mean(low > -0.5), np.mean(high < 0.5)
    rank = binom.ppf(0.05, 100, norm.cdf(-0.5))
    exact = binom.cdf(rank - 1, 100, norm.cdf(-0.5))
    np.testing.assert_allclose(failures, exact, atol=4 * np.sqrt(exact / 2000))
    assert exact <= 0.05


def test_too_far_for_the_draws_nothing_is_bounded(circle):
    verifier, X, _ = circle
    smoothed = RandomizedSmoothing(verifier, sigma=SIGMA, n_draws=100, random_state=0)
    most = SIGMA * norm.ppf(0.001 ** (1 / 100))
    near, far = (smoothed.certify_cosine(X, share * most) for share in (0.999, 1.001))
    assert (near.low > -1).all() and (near.high < 1).all()
    assert (far.low == -1).all() and (far.high == 1).all()


def test_several_radii_are_read_off_the_same_draws(circle):
    verifier, X, _ = circle
    smoothed = RandomizedSmoothing(verifier, sigma=SIGMA, n_draws=100, random_state=0)
    radii = [0, "0.1", 5.0]
    several = smoothed.certify_cosine(X, radii)
    assert several.low.shape == (len(X), 1, 3)
    for k, radius in enumerate(radii):
        one = smoothed.certify_cosine(X, radius)
        np.testing.assert_array_equal(several.low[..., k], one.low)
        np.testing.assert_array_equal(several.high[..., k], one.high)
    with pytest.raises(ValueError, match="expected radius"):
        smoothed.certify_cosine(X, [0.1, None])
    with pytest.raises(ValueError, match=r"got 'far'"):
        smoothed.certify_cosine(X, np.array(["0.1", "far"]))


def test_columns_of_a_gallery_are_its_people_and_defences_may_stand_before(circle):
    _, X, _ = circle
    gallery = FaceGallery(Angle(), threshold=0.2, unknown="bea").fit(X[:3], ["ann", "cid", "dan"])
    by_itself, behind = (
        RandomizedSmoothing(model, sigma=1e-6, n_draws=20, random_state=0).certify_cosine(X, 0)
        for model in (gallery, make_pipeline(GaussianBlur(sigma=0.5), gallery))
    )
    np.testing.assert_allclose(by_itself.cosine, gallery.cosines(X), atol=1e-4)
    blurred = gallery.cosines(GaussianBlur(sigma=0.5).fit(X).transform(X))
    np.testing.assert_allclose(behind.cosine, blurred, atol=1e-4)
    one = RandomizedSmoothing(gallery, sigma=1e-6, n_draws=20, random_state=0).certify_cosine(X[5:6], 0)
    np.testing.assert_array_equal(one.low[0], by_itself.low[5])


def test_a_gallery_may_call_nobody_what_smoothing_calls_rejection(circle):
    _, X, _ = circle
    gallery = FaceGallery(Angle(), threshold=0.2, unknown=-1).fit(X[:3], [0, 1, 2])
    smoothed = RandomizedSmoothing(gallery, sigma=1e-6, n_draws=20, random_state=0)
    np.testing.assert_allclose(smoothed.certify_cosine(X, 0).cosine, gallery.cosines(X), atol=1e-4)
    with pytest.raises(ValueError, match="rename"):
        smoothed.certify(X)


def test_no_attack_within_the_radius_moves_the_median_beyond_its_bounds(circle):
    verifier, X, _ = circle
    smoothed = RandomizedSmoothing(verifier, sigma=SIGMA, n_draws=DRAWS, random_state=0)
    bounds = smoothed.certify_cosine(X, 0.1)
    for label, side in (("genuine", "low"), ("impostor", "high")):
        attack = PGD(verifier, eps=0.1, norm="l2", max_iter=10, early_stop=False, random_state=0)
        attacked = smoothed.certify_cosine(attack.generate(X, [label] * len(X)), 0).cosine
        moved = attacked - bounds.cosine if side == "high" else bounds.cosine - attacked
        room = bounds.high - bounds.cosine if side == "high" else bounds.cosine - bounds.low
        assert (moved > 0.5 * room).all() and (moved < room).all()


def test_what_has_no_cosines_is_refused(circle):
    verifier, X, _ = circle
    weights, bias, faces = random_affine(0, 2, SHAPE)
    with pytest.raises(TypeError, match=r"expected a smoothed FaceVerifier.*certify\(\)"):
        RandomizedSmoothing(affine_face(weights, bias, SHAPE)).certify_cosine(faces, 0.1)
    for radius in (-0.1, "near", np.inf):
        with pytest.raises(ValueError, match="expected radius"):
            RandomizedSmoothing(verifier).certify_cosine(X, radius)
