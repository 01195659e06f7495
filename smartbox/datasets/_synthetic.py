"""Synthetic faces under the lights of Extended Yale B."""

from numbers import Integral

import numpy as np
from sklearn.utils import Bunch, check_random_state

from smartbox.datasets._face_renderer import MOTIONS, build_face, resample, shade

# The 64 lamps of Extended Yale B, (azimuth, elevation) in degrees, ordered so that the first n of them hold
# near and far lamps in the same shares as all 64 and are well spread.
LIGHTS = (
    (0, 0),
    (-85, -20),
    (-35, 40),
    (0, -20),
    (0, -35),
    (85, 20),
    (70, -35),
    (-15, 20),
    (-110, 65),
    (0, 45),
    (-70, -35),
    (110, -20),
    (20, 10),
    (-5, -10),
    (70, 45),
    (-130, 20),
    (-50, 0),
    (-70, 0),
    (110, 65),
    (-25, 0),
    (-85, 20),
    (70, 0),
    (50, 0),
    (5, 10),
    (20, -10),
    (130, 20),
    (-70, 45),
    (-110, 40),
    (-35, -20),
    (-20, -10),
    (35, 65),
    (-10, 0),
    (110, 40),
    (-35, 65),
    (25, 0),
    (35, -20),
    (-110, -20),
    (35, 40),
    (85, -20),
    (-20, 10),
    (10, 0),
    (-35, 15),
    (-60, 20),
    (-120, 0),
    (15, 20),
    (95, 0),
    (60, 20),
    (35, 15),
    (-95, 0),
    (-60, -20),
    (-5, 10),
    (-10, -20),
    (120, 0),
    (60, -20),
    (-20, -40),
    (-110, 15),
    (10, -20),
    (-50, -40),
    (110, 15),
    (5, -10),
    (20, -40),
    (0, 20),
    (50, -40),
    (0, 90),
)
# Spread (s.d.) of each of MOTIONS: lengths in units of 8 cm, angles in radians, expressions as shares.
SPREAD = {
    "shift_x": 0.010,
    "shift_y": 0.010,
    "scale": 0.010,
    "roll": 0.014,
    "yaw": 0.030,
    "pitch": 0.025,
    "smile": 0.5,
    "open": 0.25,
    "brow": 0.4,
    "lids": 0.14,
}
EXPOSURE = 0.87  # pixel value per radiance
SMALLEST = (24, 21)
BLOCK = 1 << 19  # canvas points shaded at a time


def _lamp_vectors(lights):
    """Return unit vectors (right, down, to the camera) to lamps in degrees; azimuth > 0 is on the left."""
    azimuth, elevation = np.radians(np.asarray(lights, dtype=float)).T
    return np.stack(
        [-np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], axis=1
    )


def _turn_lamps(lamps, amounts):
    """Return the lamps in the frame of heads turned by the small angles roll, yaw and pitch of `amounts`."""
    roll, yaw, pitch = (amounts[:, MOTIONS.index(name)] for name in ("roll", "yaw", "pitch"))
    right, down, front = lamps.T
    turned = np.stack(
        [right + roll * down - yaw * front, down - roll * right - pitch * front, front + yaw * right + pitch * down],
        axis=1,
    )
    return turned / np.linalg.norm(turned, axis=1, keepdims=True)


def _expose(radiance, gain, rng):
    """Return what the camera records: gain, shot and read-out noise, saturation, 8-bit levels."""
    signal = gain * radiance
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    signal = signal + np.sqrt(np.float32(6e-6) + np.float32(8e-5) * signal) * noise
    return np.rint(np.clip(signal, 0, 1) * 255) / np.float32(255)


def _render_images(face, seed, identity, numbers, image_shape):
    """Return the images with the given numbers of one identity, shape (n, height, width)."""
    rngs = [np.random.default_rng([seed, identity, j + 1]) for j in numbers]
    spread = np.array([SPREAD[name] for name in MOTIONS])
    amounts = spread * np.clip([rng.standard_normal(len(MOTIONS)) for rng in rngs], -2.2, 2.2)
    opening = MOTIONS.index("open")
    amounts[:, opening] = np.clip(amounts[:, opening], 0, None)  # lips part, or stay closed
    flicker = np.exp([0.06 * rng.standard_normal() for rng in rngs]).astype(np.float32)
    gains = EXPOSURE * face["gain"] * flicker
    lamps = _turn_lamps(_lamp_vectors([LIGHTS[j % len(LIGHTS)] for j in numbers]), amounts)
    canvas = shade(face, lamps, amounts[:, [MOTIONS.index("smile"), MOTIONS.index("brow")]])
    pictures = resample(canvas, face["motion"], amounts, image_shape)
    return np.stack([_expose(*one) for one in zip(pictures, gains, rngs, strict=True)])


