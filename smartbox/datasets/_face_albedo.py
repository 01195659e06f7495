"""Colour of a synthetic face: skin, brows, eyes, lips and hair, as reflectance in [0, 1]."""

import numpy as np

from smartbox.datasets._face_shape import bump, eye_lids, mouth_lines, ramp, random_field

# Range of each trait, drawn like the traits of the shape; amounts below zero mean "has none".
COLOURS = {
    # skin
    "skin": (0.30, 0.80),
    "mottle": (0.015, 0.05),
    "pores": (0.008, 0.03),
    "freckles": (-0.3, 0.10),
    "moles": (-1, 4),
    "shine": (0.04, 0.22),
    # brows
    "brow_gap": (0.14, 0.21),
    "brow_thick": (0.026, 0.068),
    "brow_arch": (-0.01, 0.07),
    "brow_slope": (-0.05, 0.05),
    "brow_dark": (0.55, 1.0),
    "brow_in": (0.09, 0.20),
    "brow_out": (0.60, 0.74),
    # eyes
    "iris_dark": (0.04, 0.30),
    "sclera": (0.62, 0.85),
    "eye_ring": (-0.05, 0.25),
    "lash": (0.4, 0.85),
    # mouth and hair
    "lip": (0.5, 0.9),
    "stubble": (-0.5, 0.45),
    "moustache": (-1.6, 0.9),
    "beard": (-2.2, 0.9),
    "hair": (0.02, 0.24),
    "hairline": (-1.35, -0.78),
    "hair_curve": (-0.15, 0.6),
    "hair_part": (-0.5, 0.5),
    "side_hair": (0.69, 1.3),
}


def _brows(t, c, x, y, streaks):
    """Return how much brow hair covers each point, 0 to 1."""
    ax = np.abs(x)
    s = np.clip((ax - c.brow_in) / (c.brow_out - c.brow_in), 0, 1)
    centre = t.eye_y - c.brow_gap - c.brow_arch * np.sin(np.pi * s**1.3) - c.brow_slope * (s - 0.5)
    thick = c.brow_thick * (1.15 - 0.85 * s**2)
    ends = ramp((ax - c.brow_in) / 0.07) * ramp((c.brow_out - ax) / 0.12)
    return np.clip(np.exp(-(np.abs((y - centre) / thick) ** 2.5)) * ends * (1 + 0.15 * streaks), 0, 1)


def _paint_eyes(t, c, albedo, x, y):
    """Paint sclera, iris, pupil, lashes and lid creases; return (albedo, radius2, opening)."""
    u, v, upper, lower = eye_lids(t, x, y)
    albedo = albedo * (1 - np.clip(c.eye_ring, 0, None) * bump(u, v, -0.1, 0.03, 0.9, 0.08))
    crease = np.exp(-(((v - upper + 0.04) / 0.011) ** 2)) * bump(u, 0, 0.1, 0, 0.65, 1)
    albedo = albedo * (1 - 9 * np.clip(t.crease, 0, None) * crease)
    opening = ramp((v - upper) / 0.016) * ramp((lower - v) / 0.014) * ramp((1 - np.abs(u)) / 0.1)
    radius2 = ((u * t.eye_width) ** 2 + (v + 0.1 * t.eye_open) ** 2) / t.iris**2
    white = c.sclera * (0.55 + 0.6 * c.skin)
    ball = white * (0.62 + 0.38 * bump(u, 0, 0, 0, 0.6, 1)) * (0.55 + 0.45 * ramp((v - upper) / 0.045))
    iris = c.iris_dark * (0.55 + 0.6 * radius2)
    ball = ball + (iris - ball) * ramp((1.12 - radius2) / 0.3)
    ball = ball * (1 - 0.93 * ramp((0.24 - radius2) / 0.14))
    albedo = albedo + (ball - albedo) * opening
    lashes = np.exp(-(((v - upper + 0.004) / 0.015) ** 2)) * ramp((1.08 - np.abs(u)) / 0.2)
    lashes = np.maximum(lashes, 0.35 * np.exp(-(((v - lower) / 0.011) ** 2)) * ramp((1 - np.abs(u)) / 0.3))
    return albedo * (1 - c.lash * lashes), radius2, opening


def _paint_mouth(t, c, albedo, x, y, fine):
    """Paint the lips, the line between them, the nostrils and the wings' edges; return (albedo, lip mask)."""
    u, upper, middle, lower = mouth_lines(t, x)
    lips = ramp((y - upper + 0.008) / 0.018) * ramp((lower - y + 0.010) / 0.022)
    lips = lips * ramp((1.02 - np.abs(u)) / 0.12)
    tone = np.where(y < middle, 0.86, 1.0) * c.lip * (1 + 0.05 * fine)
    albedo = albedo * (1 + (tone - 1) * lips)
    slit = np.exp(-(((y - middle) / 0.013) ** 2)) * ramp((1.12 - np.abs(u)) / 0.2)
    base = t.nose_tip + 0.035
    holes = bump(np.abs(x), y - 0.1 * np.abs(x), 0.52 * t.wing_x, base + 0.042, 0.030, 0.015)
    groove = bump(np.abs(x), y, t.wing_x + 0.85 * t.wing_size, base + 0.01, 0.016, 0.045)
    return albedo * (1 - 0.72 * slit) * (1 - 0.8 * np.clip(1.2 * holes, 0, 1)) * (1 - 0.22 * groove), lips


