"""Fitted estimators in files that are safe to take from a stranger."""

import os

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from smartbox._serialization import read_file, save_estimator, save_face
from smartbox.face import FaceClassifier

__all__ = ["load", "save"]


def save(estimator, path):
    """Write a fitted face classifier, detector, defence or Pipeline of them to one file; `load` reads it.

    Parameters
    ----------
    estimator : estimator
        Of SmartBox, or a Pipeline of such and of the few classes of scikit-learn that SmartBox itself uses. The face network
        that it looks into is saved with it: once, however many of its parts share it.
    path : str or path
        Where to; by custom with the ending ``.smartbox``. An older file is replaced only once the new one is whole.

    Raises
    ------
    ValueError
        If it is not fitted, or holds what `load` would refuse: a class or a function of another package, or a network with
        layers that are not Keras' own.

    Notes
    -----
    The same estimator gives the same bytes. Left out is what belongs to a session: the report of the last attack, a
    Pipeline's ``memory``, of a trained network its builder and its optimiser. `FaceClassifier`, `BaseDetector` and the others
    also have it as a method: ``detector.save(path)``.

    Examples
    --------
    >>> import smartbox, tempfile, pathlib
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import ConvFilterDetector
    >>> faces, face = make_faces(n_images=1), smartbox.load_sample_model()
    >>> X, y, _ = make_detection_set(faces.images, FGSM(face, eps="16/255").generate(faces.images, faces.target))
    >>> detector = ConvFilterDetector(face, random_state=0).fit(X, y)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "detector.smartbox"
    >>> smartbox.save(detector, path)
    >>> bool((smartbox.load(path).decision_function(X) == detector.decision_function(X)).all())
    True
    """
    write(estimator, path)


def load(path):
    """Load what `save` or `FaceClassifier.save` wrote. Safe for strangers' files: arrays and trusted classes only.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    estimator : estimator
        Fitted. A face classifier takes its network as given, so that ``fit`` and ``clone`` keep it.

    Raises
    ------
    ValueError
        If the file is something else, is damaged, or names a class or a layer that could run code.

    Warns
    -----
    InconsistentVersionWarning
        If another version of scikit-learn has fitted a part of it.

    Examples
    --------
    >>> import smartbox, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "face.smartbox"
    >>> smartbox.load_sample_model().save(path)
    >>> smartbox.load(path).image_shape_
    (96, 84, 1)
    """
    return read_file(path)[0]


def write(estimator, path, about=None):
    """As `save`, with what else the file shall say."""
    if isinstance(estimator, BaseEstimator):
        check_is_fitted(estimator)
    if not isinstance(estimator, BaseEstimator) or not isinstance(path, (str, os.PathLike)):
        raise ValueError(
            f"expected a fitted estimator of SmartBox and a path, got {type(estimator).__name__} and {path!r:.80}."
        )
    (save_face if type(estimator) is FaceClassifier else save_estimator)(estimator, path, about=about)
