"""A small run, made once, and the same steps by hand."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier
from smartbox.attacks import FGSM
from smartbox.benchmark import Benchmark
from smartbox.datasets import make_faces
from smartbox.defenses import GaussianBlur
from smartbox.protocol import FaceProtocol

EPS, SIGMA = 0.1, 0.8
PARAMETERS = {
    "network.epochs": 2,
    "network.learning_rate": 0.1,
    "attack.fgsm.eps": EPS,
    "attack.pgd.eps": "16/255",
    "attack.pgd.max_iter": 3,
    "defense.gaussian_blur.sigma": SIGMA,
    "detector.pca.n_components": 8,
}


@pytest.fixture(scope="session")
def faces():
    return make_faces(n_identities=4, n_images=12, image_shape=(32, 28))


@pytest.fixture(scope="session")
def results(faces):
    """Two attacks and three seeds."""
    return Benchmark(faces, parameters=PARAMETERS, seeds=(0, 1, 7)).run()


class ByHand:
    """Split, claims, network, FGSM and blur of one seed, from the public classes alone."""

    def __init__(self, faces, seed, targeted=False):
        protocol = FaceProtocol(random_state=seed)
        self.train, validation, test = protocol.split(faces.target)
        self.X, self.y = faces.images[test], faces.target[test]
        self.probes = protocol.assign(self.y, classes=np.arange(4))
        self.X_train, self.y_train = faces.images[self.train], faces.target[self.train]
        self.face = FaceClassifier(epochs=2, learning_rate=0.1, random_state=seed).fit(
            self.X_train, self.y_train, validation_data=(faces.images[validation], faces.target[validation])
        )
        self.X_validation = faces.images[validation]
        self.blurred = make_pipeline(GaussianBlur(sigma=SIGMA), self.face)
        self.seed, self.targeted = seed, targeted

    def attack(self, model):
        attack = FGSM(model, eps=EPS, targeted=self.targeted, random_state=self.seed)
        return attack.generate(self.X, self.probes.targets if self.targeted else self.y)


@pytest.fixture(scope="session")
def by_hand(faces):
    return ByHand(faces, seed=7)
