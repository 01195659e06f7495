"""The classes that a saved file may name: SmartBox's own estimators and a few of scikit-learn, none of which runs code."""

import importlib
import re

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from smartbox._model import FaceModelMixin

# Arithmetic on arrays, and what puts it together. Trees and neighbours are left out: their compiled code follows indices
# in the file without a look at their bounds.
_SCIKIT_LEARN = {
    "sklearn.decomposition.PCA",
    "sklearn.frozen.FrozenEstimator",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.neural_network.MLPClassifier",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing.FunctionTransformer",
    "sklearn.preprocessing.LabelBinarizer",
    "sklearn.preprocessing.StandardScaler",
    "sklearn.svm.LinearSVC",
    "sklearn.svm.SVC",
}
_OURS = re.compile(r"smartbox(\.[a-z]\w*)*(\._[a-z]\w*)?\.[A-Z_]\w*")
_KERNELS = ("linear", "poly", "rbf", "sigmoid")


def class_name(cls):
    """Where users find a class, ``smartbox.detectors.PCADetector``, which stays when files move; None if it is not trusted."""
    public = ".".join(part for part in cls.__module__.split(".") if not part.startswith("_"))
    names = (f"{module}.{cls.__qualname__}" for module in (public, cls.__module__))
    return next((name for name in names if find_class(name) is cls), None)


def find_class(name):
    """The trusted class of a name, else None: nothing else is even imported."""
    if name not in _SCIKIT_LEARN and not _OURS.fullmatch(name):
        return None
    module, _, short = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), short, None)
    except ImportError:
        return None
    if name in _SCIKIT_LEARN:
        return found
    ours = isinstance(found, type) and found.__module__.startswith("smartbox.")
    return found if ours and issubclass(found, (BaseEstimator, FaceModelMixin)) else None


def check_state(estimator):
    """Raise a ValueError if what a file made of an estimator could do harm, or is none that its class would make."""
    if isinstance(estimator, Pipeline) and estimator.memory is not None:
        raise ValueError("a Pipeline names a cache, out of which it would unpickle")
    if isinstance(estimator, BaseEstimator) and hasattr(estimator, "_parameter_constraints"):
        estimator._validate_params()
    if isinstance(estimator, SVC) and "support_" in vars(estimator):
        _check_support(estimator)


def _check_support(svc):
    """What libsvm takes on trust: it copies as many numbers as the other arrays promise."""
    n_support, n_classes = np.asarray(svc.support_).size, np.asarray(svc._n_support).size
    n_pairs = n_classes * (n_classes - 1) // 2
    shapes = {
        "support_vectors_": (n_support, svc.n_features_in_),
        "_dual_coef_": (n_classes - 1, n_support),
        "_intercept_": (n_pairs,),
        "_probA": (0,),
        "_probB": (0,),
    }
    fits = all(np.shape(getattr(svc, name)) == shape for name, shape in shapes.items())
    counts = np.asarray(svc._n_support)
    if not (fits and n_classes > 1 and counts.min() >= 0 and counts.sum() == n_support):
        raise ValueError("the arrays of an SVC do not fit together")
    if svc.kernel not in _KERNELS or svc._sparse:
        raise ValueError(f"an SVC has the kernel {svc.kernel!r}, expected one of {', '.join(_KERNELS)} on dense rows")
