"""Attacks: transformers that make adversarial images against a face model."""

from smartbox.attacks._apgd import APGD
from smartbox.attacks._autoattack import AutoAttack
from smartbox.attacks._carlini_l2 import CarliniL2
from smartbox.attacks._ddn import DDN
from smartbox.attacks._deepfool import DeepFool
from smartbox.attacks._ead import EAD
from smartbox.attacks._eyeglasses import Eyeglasses
from smartbox.attacks._fab import FAB
from smartbox.attacks._fgsm import FGSM
from smartbox.attacks._fmn import FMN
from smartbox.attacks._mifgsm import MIFGSM
from smartbox.attacks._one_pixel import OnePixel
from smartbox.attacks._pgd import PGD
from smartbox.attacks._square import Square
from smartbox.attacks._universal import UniversalPerturbation

__all__ = [
    "APGD",
    "DDN",
    "EAD",
    "FAB",
    "FGSM",
    "FMN",
    "MIFGSM",
    "PGD",
    "AutoAttack",
    "CarliniL2",
    "DeepFool",
    "Eyeglasses",
    "OnePixel",
    "Square",
    "UniversalPerturbation",
]
