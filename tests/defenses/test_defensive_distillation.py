"""Distillation against ordinary training, and how it hides its gradients."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.exceptions import NotFittedError

from smartbox.attacks import FGSM
from smartbox.defenses import DefensiveDistillation
from tests.test_face import NAMES, blobs, learner, same_weights, with_dropout


@pytest.mark.parametrize("network", ["plane", with_dropout])
def test_the_teacher_at_temperature_one_is_ordinary_training(network):
    X, y = blobs()
    estimator = learner(epochs=3) if network == "plane" else learner(network, epochs=3)
    distilled = DefensiveDistillation(estimator, temperature=1).fit(X, y)
    assert same_weights(distilled.teacher_, estimator.fit(X, y))


@pytest.fixture(scope="module")
def distilled():
    return DefensiveDistillation(learner(epochs=200), temperature=50, random_state=0).fit(*blobs(60))


def test_student_gives_the_teachers_shares_at_the_temperature(distilled):
    X, _ = blobs(60)
    p, q = (softmax(one.logits(X).astype(np.float64) / 50, axis=1) for one in (distilled.teacher_, distilled))
    assert np.sum(p * np.log(p / q), axis=1).mean() < 0.01
    assert not same_weights(distilled.teacher_, distilled.estimator_)


def test_it_hides_its_gradients_and_resists_nobody(distilled):
    X, y = blobs(60, seed=1)
    ordinary = learner(epochs=200).fit(*blobs(60))
    size = [np.abs(one.logits(X)).mean() for one in (distilled, ordinary)]
    assert size[0] > 5 * size[1]
    assert distilled.score(X, y) == 1
    hidden = FGSM(distilled, eps=0.4, loss="ce")
    with pytest.warns(UserWarning, match="gradient was zero"):
        assert distilled.score(hidden.generate(X, y), y) > 0.7
    saturated = distilled.value_and_gradient(X, y, "saturating_cross_entropy")[2]
    assert np.mean(~saturated.any(axis=(1, 2, 3))) > 0.7
    for seeing in (FGSM(distilled, eps=0.4), FGSM(distilled.softened(), eps=0.4, loss="ce")):
        assert distilled.score(seeing.generate(X, y), y) < 0.1


def test_softened_is_the_same_model_at_another_scale(distilled):
    X, y = blobs(12, seed=2)
    soft = distilled.softened()
    np.testing.assert_allclose(soft.logits(X), distilled.logits(X) / 50, rtol=1e-6)
    np.testing.assert_array_equal(soft.predict(X), distilled.predict(X))
    values, logits, gradient = soft.value_and_gradient(X, y)
    index = np.searchsorted(NAMES, y)
    np.testing.assert_allclose(
        values, -np.log(softmax(logits.astype(np.float64), axis=1)[np.arange(12), index]), rtol=1e-4
    )
    way = np.random.default_rng(0).normal(size=X.shape).astype(np.float32) * np.float32(1e-2)
    ahead, behind = (soft.value_and_gradient(np.clip(X + side * way, 0, 1), y)[0] for side in (1, -1))
    moved = (np.clip(X + way, 0, 1) - np.clip(X - way, 0, 1)) * gradient
    np.testing.assert_allclose(moved.sum(axis=(1, 2, 3)), ahead - behind, rtol=2e-2, atol=1e-3)


def test_history_validation_and_weights():
    X, y = blobs()
    weight = np.ones(30)
    estimator = learner(epochs=4, patience=2)
    trained = DefensiveDistillation(estimator, temperature=5).fit(X, y, weight, validation_data=blobs(9, seed=3))
    assert {"val_loss", "val_accuracy"} < set(trained.estimator_.history_)
    assert not hasattr(estimator, "network_")


def test_unfitted_and_mistakes():
    with pytest.raises(NotFittedError):
        DefensiveDistillation(learner()).softened()
    with pytest.raises(ValueError, match="temperature"):
        DefensiveDistillation(learner(), temperature=0).fit(*blobs())
    with pytest.raises(ValueError, match="expected estimator as a FaceClassifier"):
        DefensiveDistillation(None).fit(*blobs())
