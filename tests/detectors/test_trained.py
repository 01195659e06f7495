"""What holds for every detector that is trained: a search over its parameters, and nothing learnt where there is nothing."""

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold

from smartbox import FaceClassifier
from smartbox.detectors import ArtifactDetector, BinaryInputDetector, ConvFilterDetector, PCADetector
from smartbox.estimator_checks import example_images


def binary_network(image_shape, n_classes):
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(n_classes),
        ]
    )


DETECTORS = {
    "artifact": (lambda face: ArtifactDetector(face, random_state=0), {"alpha": [1e-4, 1.0]}),
    "conv_filter": (lambda face: ConvFilterDetector(face, random_state=0), {"C": [0.01, 1.0]}),
    "pca": (lambda face: PCADetector(random_state=0), {"C": [0.01, 1.0], "magnitude": [False, True]}),
    "binary_input": (
        lambda face: BinaryInputDetector(FaceClassifier(binary_network, epochs=5), random_state=0),
        {"estimator__learning_rate": [0.01, 0.05]},
    ),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_grid_search_with_twins_kept_together(face, attacked, name):
    make, grid = DETECTORS[name]
    search = GridSearchCV(make(face), grid, cv=GroupKFold(2), scoring="roc_auc")
    search.fit(attacked.train[0], attacked.train[1], groups=attacked.train[2])
    assert set(search.best_params_) == set(grid)
    if name in ("artifact", "conv_filter"):  # pixels show too little of so weak an attack
        assert search.best_score_ > 0.8


@pytest.mark.parametrize("name", DETECTORS)
def test_labels_at_random_teach_nothing(face, name):
    """Were anything of a held-out image known from its label in training, it would show here."""
    X = example_images(n=600)
    y = np.random.default_rng(0).integers(0, 2, size=600)
    detector = DETECTORS[name][0](face).fit(X[:300], y[:300])
    assert abs(roc_auc_score(y[300:], detector.decision_function(X[300:])) - 0.5) < 0.1  # three standard errors
