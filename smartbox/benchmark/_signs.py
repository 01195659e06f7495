"""Signs that a mitigation hides its gradients instead of resisting; `smartbox.metrics.masking_report` looks closer."""

import numpy as np

from smartbox._checks import as_number
from smartbox.attacks import APGD, FGSM, MIFGSM, PGD, Square
from smartbox.metrics._masking import beats

# What each column means where it is 1; 0 is no such sign, NaN what was not looked for.
SIGNS = {
    "masked_zero_gradient": "it meets gradients of zero on more faces than against the bare network",
    "masked_transferred": "images made against the bare network succeed more often",
    "masked_one_step": "one step (FGSM) succeeds more often than its many",
    "masked_random_search": "random search without gradients succeeds more often",
}
_CLIMBERS = (APGD, MIFGSM, PGD)  # attacks by nothing but gradients, in many steps
_FACES, _QUERIES = 32, 200  # of the random search


def no_signs():
    """Of a network without mitigation, which is not suspected."""
    return dict.fromkeys(("masked", *SIGNS), np.nan)


def masking_signs(one, defense, pipeline, met):
    """Signs of each attack, from what it did and, where the run checks that, from a random search on a few faces.

    "More" is beyond chance, by a sign test at 5 % over the faces that the mitigated network names rightly.

    Parameters
    ----------
    one : Pass
    defense : str
    pipeline : Pipeline
        The mitigated network.
    met : dict of Bunch
        By attack: predictions ``clean_mitigated``, ``transferred`` and ``adaptive``, and which faces had a gradient of zero,
        ``flat``, and without the mitigation, ``flat_before``.
    """
    won = {attack: _won(one, attack, predicted) for attack, predicted in met.items()}
    searched, signs = {}, {}
    for attack, (transferred, adaptive, known) in won.items():
        found = no_signs() | {
            "masked_zero_gradient": float(beats(met[attack].flat[known], met[attack].flat_before[known])),
            "masked_transferred": float(beats(transferred[known], adaptive[known])),
        }
        quicker = [other for other in won if _is_one_step_of(one.plan.attack[other], one.plan.attack[attack])]
        if quicker:
            found["masked_one_step"] = float(any(beats(won[other][1][known], adaptive[known]) for other in quicker))
        if one.plan.check_masking and isinstance(one.plan.attack[attack], _CLIMBERS) and known.any():
            key = _ball(one.plan.attack[attack])
            if key not in searched:
                searched[key] = _random_search(one, attack, defense, pipeline, np.flatnonzero(known))
            rows, success = searched[key]
            found["masked_random_search"] = float(beats(success, adaptive[rows]))
        found["masked"] = float(max(found[name] == 1 for name in SIGNS))
        signs[attack] = found
    return signs


def _won(one, attack, predicted):
    """Which faces the attack took, transferred and adaptive, by its own aim; and which were named rightly before."""
    targeted = one.plan.attack[attack].targeted
    aims = one.claims.targets if targeted else one.y
    transferred, adaptive = ((predicted[how] == aims) == targeted for how in ("transferred", "adaptive"))
    return transferred, adaptive, predicted.clean_mitigated == one.y


def _is_one_step_of(one_step, many):
    """Whether one step spends no more than what many may."""
    if not (isinstance(one_step, FGSM) and isinstance(many, _CLIMBERS)):
        return False
    (eps, *ball), (more, *same) = _ball(one_step), _ball(many)
    return ball == same and eps <= more


def _ball(attack):
    return as_number(attack.eps, "eps"), attack.norm, attack.targeted


def _random_search(one, attack, defense, pipeline, rows):
    """Some of the faces, and which of them random search takes within the attack's budget."""
    rows = np.sort(np.random.RandomState(one.seed).permutation(rows)[:_FACES])
    eps, norm, targeted = _ball(one.plan.attack[attack])
    square = Square(pipeline, eps=eps, norm=norm, max_queries=_QUERIES, targeted=targeted, verbose=one.verbose)
    one.say(f"random search against {defense}, on {len(rows)} faces")
    aims = one.claims.targets if targeted else one.y
    _, report = one.seeded(square).generate(one.X[rows], aims[rows], return_report=True)
    return rows, report.success
