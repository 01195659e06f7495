"""Tables of the attacks' success and sizes, of costs, and of where a run comes from."""

from smartbox.metrics import wilson_interval
from smartbox.report._grid import Cell, Column, Grid, between, number, share, words

_KNOWS_ALL = "Threat model: each attack knows all that it is against."
_RUN = ("protocol", "seeds", "detector_faces", "guard", "check_masking", "adaptive", "seconds", "machine", "onednn")
_LABELS = {"seconds": "seconds, less what the cache held"}


def attack_grid(results):
    """Success and sizes."""
    rows, n_faces = results.over_seeds("attacks"), _n_faces(results)
    if not rows:
        return []
    columns = {
        "success": Column("success", "Of all test faces"),
        "success_8bit": Column("after rounding to 8 bits", "Of all test faces"),
        **{f"median_{norm}": Column(norm, "Median size") for norm in ("l1", "l2", "linf")},
        "gradients_per_face": Column("gradients a face"),
    }
    lines = []
    for row in rows:
        cells = [_success(row, name, n_faces) if name.startswith("success") else number(row, name) for name in columns]
        lines.append(((row["attack"], row["against"]), cells))
    return [
        Grid(
            "attacks", "Attacks: success and size of the perturbation", ["Attack", "Against"], list(columns.values()), lines,
            threat=_KNOWS_ALL, notes=["Sizes are of images in [0, 1]; the median is over all test faces, failures included."],
            unit="success in %",
        )
    ]  # fmt: skip


def size_grid(run):
    """Quartiles of the sizes, from the records."""
    frame = run.records.get("perturbations")
    if frame is None:
        return []
    norms = ("l1", "l2", "linf")
    columns = [Column(label, norm) for norm in norms for label in ("quarter", "median", "three quarters")]
    lines = []
    for (attack, against), part in frame.groupby(["attack", "against"], sort=False):
        marks = part[list(norms)].quantile([0.25, 0.5, 0.75])
        lines.append(
            ((attack, against), [Cell(f"{value:.4g}", float(value)) for norm in norms for value in marks[norm]])
        )
    title = "Perturbations: a quarter, half and three quarters of the faces are changed by no more than this"
    notes = ["Over the faces of all seeds."] if len(run.seeds) > 1 else []
    return [Grid("sizes", title, ["Attack", "Against"], columns, lines, threat=_KNOWS_ALL, notes=notes)]


def cost_grid(results):
    """What a detector costs."""
    rows = {row["detector"]: row for row in results.over_seeds("detection")}
    lines = [((name,), [number(row, "ms_per_face"), number(row, "plain_passes")]) for name, row in rows.items()]
    columns = [Column("milliseconds a face"), Column("plain passes of the network")]
    title = "Detectors: time for one face, the network's own pass included"
    return [Grid("cost", title, ["Detector"], columns, lines, threat="Without any attack.")] if lines else []


def provenance_grids(results):
    """Everything that the numbers hang on."""
    made = results.provenance
    facts = {"command": " ".join(map(str, made.get("command", [])))}
    facts |= {f"data: {name}": value for name, value in made["data"].items()}
    facts["data: images"] = " × ".join(map(str, made["data"].get("images", [])))
    facts |= {_LABELS.get(name, name.replace("_", " ")): made[name] for name in _RUN if name in made}
    facts |= {f"version of {name}": value for name, value in made.get("versions", {}).items()}
    lines = [((name,), [words(_plain(value))]) for name, value in facts.items()]
    grids = [Grid("provenance", "The run", ["What"], [Column("Value", is_text=True)], lines)]
    lines = [
        ((estimator, name), [words(_plain(value))])
        for estimator, values in made.get("parameters", {}).items()
        for name, value in values.items()
    ]
    title = "Parameters of the network, the attacks, the mitigations and the detectors"
    return grids + (
        [Grid("parameters", title, ["Of", "Parameter"], [Column("Value", is_text=True)], lines)] if lines else []
    )


def _success(row, name, n_faces):
    """Wilson's interval of the mean over the seeds: the rows hold none."""
    cell = share(row, name)
    if cell.sort is None or not n_faces:
        return cell
    ends = wilson_interval(round(row[name][0] * n_faces), n_faces)
    return Cell(cell.text, cell.sort, between(*ends), cell.over_seeds)


def _n_faces(results):
    rows = results.tables["mitigation"]
    return int(rows[0]["n"]) if rows else 0


def _plain(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
