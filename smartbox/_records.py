"""Records of a run: rows as CSV, values as JSON, and the circumstances that they hang on."""

import csv
import hashlib
import io
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import joblib
import numpy as np

from smartbox._serialization import atomic_file
from smartbox._streams import ImageStreams

PACKAGES = ("smartbox", "keras", "tensorflow", "scikit-learn", "numpy", "scipy")


def circumstances():
    """Versions and machine, as JSON."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "as TensorFlow decides"),
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout, or a distribution of another name such as tensorflow-cpu
        return getattr(sys.modules.get(package), "__version__", "unknown")


def data_record(faces):
    """What tells one set of faces, in its order, from another."""
    return {
        "description": faces.DESCR.split("\n")[0],
        "sha1": joblib.hash((np.asarray(faces.images), faces.target), hash_name="sha1"),
        "names_sha1": joblib.hash(faces.target_names.tolist(), hash_name="sha1"),
        "images": list(faces.images.shape),
        "identities": len(np.unique(faces.target)),
    }


def write_text(path, text):
    """Write a whole text file at once, and return its path."""
    with atomic_file(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # names of files may hold bytes that are no text
    return path


def file_sha256(path):
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def image_keys(X):
    """One number an image, of its pixels rounded to 8 bits: PNG files of the same faces have the same."""
    return ImageStreams.from_images(np.rint(np.asarray(X) * 255).astype(np.float32), seed=0).keys


def as_csv(rows):
    """Rows, dictionaries of equal keys, as the text of a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def jsonable(value):
    """NaN is no JSON: null; functions and classes by their name, other objects as their repr."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if hasattr(value, "__qualname__"):  # the repr of a function would be another in each run
        return f"{value.__module__}.{value.__qualname__}"
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)
