"""A binary network on the pixels."""

import keras
import numpy as np
import pytest

from smartbox import FaceClassifier
from smartbox.datasets import make_detection_set
from smartbox.detectors import BinaryInputDetector


def linear(image_shape, n_classes):
    return keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(n_classes)])


def test_score_and_gradient_of_a_linear_network(attacked):
    X, y, _ = make_detection_set(0.5 * attacked.clean, 0.5 * attacked.clean + 0.3)
    estimator = FaceClassifier(linear, epochs=10, learning_rate=0.1)
    detector = BinaryInputDetector(estimator, random_state=0).fit(X, y)
    kernel, bias = (each.astype(np.float64) for each in detector.estimator_.network_.get_weights())
    scores, gradient = detector.value_and_gradient(X)
    np.testing.assert_allclose(
        scores, X.reshape(len(X), -1) @ (kernel[:, 1] - kernel[:, 0]) + bias[1] - bias[0], atol=1e-4
    )
    np.testing.assert_allclose(
        gradient, np.broadcast_to((kernel[:, 1] - kernel[:, 0]).reshape(1, 16, 12, 1), X.shape), atol=1e-6
    )
    assert detector.score(X, y) > 0.95
    assert not hasattr(estimator, "network_") and estimator.random_state is None


@pytest.mark.slow
def test_the_papers_network_by_default():
    noise = np.random.default_rng(0).uniform(size=(60, 24, 24, 1)).astype(np.float32)
    X, y, _ = make_detection_set(0.5 * noise, 0.5 * noise + 0.3)
    detector = BinaryInputDetector(random_state=0).fit(X, y)
    assert detector.estimator_.network_.name == "paper" and detector.score(X, y) > 0.9
