"""What a run found, in words that are computed from its numbers."""

from smartbox.benchmark._accuracy import ALL_ATTACKS
from smartbox.benchmark._tables import remarks
from smartbox.report._folder import UNDEFENDED
from smartbox.report._grid import listed


def measured(results):
    """What was measured, on what."""
    made, data = results.provenance, results.provenance["data"]
    names = {kind: _names(results, kind) for kind in ("attack", "defense", "detector")}
    images, about = data.get("images", ["?"]), str(data.get("description") or "no description").rstrip(".")
    said = [
        f"{images[0]} images of {data.get('identities', '?')} people ({about}), "
        f"{_shape(images)}; {_seeds(made['seeds'])}, each of which parts the faces anew into training, validation and test, and "
        "trains a network of its own.",
        f"Attacks: {listed(names['attack'])}. {_aims(made, names['attack'])}",
    ]
    said.append(f"Mitigations: {listed(names['defense'])}." if names["defense"] else "No mitigation.")
    if names["detector"]:
        said.append(
            f"Detectors: {listed(names['detector'])}, under the protocol “{made.get('protocol', 'committed')}”."
        )
    else:
        said.append("No detector.")
    return said


def headlines(results):
    """``(label, figure, what it means)`` of a few figures that stand out."""
    rows = _identification(results)
    if not rows:
        return []
    strongest = min(_single(rows), key=_mean("after_attack"))
    found = [
        ("Before attack", strongest["before_attack"], "of the test faces are identified"),
        ("After attack", strongest["after_attack"], f"are, under {listed(_as_strong(rows, strongest), 'or')}"),
    ]
    best = _best_mitigation(rows)
    if best:
        where = f"behind {best['defense']}" if best["worst"][0] else "whatever the mitigation"
        found.append(("Best mitigation", best["worst"], f"are, {where}, at worst under {best['attack']}"))
    detection = [
        row
        for row in results.over_seeds("detection")
        if (row["population"], row["threat"]) == ("all", "unaware") and _has(row, "roc_auc")
    ]
    if detection:
        best = _hardest_to_detect(detection)
        alarms = f"its best detector, {best['detector']}, at {_percent(best, 'fpr')} false alarms"
        meaning = f"of the faces attacked by {best['attack']}, the hardest to detect, are flagged by {alarms}"
        found.append(("Detection", best["recall"], meaning))
    return [
        (label, f"{100 * spread[0]:.1f}\N{NO-BREAK SPACE}%", meaning)
        for label, spread, meaning in found
        if spread[0] == spread[0]
    ]


def findings(results):
    """The main findings, one sentence each."""
    rows = _identification(results)
    return [*_attacked(rows), *_mitigated(rows), *_detected(results), *_guarded(results)]


def cautions(results):
    """Why the numbers may mean little."""
    return [f"{text[:1].upper()}{text[1:]}" for text in remarks(results)]


def _attacked(rows):
    single = _single(rows)
    if not single:
        return []
    strongest, weakest = (pick(single, key=_mean("after_attack")) for pick in (min, max))
    names = _as_strong(rows, strongest)
    most = f"strongest attack, {names[0]}, leaves" if len(names) == 1 else f"strongest attacks, {listed(names)}, leave"
    other = f"; the weakest, {weakest['attack']}, {_percent(weakest, 'after_attack')}"
    return [
        f"Without any attack the network identifies {_percent(strongest, 'before_attack')} of the test faces. The {most} "
        f"{_percent(strongest, 'after_attack')} identified{other if weakest['attack'] not in names else ''}."
    ]


def _mitigated(rows):
    best = _best_mitigation(rows)
    if best is None:
        return []
    cost = 100 * (best["before_attack"][0] - best["clean_mitigated"][0])
    told = f"{'costs' if cost > 0 else 'gains'} {abs(cost):.1f} points" if abs(cost) >= 0.05 else "costs nothing"
    which = "all attacks together" if best["attack"] == ALL_ATTACKS else best["attack"]
    said = [f"No mitigation leaves a face that is right both transferred and adaptive under {which}."]
    if best["worst"][0]:
        said = [
            f"Of the mitigations {best['defense']} does best at worst: under {which}, {_percent(best, 'worst')} of the faces are "
            f"right both transferred and adaptive. Without attack it {told}."
        ]
    falls = [row for row in _single(rows) if _has(row, "transferred") and _has(row, "adaptive")]
    if falls:
        row = max(falls, key=lambda row: row["transferred"][0] - row["adaptive"][0])
        if row["transferred"][0] > row["adaptive"][0]:
            said.append(
                f"An attack that knows of the mitigation tells another story than one that does not: {row['defense']} under "
                f"{row['attack']} falls from {_percent(row, 'transferred')} (transferred) to {_percent(row, 'adaptive')} "
                "(adaptive)."
            )
    return said


