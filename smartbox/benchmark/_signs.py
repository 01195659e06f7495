"""Signs that a mitigation hides its gradients instead of resisting; `smartbox.metrics.masking_report` looks closer."""

import numpy as np

from smartbox._checks import as_number
from smartbox.attacks import APGD, FGSM, MIFGSM, PGD, Square
from smartbox.benchmark._one_seed import CLEAN, NETWORK
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
    """Of a network without mitigation, which is not suspected, and of what no attack was aimed at."""
    return dict.fromkeys(("masked", *SIGNS), np.nan)


def masking_signs(seen, defense):
    """Signs of each attack, from what it did and, where the run checked that, from a random search on a few faces.

    "More" is beyond chance, by a sign test at 5 % over the faces that the mitigated network names rightly.

    Parameters
    ----------
    seen : OneSeed
    defense : str
    """
    if not all((attack, defense, defense) in seen.predictions for attack in seen.attacks):
        return {attack: no_signs() for attack in seen.attacks}  # nothing was aimed at it
    known = seen.predicted(CLEAN, CLEAN, defense) == seen.y
    won = {attack: [seen.won(attack, seen.predicted(attack, against, defense)) for against in (NETWORK, defense)]
           for attack in seen.attacks}  # fmt: skip
    signs = {}
    for attack, (transferred, adaptive) in won.items():
        flat, before = (seen.perturbations[attack, met].n_zero_gradients > 0 for met in (defense, NETWORK))
        found = no_signs() | {
            "masked_zero_gradient": float(beats(flat[known], before[known])),
            "masked_transferred": float(beats(transferred[known], adaptive[known])),
        }
        quicker = seen.attacks[attack].quicker
        if quicker:
            found["masked_one_step"] = float(any(beats(won[other][1][known], adaptive[known]) for other in quicker))
        searched = seen.searches.get((attack, defense))
        if searched is not None:
            found["masked_random_search"] = float(beats(searched.success == 1, adaptive[searched.face]))
        found["masked"] = float(max(found[name] == 1 for name in SIGNS))
        signs[attack] = found
    return signs


def quicker(attacks, name):
    """Of the attacks those of one step that spend no more than a given one of many may."""
    return [other for other, attack in attacks.items() if _is_one_step_of(attack, attacks[name])]


def searches(attacks):
    """The attacks whose success a random search is set beside, and the one in whose budget it goes: the first of the same."""
    first = {}
    climbers = {name: _ball(attack) for name, attack in attacks.items() if isinstance(attack, _CLIMBERS)}
    return {name: first.setdefault(ball, name) for name, ball in climbers.items()}


def _is_one_step_of(one_step, many):
    if not (isinstance(one_step, FGSM) and isinstance(many, _CLIMBERS)):
        return False
    (eps, *ball), (more, *same) = _ball(one_step), _ball(many)
    return ball == same and eps <= more


def _ball(attack):
    return as_number(attack.eps, "eps"), attack.norm, attack.targeted


def random_search(one, attack, defense, pipeline, rows):
    """Some of the faces, and which of them random search takes within the attack's budget."""
    rows = np.sort(np.random.RandomState(one.seed).permutation(rows)[:_FACES])
    eps, norm, targeted = _ball(one.plan.attack[attack])
    square = Square(pipeline, eps=eps, norm=norm, max_queries=_QUERIES, targeted=targeted, verbose=one.verbose)
    one.say(f"random search against {defense}, on {len(rows)} faces")
    aims = one.claims.targets if targeted else one.y
    _, report = one.seeded(square).generate(one.X[rows], aims[rows], return_report=True)
    return rows, report.success
