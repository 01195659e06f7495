"""Results as tables for a terminal, shaped as the SmartBox paper's Tables 2 and 3; those of detection are made next door."""

from rich.text import Text

from smartbox.benchmark._accuracy import ALL_ATTACKS
from smartbox.benchmark._detection_tables import detection_tables
from smartbox.benchmark._folding import LABELS, cell, defined, folded, percent
from smartbox.benchmark._mitigation import AWARE, UNAWARE
from smartbox.benchmark._one_seed import UNDEFENDED
from smartbox.benchmark._paper import MITIGATION_FIGURES, TARGETED
from smartbox.benchmark._results import DETECTION, GUARD_COLUMNS, MITIGATION_COLUMNS, PERTURBATION, RECOGNITION
from smartbox.benchmark._signs import SIGNS

_FEW_FACES = 50
_LOW = 0.5  # identification before any attack


def tables(results, metrics, width=160, n_seeds=None):
    """The tables that hold any of ``metrics``, for a terminal of ``width`` columns, and remarks on what they are worth.

    ``n_seeds`` is how many seeds there were to be; the titles say if they are fewer.
    """
    made, seeds = [], _seeds(results, n_seeds)
    for make, among in (
        (_mitigation, RECOGNITION), (detection_tables, DETECTION), (_guard, ("identification",)), (_attacks, PERTURBATION)
    ):  # fmt: skip
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
    if not results.provenance.get("adaptive", True) and any(row["defense"] != UNDEFENDED for row in rows):
        found.append(f"{UNAWARE}; leave out --no-adaptive (adaptive=False) for those that do.")
    return found + _silent(results) + _masked(results) + _other_aims(results.provenance)


def _silent(results):
    """Of detectors without a threshold that the validation faces could set, whatever their ROC says."""
    rows = results.tables.get("detection", [])
    silent = dict.fromkeys(row["detector"] for row in rows if row.get("never_flags") == 1)
    return [
        f"{name} flags nothing, since the validation faces are too few to set its threshold: its rates are 0 for that reason "
        "alone; take more images of each identity."
        for name in silent
    ]


def _masked(results):
    """Of mitigations whose gradients look masked, with the signs and the attacks that show them."""
    shown = {}
    for row in results.tables["mitigation"]:
        for sign in (name for name in SIGNS if row.get(name) == 1 and row["attack"] != ALL_ATTACKS):
            shown.setdefault(row["defense"], {}).setdefault(sign, {})[row["attack"]] = None
    found = []
    for defense, signs in shown.items():
        told = "; ".join(f"{SIGNS[sign]} ({', '.join(signs[sign])})" for sign in SIGNS if sign in signs)
        found.append(
            f"the gradients of {defense} look masked to an attack that is aimed at it: {told}. Its adaptive figures then say "
            "little about robustness; smartbox.metrics.masking_report looks closer."
        )
    return found


def _other_aims(provenance):
    """Of the paper's attacks those that did not aim as there, so that its figures do not stand beside them."""
    parameters = provenance.get("parameters", {}) if provenance.get("protocol") == "paper" else {}
    aims = {name: parameters[f"attack.{name}"]["targeted"] for name in TARGETED if f"attack.{name}" in parameters}
    return [
        f"the paper's {name} {'aims at a target' if TARGETED[name] else 'has no target'}, and its figures are left out; to see "
        f"them set attack.{name}.targeted={str(TARGETED[name]).lower()}."
        for name, targeted in aims.items()
        if targeted != TARGETED[name]
    ]


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
    title = f"Mitigation: accuracy (%) over all {rows[0]['n'][0]:.0f} test faces, attacked knowing the network alone"
    if any(row["adaptive"][0] == row["adaptive"][0] for row in rows):
        title += " (transferred) or network and mitigation (adaptive)"
    figures = defined(rows, MITIGATION_FIGURES)
    shown = [name for name in MITIGATION_COLUMNS if name not in AWARE or results.provenance.get("adaptive", True)]
    columns = [*shown, *figures]
    lines = [
        ((row["attack"], row["defense"], row["metric"]), [percent(row[column]) for column in columns]) for row in rows
    ]
    dash = "there is no mitigation, or the paper has no figure" if figures else "there is no mitigation"
    return [folded(f"{title}{seeds}", ["Attack", "Mitigation", "Measure"], columns, lines, width, dash)]


def _guard(results, metrics, width, seeds):
    rows = results.over_seeds("guard")
    if not rows:
        return []
    title = f"Guard: identification (%) over all {rows[0]['n'][0]:.0f} test faces, rejected ones counted as wrong, attacked "
    title += f"knowing the network alone (transferred) or network, detector and mitigation (adaptive){seeds}"
    lines = [
        ((row["attack"], row["detector"], row["then"]), [percent(row[column]) for column in GUARD_COLUMNS])
        for row in rows
    ]
    labels = [LABELS.get(column, column).replace("mitigated", "attacked") for column in GUARD_COLUMNS]
    dash = "the detector's score has no gradient that an attack could follow"
    return [folded(title, ["Attack", "Detector", "What is flagged"], labels, lines, width, dash)]


def _attacks(results, metrics, width, seeds):
    title = (
        f"Attacks: success (%) and median size over all test faces, each attack knowing all that it is against{seeds}"
    )
    lines = [
        ((row["attack"], row["against"]), [cell(metric, row[metric]) for metric in metrics])
        for row in results.over_seeds("attacks")
    ]
    return [folded(title, ["Attack", "Against"], metrics, lines, width, "not defined")]