def _detected(results):
    rows = [row for row in results.over_seeds("detection") if row["population"] == "all" and _has(row, "roc_auc")]
    unaware = [row for row in rows if row["threat"] == "unaware"]
    if not unaware:
        return []
    best, hardest = max(unaware, key=_mean("roc_auc")), _hardest_to_detect(unaware)
    least = f"; {hardest['attack']} is the hardest to detect, best by {hardest['detector']} ({_percent(hardest, 'roc_auc')})"
    said = [
        f"Of the attacks that know of no detector {best['attack']} is detected best, by {best['detector']} (area under the ROC "
        f"curve {_percent(best, 'roc_auc')}, {_percent(best, 'recall')} flagged)"
        f"{least if hardest['attack'] != best['attack'] else ''}."
    ]
    aware = [row for row in rows if row["threat"] == "aware" and _has(row, "evaded")]
    if aware:
        row = max(aware, key=_mean("evaded"))
        said.append(
            f"Aimed at network and detector together, {row['attack']} gets {_percent(row, 'evaded')} of the test faces "
            f"misidentified past {row['detector']} without an alarm."
        )
    return said


def _guarded(results):
    rows = [row for row in results.over_seeds("guard") if _has(row, "worst")]
    rows = [row for row in rows if row["attack"] == ALL_ATTACKS] or rows
    if not rows:
        return []
    best = max(rows, key=_mean("worst"))
    if not best["worst"][0]:
        return [f"No guard leaves a face identified at worst, under {best['attack']}."]
    return [
        f"Of the guards {best['detector']} with {best['then']} does best: under {best['attack']}, {_percent(best, 'worst')} of "
        "the faces are identified at worst."
    ]


def _as_strong(rows, strongest):
    """Attacks that leave as few faces identified as the strongest."""
    least = strongest["after_attack"][0]
    return list(dict.fromkeys(row["attack"] for row in _single(rows) if row["after_attack"][0] == least))


def _hardest_to_detect(rows):
    """Of each attack the detector with the largest area under the curve; of these the smallest."""
    best = {}
    for row in rows:
        if row["roc_auc"][0] > best.get(row["attack"], {"roc_auc": (-1,)})["roc_auc"][0]:
            best[row["attack"]] = row
    return min(best.values(), key=_mean("roc_auc"))


def _aims(made, attacks):
    """Which attacks reach for a person, and which only leave one."""
    of_run, parameters = made.get("attacks", {}), made.get("parameters", {})
    is_targeted = {name: of_run.get(name, parameters.get(f"attack.{name}", {})).get("targeted", False) for name in attacks}
    targeted = [name for name in attacks if is_targeted[name]]
    if not targeted:
        return "All aim away from the true identity."
    if len(targeted) == len(attacks):
        return "All are targeted: they reach for another identity, which false claims name."
    others = [name for name in attacks if not is_targeted[name]]
    return (
        f"Targeted, which reach for another identity that false claims name: {listed(targeted)}; away from the true identity: "
        f"{listed(others)}."
    )


def _best_mitigation(rows):
    """By the worst case, over all attacks together where there are several."""
    rows = [row for row in rows if row["defense"] != UNDEFENDED and _has(row, "worst")]
    rows = [row for row in rows if row["attack"] == ALL_ATTACKS] or rows
    return max(rows, key=_mean("worst")) if rows else None


def _identification(results):
    return [row for row in results.over_seeds("mitigation") if row["metric"] == "identification"]


def _single(rows):
    return [row for row in rows if row["attack"] != ALL_ATTACKS]


def _names(results, kind):
    """From the parameters, which name everything in the order of the run."""
    prefix = f"{kind}."
    return [name[len(prefix) :] for name in results.provenance.get("parameters", {}) if name.startswith(prefix)]


def _has(row, column):
    return column in row and row[column][0] == row[column][0]


def _mean(column):
    return lambda row: row[column][0]


def _percent(row, column):
    return f"{100 * row[column][0]:.1f}\N{NO-BREAK SPACE}%"


def _shape(images):
    return f"{' × '.join(map(str, images[1:3]))} pixels" if len(images) == 4 else "of unknown size"


def _seeds(seeds):
    return f"one seed ({seeds[0]})" if len(seeds) == 1 else f"{len(seeds)} seeds ({listed(map(str, seeds))})"
