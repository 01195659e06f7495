"""What all detectors that look at a face as the network sees it have in common."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from smartbox import FaceClassifier
from smartbox.datasets import make_detection_set
from smartbox.defenses import GaussianBlur
from smartbox.detectors import (
    FeatureSqueezingDetector,
    KernelDensityDetector,
    KernelDensityFeatures,
    LayerDifferenceDetector,
    LayerDifferences,
    LIDDetector,
    LocalIntrinsicDimensionality,
    MahalanobisDetector,
    MahalanobisDistances,
    SqueezingDistances,
    WhitenedPCADetector,
    detection_scores,
)
from smartbox.estimator_checks import example_images
from tests.doubles import small_network

FACE = FaceClassifier.from_network(small_network())
TRAINED = [
    (KernelDensityDetector(FACE, random_state=0), {"n_components": [2, 5]}),
    (LIDDetector(FACE, random_state=0), {"n_neighbors": [5, 10]}),
    (MahalanobisDetector(FACE, random_state=0), {"C": [0.1, 1.0]}),
    (LayerDifferenceDetector(FACE), {"C": [0.1, 10.0]}),
    (WhitenedPCADetector(random_state=0), {"first": [0.2, 0.5]}),
]
UNTRAINED = FeatureSqueezingDetector(FACE)
ALL = [detector for detector, _ in TRAINED] + [UNTRAINED]
FEATURES = [
    KernelDensityFeatures(FACE, random_state=0),
    LayerDifferences(FACE),
    LocalIntrinsicDimensionality(FACE, random_state=0),
    MahalanobisDistances(FACE),
    SqueezingDistances(FACE),
]


def named(estimators):
    return [pytest.param(*np.atleast_1d(each), id=type(np.atleast_1d(each)[0]).__name__) for each in estimators]


@pytest.fixture(scope="module")
def attacked():
    """Sixty images and their twins with a checkerboard on top, which neither light nor Gaussian noise looks like."""
    clean = 0.2 + 0.6 * example_images(n=60)
    board = np.indices(clean.shape[1:]).sum(axis=0) % 2 * 2 - 1
    return make_detection_set(clean, (clean + 0.15 * board).astype(np.float32))


@pytest.mark.parametrize("detector", named(ALL))
def test_pickles_and_refitted_clones_score_alike(detector, attacked):
    X, y, _ = attacked
    fitted = clone(detector).fit(X, y)
    scores = fitted.decision_function(X)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(fitted)).decision_function(X), scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(clone(fitted).fit(X, y).decision_function(X), scores)


@pytest.mark.parametrize("detector", named(ALL))
def test_scores_depend_on_no_batch(detector, attacked, monkeypatch):
    X, y, _ = attacked
    fitted = clone(detector).fit(X, y)
    scores = fitted.decision_function(X)
    monkeypatch.setattr("smartbox.detectors._features._BATCH_SIZE", 7)
    np.testing.assert_allclose(fitted.decision_function(X), scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fitted.decision_function(X[::-1])[::-1], scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("detector", "grid"), TRAINED, ids=[type(each).__name__ for each, _ in TRAINED])
def test_grid_search_with_twins_kept_together(detector, grid, attacked):
    X, y, groups = attacked
    search = GridSearchCV(detector, grid, cv=GroupKFold(3), scoring="roc_auc", error_score="raise").fit(
        X, y, groups=groups
    )
    # the density of a network of random weights, and 39 components of 192, tell little; they have tests of their own
    least = 0.4 if isinstance(detector, (KernelDensityDetector, WhitenedPCADetector)) else 0.75
    assert search.best_score_ > least
    assert search.best_params_.keys() == grid.keys()


@pytest.mark.parametrize("detector", named(detector for detector, _ in TRAINED))
def test_shuffled_labels_teach_nothing(detector):
    """Labels drawn at random; a detector that saw through to the image itself, or to its twin, would leave 0.5."""
    rng = np.random.default_rng(0)
    clean = 0.2 + 0.6 * example_images(n=200)
    X, _, groups = make_detection_set(clean, (clean + rng.normal(scale=0.03, size=clean.shape)).astype(np.float32))
    y, train = rng.integers(2, size=len(X)), groups < 120
    scores = clone(detector).fit(X[train], y[train]).decision_function(X[~train])
    assert 0.35 < roc_auc_score(y[~train], scores) < 0.65


def test_one_pass_serves_all(attacked):
    X, y, _ = attacked
    detectors = {type(each).__name__: clone(each).fit(X, y) for each in ALL}
    before = FACE.pass_counts()["forward"]
    scores = detection_scores(detectors, X)
    squeezers = 4  # ask the network about other images
    assert FACE.pass_counts()["forward"] - before == (1 + squeezers) * len(X)
    for name, detector in detectors.items():
        np.testing.assert_allclose(scores[name], detector.decision_function(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("features", named(FEATURES))
def test_features_serve_other_classifiers_and_pull_back_through_defences(features, attacked):
    X, y, groups = attacked
    pipeline = make_pipeline(clone(features), StandardScaler(), SVC()).fit(X[groups < 40], y[groups < 40])
    assert pipeline.score(X[groups >= 40], y[groups >= 40]) > 0.5
    behind = clone(features).set_params(model=make_pipeline(GaussianBlur(sigma=0.5), FACE)).fit(X, y)
    F, pull_back = behind.vjp(X[:3])
    assert pull_back(np.ones_like(F)).shape == X[:3].shape


@pytest.mark.parametrize("detector", named(detector for detector, _ in TRAINED[:3]))
def test_training_features_are_those_of_unseen_images(detector, attacked):
    """Their medians lie nearer to those of held-out images than what the fitted features say of their own images."""
    X, y, groups = attacked
    train = groups < 30
    features = detector._make_features()
    crossed, unseen = features.fit_transform(X[train], y[train]), features.transform(X[~train])
    own = features.transform(X[train])
    clean = y[train] == 0
    gaps = [
        np.abs(np.median(F[clean], axis=0) - np.median(unseen[y[~train] == 0], axis=0)).sum() for F in (crossed, own)
    ]
    assert gaps[0] < 0.7 * gaps[1]


@pytest.mark.parametrize("features", named(FEATURES[:4]))
def test_unknown_layers_and_too_few_images_are_refused(features, attacked):
    X, _, _ = attacked
    name = "layer" if "layer" in features.get_params() else "layers"
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        clone(features).set_params(**{name: "conv9"}).fit(X)
    if name == "layer" or not isinstance(features, LayerDifferences):
        with pytest.raises(ValueError, match="at least 2 clean images"):
            clone(features).fit(X[:1])


def test_a_network_of_other_layers_asks_for_their_names(attacked):
    import keras

    pooling = keras.Sequential([keras.Input((16, 12, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    features = LayerDifferences(FaceClassifier.from_network(pooling))
    with pytest.raises(ValueError, match=r"no convolution or dense layer.*by the parameter layers"):
        features.fit(attacked[0])
