"""Feature squeezing: squeezers by their definition, distances, and the gradient past the squeezers."""

import numpy as np
import pytest
from scipy.special import softmax

from smartbox import FaceClassifier
from smartbox.datasets import make_detection_set
from smartbox.detectors import FeatureSqueezingDetector, SqueezingDistances
from smartbox.detectors._feature_squeezing import reduce_bits, smooth_by_median
from smartbox.estimator_checks import example_images
from smartbox.metrics import conformal_threshold
from tests.doubles import small_network

FACE = FaceClassifier.from_network(small_network())
X = example_images(n=50)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bit_depth(bits):
    squeezed = reduce_bits(X, bits=bits)
    levels = np.arange(2**bits) / (2**bits - 1)
    nearest = levels[np.abs(X[..., None] - levels).argmin(axis=-1)]
    np.testing.assert_allclose(squeezed, nearest, atol=1e-6)
    np.testing.assert_array_equal(reduce_bits(squeezed, bits=bits), squeezed)
    assert squeezed.dtype == np.float32


@pytest.mark.parametrize("side", [2, 3])
def test_median(side):
    padded = np.pad(X[0, :, :, 0], side // 2, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))[: X.shape[1], : X.shape[2]]
    expected = np.sort(windows.reshape(*X.shape[1:3], -1), axis=-1)[..., side * side // 2]
    np.testing.assert_array_equal(smooth_by_median(X, side=side)[0, :, :, 0], expected)
    np.testing.assert_array_equal(smooth_by_median(X[..., [0, 0]], side=side)[..., 1:], smooth_by_median(X, side=side))


def test_the_identity_changes_nothing():
    np.testing.assert_array_equal(SqueezingDistances(FACE, bits=(), medians=(1,)).fit_transform(X), 0)


def test_distances_between_probabilities():
    found = SqueezingDistances(FACE, bits=[1, 4], medians=[3]).fit_transform(X)
    p, *squeezed = (
        softmax(FACE.logits(Z).astype(np.float64), axis=1)
        for Z in (X, reduce_bits(X, bits=1), reduce_bits(X, bits=4), smooth_by_median(X, side=3))
    )
    np.testing.assert_allclose(found, np.stack([np.abs(p - q).sum(axis=1) for q in squeezed], axis=1), rtol=1e-5)
    assert (found >= 0).all() and (found <= 2).all() and found.max() > 0.1


def test_score_is_the_largest_distance_and_the_threshold_conformal():
    Z, y, _ = make_detection_set(X, np.clip(X + 0.2, 0, 1))
    detector = FeatureSqueezingDetector(FACE).fit(Z, y)
    scores = detector.decision_function(Z)
    np.testing.assert_allclose(scores, detector.transform(Z).max(axis=1))
    assert detector.threshold_ == conformal_threshold(scores[y == 0])
    assert detector.predict(X).mean() <= 0.05
    with pytest.warns(UserWarning, match="flags nothing"):
        FeatureSqueezingDetector(FACE).fit(Z[40:60], y[40:60])


def test_gradient_takes_the_squeezer_for_the_identity():
    """It is that of the distance between the image and its squeezed self when both move alike."""
    Z, y, _ = make_detection_set(X, np.clip(X + 0.2, 0, 1))
    detector = FeatureSqueezingDetector(FACE, bits=(2,), medians=(3,)).fit(Z, y)
    rng = np.random.default_rng(0)
    inner = rng.uniform(0.2, 0.8, (20, *X.shape[1:])).astype(np.float32)
    _, gradient = detector.value_and_gradient(inner)
    distances = detector.transform(inner)
    by_bits = (distances[:, 0] > distances[:, 1])[:, None, None, None]
    squeezed = np.where(by_bits, reduce_bits(inner, bits=2), smooth_by_median(inner, side=3))
    squeezed = 0.02 + 0.96 * squeezed  # room for a step; the gradient must then be taken there
    way = rng.normal(size=inner.shape).astype(np.float32) * np.float32(1e-4)

    def distance(at, squeezed_at):
        p, q = (softmax(FACE.logits(images).astype(np.float64), axis=1) for images in (at, squeezed_at))
        return np.abs(p - q).sum(axis=1)

    monkey = SqueezingDistances(FACE, bits=(), medians=(1,))
    monkey._squeezers = lambda: [lambda images: squeezed[: len(images)]]
    F, pull_back = monkey.fit(inner).vjp(inner)
    found = pull_back(np.ones_like(F)).astype(np.float64)
    numeric = distance(inner + way, squeezed + way) - distance(inner - way, squeezed - way)
    analytic = (found * 2 * way.astype(np.float64)).sum(axis=(1, 2, 3))
    assert np.median(np.abs(analytic - numeric)) < 0.02 * np.median(np.abs(numeric))
    assert gradient.shape == inner.shape and np.abs(gradient).max() > 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bits": (0,)}, "bits as whole numbers from 1 to 16, got 0"),
        ({"bits": (2.5,)}, r"got 2\.5"),
        ({"medians": (-1,)}, "medians as whole numbers"),
        ({"bits": (), "medians": ()}, "at least one squeezer"),
    ],
)
def test_wrong_squeezers_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        SqueezingDistances(FACE, **parameters).fit(X)
