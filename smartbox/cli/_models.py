"""The model by what ``--model`` says, and the faces that it can be shown."""

import unicodedata
from importlib.resources import files
from pathlib import Path

import click
import numpy as np

from smartbox.cli._faces import find_faces, load_faces

_SAMPLE = "sample"
_COLORS = {1: "grey", 3: "rgb"}

model_option = click.option(
    "--model",
    metavar="PATH",
    help="A .keras file, a file that FaceClassifier.save wrote, or 'sample', which knows the built-in faces.  "
    "[default: sample, with --data builtin]",
)


def find_model(model, data):
    """Path of the file, before anything is loaded."""
    if model is None and data != "builtin":
        raise ValueError(
            f"expected --model PATH beside --data {data}, a .keras file or one that FaceClassifier.save wrote: the sample "
            "model knows the built-in faces only."
        )
    if model in (None, _SAMPLE):
        return Path(str(files("smartbox") / "data" / "sample_model.smartbox"))
    path = Path(model).expanduser()
    if not path.is_file():
        raise ValueError(
            f"there is no file at {model or repr(model)}: expected a .keras file, one that FaceClassifier.save wrote, or "
            f"{_SAMPLE!r}."
        )
    return path


def load_model(path):
    """A fitted face model from either kind of file."""
    from smartbox._model import FaceModelMixin
    from smartbox.face import FaceClassifier
    from smartbox.persistence import load

    if path.suffix == ".keras":
        return FaceClassifier.from_network(path)
    model = load(path)
    if not isinstance(model, FaceModelMixin):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, expected a face classifier: 'smartbox train' makes one."
        )
    return model


def load_faces_for(face, data, on_error):
    """Faces of the size and the colour that the model takes, each with a file name."""
    from smartbox.datasets._synthetic import SMALLEST

    kind, (height, width, channels) = find_faces(data), face.image_shape_
    if height is None or width is None or channels not in _COLORS:
        raise ValueError(
            f"the model takes images of shape {face.image_shape_}, expected one fixed height and width, and 1 channel "
            "(grey) or 3 (rgb): save it again behind keras.Input((height, width, channels))."
        )
    if kind != "folder" and channels != 1:
        raise ValueError(
            f"the model takes rgb images, but {kind} {'are' if data == 'builtin' else 'is'} grey: give colour images by "
            "--data, or a model of one channel."
        )
    if data == "builtin" and (height < SMALLEST[0] or width < SMALLEST[1]):
        raise ValueError(
            f"the model takes images of {height} x {width} pixels, but the built-in faces are at least {SMALLEST[0]} x "
            f"{SMALLEST[1]}: give others by --data."
        )
    faces = load_faces(data, (height, width), on_error=on_error, color=_COLORS[channels] if kind == "folder" else None)
    if "filenames" not in faces:  # the number of an image within its identity
        place = np.arange(len(faces.target)) - np.searchsorted(faces.target, faces.target)
        faces.filenames = np.array(
            [f"{name}/{i:02d}" for name, i in zip(faces.target_names[faces.target], place, strict=True)]
        )
    return faces


def match_identities(classes, names, data):
    """The column of the model's logits for each identity of the data, and what each column is called.

    Classes 0 to k - 1 are taken for the identities in sorted order, as all loaders number them; others go by name.
    """
    if np.issubdtype(classes.dtype, np.integer) and np.array_equal(classes, np.arange(len(classes))):
        if len(classes) != len(names):
            raise ValueError(
                f"the model knows {len(classes)} identities, by number, but {data} holds {len(names)}: {_some(names)}. "
                "They are numbered in sorted order, so there must be as many: give the identities that the model was "
                "trained on, or a model that knows names (FaceClassifier.from_network(network, classes=names).save(...))."
            )
        return np.arange(len(names)), np.asarray(names)
    known = {_normal(label): column for column, label in enumerate(classes.tolist())}
    strangers = [name for name in names if _normal(name) not in known]
    if strangers:
        raise ValueError(
            f"the model does not know {len(strangers)} of the {len(names)} identities in {data}: {_some(strangers)}. It "
            f"knows {len(classes)}: {_some(classes)}. Leave the others out, or give the model that was trained on them."
        )
    return np.array([known[_normal(name)] for name in names]), np.array([str(label) for label in classes.tolist()])


def _normal(name):
    return unicodedata.normalize("NFC", str(name))  # some file systems take accents apart


def _some(names):
    return ", ".join(repr(str(name)) for name in names[:5]) + (", ..." if len(names) > 5 else "")
