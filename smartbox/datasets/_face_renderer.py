"""Renderer of synthetic faces: Lambertian light, cast shadows, a small warp for pose and expression.

A face is shaded on a grid of its own, finer and a little larger than the picture (the canvas), and then
resampled into the picture.  Everything is arithmetic on whole arrays; shadows walk light by light, in slices
of the canvas.
"""

import numpy as np
from scipy import ndimage

from smartbox.datasets._face_albedo import COLOURS, face_albedo
from smartbox.datasets._face_shape import (
    TRAITS,
    bump,
    cheek_fold,
    draw_traits,
    face_depth,
    mouth_lines,
    ramp,
    random_field,
)

HALF_HEIGHT, HALF_WIDTH = 0.92, 0.80  # of the picture, in the unit of length of the head
MIDDLE = 0.03  # height of the centre of the picture
MARGIN = 1.12  # the canvas is this much larger than the picture
AMBIENT = 0.038  # light from everywhere, as a share of the lamp
PIVOT = 0.55  # depth of the axis about which the head turns
MOTIONS = ("shift_x", "shift_y", "scale", "roll", "yaw", "pitch", "smile", "open", "brow", "lids")


def pixel_grid(shape, extent=1.0):
    """Return the coordinates x, y of pixel centres, each of the given shape."""
    rows, columns = ((2 * np.arange(n) + 1) / n - 1 for n in shape)
    y, x = np.meshgrid(MIDDLE + extent * HALF_HEIGHT * rows, extent * HALF_WIDTH * columns, indexing="ij")
    return x, y


def build_face(rng, image_shape):
    """Return the maps of one identity.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything that makes the identity.
    image_shape : tuple of int
        Rows and columns of the picture; the canvas has at least 1.5 times as many.

    Returns
    -------
    dict of ndarray
        Maps on the canvas (float32): depth, albedo, gloss, wet, open_sky (share of the ambient light), slope
        (2, rows, columns), bulge and bulge_slope (how smile and raised brows change depth and slope); motion
        (10, 2, pixels), how each of `MOTIONS` moves the points of the picture; shine, the strength of the
        skin's highlights; and gain, the exposure of the session.
    """
    height, width = image_shape
    shape = int(np.ceil(MARGIN * max(1.5 * height, 120))), int(np.ceil(MARGIN * max(1.5 * width, 105)))
    spacing = 2 * MARGIN * HALF_HEIGHT / shape[0], 2 * MARGIN * HALF_WIDTH / shape[1]
    t, c = draw_traits(rng, TRAITS), draw_traits(rng, COLOURS)
    x, y = pixel_grid(shape, MARGIN)
    wx = x + 0.013 * random_field(rng, shape, (4, 4))  # nobody is symmetric
    wy = y + 0.010 * random_field(rng, shape, (4, 4))
    depth, body = face_depth(t, rng, wx, wy)
    maps = face_albedo(t, c, rng, wx, wy, body)
    depth = depth + 0.03 * maps.pop("hair")
    cornea = 0.03 * np.clip(1 - maps.pop("radius2") / 1.5, 0, None) * maps.pop("opening")
    skin = 0.0006 * random_field(rng, shape, (60, 52)) * maps["gloss"]
    fold = cheek_fold(t, wx, wy)
    bulge = np.stack(
        [
            0.035 * bump(np.abs(wx), wy, 0.42, 0.02, 0.16, 0.14) - 0.012 * fold,
            0.006 * np.sin(wy / 0.022) * bump(wx, wy, 0, t.eye_y - 0.42, 0.35, 0.1),
        ]
    )
    hollow = ndimage.gaussian_filter(depth, 0.09 / spacing[0]) - depth
    maps |= {
        "depth": depth,
        "slope": np.stack(np.gradient(depth + cornea + skin, *spacing)[::-1]),
        "bulge": bulge,
        "bulge_slope": np.stack([np.gradient(b, *spacing)[::-1] for b in bulge]),
        "open_sky": np.clip(1 - 5 * hollow, 0.15, 1.3),
    }
    maps = {name: value.astype(np.float32) for name, value in maps.items()}
    maps["motion"] = _motions(t, depth, image_shape).astype(np.float32)
    maps["shine"] = np.float32(c.shine)
    maps["gain"] = np.float32(rng.uniform(0.85, 1.15))
    return maps


def _motions(t, depth, image_shape):
    """Return how far one unit of each of `MOTIONS` moves the point that a pixel of the picture shows."""
    x, y = pixel_grid(image_shape)
    rows, columns = _canvas_index(x, y, depth.shape)
    lever = ndimage.map_coordinates(depth, [rows, columns], order=1, mode="nearest") - PIVOT
    zero, one, ax = np.zeros_like(x), np.ones_like(x), np.abs(x)
    _, _, middle, _ = mouth_lines(t, x)
    corners = bump(ax, y, t.mouth_width, t.mouth_y - t.mouth_curve, 0.13, 0.12)
    drop = np.clip((y - middle) / 0.07, 0, 1) * np.exp(-0.5 * (x / 0.34) ** 4) * ramp((1.25 - y) / 0.4)
    brows = bump(ax, y, 0.36, t.eye_y - 0.24, 0.26, 0.11)
    lids = (y - t.eye_y) * bump(ax, y, t.eye_x, t.eye_y, 0.22, 0.085)
    fields = {
        "shift_x": (-one, zero),
        "shift_y": (zero, -one),
        "scale": (-x, -y),
        "roll": (y, -x),
        "yaw": (-lever, zero),
        "pitch": (zero, -lever),
        "smile": (-0.045 * np.sign(x) * corners, 0.045 * corners),
        "open": (zero, -0.07 * drop),
        "brow": (zero, 0.05 * brows),
        "lids": (zero, lids),
    }
    return np.stack([np.stack(fields[name]).reshape(2, -1) for name in MOTIONS])


