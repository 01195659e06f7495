"""Mitigations: transformers that clean images before a face model sees them."""

from smartbox.defenses._gaussian_blur import GaussianBlur

__all__ = ["GaussianBlur"]
