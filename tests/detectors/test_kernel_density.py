"""Kernel density against scikit-learn's, dropout uncertainty against the covariance of the passes."""

import keras
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity

from smartbox import FaceClassifier
from smartbox._streams import ImageStreams
from smartbox.datasets import make_detection_set
from smartbox.detectors import KernelDensityDetector, KernelDensityFeatures
from smartbox.detectors._bandwidth import most_likely_bandwidth
from smartbox.estimator_checks import example_images
from tests.doubles import small_network

FACE = FaceClassifier.from_network(small_network())
RNG = np.random.default_rng(0)
X = RNG.uniform(0.2, 0.8, (40, 16, 12, 1)).astype(np.float32)


def hidden_and_classes(X):
    hidden, logits = FACE.activations(X, ["dense1", "<logits>"])
    return hidden.astype(np.float64), logits.argmax(axis=1)


def test_one_training_image_a_class_gives_its_squared_distance():
    images = example_images(n=60)
    classes, firsts = np.unique(hidden_and_classes(images)[1], return_index=True)
    assert len(classes) == 5
    features = KernelDensityFeatures(FACE, n_components=None, bandwidth=0.7).fit(images[firsts])
    hidden, predicted = hidden_and_classes(images)
    squares = ((hidden - hidden[firsts][np.searchsorted(classes, predicted)]) ** 2).sum(axis=1)
    np.testing.assert_allclose(features.transform(images)[:, 0], -squares / (2 * 0.7**2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_components", [None, 3])
def test_density_is_that_of_scikit_learn_within_the_predicted_class(n_components):
    train, test = example_images(n=80, seed=1), example_images(n=30, seed=2)
    features = KernelDensityFeatures(FACE, n_components=n_components, bandwidth=0.5).fit(train)
    (points, classes), (queries, predicted) = hidden_and_classes(train), hidden_and_classes(test)
    if n_components:
        mean = points.mean(axis=0)
        axes = np.linalg.svd(points - mean, full_matrices=False)[2][:n_components]
        points, queries = (points - mean) @ axes.T, (queries - mean) @ axes.T
    normaliser = points.shape[1] * np.log(0.5 * np.sqrt(2 * np.pi))
    for each in np.unique(predicted):
        expected = KernelDensity(bandwidth=0.5).fit(points[classes == each]).score_samples(queries[predicted == each])
        found = features.transform(test[predicted == each])[:, 0]
        np.testing.assert_allclose(found, expected + normaliser, rtol=1e-4, atol=1e-4)


def test_a_class_without_clean_images_is_compared_with_all():
    images = example_images(n=60)
    hidden, classes = hidden_and_classes(images)
    known, unknown = classes == classes[0], classes != classes[0]
    features = KernelDensityFeatures(FACE, n_components=None, bandwidth=1.0).fit(images[known])
    expected = KernelDensity(bandwidth=1.0).fit(hidden[known]).score_samples(hidden[unknown])
    found = features.transform(images[unknown])[:, 0]
    np.testing.assert_allclose(found, expected + hidden.shape[1] / 2 * np.log(2 * np.pi), rtol=1e-4, atol=1e-4)


def test_bandwidth_is_the_most_likely_one():
    points = RNG.normal(size=(40, 3)) * [1.0, 2.0, 0.5]
    classes = np.repeat([0, 1, 2], [25, 14, 1])

    def log_likelihood(bandwidth):
        total = 0.0
        for each in (0, 1):
            group = points[classes == each]
            for i in range(len(group)):
                others = KernelDensity(bandwidth=bandwidth).fit(np.delete(group, i, axis=0))
                total += others.score(group[i : i + 1])
        return total

    best = most_likely_bandwidth(points, classes)
    step = 10**0.1  # of the candidates
    assert log_likelihood(best) > max(log_likelihood(best * step), log_likelihood(best / step))
    assert most_likely_bandwidth(7 * points, classes) == pytest.approx(7 * best)
    assert most_likely_bandwidth(points, np.arange(40)) > 0  # all alone
    assert most_likely_bandwidth(np.ones((4, 2)), np.zeros(4)) == 1


def with_dropout(rate=0.4, tail=()):
    """A network whose head after the dropout layer is short enough to be written out."""
    network = keras.Sequential(
        [
            keras.Input((16, 12, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(6, activation="relu", name="hidden"),
            keras.layers.Dropout(rate, name="dropout"),
            *tail,
            keras.layers.Dense(3, name="logits"),
        ]
    )
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(size=w.shape) / np.sqrt(len(w)) for w in network.get_weights()])
    return network


def test_without_dropout_there_is_no_uncertainty():
    assert not KernelDensityFeatures(FACE).fit(X).transform(X)[:, 1].any()
    face = FaceClassifier.from_network(with_dropout())
    assert not KernelDensityFeatures(face, n_passes=0).fit(X).transform(X)[:, 1].any()
    assert KernelDensityFeatures(face).fit(X).transform(X)[:, 1].min() > 0


def test_uncertainty_is_the_trace_of_the_covariance_of_the_passes():
    network, n_passes = with_dropout(), 7
    features = KernelDensityFeatures(FaceClassifier.from_network(network), n_passes=n_passes, random_state=3).fit(X)
    kernel, bias = (np.asarray(each, np.float64) for each in network.get_weights()[-2:])
    hidden = features._face_model().activations(X, ["hidden"])[0]
    streams = ImageStreams.from_images(X, features.seed_)
    kept = np.stack([streams.uniform(6) >= 0.4 for _ in range(n_passes)])
    p = softmax((hidden * kept / 0.6) @ kernel + bias, axis=2)
    traces = [np.trace(np.cov(p[:, i].T, bias=True)) for i in range(len(X))]
    uncertainty = features.transform(X)[:, 1]
    np.testing.assert_allclose(uncertainty, traces, rtol=1e-4, atol=1e-7)
    second_moments = (p**2).sum(axis=2).mean(axis=0) - (p.mean(axis=0) ** 2).sum(axis=1)  # as the paper writes it
    np.testing.assert_allclose(uncertainty, second_moments, rtol=1e-4, atol=1e-7)
    assert 0.5 < kept.mean() < 0.7


def test_masks_are_each_images_own_and_the_seeds():
    face = FaceClassifier.from_network(with_dropout(tail=[keras.layers.Dense(5, activation="tanh")]))
    first, again, other = (KernelDensityFeatures(face, random_state=seed).fit(X) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.transform(X), again.transform(X))
    np.testing.assert_array_equal(first.transform(X[5:9]), first.transform(X)[5:9])
    assert (first.transform(X)[:, 1] != other.transform(X)[:, 1]).all()


def test_gradient_of_uncertainty_for_the_masks_drawn(monkeypatch):
    """With the images' keys held, since a step in the image would draw other masks."""
    tail = [keras.layers.Dense(5, activation="tanh")]
    features = KernelDensityFeatures(FaceClassifier.from_network(with_dropout(tail=tail)), random_state=0).fit(X)
    keys = np.arange(len(X), dtype=np.uint64)
    monkeypatch.setattr(ImageStreams, "from_images", lambda images, seed: ImageStreams(keys[: len(images)].copy()))
    _, pull_back = features.vjp(X)
    gradient = pull_back(np.tile([0.0, 1.0], (len(X), 1))).astype(np.float64)
    way = RNG.normal(size=X.shape).astype(np.float32) * np.float32(1e-3)
    ahead, behind = X + way, X - way
    numeric = features.transform(ahead)[:, 1].astype(np.float64) - features.transform(behind)[:, 1]
    analytic = (gradient * (ahead.astype(np.float64) - behind)).sum(axis=(1, 2, 3))
    assert np.median(np.abs(analytic - numeric)) < 0.02 * np.median(np.abs(numeric))


def two_clusters(rng, centres, n):
    """Images around grey levels, and a network whose hidden layer is the pixels."""
    return np.clip(rng.choice(centres, (n, 1, 1, 1)) + rng.normal(scale=0.02, size=(n, 4, 3, 1)), 0, 1).astype(
        np.float32
    )


def test_images_between_two_clusters_are_told_perfectly():
    network = keras.Sequential(
        [
            keras.Input((4, 3, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(12, name="hidden"),
            keras.layers.Dense(2, name="logits"),
        ]
    )
    network.set_weights([np.eye(12), np.zeros(12), np.outer(np.ones(12), [-1, 1]), np.array([6.0, -6.0])])
    face = FaceClassifier.from_network(network)
    rng = np.random.default_rng(0)
    sets = [
        make_detection_set(two_clusters(rng, [0.2, 0.8], 60), two_clusters(rng, [0.45, 0.55], 60)) for _ in range(2)
    ]
    detector = KernelDensityDetector(face, random_state=0).fit(*sets[0][:2])
    X, y, _ = sets[1]
    assert roc_auc_score(y, detector.decision_function(X)) == 1
    assert detector.score(X, y) > 0.95


def test_noisy_negatives_are_as_large_as_the_attacks():
    clean = 0.4 + 0.2 * example_images(n=30)
    board = (np.indices(clean.shape[1:]).sum(axis=0) % 2 * 2 - 1) * 0.05
    X, y, _ = make_detection_set(clean, (clean + board).astype(np.float32))
    noisy = KernelDensityDetector(FACE, random_state=0)._with_noise(X, y)
    sizes = np.linalg.norm((noisy - clean).reshape(30, -1), axis=1)
    assert sizes.mean() == pytest.approx(0.05 * np.sqrt(192), rel=0.03)
