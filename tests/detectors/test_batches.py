"""Scores, to the bit, whatever else is in the batch."""

import numpy as np
import pytest

from smartbox.detectors import (
    AdaptiveNoiseDetector,
    ArtifactDetector,
    ConvFilterDetector,
    FeatureSqueezingDetector,
    KernelDensityDetector,
    LayerDifferenceDetector,
    LIDDetector,
    MahalanobisDetector,
    PCADetector,
    WhitenedPCADetector,
)

DETECTORS = {
    "adaptive noise": lambda face: AdaptiveNoiseDetector(face),
    "artifact": lambda face: ArtifactDetector(face, random_state=0),
    "conv filter": lambda face: ConvFilterDetector(face, random_state=0),
    "feature squeezing": lambda face: FeatureSqueezingDetector(face),
    "layer difference": lambda face: LayerDifferenceDetector(face),
    "pca": lambda face: PCADetector(random_state=0),
    "pca, whitened": lambda face: PCADetector(components="trailing", whiten=True, magnitude=True, random_state=0),
    "whitened pca": lambda face: WhitenedPCADetector(random_state=0),
    "lid": lambda face: LIDDetector(face, random_state=0),
    "mahalanobis": lambda face: MahalanobisDetector(face, random_state=0),
    "kernel density": lambda face: KernelDensityDetector(face, random_state=0),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_scores_do_not_depend_on_the_batch(face, attacked, name):
    X, y, _ = attacked.train
    detector = DETECTORS[name](face).fit(X, y)
    X = attacked.test[0]
    scores, order = detector.decision_function(X), np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(detector.decision_function(X[order]), scores[order])
    for size in (7, 1):
        parts = [detector.decision_function(X[start : start + size]) for start in range(0, len(X), size)]
        np.testing.assert_array_equal(np.concatenate(parts), scores)
