"""One file for a fitted face classifier: plain arrays and JSON, no pickle, so that a stranger's file can be loaded."""

import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from smartbox._packing import pack, refuse_code, unpack

_FORMAT = "smartbox-face-1"


def save_face(face, path, *, dtype=None):
    """Write ``face`` to ``path`` at once: a temporary file beside it is renamed when it is whole."""
    config, weights = pack(face.network_)
    parameters = {name: value for name, value in face.get_params(deep=False).items()
                  if name not in ("network", "random_state", "optimizer")}
    header = {
        "format": _FORMAT,
        "network": config,
        "parameters": parameters,
        "classes": face.classes_.tolist(),
        "history": getattr(face, "history_", None),
    }
    try:
        text = json.dumps(header)
    except TypeError as error:
        raise ValueError(f"cannot save this classifier: {error}. Labels must be text or numbers.") from error
    arrays = {f"weight{i:04d}": weight if dtype is None else weight.astype(dtype) for i, weight in enumerate(weights)}
    with atomic_file(path) as file:
        np.savez_compressed(file, header=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)


def load_face(path):
    """The inverse of `save_face`. Raises ValueError on anything else, and on a configuration that could run code."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}: expected one that FaceClassifier.save wrote.")
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            names = sorted(name for name in file.files if name.startswith("weight"))
            weights = [file[name].astype(np.float32) if file[name].dtype == np.float16 else file[name] for name in names]
        if header.get("format") != _FORMAT:
            raise ValueError(f"its format is {header.get('format')!r}, not {_FORMAT!r}")
    except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a face classifier that this version of SmartBox saved ({error}): expected a whole file "
                         "written by FaceClassifier.save. For a .keras file use FaceClassifier.from_network.") from error
    return header, unpack(header["network"], weights, trusted=False)


def load_keras_file(path):
    """Load a ``.keras`` archive that holds stock layers only."""
    import keras

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}: expected a trained network, a .keras file.")
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a .keras archive ({error}): expected what keras.Model.save('name.keras') writes.") from error
    config.pop("compile_config", None)
    refuse_code(config)
    return keras.saving.load_model(path, compile=False, safe_mode=True)


class atomic_file:
    """``with atomic_file(path) as file``: the bytes appear at ``path`` only when all of them are written."""

    def __init__(self, path):
        self.path = Path(path)

    def __enter__(self):
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"no folder {self.path.parent} to write {self.path.name} into: make it first.")
        handle, self.name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        self.file = os.fdopen(handle, "wb")
        return self.file

    def __exit__(self, kind, *_):
        self.file.close()
        if kind is None:
            os.chmod(self.name, 0o666 & ~_umask())
            os.replace(self.name, self.path)
        else:
            os.unlink(self.name)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
