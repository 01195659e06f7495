"""Attacks: transformers that make adversarial images against a face model."""

from smartbox.attacks._deepfool import DeepFool
from smartbox.attacks._fgsm import FGSM
from smartbox.attacks._mifgsm import MIFGSM
from smartbox.attacks._pgd import PGD

__all__ = ["FGSM", "MIFGSM", "PGD", "DeepFool"]
