"""Results as tables for a terminal, shaped as the SmartBox paper's Tables 2 and 3."""

from rich.table import Table

from smartbox.benchmark._results import DETECTION, PERTURBATION, RECOGNITION

_COLUMNS = {
    "before_attack": "before\nattack",
    "after_attack": "after\nattack",
    "clean_mitigated": "clean,\nmitigated",
    "transferred": "mitigated\n(transferred)",
    "adaptive": "mitigated\n(adaptive)",
    "worst": "worst",
}
_LABELS = {"roc_auc": "ROC AUC", "fpr": "FPR", "tpr_at_fpr_1": "TPR at\nFPR 1 %", "tpr_at_fpr_5": "TPR at\nFPR 5 %"}


def tables(results, metrics):
    """The rich tables that hold any of ``metrics``."""
    made = []
    recognition = [metric for metric in RECOGNITION if metric in metrics]
    if recognition and results.tables["mitigation"]:
        made.append(_mitigation(results, recognition))
    detection = [metric for metric in DETECTION if metric in metrics]
    if detection and results.tables["detection"]:
        made.append(_detection(results, detection))
    sizes = [metric for metric in PERTURBATION if metric in metrics]
    if sizes:
        made.append(_attacks(results, sizes))
    return made


def _mitigation(results, metrics):
    rows = [row for row in results.over_seeds("mitigation") if row["metric"] in metrics]
    title = f"Mitigation: accuracy (%) over all {rows[0]['n'][0]:.0f} test faces"
    table = _table(title, ["Attack", "Mitigation", "Measure"], _COLUMNS.values())
    for metric in metrics:
        for row in rows:
            if row["metric"] == metric:
                table.add_row(row["attack"], row["defense"], metric, *(percent(row[column]) for column in _COLUMNS))
        table.add_section()
    return table


def _detection(results, metrics):
    rows = results.over_seeds("detection")
    title = f"Detection (%), attack unaware of the detector, which was trained once on {rows[0]['trained_on']}"
    table = _table(title, ["Attack", "Detector"], [_LABELS.get(metric, metric) for metric in metrics])
    for row in rows:
        table.add_row(row["attack"], row["detector"], *(percent(row[metric]) for metric in metrics))
    return table


def _attacks(results, metrics):
    table = _table("Attacks: success (%) and median size over all test faces", ["Attack", "Against"],
                   [metric.replace("_", "\n") for metric in metrics])  # fmt: skip
    for row in results.over_seeds("attacks"):
        cells = [percent(row[metric]) if metric.startswith("success") else f"{row[metric][0]:.4g}" for metric in metrics]
        table.add_row(row["attack"], row["against"], *cells)
    return table


def _table(title, names, columns):
    table = Table(title=title, title_justify="left", min_width=min(len(title) + 2, 100))
    for name in names:
        table.add_column(name)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def percent(spread):
    """``98.86``, or with several seeds ``98.86 (98.48-99.24)``."""
    mean, low, high = (100 * value for value in spread)
    if mean != mean:
        return "-"
    return f"{mean:.2f}" if low == high else f"{mean:.2f} ({low:.2f}-{high:.2f})"
