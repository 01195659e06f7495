"""Two runs on the same faces: where they differ, and whether that is more than chance."""

from smartbox.report._differences import CONDITION, detection, holm, recognition
from smartbox.report._grid import Cell, Column, Grid, Section, listed, words

_LEVEL = 0.05
_PROVENANCE = "provenance-section"
_THREAT = (
    "Threat models: “network”, the attack knows the bare network alone (transferred, where there is a mitigation); the name of a "
    "mitigation, it knows network and mitigation (adaptive); “the network and” a detector, it knows both."
)
_HOLM = "Holm: corrected for all tests of this table together; “yes” below 5 %."


def comparison_sections(a, b):
    """Differences of recognition and of detection, what only one run has, and the parameters that differ."""
    recognised, detected = recognition(a, b), detection(a, b)
    for rows in (recognised, detected):
        for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
            row["holm"] = p
    made = [
        Section("recognition-section", "Recognition", _recognition_grid(recognised)),
        Section("detection-section", "Detection", _detection_grid(detected)),
        Section(_PROVENANCE, "Provenance", _provenance_grids(a, b)),
    ]
    return [section for section in made if section.items]


def comparison_summary(a, b, sections):
    """``(heading, sentences)``."""
    lines = [
        (grid, *line)
        for section in sections
        if section.id != _PROVENANCE
        for grid in section.items
        for line in grid.lines
    ]
    sure = [line for line in lines if line[2][-1].text == "yes"]
    compared = [
        f"A is the run in {a.folder}, B that in {b.folder}: the same {len(a.records['faces'])} test faces of "
        f"{len(a.seeds)} seed{'s' if len(a.seeds) > 1 else ''}. A difference is B less A.",
        "Each face counts by whether both runs are right about it (McNemar's exact test); detectors by draws of identities, the "
        "same for both runs (paired bootstrap).",
    ]
    found = [
        f"Of {len(lines)} differences tested, {len(sure) or 'none'} {'are' if len(sure) > 1 else 'is'} more than chance."
    ]
    for _, names, cells in sorted(sure, key=lambda line: -abs(line[2][2].sort))[:3]:
        found.append(f"{', '.join(names)}: {cells[0].text} % in A, {cells[1].text} % in B ({cells[2].text} points).")
    notes = []
    if len(a.seeds) > 1:
        notes.append(
            "Faces of all seeds are tested together, and an image that several seeds test counts once in each."
        )
    for run, other, name in ((a, b, "A"), (b, a, "B")):
        alone = [what for what in _conditions(run) if what not in _conditions(other)]
        if alone:
            notes.append(f"Only {name} has {listed(alone)}, which is not compared.")
    return [("What was compared", compared), ("What was found", found)] + (
        [("What to keep in mind", notes)] if notes else []
    )


def _recognition_grid(rows):
    counts = [Column(f"only {run} right", "Faces") for run in "AB"]
    lines = [(row["names"], [*_figures(row), Cell(str(row["only_a"]), row["only_a"]), Cell(str(row["only_b"]), row["only_b"]),
                             *_tests(row)]) for row in rows]  # fmt: skip
    columns = [*_COLUMNS, *counts, *_TESTS]
    names = ["Attack", "Attack knows", "Mitigation", "Measure"]
    title = "Recognition: differences, by McNemar's exact test on the faces"
    return [Grid("recognition", title, names, columns, lines, _THREAT, "in %", [_HOLM], _DIFFERENCE)] if rows else []


def _detection_grid(rows):
    lines = [(row["names"], [*_figures(row), *_tests(row)]) for row in rows]
    names = ["Detector", "Trained on", "Attack", "Attack knows", "Measure"]
    title = "Detection: differences, by a paired bootstrap of identities"
    threat = "Threat model: by line; “network and detector”, the attack is made against both."
    return (
        [Grid("detection", title, names, [*_COLUMNS, *_TESTS], lines, threat, "in %", [_HOLM], _DIFFERENCE)]
        if rows
        else []
    )


_DIFFERENCE = "the difference, by draws of identities"
_COLUMNS = [Column("A"), Column("B"), Column("B less A, points")]
_TESTS = [Column("p", "Test"), Column("p, Holm", "Test"), Column("more than chance?", "Test", is_text=True)]


def _figures(row):
    difference = 100 * (row["b"] - row["a"])
    ends = f"[{_signed(row['low'], 1)}, {_signed(row['high'], 1)}]" if row["low"] == row["low"] else ""
    return [Cell(f"{100 * row[run]:.2f}", 100 * row[run]) for run in "ab"] + [
        Cell(_signed(row["b"] - row["a"], 2), difference, ends)
    ]


def _signed(share, digits):
    """A difference in points; zero has no sign."""
    points = round(100 * share, digits)
    return f"{points:+.{digits}f}" if points else f"{0:.{digits}f}"


def _tests(row):
    return [
        Cell(f"{row['p']:.3g}", row["p"]), Cell(f"{row['holm']:.3g}", row["holm"]), words("yes" if row["holm"] < _LEVEL else "no")
    ]  # fmt: skip


def _provenance_grids(a, b):
    """What differs between the two, and nothing else."""
    flat = [_flat(run.results.provenance) for run in (a, b)]
    names = [name for name in dict.fromkeys([*flat[0], *flat[1]]) if flat[0].get(name) != flat[1].get(name)]
    lines = [((name,), [words(each.get(name, "–")) for each in flat]) for name in names]
    if not lines:
        return []
    return [
        Grid(
            "provenance",
            "What differs between the two runs",
            ["What"],
            [Column("A", is_text=True), Column("B", is_text=True)],
            lines,
        )
    ]


def _flat(value, name=""):
    if not isinstance(value, dict):
        return {name: str(value)}
    return {
        key: text
        for part, item in value.items()
        for key, text in _flat(item, f"{name}: {part}" if name else part).items()
    }


def _conditions(run):
    frame = run.records["predictions"][CONDITION].drop_duplicates()
    return [f"{attack or 'clean faces'} against {against or 'nothing'} behind {defense}" for attack, against, defense in
            frame.itertuples(index=False)]  # fmt: skip
