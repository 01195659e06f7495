"""Images by what ``--images`` says: a folder or zip of image files, or an adversarial set."""

import json
from pathlib import Path, PurePosixPath

import click
import numpy as np
from sklearn.utils import Bunch

from smartbox._result_folder import REPORT
from smartbox.datasets import load_adversarial_set
from smartbox.datasets._adversarial_files import png_names
from smartbox.datasets._adversarial_set import FORMAT
from smartbox.datasets._folder import _tolerate, _warn_failures
from smartbox.datasets._images import decode_image, image_extensions
from smartbox.datasets._source import open_source

MITIGATED = "smartbox-mitigated-1"
_COLORS = {1: "grey", 3: "rgb"}

images_option = click.option(
    "--images",
    metavar="PATH",
    required=True,
    help="A folder or zip of images, flat or with folders in it; or a folder that 'smartbox attack' or 'smartbox mitigate' "
    "wrote, or the adversarial.npz in it.",
)


def check_images_there(path):
    """Raise a ValueError if there is nothing, before any work."""
    if not Path(path).expanduser().exists() or not str(path).strip():
        raise ValueError(f"there is nothing at {path or repr(path)}: expected --images as a folder or zip of images.")


def check_apart(images, out, option="--images"):
    """Raise a ValueError if the results would lie among the images of an option, and be read as such the next time."""
    images, out = Path(images).expanduser().resolve(), Path(out).expanduser().resolve()
    if images == out or images in out.parents:
        raise ValueError(f"--out {out} lies among the images of {option} {images}: choose a folder beside it.")


def read_images(path, *, n_channels=None, image_shape=None, on_error=None):
    """All images with their names.

    Parameters
    ----------
    path : str
    n_channels : {1, 3}, optional
        None keeps grey images grey and colour ones coloured.
    image_shape : (int, int), optional
        Height and width to resize them to. None keeps the size of each.
    on_error : {"raise", "skip"}, optional
        Of an image that cannot be read.

    Returns
    -------
    images : Bunch
        ``X``, a list of float32 arrays (height, width, channels); ``names``; ``originals``, of an adversarial set the images
        that were attacked, else None.
    """
    path = Path(path).expanduser()
    kind = _kind(path)
    if kind == FORMAT:
        return _from_set(path if path.is_dir() else path.parent, image_shape)
    if kind == MITIGATED:
        path = path / "png"
    color = _COLORS.get(n_channels, "rgb")
    X, names, failures = [], [], []
    with open_source(path) as source:
        for member in source.members:
            if PurePosixPath(member.name).suffix.lower() not in image_extensions():
                continue
            with _tolerate(on_error or "raise", failures):
                pixels = decode_image(source.read(member), source.label(member), image_shape=image_shape, color=color)
                X.append(pixels if n_channels else _without_copies(pixels))
                names.append(member.name)
    _warn_failures(path, failures)
    if not X:
        raise ValueError(f"{path} holds no image that can be read: expected PNG, JPEG or other image files.")
    return Bunch(X=X, names=names, originals=None)


def _kind(path):
    if path.suffix == ".npz" and path.is_file():
        return FORMAT
    try:
        return json.loads((path / REPORT).read_text())["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _from_set(folder, image_shape):
    made = load_adversarial_set(folder)
    if image_shape not in (None, made.X.shape[1:3]):
        raise ValueError(
            f"{folder} holds images of {made.X.shape[1]} x {made.X.shape[2]} pixels, and an adversarial set is not resized, "
            "which would take away what the attack has added: leave out --image-shape, and take what suits this size."
        )
    names = png_names(made.target_names[made.y], made.filenames)
    return Bunch(X=list(made.X_adv), names=names, originals=made.X)


def _without_copies(pixels):
    return pixels[..., :1] if (pixels == pixels[..., :1]).all() else pixels


def stack(images, image_shape, what):
    """One array, if each image has the shape ``(height, width, channels)``; None in a place accepts any size."""
    for name, image in zip(images.names, images.X, strict=True):
        if any(want not in (None, came) for want, came in zip(image_shape, image.shape, strict=True)):
            expected = " x ".join(map(str, image_shape[:2]))
            channels = f" and {image_shape[2]} channel(s)" if image_shape[2] != image.shape[2] else ""
            raise ValueError(
                f"{name} has {image.shape[0]} x {image.shape[1]} pixels and {image.shape[2]} channel(s), but {what} takes "
                f"{expected}{channels}: resize the images by --image-shape {expected.replace(' ', '')}, though resizing takes "
                "away some of what an attack has added."
            )
    return np.stack(images.X)
