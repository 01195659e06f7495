"""Tables of accuracies: the paper's Table 2, mitigations under attacks that know of them, guards."""

from smartbox.benchmark._accuracy import ALL_ATTACKS
from smartbox.benchmark._mitigation import AWARE, UNAWARE
from smartbox.benchmark._signs import SIGNS
from smartbox.report._folder import UNDEFENDED
from smartbox.report._grid import DASH, NOTHING, Cell, Column, Grid, defined, share, words

_MEASURES = ("verification", "identification")
_PERCENT = "accuracy in % of all test faces"
THREATS = {
    "Transferred": "The attack knows the bare network alone, and the mitigation is put in front afterwards.",
    "Adaptive": "The attack knows the network and the mitigation, and is made against both together.",
    "Worst": "A face counts only if it is right under both.",
}
_WORST = "Worst, a face counts only if it is right under both."
_ALL = f"The line “{ALL_ATTACKS}” counts a face only if it is right under each attack of the run."


def recognition_grid(results):
    """The shape of the paper's Table 2, beside its figures where there are such."""
    rows = [row for row in results.over_seeds("mitigation") if row["attack"] != ALL_ATTACKS]
    if not rows:
        return []
    found = {(row["attack"], row["defense"], row["metric"]): row for row in rows}
    steps = {"before_attack": "before attack", "after_attack": "after attack", "transferred": "after mitigation"}
    columns, sources = [], []
    for metric in _MEASURES:
        of_metric = [row for row in rows if row["metric"] == metric]
        for step, label in steps.items():
            for name in (step, *defined(of_metric, [f"paper_{step}"])):
                columns.append(Column(f"{label}, paper" if name != step else label, metric.capitalize()))
                sources.append((metric, name))
    lines = []
    for attack, defense in dict.fromkeys((attack, defense) for attack, defense, _ in found):
        cells = [share(found.get((attack, defense, metric), {}), name) for metric, name in sources]
        lines.append(((attack, defense), cells))
    has_paper = any("paper" in column.label for column in columns)
    notes = ["“paper”: the figure that the SmartBox paper prints for its own network and faces."] if has_paper else []
    return [
        Grid(
            "recognition",
            "Verification and identification before attack, after attack, and after mitigation",
            ["Attack", "Mitigation"], columns, lines, unit=_PERCENT, notes=notes,
            threat="Threat model: transferred. The attack knows the bare network alone; the mitigation comes afterwards, as in "
            "the paper.",
        )
    ]  # fmt: skip


def mitigation_grid(results):
    """What a mitigation costs, and what it is worth under either threat model."""
    rows = [row for row in results.over_seeds("mitigation") if row["defense"] != UNDEFENDED]
    if not rows:
        return []
    columns = {
        "clean_mitigated": Column("clean faces"),
        "transferred": Column("transferred", "Attacked faces"),
        "adaptive": Column("adaptive", "Attacked faces"),
        "worst": Column("worst", "Attacked faces"),
    }
    if not results.provenance.get("adaptive", True):
        columns = {name: column for name, column in columns.items() if name not in AWARE}
    lines = [
        ((row["attack"], row["defense"], row["metric"]), [*(share(row, name) for name in columns), _masked(row)])
        for row in rows
    ]
    columns = [*columns.values(), Column("masked?", is_text=True)]
    notes = [_ALL] if any(row["attack"] == ALL_ATTACKS for row in rows) else []
    if not results.provenance.get("adaptive", True):
        notes.append(f"{UNAWARE[0].upper()}{UNAWARE[1:]}.")
    signs = "; ".join(SIGNS.values())
    notes.append(f"Masked: “yes” where a seed shows a sign that gradients are hidden rather than resisted: {signs}.")
    return [
        Grid(
            "mitigation", "Mitigations, and attacks that know of them", ["Attack", "Mitigation", "Measure"], columns, lines,
            unit=_PERCENT, notes=notes,
            threat=" ".join(["Threat models.", *(f"{name}: {meaning}" for name, meaning in THREATS.items())]),
        )
    ]  # fmt: skip


def guard_grid(results):
    """Detector and mitigation together."""
    rows = results.over_seeds("guard")
    if not rows:
        return []
    columns = {
        "clean": Column("right", "Clean faces"),
        "clean_flagged": Column("flagged", "Clean faces"),
        "transferred": Column("transferred", "Attacked faces"),
        "adaptive": Column("adaptive", "Attacked faces"),
        "worst": Column("worst", "Attacked faces"),
    }
    lines = [((row["attack"], row["detector"], row["then"]), [share(row, name) for name in columns]) for row in rows]
    return [
        Grid(
            "guard", "Guard: detector and mitigation at work together", ["Attack", "Detector", "What is flagged"],
            list(columns.values()), lines, unit="identification in % of all test faces, rejected ones counted as wrong",
            notes=[_ALL] if any(row["attack"] == ALL_ATTACKS for row in rows) else [],
            threat="Threat models: transferred, the attack knows the bare network alone; adaptive, it knows network, detector "
            f"and mitigation. {_WORST}",
        )
    ]  # fmt: skip


def _masked(row):
    mean = row.get("masked", NOTHING)[0]
    return Cell(DASH) if mean != mean else words("yes" if mean > 0 else "no")
