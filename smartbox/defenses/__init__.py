"""Mitigations: transformers that clean images before a face model sees them."""

from smartbox.defenses._adaptive_noise import AdaptiveNoiseReduction
from smartbox.defenses._adversarial_training import AdversarialTraining
from smartbox.defenses._defensive_distillation import DefensiveDistillation
from smartbox.defenses._denoising_autoencoder import DenoisingAutoencoder
from smartbox.defenses._gaussian_blur import GaussianBlur

__all__ = [
    "AdaptiveNoiseReduction",
    "AdversarialTraining",
    "DefensiveDistillation",
    "DenoisingAutoencoder",
    "GaussianBlur",
]
