"""Detection by adaptive noise reduction: labels before and after, and the margin on an affine model."""

import numpy as np
import pytest

from smartbox.attacks import DeepFool
from smartbox.defenses import AdaptiveNoiseReduction
from smartbox.detectors import AdaptiveNoiseDetector
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face

LABELS = np.arange(40) % 2


@pytest.mark.parametrize("level", ["left", "mid"])
def test_flagged_exactly_where_the_label_changes(face, level):
    X = example_images(n=40)
    detector = AdaptiveNoiseDetector(face, level=level).fit(X, LABELS)
    changed = face.predict(AdaptiveNoiseReduction(level=level).transform(X)) != face.predict(X)
    assert 0 < changed.sum() < 40
    np.testing.assert_array_equal(detector.predict(X), changed)


def test_score_and_stand_in_gradient_on_an_affine_model():
    rng = np.random.default_rng(0)
    shape = (12, 10, 1)
    weights = rng.normal(size=(3, 120))
    face = affine_face(weights, np.zeros(3), shape)
    X = rng.uniform(0, 1, size=(40, *shape)).astype(np.float32)
    detector = AdaptiveNoiseDetector(face).fit(X, LABELS)
    reduced, pull_back = AdaptiveNoiseReduction().vjp(X)
    logits = reduced.reshape(40, -1) @ weights.T
    own = face.predict(X)
    rest = logits.copy()
    rest[np.arange(40), own] = -np.inf
    expected = rest.max(axis=1) - logits[np.arange(40), own]
    scores, gradient = detector.value_and_gradient(X)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    np.testing.assert_allclose(detector.decision_function(X), expected, atol=1e-4)
    slopes = (weights[rest.argmax(axis=1)] - weights[own]).reshape(X.shape)
    np.testing.assert_allclose(gradient, pull_back(slopes), atol=1e-5)


def test_minimal_perturbations_do_not_survive(face, attacked):
    """DeepFool stops just behind the boundary, so that most labels fall back."""
    clean = attacked.clean[:40]
    X_adv = DeepFool(face).generate(clean)
    detector = AdaptiveNoiseDetector(face, level="mid").fit(clean, LABELS)
    assert detector.predict(X_adv).mean() > 0.8 > 0.4 > detector.predict(clean).mean()


def test_without_a_model_it_says_so_at_fit():
    with pytest.raises(ValueError, match="has no model"):
        AdaptiveNoiseDetector(None).fit(example_images(n=40), LABELS)