def _canvas_index(x, y, shape):
    """Return the fractional row and column of the canvas at the points x, y."""
    return (
        ((y - MIDDLE) / (MARGIN * HALF_HEIGHT) + 1) * shape[0] / 2 - 0.5,
        (x / (MARGIN * HALF_WIDTH) + 1) * shape[1] / 2 - 0.5,
    )


def cast_shadow(depth, light, reach=0.85, softness=0.03):
    """Return how much of the lamp each point sees past the rest of the head, from 0 (in shadow) to 1.

    Parameters
    ----------
    depth : ndarray of shape (rows, columns)
        Depth of the canvas.
    light : ndarray of shape (3,)
        Unit vector to the lamp: right, down, towards the camera.
    reach : float
        How far the walk to the lamp goes, measured along the picture.
    softness : float
        Depth by which a point must be hidden to lie in full shadow.
    """
    rows, columns = depth.shape
    pixels = np.array([rows / HALF_HEIGHT, columns / HALF_WIDTH]) / (2 * MARGIN)
    across = max(np.hypot(light[0], light[1]), 1e-6)
    direction = np.array([light[1], light[0]]) / across
    climb = light[2] / across
    steps = np.concatenate([np.arange(1, 6), np.arange(6, max(reach * pixels.max(), 8), 2)])
    hidden = np.full_like(depth, -1)
    for distance in steps / pixels.max():
        dr, dc = np.rint(distance * direction * pixels).astype(int)
        here = slice(max(0, -dr), min(rows, rows - dr)), slice(max(0, -dc), min(columns, columns - dc))
        there = slice(max(0, dr), min(rows, rows + dr)), slice(max(0, dc), min(columns, columns + dc))
        np.maximum(hidden[here], depth[there] - np.float32(distance * climb), out=hidden[here])
    hidden -= depth
    return np.clip(1 - hidden / np.float32(softness), 0, 1)


def shade(face, lights, expression):
    """Light one face several times.

    Parameters
    ----------
    face : dict of ndarray
        Maps from `build_face`.
    lights : ndarray of shape (n, 3)
        Unit vectors to the lamp in the frame of the head: right, down, towards the camera.
    expression : ndarray of shape (n, 2)
        Amounts of smile and of raised brows.

    Returns
    -------
    ndarray of shape (n, rows, columns), float32
        Radiance on the canvas, 0.8 or so for pale skin that faces the lamp.
    """
    smile, brow = expression.astype(np.float32).T[:, :, None, None]
    lights = lights.astype(np.float32)
    depth = face["depth"] + smile * face["bulge"][0] + brow * face["bulge"][1]
    slope, extra = face["slope"], face["bulge_slope"]
    p, q = (slope[k] + smile * extra[0, k] + brow * extra[1, k] for k in (0, 1))
    length = 1 / np.sqrt(1 + p * p + q * q)
    seen = np.stack([cast_shadow(d, light) for d, light in zip(depth, lights, strict=True)])
    lx, ly, lz = lights.T[:, :, None, None]
    seen *= np.clip((lz - p * lx - q * ly) * length, 0, None)  # the attached shadow
    halfway = lights + np.float32([0, 0, 1])
    hx, hy, hz = (halfway / np.linalg.norm(halfway, axis=1, keepdims=True)).T[:, :, None, None]
    mirror = np.clip((hz - p * hx - q * hy) * length, 0, None)
    for _ in range(4):
        mirror *= mirror  # to the power of 16
    shine = face["shine"] * face["gloss"] * mirror
    for _ in range(2):
        mirror *= mirror  # to the power of 64
    shine += np.float32(0.8) * face["wet"] * mirror
    lamp = np.minimum(np.float32(4) * seen, 1)  # highlights end where the lamp is hidden
    power = np.float32(1.15) + np.float32(0.5) * (1 - lz) ** 2  # real lamps come out brighter from the side
    return power * (face["albedo"] * (seen + np.float32(AMBIENT) * face["open_sky"]) + lamp * shine)


def resample(canvas, motion, amounts, image_shape):
    """Warp canvases (n, rows, columns) into pictures (n, height, width) by `amounts` (n, 10) of `motion`."""
    n, rows, columns = canvas.shape
    ratio = rows / (MARGIN * image_shape[0]), columns / (MARGIN * image_shape[1])
    canvas = ndimage.gaussian_filter(canvas, (0, 0.36 * ratio[0], 0.36 * ratio[1]), truncate=2.5)
    x, y = (coordinate.reshape(1, -1).astype(np.float32) for coordinate in pixel_grid(image_shape))
    for k, amount in enumerate(amounts.T.astype(np.float32)):
        x = x + amount[:, None] * motion[k, 0]
        y = y + amount[:, None] * motion[k, 1]
    r, c = _canvas_index(x, y, (rows, columns))
    r, c = np.clip(r, 0, rows - 1.001), np.clip(c, 0, columns - 1.001)
    r0, c0 = r.astype(np.intp), c.astype(np.intp)
    r, c = (r - r0).astype(np.float32), (c - c0).astype(np.float32)
    corner = (np.arange(n)[:, None] * rows + r0) * columns + c0
    flat = canvas.ravel()
    top = flat[corner] * (1 - c) + flat[corner + 1] * c
    low = flat[corner + columns] * (1 - c) + flat[corner + columns + 1] * c
    return (top * (1 - r) + low * r).reshape(n, *image_shape)
