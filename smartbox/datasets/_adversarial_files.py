"""The images of an adversarial set as PNG files with safe names, and its measures as rows."""

import unicodedata
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

_LONGEST = 80  # bytes of identity and of file name in the name of a PNG; file systems take 255
_HARMLESS = "-_.+"
_NO_COLUMN = ("X_adv", "X", "y", "targets", "target_names", "filenames")


def png_names(identities, filenames):
    """A distinct file name for each image, safe on any system whatever the names are: ``ann_003.png``."""
    names, taken = [], set()
    for identity, filename in zip(identities, filenames, strict=True):
        identity, stem = _safe(str(identity)), _safe(PurePosixPath(str(filename)).stem)
        plain = stem if stem.startswith(identity) else f"{identity}_{stem}"
        name, number = plain, 1
        while name.casefold() in taken:  # some file systems take a.png and A.png for one
            number += 1
            name = f"{plain}~{number}"
        taken.add(name.casefold())
        names.append(f"{name}.png")
    return names


def _safe(text):
    """Letters, marks and digits of any script, and a few signs; the rest becomes an underscore."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(c if c in _HARMLESS or unicodedata.category(c)[0] in "LMN" else "_" for c in text)
    return text.encode()[:_LONGEST].decode(errors="ignore").lstrip(".-") or "_"


def write_pngs(folder, names, X):
    """Write each image, rounded to 8 bits, into a new folder."""
    folder.mkdir()
    pixels = np.rint(X * 255).astype(np.uint8)
    for name, image in zip(names, pixels if X.shape[-1] == 3 else pixels[..., 0], strict=True):
        Image.fromarray(image).save(folder / name)


def csv_rows(adversarial, names):
    """One row an image: who it is, what the model saw, and what the attack's report says."""
    identities = adversarial.target_names[adversarial.y].tolist()
    columns = {"identity": identities, "file": adversarial.filenames.tolist(), "png": [f"png/{name}" for name in names]}
    if "targets" in adversarial:
        columns["target"] = adversarial.target_names[adversarial.targets].tolist()
    first = ("prediction_before", "prediction_after")
    others = [name for name in adversarial if name not in (*_NO_COLUMN, *first)]
    columns |= {name: adversarial[name].tolist() for name in (*first, *others)}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
