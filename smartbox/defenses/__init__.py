"""Mitigations: transformers that clean images before a face model sees them."""

from smartbox.defenses._adaptive_noise import AdaptiveNoiseReduction
from smartbox.defenses._adversarial_training import AdversarialTraining
from smartbox.defenses._gaussian_blur import GaussianBlur

__all__ = ["AdaptiveNoiseReduction", "AdversarialTraining", "GaussianBlur"]
