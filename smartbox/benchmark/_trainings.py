"""Which attacks detectors and mitigations are trained on, which each detector meets, and which faces each attack gets."""

import numpy as np

from smartbox.attacks import AutoAttack
from smartbox.defenses._retrained import RetrainedClassifier
from smartbox.metrics._cross_attack import trainings

PROTOCOLS = ("committed", "paper", "cross")
_FPR = 0.05  # of a committed detector, on the validation faces


def teachers(plan, name):
    """The attacks that a mitigation learns from.

    AutoAttack is none where there is another: it judges at thousands of gradients a face, and all the training faces would take
    it hours.
    """
    made = plan.defense[name]
    if "attack" not in made.get_params(deep=False):
        return []
    quick = [attack for attack, each in plan.attack.items() if not isinstance(each, AutoAttack)]
    return (quick or list(plan.attack))[: 1 if isinstance(made, RetrainedClassifier) else None]


def trainings_of(plan):
    """``(label, attacks that are trained on, attacks that are met)`` for each training of a detector."""
    attacks = tuple(plan.attack)
    if plan.protocol == "cross":
        return trainings(attacks)
    if plan.protocol == "paper":
        return [(attack, (attack,), (attack,)) for attack in attacks]
    return [(" + ".join(attacks), attacks, attacks)]


def shares(one, attacks):
    """The training faces that detectors learn from, and by attack which of these it is to attack, an equal share each."""
    rng = np.random.RandomState(one.seed)
    used = np.arange(len(one.training.y))
    if one.plan.detector_faces is not None:
        used = np.sort(rng.permutation(used)[: one.plan.detector_faces])
    share = rng.permutation(len(used)) % len(attacks)
    return used, {name: np.flatnonzero(share == i) for i, name in enumerate(attacks)}


def lesson_rows(one, attack):
    """All training faces that an attack is asked for, sorted, so that each is attacked once for all trainings."""
    rows = []
    for _, attacks, _ in trainings_of(one.plan):
        if attack in attacks:
            used, rows_of = shares(one, attacks)
            rows.append(used[rows_of[attack]])
    return np.unique(np.concatenate(rows))


def allowed_fpr(one):
    """Share of the validation faces that a threshold may flag: of a few faces none smaller than one can be."""
    return max(_FPR, 1 / (1 + len(one.X_validation)))