def _facial_hair(t, c, x, y, lips):
    """Return how much moustache, beard and stubble cover each point, 0 to 1."""
    ax = np.abs(x)
    top = t.nose_tip + 0.16
    strip = ramp((y - top + 0.03 - 0.2 * ax) / 0.12)
    strip = strip * ramp((t.mouth_y + 0.10 * (ax / t.mouth_width) ** 2 - y) / 0.05)
    moustache = strip * ramp((1.2 * t.mouth_width - ax) / 0.25) * (1 - 0.4 * bump(x, y, 0, top, 0.03, 0.2))
    ring = np.sqrt((x / (t.mouth_width + 0.09)) ** 2 + ((y - t.mouth_y - 0.14) / 0.36) ** 2)
    beard = ramp((1.2 - ring) / 0.35) * ramp((y - t.mouth_y + 0.04) / 0.12)
    jaw = ramp((y - 0.12 - 0.35 * np.abs(ax - 0.55)) / 0.22) * ramp((y + 1.6 * ax - 0.78) / 0.18)
    shadow = np.maximum(np.maximum(jaw, moustache), beard)
    cover = np.maximum(np.clip(c.moustache, 0, 0.85) * moustache, np.clip(c.beard, 0, 0.85) * beard)
    return np.maximum(cover, 0.75 * np.clip(c.stubble, 0, None) * shadow) * (1 - lips)


def _head_hair(c, x, y, streaks, strands):
    """Return how much head hair covers each point, 0 to 1."""
    line = c.hairline + c.hair_curve * (x - 0.3 * c.hair_part) ** 2 + 0.015 * strands
    front = ramp((line - y) / 0.16 + 0.5 + 0.15 * streaks)
    side = ramp((np.abs(x) - c.side_hair + 0.02 * strands) / 0.1) * ramp((0.9 - y) / 0.5)
    return np.maximum(front, side)


def face_albedo(t, c, rng, x, y, body):
    """Paint a face.

    Parameters
    ----------
    t, c : SimpleNamespace
        Traits of the shape and of the colours.
    rng : numpy.random.Generator
        Source of the mottling, the streaks of hair and the moles.
    x, y : ndarray of shape (rows, columns)
        Coordinates of the points.
    body : ndarray of shape (rows, columns)
        1 on the head, less on the neck, 0 where the background shows.

    Returns
    -------
    dict of ndarray of shape (rows, columns)
        albedo; gloss, how much the skin shines; wet, how much eyes and lips do; opening, 1 between the lids;
        radius2, squared distance from the pupil in radii of the iris; hair, 1 under the hair of the head.
    """
    coarse, middle, fine = (random_field(rng, x.shape, cells) for cells in ((7, 6), (30, 26), (96, 84)))
    streaks, strands = random_field(rng, x.shape, (24, 110)), random_field(rng, x.shape, (4, 40))
    albedo = c.skin * (1 + c.mottle * (coarse + 0.6 * middle) + c.pores * fine)
    freckles = np.clip(middle - 0.9, 0, 1) * bump(np.abs(x), y, 0.35, -0.1, 0.3, 0.2)
    albedo *= 1 - 2.5 * np.clip(c.freckles, 0, None) * freckles
    moles = rng.uniform((-0.75, -0.9, 0.010, 0.3), (0.75, 0.9, 0.022, 0.75), (4, 4))
    for px, py, size, dark in moles[: max(int(c.moles), 0)]:
        albedo *= 1 - dark * bump(x, y, px, py, size, size)
    albedo, lips = _paint_mouth(t, c, albedo, x, y, fine)
    albedo, radius2, opening = _paint_eyes(t, c, albedo, x, y)
    dark = c.hair * (1 + 0.25 * streaks + 0.15 * fine)
    cover = np.maximum(
        _brows(t, c, x, y, streaks) * c.brow_dark,
        _facial_hair(t, c, x, y, lips) * np.clip(0.85 + 0.12 * fine + 0.12 * streaks, 0, 1),
    )
    hair = _head_hair(c, x, y, streaks, strands) * body
    cover = np.maximum(cover * (1 - opening), hair)
    albedo = albedo + (np.minimum(dark, albedo) - albedo) * cover
    albedo = np.maximum(np.clip(albedo, 0.01, 0.95) * body, 0.01)
    gloss = body * (1 - np.clip(cover + opening, 0, 1))
    wet = np.maximum(opening * np.where(radius2 < 1.3, 1.0, 0.2), 0.08 * lips)
    return {"albedo": albedo, "gloss": gloss, "wet": wet, "opening": opening, "radius2": radius2, "hair": hair}
