"""Shape of a synthetic head: traits drawn at random, depth built from smooth parts.

Lengths are in units of about 8 cm: x grows to the right and is 0 at the nose, y grows downwards from the root
of the nose (about -0.45) to the chin (about 1), and depth grows towards the camera.  The eyes are 0.8 apart.
"""

from types import SimpleNamespace

import numpy as np
from scipy import ndimage

# Range of each trait; an identity draws every one of them uniformly.
TRAITS = {
    # head
    "face_width": (0.89, 1.04),
    "depth": (0.62, 0.80),
    "squareness": (2.2, 3.2),
    "jaw_taper": (0.06, 0.36),
    "chin_drop": (1.03, 1.2),
    "jaw_square": (2.6, 5.0),
    "temple": (0.02, 0.16),
    "cheekbone": (0.0, 0.10),
    "cheek_hollow": (-0.05, 0.05),
    "chin": (0.03, 0.13),
    "chin_width": (0.13, 0.25),
    "cleft": (-0.06, 0.03),
    "brow_ridge": (0.0, 0.085),
    "lump": (0.004, 0.011),
    # eyes
    "eye_y": (-0.50, -0.39),
    "eye_x": (0.355, 0.435),
    "eye_width": (0.165, 0.21),
    "eye_open": (0.045, 0.098),
    "eye_tilt": (-0.032, 0.048),
    "socket": (0.04, 0.14),
    "crease": (-0.01, 0.05),
    "bag": (-0.015, 0.026),
    "iris": (0.064, 0.080),
    # nose
    "nose_tip": (-0.04, 0.12),
    "nose_height": (0.18, 0.31),
    "bridge_height": (0.02, 0.12),
    "bridge_width": (0.075, 0.125),
    "tip_width": (0.11, 0.185),
    "hump": (-0.03, 0.035),
    "tip_ball": (0.0, 0.08),
    "wing_x": (0.14, 0.215),
    "wing_size": (0.055, 0.085),
    "nose_bend": (-0.02, 0.02),
    # mouth
    "mouth_y": (0.38, 0.48),
    "mouth_width": (0.25, 0.385),
    "upper_lip": (0.022, 0.085),
    "lower_lip": (0.04, 0.115),
    "mouth_curve": (-0.035, 0.03),
    "cupid": (0.0, 0.45),
    "muzzle": (0.03, 0.11),
    "pout": (0.02, 0.055),
    "fold": (-0.02, 0.015),
    "philtrum": (0.0, 0.02),
    "lip_chin": (0.02, 0.08),
}


def draw_traits(rng, ranges):
    """Return one uniform number per trait, as attributes."""
    return SimpleNamespace(**{name: rng.uniform(low, high) for name, (low, high) in ranges.items()})


def bump(x, y, cx, cy, sx, sy):
    """Return a Gaussian hill of height 1 at (cx, cy) with standard deviations sx, sy."""
    return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def ramp(v):
    """Return the smooth step from 0 (v <= 0) to 1 (v >= 1)."""
    v = np.clip(v, 0, 1)
    return v * v * (3 - 2 * v)


def random_field(rng, shape, cells):
    """Return unit-variance noise with `cells` (rows, columns) independent values, resized to `shape`.

    The draws depend on `cells` alone, so that a face keeps its marks at every resolution.
    """
    values = rng.standard_normal(cells)
    rows, columns = (np.linspace(0, c - 1, s) for c, s in zip(cells, shape, strict=True))
    return ndimage.map_coordinates(values, np.meshgrid(rows, columns, indexing="ij"), order=3, mode="nearest")


def eye_lids(t, x, y):
    """Return (u, v, upper, lower): place in the eye frame, and the lid edges above and below it.

    u runs from -1 (inner corner) to 1 (outer corner); v is the height under the line that joins the corners.
    """
    u = (np.abs(x) - t.eye_x) / t.eye_width
    v = y - t.eye_y + t.eye_tilt * u
    inside = np.clip(1 - u * u, 0, None)
    upper = -t.eye_open * inside**0.62 * (1 - 0.15 * u)
    lower = 0.62 * t.eye_open * inside**0.8 * (1 + 0.25 * u)
    return u, v, upper, lower


