"""Results as tables for a terminal, shaped as the SmartBox paper's Tables 2 and 3."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smartbox.benchmark._results import DETECTION, MITIGATION_COLUMNS, PERTURBATION, RECOGNITION

_FEW_FACES = 50
_LOW = 0.5  # identification before any attack
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
    "evaded": "wrong,\nno alarm",
    "success_8bit": "success,\n8 bits",
    "median_l1": "median\nl1",
    "median_l2": "median\nl2",
    "median_linf": "median\nlinf",
}


def tables(results, metrics, width=160, n_seeds=None):
    """The tables that hold any of ``metrics``, for a terminal of ``width`` columns, and remarks on what they are worth.

    ``n_seeds`` is how many seeds there were to be; the titles say if they are fewer.
    """
    made, seeds = [], _seeds(results, n_seeds)
    for make, among in ((_mitigation, RECOGNITION), (_detection, DETECTION), (_attacks, PERTURBATION)):
        chosen = [metric for metric in among if metric in metrics]
        made += make(results, chosen, width, seeds) if chosen else []
    return made + [Text(f"Remark: {remark}") for remark in remarks(results)]


def remarks(results):
    """Why the numbers may mean little."""
    rows = [row for row in results.over_seeds("mitigation") if row["metric"] == "identification"]
    if not rows:
        return []
    found, n_faces, right = [], rows[0]["n"][0], rows[0]["before_attack"][0]
    if right < _LOW:
        found.append(
            f"without any attack the network identifies only {100 * right:.0f} % of the test faces, so that the "
            "effects of attacks and mitigations say little; train it longer (network.epochs), or on more or larger "
            "images."
        )
    if n_faces < _FEW_FACES:
        found.append(
            f"there are {n_faces:.0f} test faces only, and each is {100 / n_faces:.1f} % of the accuracies; take more "
            "images of each identity, or several seeds."
        )
    return found


def _seeds(results, n_planned):
    """What a title says of the seeds: nothing if there is one, as there was to be."""
    n_done = len({row["seed"] for rows in results.tables.values() for row in rows})
    n_planned = max(n_planned or 0, n_done)
    if n_planned < 2:
        return ""
    of_all = "" if n_done == n_planned else f" of {n_planned}"
    return f"; {'mean and range over ' if n_done > 1 else ''}{n_done}{of_all} seeds"


def _mitigation(results, metrics, width, seeds):
    rows = [row for metric in metrics for row in results.over_seeds("mitigation") if row["metric"] == metric]
    if not rows:
        return []
    title = f"Mitigation: accuracy (%) over all {rows[0]['n'][0]:.0f} test faces{seeds}"
    lines = [
        ((row["attack"], row["defense"], row["metric"]), [percent(row[column]) for column in MITIGATION_COLUMNS])
        for row in rows
    ]
    dash = "there is no mitigation"
    return [_folded(title, ["Attack", "Mitigation", "Measure"], MITIGATION_COLUMNS, lines, width, dash)]


def _detection(results, metrics, width, seeds):
    rows = results.over_seeds("detection")
    if not rows:
        return []
    committed = len({row["trained_on"] for row in rows}) == 1 and any(row["threat"] == "aware" for row in rows)
    if committed:
        rows = [row for row in rows if row["population"] == "all"]
        title = f"Detection (%) by detectors trained once on {rows[0]['trained_on']}, at 5 % false alarms on validation faces"
    else:
        title = "Detection (%) by a detector for each attack, which is unaware of it"
    lines = [
        (
            (row["attack"], row["detector"], row["threat"] if committed else row["population"]),
            [percent(row[metric]) for metric in metrics],
        )
        for row in rows
    ]
    dash = "not defined, as is precision where a detector finds nothing"
    names = ["Attack", "Detector", "Attack knows" if committed else "Faces that count"]
    return [_folded(title + seeds, names, metrics, lines, width, dash)]


def _attacks(results, metrics, width, seeds):
    title = f"Attacks: success (%) and median size over all test faces{seeds}"
    lines = [
        (
            (row["attack"], row["against"]),
            [(percent if metric.startswith("success") else plain)(row[metric]) for metric in metrics],
        )
        for row in results.over_seeds("attacks")
    ]
    return [_folded(title, ["Attack", "Against"], metrics, lines, width, "not defined")]


def _folded(title, names, columns, lines, width, dash):
    """One table; where it would be wider than ``width`` several, each of as many columns as fit beside the names.

    ``dash`` is what a cell "-" means; it is said below the table if there is one.
    """
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
    caption = [Text(f"-: {dash}", style="italic")] if any("-" in values for _, values in lines) else []
    return Group(Text(title, style="italic"), *parts, *caption)


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
