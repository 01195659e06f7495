"""A small face model, smooth images, and what FGSM makes of them."""

import pytest
from sklearn.utils import Bunch

from smartbox import FaceClassifier
from smartbox.attacks import FGSM
from smartbox.datasets import make_detection_set
from smartbox.estimator_checks import example_images
from tests.doubles import small_network


@pytest.fixture(scope="package")
def face():
    return FaceClassifier.from_network(small_network())


@pytest.fixture(scope="package")
def attacked(face):
    """150 clean images and their twins: the first 100 of each to learn from (or their weaker twins), the others to test."""
    clean = 0.2 + 0.6 * example_images(n=150)
    X_adv = FGSM(face, eps=0.1).generate(clean)
    train, test = make_detection_set(clean[:100], X_adv[:100]), make_detection_set(clean[100:], X_adv[100:])
    weak = make_detection_set(clean[:100], (clean + 0.4 * (X_adv - clean))[:100])
    return Bunch(clean=clean, X_adv=X_adv, train=train, test=test, weak=weak)
