"""What the contract of a detector leaves to its author, and several detectors on one pass."""

import numpy as np
import pytest

from smartbox.base import BaseDetector
from smartbox.detectors import (
    AdaptiveNoiseDetector,
    ArtifactDetector,
    ConvFilterDetector,
    PCADetector,
    detection_scores,
)
from smartbox.estimator_checks import check_image_estimator


class Brightness(BaseDetector):
    """Bright images are suspect, and the threshold is the brightest clean one."""

    def _fit(self, X, y):
        self.threshold_ = self._score(X[y == 0]).max()

    def _score(self, X):
        return X.mean(axis=(1, 2, 3))


def test_a_detector_may_set_a_threshold_of_its_own(attacked):
    X, y, _ = attacked.train
    detector = Brightness().fit(X, y)
    assert detector.threshold_ == detector.decision_function(X[y == 0]).max() > 0
    assert not detector.predict(X[y == 0]).any()
    check_image_estimator(Brightness())


def test_a_detector_without_a_gradient_says_so(attacked):
    with pytest.raises(ValueError, match="the score of Brightness has no gradient"):
        Brightness().fit(*attacked.train[:2]).value_and_gradient(attacked.clean)


def test_detectors_on_one_network_share_a_pass(face, attacked):
    X, y, _ = attacked.train
    detectors = {
        "noise": AdaptiveNoiseDetector(face),
        "artifact": ArtifactDetector(face, random_state=0),
        "pca": PCADetector(random_state=0),
        "conv": ConvFilterDetector(face, random_state=0),
    }
    for detector in detectors.values():
        detector.fit(X, y)
    scores = detection_scores(detectors, attacked.test[0])
    assert list(scores) == list(detectors)
    for name, detector in detectors.items():
        np.testing.assert_allclose(scores[name], detector.decision_function(attacked.test[0]), rtol=1e-4, atol=1e-4)
    before = face.pass_counts()["forward"]
    detection_scores({name: detectors[name] for name in ("artifact", "conv")}, attacked.test[0])
    assert face.pass_counts()["forward"] - before == len(attacked.test[0])


def test_a_refused_fit_leaves_a_detector_as_it_was(face, attacked):
    X, y, _ = attacked.train
    detector = ConvFilterDetector(face, random_state=0)
    with pytest.raises(ValueError):
        detector.fit(np.repeat(X, 3, axis=-1), y)
    assert not hasattr(detector, "threshold_")
    detector.fit(X, y)
    threshold, scores = detector.threshold_, detector.decision_function(X)
    with pytest.raises(ValueError):
        detector.fit(np.repeat(X, 3, axis=-1), y)
    assert detector.threshold_ == threshold
    np.testing.assert_array_equal(detector.decision_function(X), scores)


def test_scores_are_of_detectors_by_name(face, attacked):
    detector = PCADetector(random_state=0).fit(*attacked.train[:2])
    for wrong, message in (([detector], "a dict of fitted detectors"), ({"a": face}, "got FaceClassifier")):
        with pytest.raises(ValueError, match=message):
            detection_scores(wrong, attacked.clean)


def test_images_that_the_model_cannot_take_are_refused_at_fit(face, attacked):
    X, y, _ = attacked.train
    with pytest.raises(ValueError, match="expected images of shape"):
        AdaptiveNoiseDetector(face).fit(X[:, 1:], y)
