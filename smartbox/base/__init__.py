"""The contracts of SmartBox: what an attack, a defence and a detector are. No algorithm."""

from smartbox.base._attack import BaseAttack
from smartbox.base._defense import BaseDefense
from smartbox.base._detector import BaseDetector
from smartbox.base._images import ImageEstimator, StatelessTransformer
from smartbox.base._model_reference import ModelReferenceMixin

__all__ = ["BaseAttack", "BaseDefense", "BaseDetector", "ImageEstimator", "ModelReferenceMixin", "StatelessTransformer"]
