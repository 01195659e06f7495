"""Mahalanobis distances against scikit-learn's covariance and discriminant analysis."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from smartbox import FaceClassifier
from smartbox.detectors import MahalanobisDistances
from smartbox.detectors._pooled import channel_means
from smartbox.estimator_checks import example_images
from tests.doubles import small_network

FACE = FaceClassifier.from_network(small_network())
TRAIN, TEST = example_images(n=120, seed=1), example_images(n=40, seed=2)


def tables(layer):
    logits = FACE.logits(TRAIN)
    pooled = [channel_means(FACE.activations(images, layer)[0]) for images in (TRAIN, TEST)]
    return *pooled, logits.argmax(axis=1)


def covariance(points, classes):
    deviations = points - np.stack([points[classes == each].mean(axis=0) for each in classes])
    return LedoitWolf(assume_centered=True).fit(deviations)


class Given(BaseEstimator):
    """A covariance estimator that knows the answer."""

    def __init__(self, covariance_):
        self.covariance_ = covariance_

    def fit(self, X):
        return self


@pytest.mark.parametrize("layer", ["conv2", "dense1"])
def test_nearest_class_is_that_of_discriminant_analysis_with_equal_priors(layer):
    points, queries, classes = tables(layer)
    features = MahalanobisDistances(FACE, layers=layer).fit(TRAIN)
    n_classes = len(np.unique(classes))
    lda = LinearDiscriminantAnalysis(
        solver="lsqr",
        priors=np.full(n_classes, 1 / n_classes),
        covariance_estimator=Given(covariance(points, classes).covariance_),
    ).fit(points, classes)
    nearest = np.unique(classes)[features._to_classes(0, queries).argmin(axis=1)]
    np.testing.assert_array_equal(nearest, lda.predict(queries))
    assert len(np.unique(nearest)) > 2


@pytest.mark.parametrize("layer", ["conv2", "dense1"])
def test_distances_are_those_of_the_shrunk_covariance(layer):
    points, queries, classes = tables(layer)
    fitted = covariance(points, classes)
    expected = np.inf
    for each in np.unique(classes):
        fitted.location_ = points[classes == each].mean(axis=0)
        expected = np.minimum(expected, fitted.mahalanobis(queries))
    found = MahalanobisDistances(FACE, layers=[layer]).fit(TRAIN).transform(TEST)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_classes_and_units_without_spread_leave_numbers():
    """Each class once: nothing to tell a covariance by. A layer that is constant: nothing at all."""
    firsts = np.unique(FACE.predict(TRAIN), return_index=True)[1]
    alone = MahalanobisDistances(FACE).fit(TRAIN[firsts])
    assert np.isfinite(alone.transform(TEST)).all()
    np.testing.assert_allclose(alone.transform(TRAIN[firsts]), 0, atol=1e-3)
    assert np.isfinite(MahalanobisDistances(FACE).fit(np.zeros_like(TRAIN[:5])).transform(TEST)).all()
