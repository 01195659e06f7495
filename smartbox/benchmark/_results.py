"""What a run found: rows, provenance, files, and tables to print."""

import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np
from sklearn.utils import Bunch

from smartbox._records import as_csv, circumstances, jsonable, write_text
from smartbox.benchmark._guard import GUARD_COLUMNS as GUARD_COLUMNS
from smartbox.benchmark._mitigation import MITIGATION_COLUMNS as MITIGATION_COLUMNS
from smartbox.benchmark._mitigation import RECOGNITION
from smartbox.benchmark._record_files import check_format, read_folder, write_records
from smartbox.benchmark._records import joined, label_kind
from smartbox.benchmark._registry import settable
from smartbox.benchmark._rows import empty_tables, tables_of
from smartbox.benchmark._signs import quicker

DETECTION = (
    "precision", "recall", "accuracy", "roc_auc", "fpr", "tpr_at_fpr_1", "tpr_at_fpr_5", "evaded", "ms_per_face",
    "plain_passes",
)  # fmt: skip
PERTURBATION = ("success", "success_8bit", "median_l1", "median_l2", "median_linf")
METRICS = (*RECOGNITION, *DETECTION, *PERTURBATION)


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
    records : dict of DataFrame or None
        What was noted of each image, out of which the tables are computed: ``faces``, ``predictions``, ``perturbations``,
        ``scores``, ``guard``, ``searches``, ``detectors``.

    Examples
    --------
    >>> import tempfile
    >>> from smartbox.benchmark import Benchmark, Results
    >>> from smartbox.datasets import make_faces
    >>> faces = make_faces(n_identities=4, n_images=12, image_shape=(32, 28))
    >>> run = Benchmark(faces, attacks=["fgsm"], detectors=[], parameters={"network.epochs": 1})
    >>> results, folder = run.run(), tempfile.mkdtemp()
    >>> paths = results.save(folder)
    >>> Results.load(folder).recompute().tables["attacks"] == results.tables["attacks"]
    True
    """

    provenance: dict
    tables: dict = field(default_factory=empty_tables)
    examples: Bunch = None
    records: dict = None
    started: float = field(default_factory=time.monotonic)

    def merge(self, one):
        """Take over a finished pass."""
        noted = one.recorder.frames()
        for table, rows in tables_of(noted, self.provenance).items():
            self.tables[table] += rows
        self.records = noted if self.records is None else joined([self.records, noted])
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

    def recompute(self):
        """The same results, their tables computed anew from the records.

        Returns
        -------
        results : Results

        Raises
        ------
        ValueError
            If there are no records, or they are not whole.
        """
        if self.records is None:
            raise ValueError(
                "these results hold no records of single images, so that their tables cannot be computed anew."
            )
        return replace(self, tables=tables_of(self.records, self.provenance))

    def save(self, folder, *, format="csv"):
        """Write tables as CSV, everything as ``results.json``, the picture ``faces.png``, and the folder ``records``.

        Parameters
        ----------
        folder : str or path
            Made if it does not exist. Files of an earlier run are replaced, each only once the new one is whole.
        format : {"csv", "parquet"}, default="csv"
            Of the records: gzipped CSV, or Parquet, which needs pyarrow.

        Returns
        -------
        paths : list of Path
        """
        from smartbox.benchmark._figures import save_example_figure

        check_format(format)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for table, rows in self.tables.items():
            if rows:
                paths.append(write_text(folder / f"{table}.csv", as_csv(rows)))
            else:
                (folder / f"{table}.csv").unlink(missing_ok=True)  # or an earlier run's would pass for this one's
        if self.examples is not None:
            paths.append(save_example_figure(self.examples, folder / "faces.png"))
        sums = write_records(self.records, folder, format)
        whole = {
            "provenance": self.provenance,
            "tables": self.tables,
            "thresholds": self._thresholds(),
            "records": sums,
        }
        # Last, since it holds the checksums of the others: it vouches for the whole folder.
        paths.insert(0, write_text(folder / "results.json", json.dumps(jsonable(whole), indent=1, allow_nan=False)))
        return paths + ([folder / "records"] if sums else [])

    def _thresholds(self):
        """Of each detector; null for one that flags nothing."""
        if self.records is None:
            return []
        return self.records["detectors"][["seed", "detector", "trained_on", "threshold"]].to_dict("records")

    @classmethod
    def load(cls, folder):
        """Read a folder that `save` or ``smartbox bench`` wrote.

        Parameters
        ----------
        folder : str or path

        Returns
        -------
        results : Results
            Without ``examples``, which no file holds.

        Raises
        ------
        ValueError
            If the folder holds no results, or they are damaged.
        """
        whole, records = read_folder(folder)
        tables = {table: [{name: float("nan") if value is None else value for name, value in row.items()} for row in rows]
                  for table, rows in whole["tables"].items()}  # fmt: skip
        return cls(provenance=whole["provenance"], tables=empty_tables() | tables, records=records)


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
            "labels": label_kind(y),
        },
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seeds": [],
        "protocol": plan.protocol,
        "detector_faces": plan.detector_faces,
        "guard": plan.guard,
        "check_masking": plan.check_masking,
        "adaptive": plan.adaptive,
        "attacks": {
            name: {"targeted": bool(attack.targeted), "quicker": quicker(plan.attack, name)}
            for name, attack in plan.attack.items()
        },
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
