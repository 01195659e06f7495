"""Robustness over eps, from the tables, and ROC of the detectors, from records."""

import re

import numpy as np

from smartbox._checks import as_number
from smartbox.metrics import roc_points
from smartbox.report._chart import INK, Chart, Look, Series
from smartbox.report._curves import attacks_of, mean_roc
from smartbox.report._folder import NETWORK, UNDEFENDED
from smartbox.report._grid import Cell, Column, Figure, Grid, listed, share
from smartbox.report._looks import of_mitigation


def robustness(results):
    """Identification under an attack of growing eps, where the run has an attack with several."""
    rows = [row for row in results.over_seeds("mitigation") if row["metric"] == "identification"]
    defenses = [name for name in dict.fromkeys(row["defense"] for row in rows) if name != UNDEFENDED]
    found = {(row["attack"], row["defense"]): row for row in rows}
    charts, lines, legend = [], [], {}
    for base, strengths in _several_eps(results).items():
        largest = max(strengths.values())
        series = []
        for i, (name, look, defense, clean, column) in enumerate(_curves_of(defenses)):
            steps = [(0.0, found.get((next(iter(strengths)), defense)), clean)]
            steps += [(eps, found.get((attack, defense)), column) for attack, eps in strengths.items()]
            steps = [
                (eps, row, source) for eps, row, source in steps if row is not None and row[source][0] == row[source][0]
            ]
            if len(steps) < 3:
                continue
            x, y, low, high = np.array([[eps, row[c][0], *_ends(row, c)] for eps, row, c in steps]).T
            series.append(Series(name, x, y, look, band=None if np.isnan([low, high]).any() else (low, high),
                                 aside=4 * (i - len(defenses) / 2)))  # fmt: skip
            legend[name] = look
            lines += [((base, name), [Cell(_eps_text(eps), eps), share(row, source)]) for eps, row, source in steps]
        if series:
            ticks = [(eps, _eps_text(eps)) for eps in (0.0, *strengths.values())]
            alt = f"Identification under {base} of growing eps: {listed(legend)}; the figures are in the table below."
            charts.append(
                Chart(base, "eps", "identified, %", series, alt, (-0.03 * largest, 1.03 * largest), (0, 1), ticks)
            )
    if not charts:
        return []
    threat = "Threat models: “no mitigation”, the attack knows the network; the others, a face is right transferred and adaptive."
    title = "Robustness: identification under attacks of growing eps"
    columns = [Column("eps"), Column("identified")]
    table = Grid(
        "robustness-table",
        "Robustness: figures of the curves",
        ["Attack", "Mitigation"],
        columns,
        lines,
        threat,
        "in %",
    )
    notes = ["Whiskers: 95 % intervals. At eps 0 stand the clean faces, mitigated or not."]
    return [Figure("robustness", title, charts, list(legend.items()), threat, notes), table]


def detector_rocs(run):
    """ROC of each detector under each attack, over the pairs that the attack has changed."""
    frame = run.records.get("scores")
    if frame is None:
        return []
    detectors = list(dict.fromkeys(frame["detector"]))
    charts, legend = [], {}
    for attack in attacks_of(frame):
        series = []
        for i, detector in enumerate(detectors):
            mine = frame[frame["detector"] == detector]
            trained = max(
                dict.fromkeys(mine[mine["attack"] == attack]["trained_on"]),
                key=lambda name: name.count("+"),
                default="",
            )
            mine = mine[mine["trained_on"] == trained]
            clean = mine[mine["attack"] == ""]
            for aware, line in ((0, "solid"), (1, "dashed")):
                attacked = mine[(mine["attack"] == attack) & (mine["aware"] == aware)]
                attacked = _changed(run, attacked, attack, detector if aware else None)
                points = [_points(clean[clean["seed"] == seed], part) for seed, part in attacked.groupby("seed")]
                points = [each for each in points if each is not None]
                if points:
                    name = f"{detector}, {'aware' if aware else 'unaware'}"
                    legend[name] = Look(of_mitigation(i), line)
                    series.append(Series(name, *mean_roc(points), legend[name], step=True))
        if series:
            alt = f"ROC under {attack}: {listed(one.name for one in series)}; the tables of detection have the figures."
            charts.append(Chart(attack, "false alarms, %", "attacked faces found, %", series, alt, chance=True))
    if not charts:
        return []
    threat = "Threat models: unaware, the attack knows the bare network alone; aware, it knows network and detector."
    notes = ["The figures are in the tables of detection above."]
    return [
        Figure(
            "detector-roc",
            "Detection: attacked faces found against false alarms",
            charts,
            list(legend.items()),
            threat,
            notes,
        )
    ]


def _curves_of(defenses):
    """``(name, look, mitigation of the row, column at eps 0, column of the attacked)``."""
    made = [("no mitigation", Look(INK), (defenses or [UNDEFENDED])[0], "before_attack", "after_attack")]
    for i, name in enumerate(defenses):
        made.append((name, Look(of_mitigation(i), "dashed"), name, "clean_mitigated", "worst"))
    return made


def _several_eps(results):
    """By attack without its eps: ``{name in the tables: eps}``, rising, of those with two at least."""
    found = {}
    parameters = results.provenance.get("parameters", {})
    for name in dict.fromkeys(row["attack"] for row in results.tables["mitigation"]):
        eps = parameters.get(f"attack.{name}", {}).get("eps")
        try:
            found.setdefault(re.sub("@.*", "", name), {})[name] = as_number(eps, "eps")
        except (TypeError, ValueError):
            continue
    found = {base: dict(sorted(each.items(), key=lambda item: item[1])) for base, each in found.items()}
    return {base: each for base, each in found.items() if len(set(each.values())) > 1}


def _ends(row, column):
    return [row[f"{column}_{end}"][0] if f"{column}_{end}" in row else np.nan for end in ("low", "high")]


def _eps_text(eps):
    """As 255ths where it is some."""
    in_255ths = 255 * eps
    return f"{round(in_255ths)}/255" if eps and abs(in_255ths - round(in_255ths)) < 1e-6 else f"{eps:.3g}"


def _changed(run, attacked, attack, detector):
    """Those of the rows whose face the attack has changed, as far as the records tell."""
    sizes = run.records.get("perturbations")
    if sizes is None or attacked.empty:
        return attacked
    against = sizes["against"]
    is_meant = against.eq(NETWORK) if detector is None else against.str.endswith(f"network and {detector}")
    sizes = sizes[(sizes["attack"] == attack) & is_meant & (sizes["linf"] == 0)][["seed", "face"]].drop_duplicates()
    untouched = attacked.merge(sizes, on=["seed", "face"], how="left", indicator=True)["_merge"].to_numpy() == "both"
    return attacked[~untouched]


def _points(clean, attacked):
    """Of one seed, over pairs: the clean twin of each attacked face counts once."""
    clean = clean[clean["face"].isin(attacked["face"])]
    if clean.empty or attacked.empty:
        return None
    scores = np.concatenate([clean["score"], attacked["score"]])
    if np.isnan(scores).any():
        return None
    return roc_points(scores, np.repeat([False, True], [len(clean), len(attacked)]))
