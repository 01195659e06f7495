"""Noise as it is drawn, ordinary training without it, and what it does for certificates."""

import numpy as np
import pytest

from smartbox.defenses import NoiseTraining, RandomizedSmoothing
from smartbox.defenses._noise_training import NoisyLesson
from tests.test_face import SHAPE, blobs, learner, same_weights, with_dropout


@pytest.mark.parametrize("network", ["plane", with_dropout])
def test_without_noise_it_is_ordinary_training(network):
    X, y = blobs()
    estimator = learner(epochs=3) if network == "plane" else learner(network, epochs=3)
    trained = NoiseTraining(estimator, sigma=0).fit(X, y)
    assert not hasattr(estimator, "network_")
    assert same_weights(trained.estimator_, estimator.fit(X, y))


def test_noise_is_gaussian_anew_in_each_step_and_never_cut():
    X, y = np.zeros((400, *SHAPE), np.float32), np.arange(400)
    lesson = NoisyLesson(0.25, seed=3)
    (first, labels), (second, _) = (lesson.batch(X, y, np.arange(399, -1, -1)) for _ in range(2))
    assert labels[0] == 399 and first.dtype == np.float32
    n = first.size
    for noise in (first, second, (first - second) / np.sqrt(2)):
        assert abs(noise.mean()) < 5 * 0.25 / np.sqrt(n) and abs(noise.std() - 0.25) < 5 * 0.25 / np.sqrt(2 * n)
    assert first.min() < -0.5 and np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(n)
    assert (X == 0).all()


def test_a_network_that_has_met_the_noise_is_certified_farther():
    """One faint pixel tells the identities apart exactly, many others do so roughly: only the latter outlast noise."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    X = (0.5 + 0.1 * (2 * y[:, None] - 1) + rng.normal(scale=0.15, size=(120, 30))).clip(0, 1)
    X[:, 0] = 0.5 + 0.3 * (2 * y - 1)
    X = X.reshape(120, *SHAPE).astype(np.float32)
    estimator, radius = learner(epochs=60), {}
    for model in (estimator.fit(X, y), NoiseTraining(estimator, sigma=0.5, random_state=0).fit(X, y)):
        smoothed = RandomizedSmoothing(model, sigma=0.5, n_draws=200, n_select=20, alpha=0.01, random_state=0)
        found = smoothed.certify(X)
        radius[type(model).__name__] = np.mean(found.radius * (found.label == y))
    assert radius["NoiseTraining"] > 1.1 * radius["FaceClassifier"]


def test_noise_goes_past_the_box_into_the_smoothed_network_too():
    X, y = blobs()
    trained = NoiseTraining(learner(epochs=3), sigma=0.3, random_state=0).fit(X, y)
    votes = [RandomizedSmoothing(model, sigma=0.5, n_draws=40, random_state=0).predict_proba(X)
             for model in (trained, trained.estimator_)]  # fmt: skip
    np.testing.assert_array_equal(*votes)


def test_validation_is_measured_clean_and_noisy_and_the_latter_is_waited_for():
    X, y = blobs()
    trained = NoiseTraining(learner(epochs=30, patience=1), sigma=0.4, random_state=1)
    history = trained.fit(X, y, validation_data=blobs(9, seed=3)).estimator_.history_
    assert {"val_loss", "val_accuracy", "val_noisy_loss", "val_noisy_accuracy"} < set(history)
    losses = history["val_noisy_loss"]
    assert len(losses) == 30 or losses[-1] >= min(losses)
    again = NoiseTraining(learner(epochs=30, patience=1, random_state=5), sigma=0.4, random_state=1)
    assert same_weights(trained.estimator_, again.fit(X, y, validation_data=blobs(9, seed=3)).estimator_)


def test_mistakes():
    with pytest.raises(ValueError, match="sigma"):
        NoiseTraining(learner(), sigma=-0.1).fit(*blobs())
    with pytest.raises(ValueError, match="expected estimator as a FaceClassifier"):
        NoiseTraining(None).fit(*blobs())
