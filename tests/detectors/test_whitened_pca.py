"""Whitened principal components against the Gaussian that they describe."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from smartbox.datasets import make_detection_set
from smartbox.detectors import WhitenedPCADetector
from smartbox.estimator_checks import example_images

SHAPE = (6, 5, 1)


@pytest.fixture(scope="module")
def gaussian():
    """Many images of a Gaussian of falling variances, twins with noise in all directions, and a detector."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    clean = 0.5 + rng.normal(size=(3000, 30)) * np.logspace(-1.2, -2.5, 30) @ axes.T
    noisy = clean + rng.normal(scale=0.01, size=clean.shape)
    X, y, groups = make_detection_set(
        *(np.clip(each, 0, 1).astype(np.float32).reshape(-1, *SHAPE) for each in (clean, noisy))
    )
    return X, y, groups, WhitenedPCADetector(random_state=0).fit(X[groups < 2000], y[groups < 2000])


def test_clean_coefficients_have_variance_one(gaussian):
    X, y, groups, detector = gaussian
    coefficients = detector.transform(X[(groups >= 2000) & (y == 0)])
    assert coefficients.shape == (1000, 15)  # the later half of 30
    np.testing.assert_allclose(coefficients.var(axis=0), 1, atol=0.2)
    np.testing.assert_allclose(coefficients.mean(axis=0), 0, atol=0.15)
    assert np.mean(coefficients**2) == pytest.approx(1, abs=0.05)


def test_a_step_along_the_last_component(gaussian):
    X, _, _, detector = gaussian
    axis, variance, t = detector.pca_.components_[-1], detector.pca_.explained_variance_[-1], 0.02
    before = detector.transform(X[:1])[0]
    after = detector.transform(X[:1] + np.float32(t) * axis.reshape(1, *SHAPE))[0]
    np.testing.assert_allclose(after[:-1], before[:-1], atol=1e-2)
    assert (after[-1] - before[-1]) ** 2 == pytest.approx(t**2 / variance, rel=1e-2)


def test_score_is_the_ratio_of_likelihoods(gaussian):
    X, y, groups, detector = gaussian
    test = groups >= 2000
    logs = np.log(np.mean(detector.transform(X[test]).astype(np.float64) ** 2, axis=1))
    clean, attacked = ((logs - mean) ** 2 / (2 * detector.log_variance_) for mean in detector.log_means_)
    np.testing.assert_allclose(detector.decision_function(X[test]), clean - attacked, rtol=1e-4, atol=1e-4)
    assert roc_auc_score(y[test], logs) > 0.9
    assert detector.score(X[test], y[test]) > 0.85


def test_stronger_attacks_are_more_suspect(gaussian):
    X, _, _, detector = gaussian
    noise = np.random.default_rng(1).normal(size=X[:50].shape)
    scores = [
        detector.decision_function(np.clip(X[:50] + scale * noise, 0, 1)).mean() for scale in (0, 0.01, 0.03, 0.1)
    ]
    assert scores == sorted(scores)


def test_boundary_is_right_for_images_that_were_not_learnt():
    """With hardly more images than components, those learnt have size 1 and others more; the boundary must not lie between."""
    clean = 0.2 + 0.6 * example_images(n=120)
    noise = np.random.default_rng(0).normal(scale=0.2, size=clean.shape)
    X, y, groups = make_detection_set(clean, np.clip(clean + noise, 0, 1).astype(np.float32))
    train = groups < 80
    detector = WhitenedPCADetector(random_state=0).fit(X[train], y[train])
    assert np.mean(detector.transform(X[~train & (y == 0)]) ** 2) > 2
    assert detector.predict(X[~train & (y == 0)]).mean() < 0.3
    assert detector.score(X[~train], y[~train]) > 0.8


def test_mistakes_are_told():
    X, y, _ = make_detection_set(example_images(n=6), 1 - example_images(n=6))
    with pytest.raises(ValueError, match=r"first below last, got first=0\.5 and last=0\.2"):
        WhitenedPCADetector(last=0.2).fit(X, y)
    with pytest.raises(ValueError, match="at least 4 clean images"):
        WhitenedPCADetector().fit(X[4:], y[4:])
