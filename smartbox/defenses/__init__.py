"""Mitigations: transformers that clean images before a face model sees them, and classifiers around a face model."""

from smartbox.defenses._adaptive_noise import AdaptiveNoiseReduction
from smartbox.defenses._adversarial_training import AdversarialTraining
from smartbox.defenses._bit_depth import BitDepthReduction
from smartbox.defenses._defensive_distillation import DefensiveDistillation
from smartbox.defenses._denoising_autoencoder import DenoisingAutoencoder
from smartbox.defenses._gaussian_blur import GaussianBlur
from smartbox.defenses._guarded_classifier import GuardedClassifier
from smartbox.defenses._jpeg import JPEGCompression
from smartbox.defenses._median_filter import MedianFilter
from smartbox.defenses._noise_training import NoiseTraining
from smartbox.defenses._pca import PCAReconstruction
from smartbox.defenses._randomization import Randomization
from smartbox.defenses._randomized_smoothing import RandomizedSmoothing
from smartbox.defenses._total_variation import TotalVariation

__all__ = [
    "AdaptiveNoiseReduction",
    "AdversarialTraining",
    "BitDepthReduction",
    "DefensiveDistillation",
    "DenoisingAutoencoder",
    "GaussianBlur",
    "GuardedClassifier",
    "JPEGCompression",
    "MedianFilter",
    "NoiseTraining",
    "PCAReconstruction",
    "Randomization",
    "RandomizedSmoothing",
    "TotalVariation",
]
