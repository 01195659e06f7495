"""Tables of detection: the paper's Table 3, attacks that know of a detector and attacks that do not, the cross-attack matrix."""

from smartbox.metrics._cross_attack import rows_of
from smartbox.report._grid import Column, Grid, defined, share

_UNAWARE = "unaware, the attack knows the bare network alone"
_RATES = {"precision": "precision", "recall": "recall (TPR)", "accuracy": "accuracy", "roc_auc": "ROC AUC"}
_UNIT = "in %"


def protocol_of(results):
    return results.provenance.get("protocol", "committed")


def detection_grids(results):
    """Those that the run's protocol has."""
    rows = results.over_seeds("detection")
    if not rows:
        return []
    protocol = protocol_of(results)
    made = (
        [_papers_shape(rows, protocol)]
        if protocol != "cross"
        else _crossed([r for r in rows if r["population"] == "all"])
    )
    return made + ([_both(rows)] if protocol == "committed" else [])


def _papers_shape(rows, protocol):
    """The shape of the paper's Table 3, beside its figures where there are such."""
    rows = [row for row in rows if row["threat"] == "unaware" and (protocol == "paper" or row["population"] == "all")]
    columns, sources = [], []
    for name, label in _RATES.items():
        for source in (name, *defined(rows, [f"paper_{name}"])):
            columns.append(Column(label if source == name else f"{label}, paper"))
            sources.append(source)
    lines = [
        ((row["attack"], row["detector"], row["population"]), [share(row, name) for name in sources]) for row in rows
    ]
    if protocol == "paper":
        trained = "a detector for each attack, with the boundary of its own classifier"
    else:
        trained = f"each detector trained once on {rows[0]['trained_on']}, {_alarms(rows)}"
    notes = ["Faces that count, “successful”: those recognised before the attack and not after it."]
    if any("paper" in column.label for column in columns):
        notes.append("“paper”: the figure that the SmartBox paper prints for its own network and faces.")
    return Grid(
        "detection", f"Detection: {trained}", ["Attack", "Detector", "Faces that count"], columns, lines, unit=_UNIT,
        notes=notes if protocol == "paper" else notes[1:], threat=f"Threat model: {_UNAWARE}.",
    )  # fmt: skip


def _both(rows):
    """Unaware and aware side by side, of all faces."""
    rows = [row for row in rows if row["population"] == "all"]
    found = {(row["detector"], row["attack"], row["threat"]): row for row in rows}
    measures = {
        "recall": "Recall (TPR)", "evaded": "Wrong, no alarm", "roc_auc": "ROC AUC", "tpr_at_fpr_1": "TPR at FPR 1 %",
        "tpr_at_fpr_5": "TPR at FPR 5 %",
    }  # fmt: skip
    threats = [threat for threat in ("unaware", "aware") if any(row["threat"] == threat for row in rows)]
    columns = [Column("FPR"), *(Column(threat, label) for label in measures.values() for threat in threats)]
    lines = []
    for detector, attack in dict.fromkeys((detector, attack) for detector, attack, _ in found):
        met = {threat: found.get((detector, attack, threat), {}) for threat in threats}
        cells = [share(met["unaware"], "fpr"), *(share(met[threat], name) for name in measures for threat in threats)]
        lines.append(((detector, attack), cells))
    threat = f"Threat models: {_UNAWARE}"
    threat += "; aware, it knows network and detector and is made against both." if len(threats) > 1 else "."
    return Grid(
        "awareness", f"Detectors, and attacks that know of them, {_alarms(rows)}", ["Detector", "Attack"], columns, lines,
        unit=_UNIT, threat=threat,
        notes=["Wrong, no alarm: of all test faces, those that are misidentified and not flagged.",
               "Aware is measured where the detector's score has a gradient that an attack can follow."],
    )  # fmt: skip


def _crossed(rows):
    """A matrix for each of the two rates: trained on, by attacked with."""
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    found = {(row["detector"], row["trained_on"], row["attack"]): row for row in rows}
    made = []
    for name, label in {"recall": f"TPR, {_alarms(rows)}", "roc_auc": "ROC AUC"}.items():
        lines = []
        for detector in dict.fromkeys(row["detector"] for row in rows):
            for trained, labels in rows_of(attacks).items():
                met = [found.get((detector, one, attack), {}) for attack, one in zip(attacks, labels, strict=True)]
                lines.append(((detector, trained), [share(row, name, heat=True) for row in met]))
        made.append(
            Grid(
                f"cross-{name.replace('_', '-')}", f"Cross-attack matrix: {label}", ["Detector", "Trained on"],
                [Column(attack, "Attacked with") for attack in attacks], lines, unit=_UNIT,
                threat=f"Threat model: {_UNAWARE}.",
            )
        )  # fmt: skip
    return made


def _alarms(rows):
    allowed = rows[0].get("allowed_fpr", (float("nan"),))[0]
    return (
        f"at {100 * allowed:.3g} % false alarms on validation faces" if allowed == allowed else "at their own boundary"
    )
