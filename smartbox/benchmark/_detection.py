"""The detection part of a run: detectors are trained, and meet attacks that know nothing of them and ones that do."""

import numpy as np

from smartbox.benchmark._making import score_together
from smartbox.benchmark._one_seed import CLEAN, NETWORK, UNDEFENDED
from smartbox.benchmark._paper import detection_figures
from smartbox.benchmark._trainings import allowed_fpr, trainings_of
from smartbox.metrics import bootstrap_by_identity, detection_population, detection_report

POPULATIONS = ("all", "successful")
RATES = ("precision", "recall", "accuracy", "fpr", "roc_auc", "tpr_at_fpr_1", "tpr_at_fpr_5")


def detect(one):
    """Train the detectors of a pass, let them meet the attacks, and note the scores.

    ``committed``: each detector is trained once, on all attacks of the run, and its threshold flags 5 % of the clean
    validation faces; it meets every attack unaware of it and, where its score has a gradient, aware of it. ``paper``: a
    detector for each attack, with the boundary of its own classifier, which meets that attack alone. ``cross``: detectors
    trained on each attack, on all, and on all but one, with the threshold as committed; each meets every attack, and those
    trained on all but one that one.
    """
    runs = trainings_of(one.plan)
    score_together(one, [(name, label) for label, *_ in runs for name in one.plan.detector], CLEAN)
    for attack in one.plan.attack:
        meeting = [(name, label) for label, _, met in runs if attack in met for name in one.plan.detector]
        score_together(one, meeting, attack, NETWORK)
    for label, _, met in runs:
        for name in one.plan.detector:
            _note(one, name, label, CLEAN)
            for attack in met:
                _note(one, name, label, attack, NETWORK)
                is_met_aware = one.plan.protocol == "committed" and one.plan.adaptive
                if is_met_aware and one.attack(attack, "detector", name) is not None:
                    one.recognise(attack, "detector", name)
                    _note(one, name, label, attack, "detector", name)
    for label, *_ in runs:
        for name in one.plan.detector:
            threshold, fpr = one.get("detector", name, label).threshold_, allowed_fpr(one)
            one.note(
                "detectors",
                detector=name,
                trained_on=label,
                threshold=threshold,
                allowed_fpr=fpr,
                **one.get("costs", name),
            )


def _note(one, name, label, attack, *against):
    """Take down the scores of a detector."""
    scores = one.get("scored", name, label, attack, *against)["score"]
    one.note("scores", detector=name, trained_on=label, attack=attack, aware=int("detector" in against), score=scores,
             flagged=scores > one.get("detector", name, label).threshold_)  # fmt: skip


def detection_rows(seen):
    """A row for each detector, attack, threat and population, from the scores of all test faces, clean and attacked."""
    rows = []
    for label, name in dict.fromkeys([*seen.detectors, *(key[:2] for key in seen.scores)]):
        clean = seen.scores[label, name, CLEAN, 0].score
        met = [key for key in seen.scores if key[:2] == (label, name) and key[2] != CLEAN]
        for _, _, attack, aware in met:
            rows += _rows(seen, label, name, attack, aware, clean)
    return rows


def _rows(seen, label, name, attack, aware, clean):
    about, found = seen.detectors[label, name], seen.scores[label, name, attack, aware]
    threshold, is_paper = (
        about.threshold.item(),
        seen.protocol == "paper",
    )  # then each has the boundary of its own classifier
    against = f"the network and {name}" if aware else NETWORK
    before, after = seen.predicted(CLEAN, CLEAN, UNDEFENDED), seen.predicted(attack, against, UNDEFENDED)
    unnoticed = (after != seen.y) & (found.flagged == 0)
    evaded = bootstrap_by_identity(unnoticed, seen.y, random_state=seen.seed)
    changed = seen.perturbations[attack, against].changed == 1
    rows = []
    for rule in POPULATIONS:
        counts = changed & detection_population(seen.y, before, after, rule)
        if not counts.any():
            continue
        people = seen.y[counts]
        report = detection_report(
            np.repeat([0, 1], len(people)),
            np.concatenate([clean[counts], found.score[counts]]),
            threshold=threshold,
            groups=np.tile(people, 2) if len(np.unique(people)) > 1 else None,
            random_state=seen.seed,
        )
        intervals = report.pop("intervals", dict.fromkeys(RATES, (np.nan, np.nan)))
        intervals["evaded"] = evaded.low, evaded.high
        ends = {f"{rate}_{end}": pair[i] for rate, pair in intervals.items() for i, end in enumerate(("low", "high"))}
        allowed = np.nan if is_paper else about.allowed_fpr.item()
        figures = {"allowed_fpr": allowed, "never_flags": float(threshold == np.inf)}
        if is_paper:
            figures |= detection_figures(attack, seen.attacks[attack], name, rule)
        cost = {figure: about[figure].item() for figure in ("ms_per_face", "plain_passes")}
        rows.append({"attack": attack, "detector": name, "threat": "aware" if aware else "unaware", "population": rule,
                     "trained_on": label, "evaded": unnoticed.mean(), **report, **cost, **ends, **figures})  # fmt: skip
    return rows
