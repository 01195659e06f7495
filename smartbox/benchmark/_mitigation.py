"""The mitigation part of a run: each mitigation meets each attack, unaware and aware of it, and all of them together."""

import numpy as np

from smartbox.benchmark._accuracy import ALL_ATTACKS, accuracies, all_of
from smartbox.benchmark._one_seed import CLEAN, NETWORK, UNDEFENDED
from smartbox.benchmark._paper import mitigation_figures
from smartbox.benchmark._signs import masking_signs, no_signs, searches

MITIGATION_COLUMNS = ("before_attack", "after_attack", "clean_mitigated", "transferred", "adaptive", "worst")
AWARE = ("adaptive", "worst")  # columns that need attacks on the mitigation itself
UNAWARE = "no attack knew of the mitigations, so that their figures say little about what they resist"
RECOGNITION = ("verification", "identification")


def mitigate(one):
    """Let each attack meet the network and each mitigation, and note what is predicted."""
    defenses = list(one.plan.defense)
    for defense in (UNDEFENDED, *defenses):
        one.recognise(defense=defense)
    for attack in one.plan.attack:
        one.attack(attack, NETWORK)
        for defense in (UNDEFENDED, *defenses):
            one.recognise(attack, NETWORK, defense=defense)
    for attack in one.plan.attack if one.plan.adaptive else ():
        for defense in defenses:
            one.attack(attack, "defense", defense)
            one.recognise(attack, "defense", defense, defense=defense)
    if one.plan.check_masking:
        for defense in defenses:
            for attack, first in searches(one.plan.attack).items():
                one.note("searches", attack=attack, defense=defense, **one.get("searched", defense, first))


def mitigation_rows(seen):
    """A row for each attack, mitigation and measure, and where there are several attacks one for all of them.

    A face counts as right under all attacks if it is right under each, so that the row shows what an attacker leaves who may
    choose the attack for each face.
    """
    defenses = seen.defenses or [UNDEFENDED]
    keys = [(attack, defense) for attack in seen.attacks for defense in defenses]
    signs = {key: no_signs() for key in keys}
    for defense in seen.defenses:
        signs |= {(attack, defense): found for attack, found in masking_signs(seen, defense).items()}
    decisions = {(attack, defense): _right(seen, attack, defense) for attack, defense in keys}
    rows = []
    for attack, defense in keys:
        rows += _rows(seen, attack, defense, decisions[attack, defense], signs[attack, defense])
    if len(seen.attacks) > 1:
        for defense in defenses:
            each = [decisions[attack, defense] for attack in seen.attacks]
            right = {metric: all_of([decided[metric] for decided in each]) for metric in RECOGNITION}
            shown = [signs[attack, defense] for attack in seen.attacks]
            rows += _rows(seen, ALL_ATTACKS, defense, right, _any(shown))
    return rows


def _right(seen, attack, defense):
    """Decisions by measure and column."""
    found = {
        "before_attack": seen.predicted(CLEAN, CLEAN, UNDEFENDED),
        "after_attack": seen.predicted(attack, NETWORK, UNDEFENDED),
    }
    if defense != UNDEFENDED:
        found["clean_mitigated"] = seen.predicted(CLEAN, CLEAN, defense)
        found["transferred"] = seen.predicted(attack, NETWORK, defense)
        if (attack, defense, defense) in seen.predictions:
            found["adaptive"] = seen.predicted(attack, defense, defense)
    right = {column: seen.right(predicted) for column, predicted in found.items()}
    by_metric = {metric: {column: right[column][metric] for column in right} for metric in RECOGNITION}
    for each in by_metric.values():
        if "adaptive" in each:
            each["worst"] = each["transferred"] & each["adaptive"]
    return by_metric


def _rows(seen, attack, defense, right, signs):
    rows = []
    for metric in RECOGNITION:
        row = accuracies(right[metric], seen.y, seen.seed, MITIGATION_COLUMNS)
        if seen.protocol == "paper":
            row |= mitigation_figures(attack, seen.attacks.get(attack), defense, metric)
        rows.append({"attack": attack, "defense": defense, "metric": metric, "n": len(seen.y), **row, **signs})
    return rows


def _any(signs):
    """Each sign that one of the attacks shows; NaN where none could."""
    return {name: np.fmax.reduce([each[name] for each in signs]) for name in signs[0]}


def attack_rows(seen):
    """A row for each attack and what it is against: success, sizes, effort."""
    return [_attack_row(*key, found) for key, found in seen.perturbations.items()]


def _attack_row(attack, against, found):
    return {
        "attack": attack,
        "against": "the network" if against == NETWORK else against,
        "success": found.success.mean(),
        "success_8bit": found.success_8bit.mean(),
        **{f"median_{norm}": np.median(found[norm]) for norm in ("l1", "l2", "linf")},
        "gradients_per_face": found.n_gradients.mean(),
        "zero_gradients": found.n_zero_gradients.sum(),
    }
