"""What ``smartbox evaluate`` writes and prints."""

import json
import sys
from pathlib import Path

from rich.text import Text

from smartbox._progress import say
from smartbox._records import as_csv, circumstances, jsonable
from smartbox._result_folder import ResultFolder
from smartbox.benchmark._folding import folded, percent
from smartbox.cli._evaluate_pictures import save_cmc, save_det, save_faces, save_roc
from smartbox.cli._terminal import console

FORMAT = "smartbox-evaluation-1"
REPORT = "results.json"
_OF = {
    "gallery": ("cmc.png", "roc.png", "det.png", "faces.png", "figures.csv", "probes.csv", "comparisons.csv"),
    "pairs": (
        "pairs_roc.png",
        "pairs_det.png",
        "pairs_faces.png",
        "pairs_figures.csv",
        "pairs.csv",
        "pairs_comparisons.csv",
    ),
}
_LABELS = {
    "rank_1": "rank 1",
    "fold_accuracy": "accuracy",
    "roc_auc": "ROC AUC",
    "eer": "EER",
    "tar_at_far_1e-2": "TAR at\nFAR 1 %",
    "tar_at_far_1e-3": "TAR at\nFAR 0.1 %",
    "tar_at_far_1e-4": "TAR at\nFAR 0.01 %",
    "balanced_accuracy": "balanced\naccuracy",
    "tar": "TAR",
    "far": "FAR",
    "dir_at_far_1e-1": "DIR at\nFAR 10 %",
    "dir_at_far_1e-2": "DIR at\nFAR 1 %",
    "impersonated": "taken for\nits target",
}


def folder_of(out, studies):
    """The folder that takes the results of some of the studies "gallery" and "pairs"."""
    return ResultFolder(out, [name for study in studies for name in _OF[study]] + [REPORT], FORMAT, "evaluation")


def write(folder, studies, about):
    """Write all files; those of another study that an earlier run left there go, lest they seem to be of this run."""
    stale = (
        [folder.folder / name for study in _OF if study not in studies for name in _OF[study]]
        if folder.is_ours()
        else []
    )
    report = {"format": FORMAT, **about}
    for study, run in studies.items():
        report[study] = {"rows": _rows(run), "comparisons": run.comparisons, **run.about()}
    report |= {"command": [Path(sys.argv[0]).name, *sys.argv[1:]], **circumstances()}
    with folder.replaced() as new:
        for study, run in studies.items():
            prefix = "" if study == "gallery" else "pairs_"
            records = "probes.csv" if study == "gallery" else "pairs.csv"
            _csv(new / f"{prefix}figures.csv", _rows(run))
            _csv(new / f"{prefix}comparisons.csv", run.comparisons)
            _csv(new / records, list(run.records()))
            title, curves = f"{about['title']}, {run.aim}", run.curves()
            if study == "gallery":
                save_cmc(new / "cmc.png", {name: row.cmc for name, row in run.rows.items()}, title)
            save_roc(new / f"{prefix}roc.png", curves, title)
            save_det(new / f"{prefix}det.png", curves, title)
            save_faces(new / f"{prefix}faces.png", *run.faces(), title)
        (new / REPORT).write_text(json.dumps(jsonable(report), indent=1, allow_nan=False))
    for path in stale:
        path.unlink(missing_ok=True)


def _csv(path, rows):
    path.write_bytes(as_csv(rows).encode(errors="backslashreplace"))


def _rows(run):
    """A dict a row: each figure with the ends of its interval."""
    rows = []
    for name, row in run.rows.items():
        flat = {"row": name}
        for figure, (value, low, high) in row.figures.items():
            flat |= {figure: value, f"{figure}_low": low, f"{figure}_high": high}
        rows.append(flat)
    return rows


def show(folder, studies, *, verbose):
    """Print the tables, remarks, and where the files are."""
    terminal = console()
    for run in studies.values():
        figures = next(iter(run.rows.values())).figures
        columns = [
            name for name in _LABELS if name in figures and (name != "accuracy" or "fold_accuracy" not in figures)
        ]
        columns = [
            name for name in columns if any(row.figures[name][0] == row.figures[name][0] for row in run.rows.values())
        ]
        lines = [((name,), [percent(row.figures[column]) for column in columns]) for name, row in run.rows.items()]
        labels = [_LABELS[column] for column in columns]
        dash = "not measurable with so few claims or strangers"
        terminal.print(folded(run.title(), ["Images"], labels, lines, terminal.width, dash))
        for test in run.comparisons:
            if test["decision"] != "true claim":
                terminal.print(Text(_sentence(test)))
        for remark in run.remarks():
            terminal.print(Text(f"Remark: {remark}"))
    say(f"Written to {folder.folder}: {', '.join(path.name for path in folder.paths())}", enabled=verbose)


def _sentence(test):
    return (
        f"{test['first']} / {test['second']}: {test['n_only_a']} right by the first alone, "
        f"{test['n_only_b']} by the second alone, McNemar p = {test['pvalue']:.2g}"
    )