def mouth_lines(t, x):
    """Return (u, upper, middle, lower): place between the corners (-1, 1), and three lines of the lips."""
    u = x / t.mouth_width
    inside = np.clip(1 - u * u, 0, None)
    middle = t.mouth_y - t.mouth_curve * u * u + 0.012 * bump(u, 0, 0, 0, 0.25, 1)
    bow = 1 - t.cupid * bump(u, 0, 0, 0, 0.16, 1)
    return u, middle - t.upper_lip * inside**0.9 * bow, middle, middle + t.lower_lip * inside**0.6


def head_depth(t, x, y):
    """Return (depth of the bare head, how much light reaches the place: head 1, neck 0.45, background 0)."""
    width = t.face_width * (1 - t.jaw_taper * ramp((y + 0.15) / 1.15) - t.temple * ramp((-0.25 - y) / 0.9))
    vertical = np.where(y > 0, (np.abs(y) / t.chin_drop) ** t.jaw_square, (np.abs(y) / 1.5) ** 3)
    skull = 1 - np.abs(x / width) ** t.squareness - vertical
    neck = np.where(y > 0.4, 1 - (x / 0.62) ** 2, -1)
    front, throat = (np.sqrt(np.clip(part, 0, None)) for part in (skull, neck))
    depth = np.maximum(t.depth * front, 0.3 * throat - 0.25)
    return np.maximum(depth, -0.2), np.maximum(ramp(skull / 0.07), 0.45 * ramp(neck / 0.1))


def nose_depth(t, x, y):
    """Return the depth of the nose above the face."""
    x = x - t.nose_bend * bump(0, y, 0, t.nose_tip - 0.2, 1, 0.15)
    root = t.eye_y - 0.05
    s = np.clip((y - root) / (t.nose_tip - root), 0, None)
    s = s / (1 + s**8) ** 0.125  # 0 at the root, near 1 at the tip, no edge
    profile = t.bridge_height + (t.nose_height - t.bridge_height) * s**1.4 + t.hump * np.sin(np.pi * s) ** 2
    below = np.clip(y - t.nose_tip - 0.05 * np.clip(1 - (x / 0.17) ** 2, -0.3, None), 0, None)
    profile = profile * ramp((y - root + 0.14) / 0.26)
    width = t.bridge_width + (t.tip_width - t.bridge_width) * s**2
    core = 0.58 * np.exp(-(np.abs(x / width) ** 2.2)) * np.exp(-((below / 0.085) ** 2))
    skirt = 0.42 * np.exp(-(np.abs(x / (2.1 * width)) ** 2)) * np.exp(-((below / 0.26) ** 2))
    base = t.nose_tip + 0.035
    wings = 0.14 * bump(np.abs(x), y, t.wing_x - 0.02, base, 0.75 * t.wing_size, 0.9 * t.wing_size)
    holes = 0.06 * bump(np.abs(x), y, 0.5 * t.wing_x, base + 0.045, 0.032, 0.02)
    ball = t.tip_ball * bump(x, y, 0, t.nose_tip - 0.01, 0.075, 0.065)
    return profile * (core + skirt) + wings - holes + ball


