"""The tables of detection: one for each protocol."""

from smartbox.benchmark._folding import cell, defined, folded, percent
from smartbox.benchmark._paper import DETECTION_FIGURES
from smartbox.metrics._cross_attack import rows_of

_NOTHING = (float("nan"),) * 3
# Of the committed protocol's first table: what it shows of each metric.
_COMPACT = {
    "fpr": {"FPR": ("unaware", "fpr")},
    "recall": {"recall (TPR),\nunaware": ("unaware", "recall"), "recall (TPR),\naware": ("aware", "recall")},
    "evaded": {"wrong, no\nalarm, aware": ("aware", "evaded")},
    "roc_auc": {"ROC AUC,\nunaware": ("unaware", "roc_auc"), "ROC AUC,\naware": ("aware", "roc_auc")},
    "ms_per_face": {"ms a\nface": ("unaware", "ms_per_face")},
}


def detection_tables(results, metrics, width, seeds):
    """Of all faces under the committed and the cross protocol, of both populations under the paper's."""
    rows = results.over_seeds("detection")
    if not rows:
        return []
    protocol = results.provenance.get("protocol", "committed")
    if protocol == "paper":
        return [_papers(rows, metrics, width, seeds)]
    rows = [row for row in rows if row["population"] == "all"]
    if protocol == "cross":
        return [_crossed(rows, width, seeds)]
    compact = [metric for metric in _COMPACT if metric in metrics]
    rest = [metric for metric in metrics if metric not in _COMPACT]
    made = [_compact(rows, compact, width, seeds)] if compact else []
    return made + ([_detailed(rows, rest, width, seeds)] if rest else [])


def _compact(rows, metrics, width, seeds):
    """A line for each detector and attack: unaware and aware side by side."""
    columns = {label: source for metric in metrics for label, source in _COMPACT[metric].items()}
    found = {(row["detector"], row["attack"], row["threat"]): row for row in rows}
    lines = []
    for detector, attack in dict.fromkeys((detector, attack) for detector, attack, _ in found):
        values = [
            cell(column, found.get((detector, attack, threat), {}).get(column, _NOTHING))
            for threat, column in columns.values()
        ]
        lines.append(((detector, attack), values))
    dash = "the detector's score has no gradient that an attack could follow, or the figure is not defined"
    return folded(_committed_title(rows, seeds), ["Detector", "Attack"], list(columns), lines, width, dash)


def _detailed(rows, metrics, width, seeds):
    lines = [
        ((row["attack"], row["detector"], row["threat"]), [cell(metric, row[metric]) for metric in metrics])
        for row in rows
    ]
    dash = "not defined, as is precision where a detector finds nothing"
    return folded(_committed_title(rows, seeds), ["Attack", "Detector", "Attack knows"], metrics, lines, width, dash)


def _committed_title(rows, seeds):
    threats = "attacked knowing the network alone (unaware)"
    if any(row["threat"] == "aware" for row in rows):
        threats += " or network and detector (aware)"
    return f"Detection (%) by detectors trained once on {rows[0]['trained_on']}, {_alarms(rows)}, {threats}{seeds}"


def _papers(rows, metrics, width, seeds):
    title = f"Detection (%) by a detector for each attack, which is unaware of it{seeds}"
    figures = defined(rows, DETECTION_FIGURES)
    columns = [*metrics, *figures]
    lines = [
        ((row["attack"], row["detector"], row["population"]), [cell(column, row[column]) for column in columns])
        for row in rows
    ]
    dash = "not defined, as is precision where a detector finds nothing"
    dash += "; the paper counts other faces or has no figure" if figures else ""
    return folded(title, ["Attack", "Detector", "Faces that count"], columns, lines, width, dash)


def _crossed(rows, width, seeds):
    """A line for each detector and what it was trained on, two columns for each attack that it meets."""
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    found = {(row["detector"], row["trained_on"], row["attack"]): row for row in rows}
    columns = [f"{attack}:\n{what}" for attack in attacks for what in ("TPR", "ROC AUC")]
    lines = []
    for detector in dict.fromkeys(row["detector"] for row in rows):
        for name, labels in rows_of(attacks).items():
            met = [found.get((detector, label, attack), {}) for attack, label in zip(attacks, labels, strict=True)]
            values = [percent(row.get(column, _NOTHING)) for row in met for column in ("recall", "roc_auc")]
            lines.append(((detector, name), values))
    title = f"Detection (%) of attacks that a detector was trained on and of others, all unaware of it, {_alarms(rows)}{seeds}"
    return folded(title, ["Detector", "Trained on"], columns, lines, width, "the attack left every face as it was")


def _alarms(rows):
    return f"at {100 * rows[0]['allowed_fpr'][0]:.3g} % false alarms on validation faces"
