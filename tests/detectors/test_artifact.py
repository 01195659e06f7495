"""Artefact learning: activations side by side, their scales, and scikit-learn's own network."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from smartbox.detectors import ArtifactDetector, NetworkActivations


@pytest.fixture(scope="module")
def detector(face, attacked):
    return ArtifactDetector(face, random_state=0).fit(*attacked.train[:2])


def test_activations_side_by_side(face, attacked):
    X = attacked.clean
    features = NetworkActivations(face).fit(X)
    assert features.layers_ == ["flatten", "dense1", "<logits>"]
    assert features.n_units_ == [90, 16, 5]
    flat, dense, logits = face.activations(X, features.layers_)
    np.testing.assert_allclose(features.transform(X), np.hstack([flat, dense, logits]), rtol=1e-5, atol=1e-6)
    maps = NetworkActivations(face, layers="conv2").fit(X).transform(X)
    np.testing.assert_allclose(maps, face.activations(X, ["conv2"])[0].reshape(150, -1), rtol=1e-5, atol=1e-6)


def test_activations_feed_a_pipeline(face, attacked):
    pipeline = make_pipeline(NetworkActivations(face), StandardScaler(), SVC()).fit(*attacked.train[:2])
    assert pipeline.score(*attacked.test[:2]) > 0.7


def test_scales_of_clean_images_and_their_layers(face, attacked, detector):
    X, y, _ = attacked.train
    F = detector.transform(X[y == 0])
    variances = F.var(axis=0)
    layers = np.repeat([variances[:90].mean(), variances[90:106].mean(), variances[106:].mean()], [90, 16, 5])
    np.testing.assert_allclose(detector.scaler_.mean_, F.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(detector.scaler_.scale_, np.sqrt(variances + layers), rtol=1e-3)


def test_score_is_the_logit_of_scikit_learns_network(attacked, detector):
    X = attacked.test[0]
    scaled = (detector.transform(X) - detector.scaler_.mean_) / detector.scaler_.scale_
    np.testing.assert_allclose(
        expit(detector.decision_function(X)), detector.mlp_.predict_proba(scaled)[:, 1], atol=1e-5
    )


def test_attacked_images_of_other_groups_are_told_apart(attacked, detector):
    X, y, _ = attacked.test
    assert roc_auc_score(y, detector.decision_function(X)) > 0.85


def test_early_stop_with_images_enough_for_it(face, attacked, detector):
    X, y, _ = attacked.train
    few = ArtifactDetector(face, random_state=0).fit(X[::4], y[::4])
    assert detector.mlp_.early_stopping and not few.mlp_.early_stopping


def test_unknown_layers_are_named(face, attacked):
    with pytest.raises(ValueError, match=r"no layer 'conv9' .*; its layers are .*conv1"):
        ArtifactDetector(face, layers=["conv9"]).fit(*attacked.train[:2])
