"""What a run keeps of each image, and how it is noted; every number of the tables is computed from these records alone.

One row an image in each table, ``seed`` and ``face`` (0, 1, ... among the test faces of the seed) first:

faces
    ``image``, its place in the data; ``identity``, ``target`` and ``claim``, labels as the data has them; ``is_genuine``;
    ``name`` of the identity.
predictions
    ``attack`` ("" for clean faces); ``against``, what the attack knew ("" clean, "network", a mitigation, ``the network and
    DETECTOR``); ``defense``, what stood before the network ("none" or its name); ``predicted``; ``rank`` of the true
    identity by the model's scores, 1 the first, of ties the mean rank; ``claim_score``, the log-odds of the claimed identity.
    Transferred images are those against "network" behind a defence, adaptive ones those against the defence itself.
perturbations
    What the attack reports of each image: success, sizes, gradients; ``changed``, whether any pixel differs.
scores
    ``detector``, ``trained_on``; ``attack`` ("" clean) and ``aware``, whether it knew the detector; ``score``, ``flagged``.
guard
    As of scores; ``then``, what is done with flagged images; ``against``: "" clean, "network", or "all", network,
    detector and mitigation; ``predicted`` and ``flagged``.
searches
    ``success`` of a random search behind a mitigation, on the faces that it was tried on; see `Benchmark`'s ``check_masking``.
detectors
    No row an image but one a detector: ``threshold``, the share of clean faces that it was allowed, and its cost.
"""

import numpy as np

_ALL = {"seed": "count", "face": "count"}
_MET = {"attack": "text", "against": "text"}
SCHEMA = {
    "faces": {**_ALL, "image": "count", "identity": "label", "target": "label", "claim": "label", "is_genuine": "flag",
              "name": "text"},
    "predictions": {**_ALL, **_MET, "defense": "text", "predicted": "label", "rank": "real", "claim_score": "real"},
    "perturbations": {**_ALL, **_MET, "success": "flag", "success_8bit": "flag", "l1": "real", "l2": "real", "linf": "real",
                      "n_iterations": "count", "n_gradients": "count", "n_zero_gradients": "count", "initially_wrong": "flag",
                      "prediction_before": "label", "prediction_after": "label", "changed": "flag"},
    "scores": {**_ALL, "detector": "text", "trained_on": "text", "attack": "text", "aware": "flag", "score": "real",
               "flagged": "flag"},
    "guard": {**_ALL, "detector": "text", "then": "text", **_MET, "predicted": "label", "flagged": "flag"},
    "searches": {**_ALL, "attack": "text", "defense": "text", "success": "flag"},
    "detectors": {"seed": "count", "detector": "text", "trained_on": "text", "threshold": "real", "allowed_fpr": "real",
                  "ms_per_face": "real", "plain_passes": "real"},
}  # fmt: skip
REPORTED = tuple(name for name in SCHEMA["perturbations"] if name not in (*_ALL, *_MET, "changed"))
_DTYPES = {"count": np.int64, "flag": np.int64, "real": np.float64, "text": object}
_LABELS = {"integer": np.int64, "number": np.float64, "text": object}


def label_kind(y):
    """How labels are to be read back: as they were, since people may be called 007."""
    return {"i": "integer", "u": "integer", "f": "number"}.get(np.asarray(y).dtype.kind, "text")


class Recorder:
    """Takes the records of one seed."""

    def __init__(self, seed):
        self.seed = seed
        self.parts = {table: [] for table in SCHEMA}

    def note(self, table, **columns):
        """A row for each entry of the arrays among the columns; what is no array is the same in each."""
        n = len(columns["face"]) if "face" in columns else max(np.size(values) for values in columns.values())
        columns = {"seed": self.seed, "face": np.arange(n), **columns}
        self.parts[table].append({name: np.broadcast_to(columns[name], n) for name in SCHEMA[table]})

    def frames(self):
        """The tables as data frames."""
        return {
            table: as_frame(table, {name: [part[name] for part in parts] for name in SCHEMA[table]})
            for table, parts in self.parts.items()
        }


def as_frame(table, columns):
    """A data frame out of lists of arrays."""
    from pandas import DataFrame  # which takes as long to import as all the rest of the command

    made = {}
    for name, kind in SCHEMA[table].items():
        values = np.concatenate(columns[name]) if columns[name] else np.empty(0)
        dtype = _LABELS[label_kind(values)] if kind == "label" else _DTYPES[kind]
        made[name] = values.astype(str).astype(object) if dtype is object else values.astype(dtype)
    return DataFrame(made)


def dtypes(table, labels):
    """Of each column, for labels of a kind; see `label_kind`."""
    return {name: _LABELS[labels] if kind == "label" else _DTYPES[kind] for name, kind in SCHEMA[table].items()}


def joined(parts):
    """The records of several seeds as those of a run."""
    from pandas import concat

    return {table: concat([part[table] for part in parts], ignore_index=True) for table in SCHEMA}
