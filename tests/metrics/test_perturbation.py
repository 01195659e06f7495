"""Sizes of perturbations."""

import tracemalloc

import numpy as np
import pytest

from smartbox.metrics import _perturbation, perturbation_size


def test_equal_to_numpy_norms():
    rng = np.random.default_rng(0)
    X, X_adv = rng.random((7, 5, 4, 3)), rng.random((7, 5, 4, 3))
    sizes = perturbation_size(X, X_adv)
    delta = (X_adv - X).reshape(7, -1)
    for name, order in (("l1", 1), ("l2", 2), ("linf", np.inf)):
        np.testing.assert_allclose(sizes[name], np.linalg.norm(delta, order, axis=1))
        assert sizes[name].dtype == np.float64 and sizes[name].shape == (7,)


def test_constant_shift_has_closed_form():
    X = np.zeros((2, 96, 84, 1), np.float32)
    sizes = perturbation_size(X, X + np.float32(0.25))
    d = 96 * 84
    np.testing.assert_array_equal(sizes.l1, [0.25 * d] * 2)
    np.testing.assert_array_equal(sizes.l2, [0.25 * np.sqrt(d)] * 2)
    np.testing.assert_array_equal(sizes.linf, [0.25, 0.25])


def test_computed_in_float64():
    X = np.full((1, 1_000_000), 0.5, np.float32)
    X_adv = X + np.float32(1 / 255)
    step = float(X_adv[0, 0]) - 0.5
    assert perturbation_size(X, X_adv).l1[0] == pytest.approx(1e6 * step, rel=1e-12)


def test_bytes_do_not_wrap_around():
    sizes = perturbation_size(np.uint8([[0, 255]]), np.uint8([[255, 0]]))
    assert sizes.linf[0] == 255 and sizes.l1[0] == 510


def test_batches_do_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    X, X_adv = rng.random((10, 6)), rng.random((10, 6))
    whole = perturbation_size(X, X_adv)
    for elements in (1, 13, 60):
        monkeypatch.setattr(_perturbation, "_BATCH_ELEMENTS", elements)
        parts = perturbation_size(X, X_adv)
        assert all(np.array_equal(whole[norm], parts[norm]) for norm in ("l1", "l2", "linf"))


def test_no_big_copies():
    X = np.zeros((400, 192, 168, 1), np.float32)  # 52 MB
    X_adv = np.ones_like(X)
    tracemalloc.start()
    perturbation_size(X, X_adv)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 2


def test_nan_stays_with_its_image():
    X_adv = np.ones((3, 4))
    X_adv[1, 2] = np.nan
    for values in perturbation_size(np.zeros((3, 4)), X_adv).values():
        np.testing.assert_array_equal(np.isnan(values), [False, True, False])


@pytest.mark.parametrize(
    "X, X_adv, message",
    [
        (np.ones((2, 3)), np.ones((2, 4)), "one shape"),
        (np.ones((2, 3)), np.ones((3, 3)), "one shape"),
        (np.ones(3), np.ones(3), "one shape"),
        (np.ones((0, 3)), np.ones((0, 3)), "non-empty"),
        (np.ones((2, 3), np.uint8), np.ones((2, 3)), "255"),
        ([["a"]], [["b"]], "real numbers"),
    ],
)
def test_refuses(X, X_adv, message):
    with pytest.raises(ValueError, match=message):
        perturbation_size(X, X_adv)
