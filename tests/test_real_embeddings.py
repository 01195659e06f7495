"""The network that comes with the package on real faces: slow, and skipped where SMARTBOX_YALE does not name the archive."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.utils import Bunch

from smartbox import FaceEmbedder, FaceGallery, FaceVerifier
from smartbox.attacks import PGD
from smartbox.datasets import load_extended_yale_b

ARCHIVE = os.environ.get("SMARTBOX_YALE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(ARCHIVE).exists() or not ARCHIVE, reason="SMARTBOX_YALE names no archive"),
]


@pytest.fixture(scope="module")
def experiment():
    """One frontally lit image of each person is enrolled; some of the others are probes."""
    faces = load_extended_yale_b(ARCHIVE)
    front = np.flatnonzero((faces.azimuth == 0) & (faces.elevation == 0))
    others = np.setdiff1d(np.arange(len(faces.target)), front)
    probes = np.random.default_rng(0).choice(others, 380, replace=False)
    gallery = FaceGallery(FaceEmbedder()).fit(faces.images[front], faces.target[front])
    return Bunch(gallery=gallery, X=np.array(faces.images[probes]), y=faces.target[probes], faces=faces)


def test_people_are_told_apart_under_any_light(experiment):
    """Grey faces of 96 x 84 pixels, not aligned, lit from all sides."""
    gallery, X, y = experiment.gallery, experiment.X, experiment.y
    assert gallery.score(X, y) > 0.88
    assert (gallery.identify(X, k=5) == y[:, None]).any(axis=1).mean() > 0.95
    genuine = y[:, None] == gallery.identities_
    assert roc_auc_score(genuine.ravel(), gallery.cosines(X).ravel()) > 0.975
    E = gallery.embedder.transform(X)
    pairs = np.triu_indices(len(X), 1)
    assert roc_auc_score((y[:, None] == y)[pairs], (E @ E.T)[pairs]) > 0.965


def test_the_threshold_is_about_the_authors(experiment):
    threshold = experiment.gallery.calibrate(experiment.X, experiment.y).threshold_
    assert abs(threshold - FaceVerifier(experiment.gallery.embedder).threshold) < 0.02


def test_small_changes_undo_recognition(experiment):
    X, y = experiment.X[:32], experiment.y[:32]
    gallery = experiment.gallery.calibrate(experiment.X, experiment.y)
    attacked = PGD(gallery, eps="2/255", max_iter=10, random_state=0).generate(X, y)
    assert gallery.score(attacked, y) < 0.25 * gallery.score(X, y)
    verifier = FaceVerifier(gallery.embedder, threshold=gallery.threshold_).fit(experiment.faces.images[:1])
    strangers = X[y != experiment.faces.target[0]][:16]
    taken = PGD(verifier, eps="4/255", max_iter=10, targeted=True, random_state=0).generate(strangers, ["genuine"] * 16)
    assert verifier.verify(taken).mean() > verifier.verify(strangers).mean() + 0.5
