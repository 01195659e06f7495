"""What a run found: rows, provenance, files, and tables to print."""

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
from sklearn.utils import Bunch

from smartbox._records import as_csv, circumstances, jsonable, write_text
from smartbox.benchmark._registry import settable

GUARD_COLUMNS = ("clean", "clean_flagged", "transferred", "adaptive", "worst")
MITIGATION_COLUMNS = ("before_attack", "after_attack", "clean_mitigated", "transferred", "adaptive", "worst")
DETECTION = (
    "precision", "recall", "accuracy", "roc_auc", "fpr", "tpr_at_fpr_1", "tpr_at_fpr_5", "evaded", "ms_per_face",
    "plain_passes",
)  # fmt: skip
PERTURBATION = ("success", "success_8bit", "median_l1", "median_l2", "median_linf")
RECOGNITION = ("verification", "identification")
METRICS = (*RECOGNITION, *DETECTION, *PERTURBATION)


def empty_tables():
    """Rows by table, none yet."""
    return {"mitigation": [], "detection": [], "guard": [], "attacks": []}


@dataclass
class Results:
    """Rows of measurements by table, and where they come from.

    Attributes
    ----------
    tables : dict of list of dict
        ``mitigation``: accuracies of verification and identification in [0, 1], NaN where there is no mitigation, and signs of
        masked gradients, ``masked...``, 1 where there is one, NaN where it was not looked for; ``detection``; ``guard``, where
        the run was to have it: identification by a network with detector and mitigation together; ``attacks``: success and
        sizes. One row a seed. Each rate of the first three has a 95 % interval, ``..._low`` to ``..._high``. Under the paper's
        protocol also its own figures, ``paper_...``, NaN where it has none.
    provenance : dict
        Versions, seeds, parameters, a hash of the data, machine, command and duration.
    examples : Bunch or None
        One face of the first seed through everything, for the picture.
    """

    provenance: dict
    tables: dict = field(default_factory=empty_tables)
    examples: Bunch = None
    started: float = field(default_factory=time.monotonic)

    def merge(self, one):
        """Take over a finished pass."""
        for table, rows in one.tables.items():
            self.tables[table] += rows
        self.examples = self.examples or one.example
        self.provenance["seeds"].append(one.seed)
        self.provenance["seconds"] = round(time.monotonic() - self.started, 1)

    def over_seeds(self, table):
        """Rows with the seeds put together: each number becomes ``(mean, lowest, highest)``."""
        groups = {}
        for row in self.tables.get(table, []):
            key = tuple(value for value in row.values() if isinstance(value, str))
            groups.setdefault(key, []).append(row)
        merged = []
        for rows in groups.values():
            merged.append(
                {
                    name: value if isinstance(value, str) else _spread([row[name] for row in rows])
                    for name, value in rows[0].items()
                    if name != "seed"
                }
            )
        return merged

    def save(self, folder):
        """Write the tables as CSV, everything as ``results.json``, and the picture as ``faces.png``.

        Parameters
        ----------
        folder : str or path
            Made if it does not exist. Files of an earlier run are replaced, each only once the new one is whole.

        Returns
        -------
        paths : list of Path
        """
        from smartbox.benchmark._figures import save_example_figure

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        whole = {"provenance": self.provenance, "tables": self.tables}
        paths = [write_text(folder / "results.json", json.dumps(jsonable(whole), indent=1, allow_nan=False))]
        for table, rows in self.tables.items():
            if rows:
                paths.append(write_text(folder / f"{table}.csv", as_csv(rows)))
            else:
                (folder / f"{table}.csv").unlink(missing_ok=True)  # or an earlier run's would pass for this one's
        if self.examples is not None:
            paths.append(save_example_figure(self.examples, folder / "faces.png"))
        return paths


def provenance(X, y, plan, description):
    """Everything that the numbers depend on; the seeds are noted as they finish."""
    made = {"network": plan.network}
    made |= {f"{kind}.{name}": one for kind in ("attack", "defense", "detector") for name, one in plan[kind].items()}
    # what is not settable, each pass supplies
    estimators = {name: {key: getattr(one, key) for key in settable(type(one))} for name, one in made.items()}
    return {
        "data": {
            "description": str(description).split("\n")[0],
            "sha1": joblib.hash((np.asarray(X), y), hash_name="sha1"),
            "images": list(X.shape),
            "identities": len(np.unique(y)),
        },
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seeds": [],
        "protocol": plan.protocol,
        "detector_faces": plan.detector_faces,
        "guard": plan.guard,
        "check_masking": plan.check_masking,
        "parameters": jsonable(estimators),
        **circumstances(),
        "threat_models": {
            "transferred": "made against the bare network, then mitigated",
            "adaptive": "made against mitigation and network together",
            "worst": "right under both",
            "all attacks": "right under each attack of the run, which may be another for each face",
            "guard": "adaptive ones are made against network, detector and mitigation together",
        },
    }


def _spread(values):
    return float(np.mean(values)), float(np.min(values)), float(np.max(values))
