"""SmartBox: attack face recognition, detect the attacks, mitigate them, and measure all three.

Importing this package is cheap: TensorFlow and scikit-learn are loaded by the first name that needs them.
"""

import importlib
import os
import sys

__version__ = "0.1.0"

# oneDNN makes the gradient of a small network about three times as fast where TensorFlow leaves it off by default.
# It only counts before TensorFlow is imported, so it is set here unless the user has decided otherwise.
if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_HOME_OF = {
    "FaceClassifier": "smartbox.face",
    "FaceEmbedder": "smartbox._face_embedder",
    "FaceGallery": "smartbox._face_gallery",
    "FaceVerifier": "smartbox._face_verifier",
    "as_face_model": "smartbox.face",
    "load": "smartbox.persistence",
    "load_sample_model": "smartbox.face",
    "save": "smartbox.persistence",
    "FaceProtocol": "smartbox.protocol",
}
_SUBPACKAGES = (
    "attacks",
    "benchmark",
    "datasets",
    "defenses",
    "detectors",
    "estimator_checks",
    "metrics",
    "networks",
    "protocol",
)

__all__ = [*_HOME_OF, *_SUBPACKAGES, "__version__"]


def __getattr__(name):
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"smartbox.{name}")
    raise AttributeError(f"module 'smartbox' has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
