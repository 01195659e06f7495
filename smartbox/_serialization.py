"""One file for a fitted estimator: plain arrays and JSON, no pickle, so that strangers' files are safe."""

import json
import os
import signal
import tempfile
import threading
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from smartbox._flatten import TRAINING_ONLY, Builder, Flattener, built_face
from smartbox._packing import find_code, pack, refuse_code, unpack

_FACE, _ESTIMATOR = "smartbox-face-1", "smartbox-estimator-1"

# Weights are noise, which no compression shrinks much; an archive that claims more was made to fill the
# memory.
_LARGEST_EXPANSION = 50
_ALWAYS_ALLOWED = 64 * 2**20  # bytes, for small archives of constants
_ENDING = (signal.SIGINT, signal.SIGTERM)


def save_face(face, path, *, dtype=None, about=None):
    """Write ``face`` to ``path`` at once: a temporary file beside it is renamed when it is whole.

    ``about`` is what else the file shall say, as JSON; `read_file` returns it.
    """
    config, weights = pack(face.network_)
    name = find_code(json.loads(config))
    if name is not None:
        raise ValueError(
            f"cannot save this classifier: its network holds {name}, not one of Keras' own layers, and smartbox.load "
            "refuses files that could run code. Use face.network_.save('name.keras'), load that with Keras, and "
            "FaceClassifier.from_network(model)."
        )
    parameters = {name: value for name, value in face.get_params(deep=False).items() if name not in TRAINING_ONLY}
    header = {
        "format": _FACE,
        "network": config,
        "parameters": parameters,
        "classes": face._output_labels().tolist(),
        "history": getattr(face, "history_", None),
        **({} if about is None else {"about": about}),
    }
    try:
        text = json.dumps(header, default=_plain_number)
    except TypeError as error:
        raise ValueError(f"cannot save this classifier: {error}. Labels must be text or numbers.") from error
    _write(path, text, weight=[weight.astype(dtype or weight.dtype) for weight in weights])


def save_estimator(estimator, path, *, about=None):
    """As `save_face`, of any other estimator that consists of SmartBox's and a few of scikit-learn's."""
    parts = Flattener()
    root = parts.flatten(estimator, f"this {type(estimator).__name__}")
    header = {"format": _ESTIMATOR, "root": root, "objects": parts.objects, "networks": parts.networks, "about": about}
    _write(path, json.dumps(header), array=parts.arrays, weight=parts.weights)


def _write(path, header, **lists):
    arrays = {f"{name}{i:04d}": array for name, values in lists.items() for i, array in enumerate(values)}
    with atomic_file(path) as file:
        np.savez_compressed(file, header=np.frombuffer(header.encode(), dtype=np.uint8), **arrays)


def _plain_number(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r} is neither text nor a number")


def read_file(path):
    """The estimator that `save_face` or `save_estimator` wrote, and what the file says about it.

    Raises ValueError on anything else, and on what could run code.
    """
    path = _existing(path, "one that smartbox.save or FaceClassifier.save wrote")
    with naming(path):
        try:
            header, arrays, weights = _read(path)
            if header["format"] == _ESTIMATOR:
                parts = Builder(header["objects"], header["networks"], arrays, weights)
                return parts.build(header["root"]), header["about"]
            _check_face(header)
        except Exception as error:  # a damaged archive raises anything
            raise ValueError(
                f"{path} is not a face classifier or another estimator that this version of SmartBox saved ({error}): "
                "expected a whole file written by smartbox.save or FaceClassifier.save. For a .keras file use "
                "FaceClassifier.from_network."
            ) from error
        network = unpack(header["network"], weights, trusted=False)
        face = built_face(header["parameters"], network, header["classes"], header["history"])
    return face, header.get("about")


def _read(path):
    """Header, arrays and weights."""
    with open(path, "rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as file:
        _refuse_bomb(path, file.zip)
        header = json.loads(file["header"].tobytes())
        n_arrays = sum(name.startswith("array") for name in file.files)
        arrays = [file[f"array{i:04d}"] for i in range(n_arrays)]
        weights = [file[f"weight{i:04d}"] for i in range(len(file.files) - 1 - n_arrays)]
    if header["format"] not in (_FACE, _ESTIMATOR):
        raise ValueError(f"its format is {header['format']!r}, not {_FACE!r} or {_ESTIMATOR!r}")
    odd = [weight.dtype for weight in weights if weight.dtype.kind not in "fiub"]
    odd += [array.dtype for array in arrays if array.dtype.kind not in "fiubU"]
    if odd:
        raise ValueError(f"its weights are no numbers but {odd[0]}")
    return header, arrays, [w.astype(np.float32) if w.dtype == np.float16 else w for w in weights]


def _check_face(header):
    missing = {"network", "parameters", "classes", "history"} - set(header)
    if missing:
        raise ValueError(f"its header lacks {', '.join(sorted(missing))}")
    for name, kinds in {"parameters": dict, "classes": list, "history": (dict, type(None))}.items():
        if not isinstance(header[name], kinds):
            raise ValueError(f"its {name} is {str(header[name])[:50]!r}")


def load_keras_file(path):
    """Load a ``.keras`` archive that holds stock layers only."""
    import keras

    path = _existing(path, "a trained network, a .keras file")
    # Keras chooses the format by the name, and might read the same bytes in another one, past these checks.
    if path.suffix != ".keras":
        raise ValueError(
            f"expected a file whose name ends in .keras, got {path.name}: save the network again with "
            "model.save('name.keras')."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_bomb(path, archive)
            config = json.loads(archive.read("config.json"))
            n_bytes = sum(member.file_size for member in archive.infolist() if "weights" in member.filename)
        config.pop("compile_config", None)
    except Exception as error:  # a damaged archive raises anything
        raise ValueError(
            f"{path} is not a .keras archive ({error}): expected what keras.Model.save('name.keras') writes."
        ) from error
    refuse_code(config)
    from smartbox._engine import limited_variables

    try:
        with limited_variables(n_bytes):
            network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise ValueError(f"Keras cannot load {path}: {error}") from error
    if not isinstance(network, keras.Model):
        raise ValueError(f"{path} holds a {type(network).__name__}, expected a keras.Model.")
    return network


@contextmanager
def naming(path):
    """Begins the message of a ValueError with the file that it is about."""
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def _existing(path, expected):
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"expected the path of {expected}, got {path!r}.")
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: expected {expected}.")
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}: expected {expected}.")
    return path


def _refuse_bomb(path, archive):
    unpacked, packed = sum(member.file_size for member in archive.infolist()), path.stat().st_size
    if unpacked > max(_ALWAYS_ALLOWED, _LARGEST_EXPANSION * packed):
        raise ValueError(f"its {packed} bytes would unpack to {unpacked}, more than {_LARGEST_EXPANSION} times as many")


@contextmanager
def atomic_file(path):
    """``with atomic_file(path) as file``: the bytes appear at ``path`` only when all of them are written."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent} to write {path.name} into: make it first.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: expected the name of a file to write.")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):  # renamed already when the interrupt came
            os.unlink(name)
        raise


@contextmanager
def undisturbed():
    """Within the block Ctrl-C and SIGTERM wait: for a few renames that belong together."""
    if threading.current_thread() is not threading.main_thread():  # where signals never come
        yield
        return
    waiting = []
    usual = {number: signal.signal(number, lambda *came: waiting.append(came[0])) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in waiting:
            signal.raise_signal(number)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
