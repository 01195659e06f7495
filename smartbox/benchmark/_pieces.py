"""Which pieces a pass is going to ask for; see `_making` for what they are."""

from smartbox.benchmark import _making as making
from smartbox.benchmark._keys import parents_of
from smartbox.benchmark._one_seed import CLEAN, NETWORK, UNDEFENDED
from smartbox.benchmark._registry import CLASSIFIERS
from smartbox.benchmark._signs import searches
from smartbox.benchmark._trainings import trainings_of


def levels_of(one):
    """Every piece that a pass will ask for, but for times, and how many others stand before it in a row."""
    levels = {}

    def visit(piece):
        if piece not in levels:
            levels[piece] = 1 + max((visit(parent) for parent in parents_of(one, piece)), default=-1)
        return levels[piece]

    for piece in asked_for(one.plan):
        visit(piece)
    return levels


def asked_for(plan):
    """The pieces that a pass takes its notes from."""
    defenses, attacks = list(plan.defense), list(plan.attack)
    for defense in (UNDEFENDED, *defenses):
        yield "recognised", defense, CLEAN
        for attack in attacks:
            yield "recognised", defense, attack, NETWORK
    for defense in defenses:
        for attack in attacks if plan.adaptive else ():
            yield "recognised", defense, attack, "defense", defense
        if plan.check_masking:
            yield from (("searched", defense, first) for first in set(searches(plan.attack).values()))
    if not plan.detector:
        return
    for label, _, met in trainings_of(plan):
        for name in plan.detector:
            yield "scored", name, label, CLEAN
            for attack in met:
                yield "scored", name, label, attack, NETWORK
                if plan.protocol == "committed" and plan.adaptive:
                    yield "scored", name, label, attack, "detector", name
                    yield "recognised", UNDEFENDED, attack, "detector", name
    if plan.guard:
        mitigating = [name for name in defenses if not isinstance(plan.defense[name], CLASSIFIERS)]
        for detector in plan.detector:
            for then in (making.REJECTION, *mitigating):
                yield "guarded", detector, then, CLEAN
                for attack in attacks:
                    yield "guarded", detector, then, attack, NETWORK
                    against = ("detector", detector) if then == making.REJECTION else ("guard", detector, then)
                    yield "guarded", detector, then, attack, *against
