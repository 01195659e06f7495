"""Detectors of adversarial images: classifiers, 1 adversarial and 0 clean."""

from smartbox.detectors._features import detection_scores
from smartbox.detectors._pca import PCADetector

__all__ = ["PCADetector", "detection_scores"]
