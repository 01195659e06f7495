"""Nested parameters of what an estimator shares with its clones: no clone and no search changes the user's own objects."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline

from smartbox import FaceClassifier
from smartbox._compat import FrozenEstimator
from smartbox.attacks import FGSM, PGD
from smartbox.defenses import (
    AdversarialTraining,
    DenoisingAutoencoder,
    GaussianBlur,
    GuardedClassifier,
    RandomizedSmoothing,
)
from smartbox.detectors import LayerDifferenceDetector, PCADetector
from smartbox.estimator_checks import example_images
from smartbox.metrics import make_attack_scorer
from tests.doubles import BrightDetector, small_network
from tests.test_face import blobs, learner


@pytest.fixture(scope="module")
def shared():
    """A face, images, the labels it gives them, and a fitted detector."""
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=24, seed=3)
    detector = PCADetector(n_components=3, C=1.0, random_state=0).fit(X, np.arange(24) % 2)
    return face, X, face.predict(X), detector


@pytest.mark.parametrize("copied", [clone, lambda estimator: estimator])
def test_what_has_learnt_is_not_renamed(shared, copied):
    """A parameter of a fitted object that nobody fits again would change nothing but what it says of itself."""
    face, _, _, detector = shared
    for estimator, parameters in (
        (PGD(face), {"model__epochs": 3}),
        (
            PGD(Pipeline([("blur", GaussianBlur()), ("face", FrozenEstimator(face))])),
            {"model__face__estimator__epochs": 3},
        ),
        (LayerDifferenceDetector(face), {"model__epochs": 3}),
        (DenoisingAutoencoder(FGSM(face)), {"attack__model__epochs": 3}),
        (AdversarialTraining(face, PGD(face)), {"attack__model__epochs": 3}),
        (GuardedClassifier(face, detector=detector), {"detector__C": 3.0}),
        (GuardedClassifier(face, detector=FrozenEstimator(detector)), {"detector__estimator__C": 3.0}),
    ):
        with pytest.raises(ValueError, match=r"is fitted.*fit one with .*=3(\.0)? and pass that as"):
            copied(estimator).set_params(**parameters)
    assert face.epochs == 60 and detector.C == 1.0


def test_what_needs_no_fit_is_changed_on_a_copy(shared):
    face, X, y, _ = shared
    blur, bright = GaussianBlur(sigma=0.5), BrightDetector(0.5)
    pipeline = Pipeline([("blur", blur), ("face", FrozenEstimator(face))])
    guarded = GuardedClassifier(pipeline, detector=bright)
    for mine in (guarded, clone(guarded)):
        mine.set_params(model__blur__sigma=2.0, detector__threshold=0.1, scale=2.0)
        assert mine.model.named_steps["blur"].sigma == 2.0 and mine.detector.threshold == 0.1 and mine.scale == 2.0
        assert mine.model is not pipeline and mine.model.named_steps["face"].estimator is face
    assert blur.sigma == 0.5 and bright.threshold == 0.5 and pipeline.named_steps["blur"] is blur
    smoothed = RandomizedSmoothing(face, n_attack_draws=5, random_state=0).fit(X, y)
    attack = PGD(smoothed).set_params(model__n_attack_draws=2, eps=0.1)
    assert attack.model.n_attack_draws == 2 and smoothed.n_attack_draws == 5
    assert attack.model.model is face and attack.eps == 0.1
    replaced = clone(attack).set_params(model=pipeline, model__blur__sigma=3.0)
    assert replaced.model.named_steps["blur"].sigma == 3.0 and blur.sigma == 0.5
    with pytest.raises(ValueError, match="nonsense"):
        attack.set_params(model__nonsense=1)
    with pytest.raises(ValueError, match="'model' of PGD is None, which has no parameter 'epochs'"):
        PGD(None).set_params(model__epochs=3)


def test_a_frozen_object_that_clones_share_keeps_what_is_in_it(shared):
    face, _, _, detector = shared
    frozen, other = FrozenEstimator(detector), BrightDetector()
    guarded = clone(GuardedClassifier(face, detector=frozen)).set_params(detector__estimator=other)
    assert frozen.estimator is detector and guarded.detector.estimator is other


def test_training_takes_other_parameters_and_leaves_the_estimator():
    X, y = blobs()
    face = learner(epochs=1).fit(X, y)
    frozen = FrozenEstimator(face)
    attack = PGD(None, eps=0.05, max_iter=1, random_state=0)
    for estimator, name in ((face, "estimator__epochs"), (frozen, "estimator__estimator__epochs")):
        trained = AdversarialTraining(estimator, attack, mode="pgd").set_params(**{name: 2}).fit(X, y)
        assert len(trained.estimator_.history_["loss"]) == 2
        assert face.epochs == 1 and frozen.estimator is face
    search = GridSearchCV(
        AdversarialTraining(frozen, attack, mode="pgd"), {"estimator__estimator__epochs": [1, 2]}, cv=2
    )
    search.fit(X, y)
    assert face.epochs == 1 and np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_search_changes_nothing_that_was_given(shared):
    face, X, y, _ = shared
    blur, bright = GaussianBlur(sigma=0.5), BrightDetector(0.5)
    pipeline = Pipeline([("blur", blur), ("face", FrozenEstimator(face))])
    guarded = GuardedClassifier(pipeline, detector=bright)
    grid = {"model__blur__sigma": [0.0, 3.0], "detector__threshold": [0.1, 2.0]}
    scoring = make_attack_scorer(FGSM(None, eps=0.02), adaptive=True)
    search = GridSearchCV(guarded, grid, scoring=scoring, cv=KFold(2), error_score="raise").fit(X, y)
    assert blur.sigma == 0.5 and bright.threshold == 0.5 and guarded.model is pipeline
    assert len(set(search.cv_results_["mean_test_score"])) > 1  # the values took effect
    assert search.best_params_["detector__threshold"] == 2.0  # the other rejects all
