"""Estimators from files, which hold a copy of the network that they look into, around the one network of a pass again."""

from sklearn.base import BaseEstimator

from smartbox._model import FaceModelMixin
from smartbox._packing import pack
from smartbox.face import FaceClassifier


def share_network(estimator, face):
    """``estimator``, with ``face`` in the place of every classifier in it that has the same network.

    So one pass over the network serves them all, and nothing is compiled anew.
    """
    _Sharing(face).visit(estimator)
    return estimator


class _Sharing:
    def __init__(self, face):
        self.face = face
        self.packed = None
        self.seen = set()

    def visit(self, value):
        """The face if it is one like it, else the value with its parts visited."""
        if isinstance(value, FaceClassifier):
            return self.face if self._is_same(value) else value
        if id(value) in self.seen:
            return value
        if isinstance(value, (list, tuple)):
            return type(value)(self.visit(each) for each in value)
        if isinstance(value, dict):
            return {key: self.visit(each) for key, each in value.items()}
        if isinstance(value, (BaseEstimator, FaceModelMixin)):
            self.seen.add(id(value))
            for name, each in list(vars(value).items()):
                if isinstance(each, (list, tuple, dict, BaseEstimator, FaceModelMixin)):
                    vars(value)[name] = self.visit(each)
        return value

    def _is_same(self, other):
        if not hasattr(other, "network_"):
            return False
        self.packed = self.packed or pack(self.face.network_)
        (config, weights), (its_config, its_weights) = self.packed, pack(other.network_)
        pairs = zip(weights, its_weights, strict=False)
        return config == its_config and all(one.shape == its.shape and (one == its).all() for one, its in pairs)
