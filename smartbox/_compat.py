"""The private or moving scikit-learn names that SmartBox uses, imported once."""

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

try:
    from sklearn.frozen import FrozenEstimator
except ImportError as error:  # scikit-learn < 1.6
    raise ImportError("SmartBox needs scikit-learn >= 1.6: pip install -U scikit-learn") from error

__all__ = ["FrozenEstimator", "HasMethods", "Interval", "StrOptions"]
