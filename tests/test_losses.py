"""What training descends, against its formulas in float64."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from smartbox import _losses

RNG = np.random.default_rng(0)
LOGITS, OTHER = (3 * RNG.normal(size=(2, 8, 4))).astype(np.float32)
INDEX = np.arange(8, dtype=np.int32) % 4


def run(x):
    """The network: its images are its logits."""
    return keras.ops.convert_to_tensor(x)


def computed(loss, *inputs):
    return [np.asarray(each) for each in loss(keras.ops, run, *inputs)]


def cross_entropy(logits):
    return -log_softmax(logits.astype(np.float64), axis=1)[np.arange(8), INDEX]


def test_labels():
    losses, hits = computed(_losses.label_loss, LOGITS, INDEX)
    np.testing.assert_allclose(losses, cross_entropy(LOGITS), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(hits, LOGITS.argmax(axis=1) == INDEX)


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_softened_labels_and_shares(temperature):
    losses, _ = computed(_losses.softened(temperature), LOGITS, INDEX)
    np.testing.assert_allclose(losses, temperature * cross_entropy(LOGITS / temperature), rtol=1e-5)
    shares = softmax(OTHER, axis=1)
    losses, hits = computed(_losses.softly_labelled(temperature), LOGITS, INDEX, shares)
    expected = -(shares * log_softmax(LOGITS.astype(np.float64) / temperature, axis=1)).sum(axis=1)
    np.testing.assert_allclose(losses, temperature * expected, rtol=1e-5)
    np.testing.assert_array_equal(hits, LOGITS.argmax(axis=1) == INDEX)


def test_trades():
    losses, _ = computed(_losses.trades(6.0), LOGITS, INDEX, OTHER)
    p, q = (softmax(logits.astype(np.float64), axis=1) for logits in (LOGITS, OTHER))
    np.testing.assert_allclose(losses, cross_entropy(LOGITS) + 6 * (p * np.log(p / q)).sum(axis=1), rtol=1e-4)


def test_images_and_guidance():
    x, wanted = RNG.uniform(-0.2, 1.2, size=(2, 5, 3, 2, 1)).astype(np.float32)
    error = ((x - wanted).astype(np.float64) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(computed(_losses.squared_error, x, wanted)[0], error, rtol=1e-5)
    seen = _losses.guided(0.5, lambda images: keras.ops.reshape(images, (5, 6)) * 10)
    apart = np.abs(10 * (np.clip(x, 0, 1) - wanted)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(computed(seen, x, wanted)[0], error + 0.5 * apart, rtol=1e-5)
