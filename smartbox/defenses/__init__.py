"""Mitigations: transformers that clean images before a face model sees them, and classifiers around a face model."""

from smartbox.defenses._adaptive_noise import AdaptiveNoiseReduction
from smartbox.defenses._gaussian_blur import GaussianBlur
from smartbox.defenses._guarded_classifier import GuardedClassifier
from smartbox.defenses._randomized_smoothing import RandomizedSmoothing

__all__ = ["AdaptiveNoiseReduction", "GaussianBlur", "GuardedClassifier", "RandomizedSmoothing"]