def eye_depth(t, x, y):
    """Return the depth of brow ridge, sockets, lids and bags relative to the face."""
    ax = np.abs(x)
    u, v, upper, lower = eye_lids(t, x, y)
    socket = bump(ax, y, t.eye_x - 0.06, t.eye_y - 0.02, 0.17, 0.10)
    socket = socket + 0.35 * bump(ax, y, 0.17, t.eye_y, 0.07, 0.1)
    ball = bump(ax, y, t.eye_x, t.eye_y + 0.01, 0.13, 0.085)
    ridge = bump(ax, y, 0.36, t.eye_y - 0.21, 0.26, 0.075)
    crease = np.exp(-(((v - upper + 0.045) / 0.014) ** 2)) * bump(u, 0, 0.1, 0, 0.7, 1)
    bag = np.exp(-(((v - lower - 0.075 + 0.02 * u) / 0.022) ** 2)) * bump(u, 0, -0.2, 0, 0.6, 1)
    opening = ramp((v - upper) / 0.02) * ramp((lower - v) / 0.02)
    return (
        t.brow_ridge * ridge
        - t.socket * socket
        + 0.075 * ball
        - t.bag * bag
        - 0.014 * opening
        - 0.35 * np.clip(t.crease, 0, None) * crease
    )


def mouth_depth(t, x, y):
    """Return the depth of muzzle, lips, philtrum and chin relative to the face."""
    u, upper, middle, lower = mouth_lines(t, x)
    across = np.clip(1 - u * u, 0, None) ** 0.5
    top = np.exp(-(((y - 0.45 * upper - 0.55 * middle) / (0.35 * t.upper_lip + 0.012)) ** 2))
    low = np.exp(-(((y - 0.5 * middle - 0.5 * lower) / (0.4 * t.lower_lip + 0.01)) ** 2))
    slit = np.exp(-(((y - middle) / 0.014) ** 2)) * np.clip(1.1 - u * u, 0, 1)
    muzzle = bump(x, y, 0, t.mouth_y - 0.03, 0.24, 0.17)
    groove = bump(x, y, 0, 0.5 * (t.nose_tip + 0.12 + t.mouth_y), 0.028, 0.07)
    hollow = bump(x, y, 0, t.mouth_y + t.lower_lip + 0.075, 0.17, 0.05)
    corner = bump(np.abs(x), y, 1.08 * t.mouth_width, t.mouth_y - t.mouth_curve, 0.045, 0.045)
    chin = t.chin * bump(x, y, 0, 0.80, t.chin_width, 0.12)
    chin = chin - np.clip(t.cleft, 0, None) * bump(x, y, 0, 0.82, 0.022, 0.07)
    return (
        t.muzzle * muzzle
        + across * t.pout * (0.8 * top + 1.1 * low)
        - 0.02 * slit
        - t.philtrum * groove
        - 0.6 * t.lip_chin * hollow
        - 0.018 * corner
        + chin
    )


def cheek_fold(t, x, y):
    """Return the groove (height 1) that runs from the wing of the nose to the corner of the mouth."""
    s = np.clip((y - t.nose_tip) / (t.mouth_y + 0.08 - t.nose_tip), 0, 1)
    line = t.wing_x + 0.06 + (t.mouth_width + 0.06 - t.wing_x) * s**0.8
    fade = ramp((y - t.nose_tip + 0.1) / 0.2) * ramp((t.mouth_y + 0.12 - y) / 0.3)
    return np.exp(-(((np.abs(x) - line) / (0.03 + 0.03 * s)) ** 2)) * fade


def face_depth(t, rng, x, y):
    """Return (depth, body as in `head_depth`) of the head with traits `t`."""
    ax = np.abs(x)
    depth, body = head_depth(t, x, y)
    soft = ramp(depth / 0.25)  # features fade out towards the outline
    cheeks = t.cheekbone * bump(ax, y, 0.50, t.eye_y + 0.36, 0.17, 0.12) + t.cheek_hollow * bump(
        ax, y, 0.52, 0.38, 0.15, 0.18
    )
    features = (
        nose_depth(t, x, y)
        + eye_depth(t, x, y)
        + mouth_depth(t, x, y)
        + cheeks
        - np.clip(t.fold, 0, None) * cheek_fold(t, x, y)
        + t.lump * random_field(rng, x.shape, (7, 6))
    )
    return depth + soft * features, body
