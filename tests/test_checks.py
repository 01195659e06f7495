"""Checks of what comes in: each refusal says what was expected, what came and the cure."""

import re

import numpy as np
import pytest
import tensorflow as tf

from smartbox._checks import as_number, check_images, check_labels

SHAPE = (4, 3, 1)
GOOD = np.random.default_rng(0).uniform(size=(5, *SHAPE)).astype(np.float32)


def with_pixel(value, dtype=np.float32, image=3):
    X = np.full((5, *SHAPE), 0.5, dtype=dtype)
    X[image, 1, 2, 0] = value
    return X


# Accepted


def test_good_images_are_not_copied():
    assert np.shares_memory(check_images(GOOD, image_shape=SHAPE), GOOD)
    assert np.shares_memory(check_images(GOOD[1:3]), GOOD)


@pytest.mark.parametrize(
    "X",
    [
        GOOD.astype(np.float64),
        GOOD.astype(">f4"),
        np.asfortranarray(GOOD),
        GOOD[::2, ::-1],
        (GOOD > 0.5),
        (GOOD > 0.5).astype(np.uint8),
        GOOD.tolist(),
        tf.constant(GOOD),
    ],
    ids=["float64", "big-endian", "Fortran", "strided", "bool", "uint8", "list", "tensor"],
)
def test_other_layouts_become_contiguous_float32(X):
    out = check_images(X)
    assert out.dtype == np.float32 and out.dtype.isnative and out.flags.c_contiguous
    np.testing.assert_allclose(out, np.asarray(X, dtype=np.float64), atol=1e-7)


@pytest.mark.parametrize("X", [GOOD, with_pixel(1 + 1e-6), with_pixel(-1e-6)])
def test_input_is_never_written_to(X):
    X = X.copy()
    X.flags.writeable = False
    before = X.copy()
    out = check_images(X)
    assert out.min() >= 0 and out.max() <= 1
    np.testing.assert_array_equal(X, before)


def test_rounding_is_clipped_and_more_is_refused():
    assert check_images(with_pixel(1 + 9e-6))[3].max() == 1
    assert check_images(with_pixel(-9e-6))[3].min() == 0
    assert check_images(with_pixel(1 + 1e-12, np.float64)).max() == 1
    for value in (1 + 2e-5, -2e-5):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            check_images(with_pixel(value, np.float64))


def test_any_size_where_the_shape_says_none():
    assert check_images(GOOD, image_shape=(None, None, 1)) is not None
    with pytest.raises(ValueError, match=r"use 3 channel\(s\)"):
        check_images(GOOD, image_shape=(None, None, 3))


# Refused


@pytest.mark.parametrize(
    ("X", "image_shape", "message"),
    [
        (GOOD.astype(str), None, "expected X to hold numbers .* got dtype <U.*astype"),
        (GOOD.astype(complex), None, "got dtype complex128"),
        (GOOD.astype(object), None, "got dtype object"),
        (None, None, "got dtype object"),
        ([np.zeros((4, 3, 1)), np.zeros((5, 3, 1))], None, "images in X differ in size: resize"),
        (GOOD.reshape(5, -1), None, r"X of shape \(5, 12\): unflatten them, e.g. X.reshape"),
        (GOOD[..., 0], None, r"shape \(5, 4, 3\): add the missing axis, X\[..., np.newaxis\] .*single one"),
        (GOOD[0, 0, 0], None, r"shape \(1,\): stack images along the first axis"),
        (GOOD[None], None, r"shape \(1, 5, 4, 3, 1\): stack images"),
        (GOOD[:0], None, r"0 sample\(s\) \(shape=\(0, 4, 3, 1\)\): X needs at least one image"),
        (GOOD[:, :0], None, r"shape \(5, 0, 3, 1\): the images have no pixels"),
        (GOOD, (4, 3, 3), r"shape \(4, 3, 3\).*got \(4, 3, 1\) in X: use 3 channel\(s\)"),
        (np.zeros((5, 1, 4, 3)), SHAPE, r"channels come last, use np.moveaxis\(X, 1, -1\)"),
        (
            np.zeros((5, 8, 6, 1)),
            SHAPE,
            r"expected images of shape \(4, 3, 1\).*got \(8, 6, 1\) in X: resize",
        ),
        (with_pixel(np.nan), None, r"got NaN in 1 of 5 images, first in X\[3\]: leave"),
        (with_pixel(np.inf, image=1), None, r"got infinity \(inf\) in 1 of 5 images, first in X\[1\]"),
        (with_pixel(-np.inf, np.float16), None, r"got infinity \(inf\).* first in X\[3\]"),
        (
            with_pixel(255),
            None,
            r"X must lie in \[0, 1\], got \[0.5, 255\], first in X\[3\]; divide by 255\?",
        ),
        (with_pixel(200, np.uint8, 2), None, r"got \[0, 200\], first in X\[2\]; divide by 255\?"),
        (with_pixel(2, np.uint8), None, r"divide by 255\?"),
        (with_pixel(60000), None, r"divide by 65535\?"),
        (
            with_pixel(-0.7),
            None,
            r"got \[-0.7, 0.5\], first in X\[3\]; map \[-1, 1\] to \[0, 1\] by \(X \+ 1\) / 2\?",
        ),
        (
            with_pixel(1.5),
            None,
            r"got \[0.5, 1.5\], first in X\[3\]; scale or clip it, e.g. np.clip\(X, 0, 1\)",
        ),
        (with_pixel(-3), None, "scale or clip it"),
    ],
)
def test_bad_images(X, image_shape, message):
    with pytest.raises(ValueError, match=message):
        check_images(X, image_shape=image_shape)


