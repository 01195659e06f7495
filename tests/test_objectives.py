"""Objectives against float64 closed forms and finite differences, in NumPy and in Keras."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from smartbox._objectives import OBJECTIVES

LOGITS = np.random.default_rng(0).normal(size=(7, 5)) * 3
LABELS = np.array([0, 1, 2, 3, 4, 0, 1])
IS_LABEL = LABELS[:, None] == np.arange(5)


def expected_values(logits, name):
    own = logits[IS_LABEL]
    others = np.where(IS_LABEL, -np.inf, logits)
    margin, ordered = others.max(axis=1) - own, -np.sort(-logits, axis=1)
    return {
        "odds": logsumexp(others, axis=1) - own,
        "cross_entropy": -log_softmax(logits, axis=1)[IS_LABEL],
        "saturating_cross_entropy": -log_softmax(logits, axis=1)[IS_LABEL],
        "margin": margin,
        "dlr": margin / (ordered[:, 0] - ordered[:, 2]),
        "targeted_dlr": margin / (ordered[:, 0] - ordered[:, 2:4].mean(axis=1)),
    }[name]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_values_and_cotangents(name):
    values, cotangents = OBJECTIVES[name](np, LOGITS, IS_LABEL)
    np.testing.assert_allclose(values, expected_values(LOGITS, name), rtol=1e-9)
    step = 1e-6
    for k in range(5):
        up, down = LOGITS.copy(), LOGITS.copy()
        up[:, k] += step
        down[:, k] -= step
        numeric = (expected_values(up, name) - expected_values(down, name)) / (2 * step)
        np.testing.assert_allclose(cotangents[:, k], numeric, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_keras_computes_the_same(name):
    logits = LOGITS.astype(np.float32)
    for ours, theirs in zip(
        OBJECTIVES[name](np, logits, IS_LABEL),
        OBJECTIVES[name](keras.ops, keras.ops.convert_to_tensor(logits), keras.ops.convert_to_tensor(IS_LABEL)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("margin", [10, 30, 100, 1e4, 1e20])
def test_no_saturation_at_any_margin(margin):
    """At a large margin the odds point away from the label, and so does cross-entropy until its slope underflows."""
    logits = np.array([[margin, 0, -1]], dtype=np.float32)
    is_label = np.array([[True, False, False]])
    values, cotangents = OBJECTIVES["odds"](np, logits, is_label)
    others = np.exp([0, -1]) / np.exp([0, -1]).sum()
    np.testing.assert_allclose(cotangents, [[-1, *others]], rtol=1e-6)
    np.testing.assert_allclose(values, logsumexp([0, -1]) - margin, rtol=1e-6)
    _, slopes = OBJECTIVES["cross_entropy"](np, logits, is_label)
    if margin < 80:
        np.testing.assert_allclose(slopes / slopes[0, 0], cotangents / -1, rtol=1e-5)
    assert np.isfinite(slopes).all()


def test_float32_cross_entropy_saturates_as_it_does_elsewhere():
    _, cotangents = OBJECTIVES["saturating_cross_entropy"](
        np, np.float32([[20, 0, -1]]), np.array([[True, False, False]])
    )
    assert cotangents[0, 0] == 0 and cotangents[0, 1] > 0


def test_a_tie_counts_as_the_first_of_equals():
    logits = np.array([[1.0, 2.0, 2.0]])
    values, cotangents = OBJECTIVES["margin"](np, logits, np.array([[True, False, False]]))
    np.testing.assert_array_equal(cotangents, [[-1, 1, 0]])
    assert values[0] == 1


@pytest.mark.parametrize("name", ["dlr", "targeted_dlr"])
def test_ratio_ignores_shift_and_scale(name):
    values, cotangents = OBJECTIVES[name](np, LOGITS, IS_LABEL)
    changed, slopes = OBJECTIVES[name](np, 1000 * LOGITS + 700, IS_LABEL)
    np.testing.assert_allclose(changed, values, rtol=1e-9)
    np.testing.assert_allclose(slopes, cotangents / 1000, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["dlr", "targeted_dlr"])
def test_ratio_of_equal_logits_is_zero(name):
    values, cotangents = OBJECTIVES[name](np, np.full((1, 5), 2.5, np.float32), IS_LABEL[:1])
    assert values[0] == 0 and np.isfinite(cotangents).all()
