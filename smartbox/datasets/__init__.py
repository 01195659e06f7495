"""Faces to work with: loaders that return a Bunch, lists of pairs, synthetic faces, and sets of attacked ones."""

from smartbox.datasets._adversarial_set import load_adversarial_set, save_adversarial_set
from smartbox.datasets._align import align_faces
from smartbox.datasets._detection import make_detection_set
from smartbox.datasets._fetch import fetch_extended_yale_b
from smartbox.datasets._folder import load_face_folder
from smartbox.datasets._from_sklearn import as_faces
from smartbox.datasets._pair_lists import load_pairs
from smartbox.datasets._synthetic import make_faces
from smartbox.datasets._yale import load_extended_yale_b

__all__ = [
    "align_faces",
    "as_faces",
    "fetch_extended_yale_b",
    "load_adversarial_set",
    "load_extended_yale_b",
    "load_face_folder",
    "load_pairs",
    "make_detection_set",
    "make_faces",
    "save_adversarial_set",
]
