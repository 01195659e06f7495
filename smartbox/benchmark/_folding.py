"""Tables that fold to the width of a terminal, their labels and their cells."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

_NO_SHARES = ("ms_per_face", "plain_passes")
_NOTHING = (float("nan"),) * 3
LABELS = {
    "before_attack": "before\nattack",
    "after_attack": "after\nattack",
    "clean_mitigated": "clean,\nmitigated",
    "transferred": "mitigated,\ntransferred",
    "adaptive": "mitigated,\nadaptive",
    "worst": "mitigated,\nworst",
    "clean_flagged": "clean,\nflagged",
    "roc_auc": "ROC AUC",
    "fpr": "FPR",
    "recall": "recall\n(TPR)",
    "tpr_at_fpr_1": "TPR at\nFPR 1 %",
    "tpr_at_fpr_5": "TPR at\nFPR 5 %",
    "evaded": "wrong,\nno alarm",
    "ms_per_face": "ms a\nface",
    "plain_passes": "plain\npasses",
    "paper_before_attack": "paper:\nbefore",
    "paper_after_attack": "paper:\nafter",
    "paper_transferred": "paper:\nmitigated",
    "paper_precision": "paper:\nprecision",
    "paper_recall": "paper:\nrecall",
    "paper_accuracy": "paper:\naccuracy",
    "success_8bit": "success,\n8 bits",
    "median_l1": "median\nl1",
    "median_l2": "median\nl2",
    "median_linf": "median\nlinf",
}


def folded(title, names, columns, lines, width, dash):
    """One table; where it would be wider than ``width`` several, each of as many columns as fit beside the names.

    ``dash`` is what a cell "-" means; it is said below the table if there is one.
    """
    labels = [LABELS.get(column, column) for column in columns]
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


def defined(rows, columns):
    """Those of the columns that the rows have, with a number in one row at least."""
    return [
        column
        for column in columns
        if any(row.get(column, _NOTHING)[0] == row.get(column, _NOTHING)[0] for row in rows)
    ]


def cell(column, spread):
    """As `percent` or `plain`, by what the column holds."""
    return plain(spread) if column.startswith("median") or column in _NO_SHARES else percent(spread)


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
