"""The mitigation part of a pass: each mitigation meets each attack, unaware and aware of it, and all of them together."""

import numpy as np
from sklearn.utils import Bunch

from smartbox.benchmark._accuracy import ALL_ATTACKS, accuracies, all_of
from smartbox.benchmark._paper import mitigation_figures
from smartbox.benchmark._results import MITIGATION_COLUMNS, RECOGNITION
from smartbox.benchmark._signs import masking_signs, no_signs

BARE = "the network"  # what an attack is against that knows of no mitigation
UNDEFENDED = "none"  # the mitigation of a run without one, for its accuracies before and after the attack


def mitigate(one, attacked, pipelines):
    """Add a row for each attack, mitigation and measure, and where there are several attacks one for all of them.

    A face counts as right under all attacks if it is right under each, so that the row shows what an attacker leaves who may
    choose the attack for each face.
    """
    pipelines = pipelines or {UNDEFENDED: None}
    before = one.face.predict(one.X)
    clean = {defense: None if pipeline is None else pipeline.predict(one.X) for defense, pipeline in pipelines.items()}
    met = {}
    for attack, X_adv in attacked.items():
        after = one.face.predict(X_adv)
        for defense, pipeline in pipelines.items():
            met[attack, defense] = Bunch(before_attack=before, after_attack=after)
            if pipeline is not None:
                met[attack, defense].update(_met(one, attack, X_adv, defense, pipeline), clean_mitigated=clean[defense])
    signs = {}
    for defense, pipeline in pipelines.items():
        signs |= {(attack, defense): no_signs() for attack in attacked}
        if pipeline is not None:
            shown = masking_signs(one, defense, pipeline, {attack: met[attack, defense] for attack in attacked})
            signs |= {(attack, defense): each for attack, each in shown.items()}
    decisions = {key: _right(one, predicted) for key, predicted in met.items()}
    for (attack, defense), right in decisions.items():
        _add(one, attack, defense, right, signs[attack, defense])
    if len(attacked) > 1:
        for defense in pipelines:
            each = [decisions[attack, defense] for attack in attacked]
            right = {metric: all_of([decided[metric] for decided in each]) for metric in RECOGNITION}
            _add(one, ALL_ATTACKS, defense, right, _any([signs[attack, defense] for attack in attacked]))


def _met(one, attack, X_adv, defense, pipeline):
    """What the mitigated network predicts, and on which faces the attack met a gradient of zero, with mitigation and without."""
    X_adaptive = one.attack(attack, pipeline, defense)
    return {
        "transferred": pipeline.predict(X_adv),
        "adaptive": pipeline.predict(X_adaptive),
        "flat": one.reports[attack, defense].n_zero_gradients > 0,
        "flat_before": one.reports[attack, BARE].n_zero_gradients > 0,
    }


def _right(one, predicted):
    """Decisions by measure and column."""
    columns = [column for column in MITIGATION_COLUMNS if column in predicted]
    right = {column: one.right(predicted[column]) for column in columns}
    by_metric = {metric: {column: right[column][metric] for column in columns} for metric in RECOGNITION}
    for each in by_metric.values():
        if "adaptive" in each:
            each["worst"] = each["transferred"] & each["adaptive"]
    return by_metric


def _add(one, attack, defense, right, signs):
    for metric in RECOGNITION:
        row = accuracies(right[metric], one.y, one.seed, MITIGATION_COLUMNS)
        if one.plan.protocol == "paper":
            row |= mitigation_figures(attack, one.plan.attack.get(attack), defense, metric)
        one.add("mitigation", attack=attack, defense=defense, metric=metric, n=len(one.y), **row, **signs)


def _any(signs):
    """Each sign that one of the attacks shows; NaN where none could."""
    return {name: np.fmax.reduce([each[name] for each in signs]) for name in signs[0]}
