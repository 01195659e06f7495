"""Detectors of adversarial images: classifiers, 1 adversarial and 0 clean; and the features that they judge."""

from smartbox.detectors._adaptive_noise import AdaptiveNoiseDetector
from smartbox.detectors._artifact import ArtifactDetector, NetworkActivations
from smartbox.detectors._binary_input import BinaryInputDetector
from smartbox.detectors._conv_filter import ConvFilterDetector
from smartbox.detectors._conv_statistics import ConvFilterStatistics
from smartbox.detectors._features import detection_scores
from smartbox.detectors._pca import PCADetector

__all__ = [
    "AdaptiveNoiseDetector",
    "ArtifactDetector",
    "BinaryInputDetector",
    "ConvFilterDetector",
    "ConvFilterStatistics",
    "NetworkActivations",
    "PCADetector",
    "detection_scores",
]
