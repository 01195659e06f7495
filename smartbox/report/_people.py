"""Who is recognised under attack: a line for each person."""

from smartbox.metrics import wilson_interval
from smartbox.report._folder import NETWORK, UNDEFENDED
from smartbox.report._grid import DASH, Cell, Column, Grid, between


def people_grid(run):
    """Identification of each person before and after each attack, from the records."""
    frame = run.records.get("predictions")
    if frame is None:
        return []
    frame = frame[(frame["defense"] == UNDEFENDED) & frame["against"].isin(["", NETWORK])]
    frame = frame.assign(right=frame["predicted"] == frame["identity"])
    attacks = list(dict.fromkeys(frame["attack"]))
    names = dict(zip(frame["identity"], frame["name"], strict=True))
    counts = frame.groupby(["identity", "attack"], sort=False)["right"].agg(["sum", "size"])
    counts = {key: (int(right), int(n)) for key, right, n in counts.itertuples()}
    lines = []
    for identity, name in names.items():
        n_faces = max(counts.get((identity, attack), (0, 0))[1] for attack in attacks)
        cells = [_rate(*counts.get((identity, attack), (0, 0))) for attack in attacks]
        lines.append(((name,), [Cell(str(n_faces), n_faces), *cells]))
    columns = [Column("faces"), *(Column(attack or "before attack", "Identified") for attack in attacks)]
    notes = ["Intervals: Wilson's, which takes the faces of a person for independent."]
    if len(run.seeds) > 1:
        notes.insert(0, "The test faces of all seeds together.")
    return [
        Grid(
            "people", "People: identification before and after each attack", ["Identity"], columns, lines,
            unit="in %", notes=notes,
            threat="Threat model: the attack knows the bare network alone; there is no mitigation.", intervals_of="these faces",
        )
    ]  # fmt: skip


def _rate(right, n):
    if not n:
        return Cell(DASH)
    return Cell(f"{100 * right / n:.2f}", 100 * right / n, between(*wilson_interval(right, n)))
