"""Detectors of adversarial images: classifiers, 1 adversarial and 0 clean; and the features that they judge."""

from smartbox.detectors._adaptive_noise import AdaptiveNoiseDetector
from smartbox.detectors._artifact import ArtifactDetector, NetworkActivations
from smartbox.detectors._binary_input import BinaryInputDetector
from smartbox.detectors._conv_filter import ConvFilterDetector
from smartbox.detectors._conv_statistics import ConvFilterStatistics
from smartbox.detectors._feature_squeezing import FeatureSqueezingDetector, SqueezingDistances
from smartbox.detectors._features import detection_scores
from smartbox.detectors._kernel_density import KernelDensityDetector, KernelDensityFeatures
from smartbox.detectors._layer_differences import LayerDifferenceDetector, LayerDifferences
from smartbox.detectors._lid import LIDDetector, LocalIntrinsicDimensionality
from smartbox.detectors._mahalanobis import MahalanobisDetector, MahalanobisDistances
from smartbox.detectors._mmd import mmd_test
from smartbox.detectors._pca import PCADetector
from smartbox.detectors._whitened_pca import WhitenedPCADetector

__all__ = [
    "AdaptiveNoiseDetector",
    "ArtifactDetector",
    "BinaryInputDetector",
    "ConvFilterDetector",
    "ConvFilterStatistics",
    "FeatureSqueezingDetector",
    "KernelDensityDetector",
    "KernelDensityFeatures",
    "LIDDetector",
    "LayerDifferenceDetector",
    "LayerDifferences",
    "LocalIntrinsicDimensionality",
    "MahalanobisDetector",
    "MahalanobisDistances",
    "NetworkActivations",
    "PCADetector",
    "SqueezingDistances",
    "WhitenedPCADetector",
    "detection_scores",
    "mmd_test",
]
