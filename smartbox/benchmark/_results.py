"""What a run found: rows, provenance, files, and tables to print."""

import csv
import io
import json
import os
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
from sklearn.utils import Bunch

from smartbox._serialization import atomic_file

PACKAGES = ("smartbox", "keras", "tensorflow", "scikit-learn", "numpy", "scipy")
DETECTION = ("precision", "recall", "accuracy", "roc_auc", "fpr", "tpr_at_fpr_1", "tpr_at_fpr_5")
PERTURBATION = ("success", "success_8bit", "median_l1", "median_l2", "median_linf")
RECOGNITION = ("verification", "identification")
METRICS = (*RECOGNITION, *DETECTION, *PERTURBATION)


@dataclass
class Results:
    """Rows of measurements by table, and where they come from.

    Attributes
    ----------
    tables : dict of list of dict
        ``mitigation``: accuracies of verification and identification in [0, 1]; ``detection``; ``attacks``: success and sizes.
        One row a seed.
    provenance : dict
        Versions, seeds, parameters, a hash of the data, machine and duration.
    examples : Bunch or None
        One face through everything, for the picture.
    """

    provenance: dict
    tables: dict = field(default_factory=lambda: {"mitigation": [], "detection": [], "attacks": []})
    examples: Bunch = None
    started: float = field(default_factory=time.monotonic)

    def add(self, table, **row):
        """Append a row."""
        self.tables[table].append({name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()})

    def over_seeds(self, table):
        """Rows with the seeds put together: each number becomes ``(mean, lowest, highest)``."""
        groups = {}
        for row in self.tables[table]:
            key = tuple(value for value in row.values() if isinstance(value, str))
            groups.setdefault(key, []).append(row)
        merged = []
        for rows in groups.values():
            merged.append({name: value if isinstance(value, str) else _spread([row[name] for row in rows])
                           for name, value in rows[0].items() if name != "seed"})
        return merged

    def save(self, folder):
        """Write ``mitigation.csv``, ``detection.csv``, ``attacks.csv``, ``results.json`` and ``faces.png`` into ``folder``.

        Parameters
        ----------
        folder : str or path
            Made if it does not exist. Each file is replaced only once the new one is whole.

        Returns
        -------
        paths : list of Path
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [self._save_csv(folder / f"{table}.csv", rows) for table, rows in self.tables.items() if rows]
        with atomic_file(folder / "results.json") as file:
            file.write(json.dumps({"provenance": self.provenance, "tables": _jsonable(self.tables)}, indent=1).encode())
        paths.append(folder / "results.json")
        if self.examples is not None:
            from smartbox.benchmark._figures import save_example_figure

            paths.append(save_example_figure(self.examples, folder / "faces.png"))
        return paths

    @staticmethod
    def _save_csv(path, rows):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        with atomic_file(path) as file:
            file.write(text.getvalue().encode())
        return path


def provenance(faces, plan, seeds):
    """Everything that the numbers depend on."""
    estimators = {"network": plan.network.get_params(deep=False)}
    for kind in ("attack", "defense", "detector"):
        for name, estimator in plan[kind].items():
            parameters = estimator.get_params(deep=False)
            estimators[f"{kind}.{name}"] = {key: value for key, value in parameters.items() if key != "model"}
    for parameters in estimators.values():  # each pass sets these
        parameters.pop("random_state", None)
        parameters.pop("verbose", None)
    return {
        "data": {
            "sha1": joblib.hash((np.asarray(faces.images), np.asarray(faces.target)), hash_name="sha1"),
            "images": list(faces.images.shape),
            "identities": len(np.unique(faces.target)),
        },
        "seeds": [int(seed) for seed in seeds],
        "parameters": _jsonable(estimators),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "as TensorFlow decides"),
        "threat_models": {
            "transferred": "made against the bare network, then mitigated",
            "adaptive": "made against mitigation and network together",
            "worst": "right under both",
        },
    }


def _spread(values):
    if not isinstance(values[0], (int, float)):
        return values[0]
    return float(np.mean(values)), float(np.min(values)), float(np.max(values))


def _jsonable(value):
    """NaN is no JSON: null; other objects as their repr."""
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)
