"""Results as tables for a terminal, shaped as the SmartBox paper's Tables 2 and 3."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smartbox.benchmark._results import DETECTION, MITIGATION_COLUMNS, PERTURBATION, RECOGNITION

_LABELS = {
    "before_attack": "before\nattack",
    "after_attack": "after\nattack",
    "clean_mitigated": "clean,\nmitigated",
    "transferred": "mitigated,\ntransferred",
    "adaptive": "mitigated,\nadaptive",
    "worst": "mitigated,\nworst",
    "roc_auc": "ROC AUC",
    "fpr": "FPR",
    "tpr_at_fpr_1": "TPR at\nFPR 1 %",
    "tpr_at_fpr_5": "TPR at\nFPR 5 %",
    "success_8bit": "success,\n8 bits",
    "median_l1": "median\nl1",
    "median_l2": "median\nl2",
    "median_linf": "median\nlinf",
}


def tables(results, metrics, width=160):
    """The tables that hold any of ``metrics``, for a terminal of ``width`` columns."""
    made = []
    for make, among in ((_mitigation, RECOGNITION), (_detection, DETECTION), (_attacks, PERTURBATION)):
        chosen = [metric for metric in among if metric in metrics]
        made += make(results, chosen, width) if chosen else []
    return made


def _mitigation(results, metrics, width):
    rows = [row for metric in metrics for row in results.over_seeds("mitigation") if row["metric"] == metric]
    if not rows:
        return []
    title = f"Mitigation: accuracy (%) over all {rows[0]['n'][0]:.0f} test faces"
    lines = [
        ((row["attack"], row["defense"], row["metric"]), [percent(row[column]) for column in MITIGATION_COLUMNS])
        for row in rows
    ]
    return [_folded(title, ["Attack", "Mitigation", "Measure"], MITIGATION_COLUMNS, lines, width)]


def _detection(results, metrics, width):
    rows = results.over_seeds("detection")
    if not rows:
        return []
    title = f"Detection (%): attacks unaware of the detector, which was trained once on {rows[0]['trained_on']}"
    lines = [((row["attack"], row["detector"]), [percent(row[metric]) for metric in metrics]) for row in rows]
    return [_folded(title, ["Attack", "Detector"], metrics, lines, width)]


def _attacks(results, metrics, width):
    title = "Attacks: success (%) and median size over all test faces"
    lines = [
        (
            (row["attack"], row["against"]),
            [(percent if metric.startswith("success") else plain)(row[metric]) for metric in metrics],
        )
        for row in results.over_seeds("attacks")
    ]
    return [_folded(title, ["Attack", "Against"], metrics, lines, width)]


def _folded(title, names, columns, lines, width):
    """One table; where it would be wider than ``width`` several, each of as many columns as fit beside the names."""
    labels = [_LABELS.get(column, column) for column in columns]
    named = [_wide([name, *(cells[i] for cells, _ in lines)]) for i, name in enumerate(names)]
    wide = [_wide([label, *(cells[i] for _, cells in lines)]) for i, label in enumerate(labels)]
    parts = []
    for part in _parts(wide, width - sum(named) - 1):
        table = Table(show_lines=any("\n" in cell for _, cells in lines for cell in cells))
        for name in names:
            table.add_column(name, overflow="fold")
        for label in labels[part]:
            table.add_column(label, justify="right")
        for cells, values in lines:
            table.add_row(*map(Text, cells), *values[part])
        parts.append(table)
    return Group(Text(title, style="italic"), *parts)


def _wide(cells):
    """Width of a column on the terminal, with its padding and border."""
    return 3 + max(len(line) for cell in cells for line in cell.split("\n"))


def _parts(widths, room):
    """Slices of neighbours that fit into ``room``, at least one in each."""
    start, used = 0, 0
    for i, width in enumerate(widths):
        if i > start and used + width > room:
            yield slice(start, i)
            start, used = i, 0
        used += width
    yield slice(start, len(widths))


def percent(spread):
    """``98.86``, or with several seeds that, and the lowest and the highest below it."""
    return _with_range(spread, lambda value: f"{100 * value:.2f}")


def plain(spread):
    """As `percent`, of a number that is no share."""
    return _with_range(spread, lambda value: f"{value:.4g}")


def _with_range(spread, text):
    mean, low, high = spread
    if mean != mean:
        return "-"
    return text(mean) if low == high else f"{text(mean)}\n{text(low)}-{text(high)}"
