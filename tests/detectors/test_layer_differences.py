"""Layer differences: bounds, scale, and scikit-learn's support vectors."""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from smartbox import FaceClassifier
from smartbox.datasets import make_detection_set
from smartbox.detectors import LayerDifferenceDetector, LayerDifferences
from smartbox.estimator_checks import example_images
from tests.doubles import small_network

FACE = FaceClassifier.from_network(small_network())
X = example_images(n=40)


def test_the_average_itself_differs_by_nothing():
    features = LayerDifferences(FACE).fit(X[:1])
    np.testing.assert_array_equal(features.transform(X[:1]), 0)
    assert features.transform(X[1:]).any(axis=1).all()


def test_canberra_distance_over_places_and_units():
    layers = ["conv2", "dense1"]
    found = LayerDifferences(FACE, layers=layers).fit(X[:20]).transform(X[20:])
    maps, units = (each.astype(np.float64) for each in FACE.activations(X, layers))
    expected = []
    for each in (maps, units):
        average = each[:20].mean(axis=0)
        gaps, sizes = np.abs(each[20:] - average), np.abs(each[20:]) + np.abs(average)
        expected.append(np.divide(gaps, sizes, out=np.zeros_like(gaps), where=sizes > 0))
    by_filter, by_layer = expected[0].sum(axis=(1, 2)), expected[1].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.hstack([by_filter, by_layer]), rtol=1e-3)


def test_no_less_than_zero_and_no_more_than_the_number_of_places():
    found = LayerDifferences(FACE).fit(X[:20]).transform(np.concatenate([X, np.zeros_like(X[:1]), np.ones_like(X[:1])]))
    places = [14 * 10] * 4 + [5 * 3] * 6 + [16]
    assert found.shape[1] == len(places)
    assert (found >= 0).all() and (found <= np.array(places) * (1 + 1e-5)).all()


def test_units_of_a_layer_do_not_matter():
    """Weights and biases of the first layer times 7: its responses, and their averages, are seven times as large."""
    network = small_network()
    network.set_weights([7 * weight if i < 2 else weight for i, weight in enumerate(network.get_weights())])
    ours = LayerDifferences(FACE, layers="conv1").fit(X[:20]).transform(X[20:])
    theirs = LayerDifferences(FaceClassifier.from_network(network), layers="conv1").fit(X[:20]).transform(X[20:])
    np.testing.assert_allclose(theirs, ours, rtol=1e-4)


def test_score_is_that_of_support_vectors_on_the_features():
    Z, y, _ = make_detection_set(X, np.clip(X + 0.1 * np.sign(X - 0.5), 0, 1).astype(np.float32))
    detector = LayerDifferenceDetector(FACE, C=3.0).fit(Z, y)
    F = LayerDifferences(FACE).fit(X).transform(Z)
    svm = make_pipeline(StandardScaler(), SVC(C=3.0, gamma=1 / F.shape[1])).fit(F, y)
    np.testing.assert_allclose(detector.decision_function(Z), svm.decision_function(F), rtol=1e-3, atol=1e-3)
    assert detector.score(Z, y) > 0.7