def _check_count(name, value):
    """Return `value` as int, or say what is wrong with it."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an int of at least 1, got {value!r}; ask for one or more.")
    return int(value)


def _check_shape(image_shape):
    """Return `image_shape` as two ints, or say what is wrong with it."""
    try:
        height, width = image_shape
        good = all(isinstance(n, Integral) and not isinstance(n, bool) for n in (height, width))
    except (TypeError, ValueError):
        good = False
    if not good or height < SMALLEST[0] or width < SMALLEST[1]:
        raise ValueError(
            f"image_shape must be two ints (height, width) of at least {SMALLEST}, "
            f"got {image_shape!r}; try (96, 84), and leave out the number of channels."
        )
    return int(height), int(width)


def make_faces(
    *,
    n_identities: int = 38,
    n_images: int = 64,
    image_shape: tuple[int, int] = (96, 84),
    random_state: int | np.random.RandomState | np.random.Generator | None = 0,
) -> Bunch:
    """Render synthetic faces under the 64 lamps of Extended Yale B.

    Each identity is a head of its own: a depth map (skull, brows, sockets, nose, lips, chin) and a
    reflectance map (skin, brows, eyes, lips, hair), drawn at random.  Each image lights that head from one
    direction, with attached and cast shadows, a little ambient light and a little gloss, and differs by small
    changes of pose, expression and exposure and by camera noise.  As in the real data, light changes the
    pixels more than identity does.

    Parameters
    ----------
    n_identities : int, default=38
        Number of people, at least 1.
    n_images : int, default=64
        Images of each person, at least 1.  Image j uses lamp j of a fixed order in which every beginning is
        well spread; after 64 images the lamps come round again, with other poses.
    image_shape : tuple of two ints, default=(96, 84)
        Height and width in pixels, at least (24, 21).  Other proportions than 8:7 stretch the picture.
    random_state : int, RandomState, Generator or None, default=0
        Seed of everything.  Identity i depends on (random_state, i) only, and its image j on (random_state,
        i, j, image_shape) only, so a small call returns a part of what a larger one returns.  One integer is
        drawn from a generator.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the fields

        images : ndarray of shape (n, height, width, 1), float32
            Pixel values k/255 in [0, 1]; n is ``n_identities * n_images``, one identity after the other.
        data : ndarray of shape (n, height * width), float32
            The same memory, one row an image.
        target : ndarray of shape (n,), int64
            Number of the identity, 0 to ``n_identities - 1``.
        target_names : ndarray of shape (n_identities,), str
            "face01", "face02", ...
        azimuth : ndarray of shape (n,), float64
            Direction of the lamp in degrees, -130 to 130; positive means on the right hand of the person,
            which is the left side of the picture.
        elevation : ndarray of shape (n,), float64
            Height of the lamp in degrees, -40 to 90; positive means above the face.
        DESCR : str
            Description of the data.

    Raises
    ------
    ValueError
        If a number is below 1 or no int, or if `image_shape` is not two ints of at least (24, 21).

    References
    ----------
    .. [1] Georghiades, Belhumeur, Kriegman. "From Few to Many: Illumination Cone Models for Face Recognition
       under Variable Lighting and Pose", IEEE TPAMI 23(6), 2001.
    .. [2] Lee, Ho, Kriegman. "Acquiring Linear Subspaces for Face Recognition under Variable Lighting",
       IEEE TPAMI 27(5), 2005.

    Examples
    --------
    >>> from smartbox.datasets import make_faces
    >>> faces = make_faces(n_identities=3, n_images=4)
    >>> faces.images.shape
    (12, 96, 84, 1)
    >>> faces.target
    array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    >>> faces.azimuth[:4]
    array([  0., -85., -35.,   0.])
    """
    n_identities, n_images = _check_count("n_identities", n_identities), _check_count("n_images", n_images)
    image_shape = _check_shape(image_shape)
    seed = _integer_seed(random_state)
    images = np.empty((n_identities, n_images, *image_shape), dtype=np.float32)
    for identity in range(n_identities):
        face = build_face(np.random.default_rng([seed, identity, 0]), image_shape)
        step = max(1, BLOCK // face["depth"].size)
        for start in range(0, n_images, step):
            numbers = range(start, min(start + step, n_images))
            images[identity, start : start + step] = _render_images(face, seed, identity, numbers, image_shape)
    images = images.reshape(-1, *image_shape, 1)
    lights = np.array([LIGHTS[j % len(LIGHTS)] for j in range(n_images)], dtype=float)
    azimuth, elevation = np.tile(lights, (n_identities, 1)).T.copy()
    return Bunch(
        images=images,
        data=images.reshape(len(images), -1),
        azimuth=azimuth,
        elevation=elevation,
        target=np.repeat(np.arange(n_identities), n_images),
        target_names=np.array([f"face{i + 1:02d}" for i in range(n_identities)]),
        DESCR=_describe(n_identities, n_images, image_shape),
    )


def _integer_seed(random_state):
    """Return one integer drawn from `random_state`."""
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


def _describe(n_identities, n_images, image_shape):
    """Return the text for the field DESCR."""
    return (
        f"Synthetic faces: {n_identities} identities, {n_images} images each of {image_shape[0]} x "
        f"{image_shape[1]} pixels, grey, float32 in [0, 1].\n\nRendered, not photographed: random heads "
        "under the 64 lamp directions of the Extended Yale Face Database B, with attached and cast "
        "shadows and small changes of pose, expression, exposure and noise.  Nobody real is shown."
    )