def test_message_uses_the_name():
    with pytest.raises(ValueError, match=re.escape("first in faces[3]")):
        check_images(with_pixel(7), name="faces")


# Labels


def test_labels_are_returned_as_they_are():
    assert check_labels([2, 1, 2], 3, np.array([1, 2])).tolist() == [2, 1, 2]
    assert check_labels(np.array([["b"], ["a"]]), 2, np.array(["a", "b"])).tolist() == ["b", "a"]
    assert check_labels(np.array(["b", "a"], dtype=object), 2, np.array(["a", "b"])).tolist() == ["b", "a"]
    assert check_labels([1.0, 0.0], 2, np.array([0, 1])).tolist() == [1, 0]
    assert check_labels([True, False], 2, np.array([0, 1])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        ([0, 1], np.arange(3), r"expected y of shape \(3,\), one label an image, got shape \(2,\)"),
        (np.eye(3), np.arange(3), r"got shape \(3, 3\)"),
        (None, np.arange(3), r"got shape \(\)"),
        ([0, 7, 9], np.arange(3), r"not trained on: 7, 9 \(first at y\[1\]\). It knows 3 classes, 0 to 2"),
        ([0, 1, np.nan], np.arange(3), r"not trained on: nan \(first at y\[2\]\)"),
        ([0, 1, 1.5], np.arange(3), r"not trained on: 1.5"),
        (
            ["ann", "bob", "eve"],
            np.array(["ann", "bob"]),
            r"not trained on: 'eve' .*2 classes, 'ann' to 'bob'",
        ),
        (["0", "1", "2"], np.arange(3), "not trained on: '0', '1', '2'"),
        ([0, 1, 2], np.array(["0", "1", "2"]), "not trained on: 0, 1, 2 "),
        (
            np.array([None, "ann", 3], dtype=object),
            np.array(["ann"]),
            r"not trained on: None, 3 \(first at y\[0\]\)",
        ),
    ],
)
def test_bad_labels(y, classes, message):
    with pytest.raises(ValueError, match=message):
        check_labels(y, 3, classes)


def test_text_is_no_number_whatever_the_count_of_labels():
    with pytest.raises(ValueError, match=r"not trained on: '0', '1', '2', '3', '4' \(first at y\[0\]\)"):
        check_labels(np.arange(200).astype(str), 200, np.arange(200))


# Numbers


@pytest.mark.parametrize(
    ("value", "number"),
    [("8/255", 8 / 255), ("0.03", 0.03), ("1e-3", 1e-3), (0.5, 0.5), (0, 0), ("40", 40), ("0.5/255", 0.5 / 255)],
)
def test_numbers(value, number):
    assert as_number(value, "eps") == number


@pytest.mark.parametrize("value", ["8//255", "eight", "", "1/0", "/2", None, [1, 2]])
def test_no_numbers(value):
    with pytest.raises(
        ValueError,
        match="expected eps as a number or a fraction such as '8/255', got " + re.escape(repr(value)),
    ):
        as_number(value, "eps")


@pytest.mark.parametrize("value", [-1, "-8/255", np.inf, np.nan, "1e999"])
def test_numbers_out_of_range(value):
    with pytest.raises(ValueError, match="expected eps to be finite and not negative"):
        as_number(value, "eps")
