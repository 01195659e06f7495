"""Decode one image, bring it to size, and keep finished arrays on disk: shared by the loaders."""

import functools
import hashlib
import io
import numbers
import os
import tempfile
import warnings
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import platformdirs
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.sparse import csr_array

MAX_PIXELS = 2**26  # of one image, before or after resizing
_ORIENTATION = 0x0112  # the EXIF tag

# Raster formats decoded inside Pillow. EPS and its like start other programs, so they are never opened.
_FORMATS = frozenset(
    ["AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "SGI", "TGA"]
    + ["TIFF", "WEBP"]
)
_TRAILER = b"\ncrc32 %08x\n"  # after the array in a cache file; np.load does not look there


class ImageError(ValueError):
    """One image cannot be used; the others may be fine."""


@functools.cache
def image_extensions() -> frozenset[str]:
    """Extensions, in lower case with the dot, of files that count as images.

    HEIC is among them even where Pillow cannot read it: such a photo must end in an error, not be overlooked.
    """
    known = {extension for extension, name in Image.registered_extensions().items() if name in _FORMATS}
    return frozenset(known | {".heic", ".heif"})


def check_image_shape(image_shape) -> tuple[int, int]:
    """Return `image_shape` as (height, width), two positive ints, or raise a ValueError with the cure."""
    complaint = f"image_shape must be two positive ints (height, width), got {image_shape!r}"
    if not isinstance(image_shape, (tuple, list)):
        raise ValueError(f"{complaint}; for example image_shape=(96, 84)")
    if len(image_shape) == 3:
        raise ValueError(f"{complaint}; leave out the channels: image_shape={tuple(image_shape[:2])!r}")
    whole = all(isinstance(side, numbers.Integral) and not isinstance(side, bool) for side in image_shape)
    if len(image_shape) != 2 or not whole or min(image_shape) < 1:
        raise ValueError(f"{complaint}; for example image_shape=(96, 84)")
    height, width = map(int, image_shape)
    if height * width > MAX_PIXELS:
        raise ValueError(f"{complaint}; choose one of at most {MAX_PIXELS:,} pixels")
    return height, width


@contextmanager
def _opened(content, name):
    """A Pillow image with a sane header; any failure inside becomes an ImageError with `name`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image_extensions()  # registers the formats
            with Image.open(io.BytesIO(content), formats=sorted(_FORMATS.intersection(Image.OPEN))) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ImageError(
                        f"{name}: expected at most {MAX_PIXELS:,} pixels an image, got {width} x {height}; "
                        "scale it down first"
                    )
                yield image
    except ImageError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{name}: expected at most {MAX_PIXELS:,} pixels an image ({error}); scale it down first"
        ) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, IndexError, ...
        reason = "unknown or damaged format" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(
            f"{name}: expected a complete image, got {len(content):,} bytes that cannot be decoded ({reason})"
        ) from error


def image_size(content: bytes, name: str) -> tuple[int, int]:
    """(height, width) after EXIF rotation, from the header alone where there is no rotation."""
    with _opened(content, name) as image:
        # Asking a PNG for EXIF data that its header does not announce would decode the whole image.
        has_exif = image.format != "PNG" or "exif" in image.info
        if has_exif and image.getexif().get(_ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)
        return image.size[::-1]


def decode_image(content: bytes, name: str, *, image_shape=None, color: str = "grey") -> np.ndarray:
    """Decode the bytes of one image file.

    Parameters
    ----------
    content : bytes
        The file as it is.
    name : str
        What errors call it.
    image_shape : (height, width) or None
        Size to bring it to by `resize`; None keeps its own.
    color : {"grey", "rgb"}
        One channel (ITU-R 601 luma) or three.

    Returns
    -------
    pixels : ndarray of shape (height, width, 1 or 3), float32, in [0, 1]
        Turned upright by its EXIF tag. Of an animation the first frame; transparent parts are laid on black.

    Raises
    ------
    ImageError
        If the image is damaged, too large, or of a kind that has no defined white.
    """
    with _opened(content, name) as image:
        pixels, white = _pixels(image, name, color)
    if image_shape is not None:
        pixels = resize(pixels, image_shape)
    return np.clip(pixels / np.float32(white), 0, 1)


def _pixels(image, name, color):
    """Array (height, width, channels) of float32 as stored, and the value that stands for white."""
    depth = 1.0 if image.mode == "F" else 65535.0
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # those two are 16 bits deep in disguise
        raise ImageError(
            f"{name}: expected 8 or 16 bits a channel, got 32-bit ones without a defined white; convert it"
        )
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        pixels = np.asarray(image).astype(np.float32)[:, :, np.newaxis]
        if not (pixels.min() >= 0 and pixels.max() <= depth):  # also catches NaN
            raise ImageError(f"{name}: expected pixels in [0, {depth:g}], got [{pixels.min():g}, {pixels.max():g}]")
        return (pixels if color == "grey" else np.repeat(pixels, 3, axis=2)), depth
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    image = image.convert("L" if color == "grey" else "RGB")
    return np.asarray(image, dtype=np.float32).reshape(image.height, image.width, -1), 255.0


def resize(pixels: np.ndarray, image_shape: tuple[int, int]) -> np.ndarray:
    """Resize (height, width, channels): area averaging where a side shrinks, bilinear where it grows.

    A new pixel is the average over the exact, fractional area it covers, at any ratio; the box filter of
    Pillow takes whole pixels only.
    """
    height, width, n_channels = pixels.shape
    if (height, width) == tuple(image_shape):
        return pixels
    rows, columns = _weights(height, image_shape[0]), _weights(width, image_shape[1])
    pixels = (rows @ pixels.reshape(height, width * n_channels)).reshape(-1, width, n_channels)
    pixels = columns @ pixels.transpose(1, 0, 2).reshape(width, -1)
    return pixels.reshape(image_shape[1], image_shape[0], n_channels).transpose(1, 0, 2)


@functools.lru_cache(maxsize=64)
def _weights(n_in, n_out):
    """Matrix (n_out, n_in), float32, rows adding up to 1, that resamples one axis.

    Sparse, not only to save work: a dense product wakes the threads of BLAS for each image, and on a busy
    machine they wait for each other ten times as long as they compute.
    """
    if n_out > n_in:
        centres = np.clip((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0, n_in - 1)
        weights = 1 - np.abs(centres[:, np.newaxis] - np.arange(n_in))
        return csr_array(np.maximum(weights, 0).astype(np.float32))
    edges = np.arange(n_out + 1) * (n_in / n_out)
    start, stop = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    pixel = np.arange(n_in)
    overlap = np.clip(np.minimum(stop, pixel + 1) - np.maximum(start, pixel), 0, None)
    return csr_array((overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32))


def cache_dir() -> Path:
    """Folder of finished arrays and downloads: the variable SMARTBOX_CACHE, or the user's cache folder."""
    return Path(os.environ.get("SMARTBOX_CACHE") or platformdirs.user_cache_dir("smartbox")).expanduser()


def cached_array(kind: str, key: str, shape: tuple[int, ...], build) -> np.ndarray:
    """Read-only float32 array of `shape`, mapped from the cache, or made by `build()` and put there.

    `key` must tell apart everything that `build` depends on. Without a usable cache folder the array is built
    anew each time, with a warning.
    """
    path = cache_dir() / f"{kind}-{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.npy"
    array = _read_cache(path, shape)
    if array is None:
        array = build()
        array.flags.writeable = False
        try:
            _write_cache(path, array)
        except OSError as error:
            warnings.warn(
                f"cannot keep the decoded images in {path.parent} ({error}): each load decodes them again; "
                "set SMARTBOX_CACHE to a folder that can be written",
                UserWarning,
                stacklevel=3,
            )
            return array
        mapped = _read_cache(path, shape)
        array = array if mapped is None else mapped
    return array


def _read_cache(path, shape):
    """The array in `path`, memory-mapped, or None if the file is missing, damaged or something else."""
    with suppress(OSError, ValueError):  # ValueError: empty file, damaged header
        content = np.memmap(path, dtype=np.uint8, mode="r")
        size = len(content) - len(_TRAILER % 0)
        if size > 0 and content[size:].tobytes() == _TRAILER % zlib.crc32(content[:size]):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if array.shape == shape and array.dtype == np.float32:
                return array
    return None


def _write_cache(path, array):
    """Write beside `path`, then rename: a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    header = header.getvalue()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with open(handle, "wb") as stream:
            stream.write(header)
            stream.write(array.data)
            stream.write(_TRAILER % zlib.crc32(array.data, zlib.crc32(header)))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
