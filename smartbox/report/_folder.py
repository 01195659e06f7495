"""A run's folder, read back: provenance, tables, picture, and the records of each face where the run has kept them."""

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from smartbox._records import file_sha256
from smartbox.benchmark._results import GUARD_COLUMNS, MITIGATION_COLUMNS, Results, empty_tables

# What a report reads of each table and each file of records; there may be more.
_TABLES = {
    "mitigation": ("seed", "attack", "defense", "metric", "n", *MITIGATION_COLUMNS),
    "detection": (
        "seed",
        "attack",
        "detector",
        "threat",
        "population",
        "trained_on",
        "recall",
        "fpr",
        "roc_auc",
        "evaded",
    ),
    "guard": ("seed", "attack", "detector", "then", "n", *GUARD_COLUMNS),
    "attacks": ("seed", "attack", "against", "success", "median_l1", "median_l2", "median_linf"),
}
_NAMES = (
    "attack",
    "defense",
    "metric",
    "detector",
    "threat",
    "population",
    "trained_on",
    "then",
    "against",
)  # text, not numbers
_RECORDS = {
    "faces": (("identity", "claim"), ("seed", "face", "image", "is_genuine")),
    "predictions": (("attack", "against", "defense", "predicted"), ("seed", "face", "rank", "claim_score")),
    "perturbations": (("attack", "against"), ("seed", "face", "l1", "l2", "linf")),
    "scores": (("detector", "trained_on", "attack"), ("seed", "face", "aware", "score", "flagged")),
}
NETWORK, UNDEFENDED = (
    "network",
    "none",
)  # what an attack is against, and stands before the network, where there is no mitigation
_PNG = b"\x89PNG\r\n\x1a\n"
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zlib.error)
_NO_NUMBER = ["", "nan", "NaN"]


@dataclass
class Run:
    """A finished run.

    Attributes
    ----------
    folder : Path
    results : Results
        Its tables and provenance.
    records : dict of DataFrame
        By name; empty if the run has kept none. Labels and names are text.
    picture : bytes or None
        ``faces.png``.
    """

    folder: Path
    results: Results
    records: dict = field(default_factory=dict)
    picture: bytes = None

    @property
    def seeds(self):
        return self.results.provenance["seeds"]


def read_run(folder):
    """Read what ``smartbox bench`` left in ``folder``.

    Raises
    ------
    ValueError
        If the folder holds no such run, or a file of it is damaged or belongs to another run.
    """
    folder = Path(folder)
    results, sums = _results(folder)
    picture = folder / "faces.png"
    picture = picture.read_bytes() if picture.is_file() else None
    if picture is not None and not picture.startswith(_PNG):
        raise _damaged(folder / "faces.png", "it is no PNG file")
    return Run(folder, results, _records(folder, results, sums), picture)


def _results(folder):
    """The results, and the SHA-256 of each file of records by its name; empty where the run has noted none."""
    path = folder / "results.json"
    if not path.is_file():
        raise ValueError(
            f"expected a folder that smartbox bench wrote, got {folder} without results.json: name another."
        )
    try:
        whole = json.loads(path.read_text())
        made, tables = whole["provenance"], whole["tables"]
        seeds, sums = made["seeds"], whole.get("records") or {}
        _check(made)
        if not (seeds and isinstance(tables, dict) and isinstance(sums, dict)):
            raise ValueError("it names neither seeds nor tables")
        tables = empty_tables() | {name: [_row(name, row) for row in rows] for name, rows in tables.items()}
    except (TypeError, AttributeError, *_UNREADABLE) as error:
        raise _damaged(path, _why(error)) from error
    if not any(tables.values()):
        raise ValueError(f"{path} holds no measurements: run smartbox bench again.")
    return Results(provenance=made, tables=tables), sums


def _check(provenance):
    """Raise a ValueError unless everything that a report says of the run is of the kind that it is to be."""
    kinds = {"data": dict, "seeds": list, "command": list, "parameters": dict, "attacks": dict, "versions": dict}
    for name, kind in kinds.items():
        if not isinstance(provenance.get(name, kind()), kind):
            raise ValueError(f"{name} is {provenance[name]!r}")
    images = provenance["data"].get("images", ["?"])
    if not (isinstance(images, list) and images):
        raise ValueError(f"the shape of the data is {images!r}")
    for part in ("parameters", "attacks"):
        for name, values in provenance.get(part, {}).items():
            if not isinstance(values, dict):
                raise ValueError(f"the {part} of {name} are {values!r}")


def _row(table, row):
    """A row as it was before NaN became null."""
    for name in _TABLES.get(table, ()):
        if name not in row:
            raise ValueError(f"a row of {table} has no {name}")
    for name, value in row.items():
        if not isinstance(value, str if name in _NAMES else (int, float, type(None))):
            raise ValueError(f"{name} of a row of {table} is {value!r}")
    return {name: np.nan if value is None else value for name, value in row.items()}


def _records(folder, results, sums):
    """All that there are, those of the predictions joined to the faces; none without these two."""
    for name, digest in sums.items():
        path = folder / "records" / name
        if not path.is_file() or file_sha256(path) != digest:
            raise _damaged(path, "it is not the file that results.json speaks of")
    read = {name: _frame(folder / "records", name) for name in _RECORDS}
    read = {name: frame for name, frame in read.items() if frame is not None}
    if not {"faces", "predictions"} <= set(read):
        return {}
    faces = read["faces"]
    faces["name"] = faces.get("name", faces["identity"])
    seeds = results.provenance["seeds"]
    if set(faces["seed"]) != set(seeds) or faces.duplicated(["seed", "face"]).any():
        raise _damaged(folder / "records", f"its seeds are {sorted(set(faces['seed']))}, those of results.json {seeds}")
    for name in set(read) - {"faces"}:
        joined = read[name].merge(faces, on=["seed", "face"], how="left", indicator=True)
        if (joined.pop("_merge") != "both").any():
            raise _damaged(folder / "records", f"{name} has faces that faces has not")
        read[name] = joined
    return read


def _frame(folder, name):
    """A file of records, as CSV or Parquet; None if there is neither."""
    import pandas as pd

    text, numbers = _RECORDS[name]
    optional = ("name",) if name == "faces" else ()  # of the people
    path = folder / f"{name}.csv.gz"
    try:
        if path.is_file():
            frame = pd.read_csv(
                path,
                dtype=dict.fromkeys((*text, *optional), str),
                keep_default_na=False,  # somebody may be called NA
                na_values=dict.fromkeys(numbers, _NO_NUMBER),
            )
        elif (path := folder / f"{name}.parquet").is_file():
            frame = pd.read_parquet(path)
        else:
            return None
        frame = frame.astype(dict.fromkeys(text, str) | dict.fromkeys(numbers, float) | {"seed": int, "face": int})
        return frame[[*text, *numbers, *(each for each in optional if each in frame)]]
    except ImportError as error:
        raise ValueError(f"{path} needs pyarrow: pip install pyarrow.") from error
    except _UNREADABLE as error:
        raise _damaged(path, _why(error)) from error


def _damaged(path, why):
    return ValueError(
        f"{path} is damaged or not from smartbox bench ({why}): run smartbox bench again, or name another folder."
    )


def _why(error):
    text = str(error).strip().split("\n")[0]
    return f"there is no {text}" if isinstance(error, KeyError) else text or type(error).__name__
