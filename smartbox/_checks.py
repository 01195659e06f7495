"""Checks of what a user hands in, each with an error that says what was expected, what came and the cure."""

import numpy as np

# Averaging and blurring in float32 leave [0, 1] by a few units in the last place; more than this is a user's
# mistake.
_ROUNDING = 1e-5
_LAYOUT = "images as an array (n_images, height, width, channels)"


def check_images(X, *, image_shape=None, name="X"):
    """Return ``X`` as finite float32 images in [0, 1]; a copy only where the type or rounding asks for it.

    Parameters
    ----------
    X : array-like of shape (n, height, width, channels)
    image_shape : tuple of int, optional
        Expected ``(height, width, channels)``; None in a place accepts any size there.
    name : str
        What the message calls the array.

    Raises
    ------
    ValueError
        If rank, size, channels, type, range or finiteness is wrong; the message names the first bad image.
    """
    try:
        X = np.asarray(X)
    except ValueError as error:
        raise ValueError(f"expected {_LAYOUT}, but the images in {name} differ in size: resize them first.") from error
    _check_kind(X, name)
    _check_layout(X, image_shape, name)
    _check_values(X, name)
    X = np.ascontiguousarray(X, dtype=np.float32)
    return X if X.min() >= 0 and X.max() <= 1 else np.clip(X, 0, 1)


def _check_kind(X, name):
    if X.dtype.kind not in "fiub":
        raise ValueError(
            f"expected {name} to hold numbers (float32 in [0, 1]), got dtype {X.dtype}: convert it, e.g. "
            f"{name}.astype('float32')."
        )


def _check_layout(X, image_shape, name):
    cures = {
        2: f"unflatten them, e.g. {name}.reshape(-1, height, width, 1)",
        3: f"add the missing axis, {name}[..., np.newaxis] for grey images, {name}[np.newaxis] for a single one",
    }
    if X.ndim != 4:
        cure = cures.get(X.ndim, "stack images along the first axis")
        raise ValueError(f"expected {_LAYOUT}, got {name} of shape {X.shape}: {cure}.")
    if X.shape[0] == 0:
        raise ValueError(f"Found array with 0 sample(s) (shape={X.shape}): {name} needs at least one image.")
    if 0 in X.shape:
        raise ValueError(f"expected {_LAYOUT}, got {name} of shape {X.shape}: the images have no pixels.")
    if image_shape is None:
        return
    came = X.shape[1:]
    if all(want in (None, have) for want, have in zip(image_shape, came, strict=True)):
        return
    if all(want in (None, have) for want, have in zip(image_shape, (*came[1:], came[0]), strict=True)):
        cure = f"channels come last, use np.moveaxis({name}, 1, -1)"
    elif image_shape[2] not in (None, came[2]):
        grey = f"{name}.mean(axis=-1, keepdims=True)"
        cure = f"use {image_shape[2]} channel(s): {grey} makes grey, np.repeat(..., 3) makes colour"
    else:
        cure = "resize them, e.g. with image_shape=... in the loader"
    raise ValueError(
        f"expected images of shape {tuple(image_shape)} (height, width, channels), got {came} in {name}: {cure}."
    )


def _check_values(X, name):
    low, high = X.min(), X.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = ~np.isfinite(X).reshape(len(X), -1).all(axis=1)
        first = int(np.argmax(bad))
        what = "NaN" if np.isnan(X[first]).any() else "infinity (inf)"
        raise ValueError(
            f"expected finite pixels, got {what} in {bad.sum()} of {len(X)} images, first in "
            f"{name}[{first}]: leave these images out or repair them."
        )
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        bad = ((X < -_ROUNDING) | (X > 1 + _ROUNDING)).reshape(len(X), -1).any(axis=1)
        if low >= 0 and (high > 2 or X.dtype.kind in "ui"):
            cure = f"divide by {255 if high <= 255 else 65535}?"
        elif low >= -1 and high <= 1:
            cure = f"map [-1, 1] to [0, 1] by ({name} + 1) / 2?"
        else:
            cure = f"scale or clip it, e.g. np.clip({name}, 0, 1)."
        raise ValueError(
            f"{name} must lie in [0, 1], got [{low:.3g}, {high:.3g}], first in {name}[{int(np.argmax(bad))}]; {cure}"
        )


def check_labels(y, n_images, classes, *, name="y"):
    """Return ``y`` as an array of ``n_images`` labels, each among ``classes``."""
    y, classes = np.asarray(y), np.asarray(classes)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (n_images,):
        raise ValueError(f"expected {name} of shape ({n_images},), one label an image, got shape {y.shape}.")
    unseen = ~_is_among(y, classes)
    if unseen.any():
        shown = ", ".join(repr(label) for label in list(dict.fromkeys(y[unseen].tolist()))[:5])
        first, last = classes[[0, -1]].tolist()
        raise ValueError(
            f"{name} holds labels that the model was not trained on: {shown} (first at "
            f"{name}[{np.argmax(unseen)}]). It knows {len(classes)} classes, {first!r} to {last!r}: pass "
            "labels of those."
        )
    return y


def _is_among(y, classes):
    """As numpy.isin, but text never equals a number, and labels of mixed types compare."""
    kinds = {y.dtype.kind, classes.dtype.kind}
    if "O" in kinds:
        known = set(classes.tolist())
        return np.array([label in known for label in y.tolist()], dtype=bool)
    return np.zeros(len(y), dtype=bool) if len(kinds) > 1 and kinds & set("US") else np.isin(y, classes)


def check_reach(value, image_shape, name, *, always):
    """Refuse a filter that reaches farther than the images' longer side, where it costs much and leaves nothing to see.

    Parameters
    ----------
    value : int or float
        In pixels.
    image_shape : tuple
        Height and width in pixels come first.
    name : str
        Of the parameter.
    always : int
        A reach that suits images of any size.
    """
    height, width = image_shape[:2]
    if height is None:  # the model takes images of any size
        return
    most = max(height, width, always)
    if value > most:
        raise ValueError(
            f"expected {name} of at most {most} for images of {height} x {width} pixels, got {value:g}: wider than the image a "
            "filter makes one grey of it; a few pixels suit faces."
        )


def as_number(value, name):
    """A float from a number or a fraction in text: ``0.03``, ``"8/255"``."""
    try:
        number = _quotient(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"expected {name} as a number or a fraction such as '8/255', got {value!r}.") from error
    if not np.isfinite(number) or number < 0:
        raise ValueError(f"expected {name} to be finite and not negative, got {value!r}.")
    return number


def _quotient(text):
    """``"8/255"``, ``"0.5/255"`` or a plain number."""
    above, _, below = text.partition("/")
    return float(above) / float(below) if below else float(text)
