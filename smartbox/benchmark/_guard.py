"""Detectors and mitigations at work together: what is flagged is rejected, or mitigated and then named."""

from smartbox.benchmark._accuracy import ALL_ATTACKS, accuracies, all_of
from smartbox.benchmark._making import REJECTION
from smartbox.benchmark._one_seed import CLEAN, NETWORK

GUARD_COLUMNS = ("clean", "clean_flagged", "transferred", "adaptive", "worst")
KNOWS_ALL = "all"  # an attack against network, detector and mitigation


def guard(one):
    """Let each attack meet each detector with each way to go on, and note what is said.

    Mitigations that are classifiers of their own are left out: there is nothing to put before the network.
    """
    for detector in one.plan.detector:
        for then in (REJECTION, *(name for name in one.plan.defense if len(one.model(name)) > 1)):
            _note(one, detector, then)
            for attack in one.plan.attack:
                _note(one, detector, then, attack, NETWORK)
                # those against rejection the detector has met already; none if its score has no gradient
                against = ("detector", detector) if then == REJECTION else ("guard", detector, then)
                if then == REJECTION:
                    made = one.get("attacked", attack, *against)
                else:
                    made = one.attack(attack, *against) is not None
                if made:
                    _note(one, detector, then, attack, *against)


def _note(one, detector, then, attack=CLEAN, *against):
    found = one.get("guarded", detector, then, attack, *against)
    knows = KNOWS_ALL if against and against[0] != NETWORK else "".join(against)
    one.note("guard", detector=detector, then=then, attack=attack, against=knows, **found)


def guard_rows(seen):
    """A row for each detector, way to go on, and attack, and where there are several attacks one for all of them."""
    rows = []
    for detector, then in dict.fromkeys((detector, then) for detector, then, *_ in seen.guard):
        met = {attack: _right(seen, detector, then, attack) for attack in seen.attacks}
        if len(met) > 1:
            met[ALL_ATTACKS] = all_of(list(met.values()))
        for attack, right in met.items():
            row = accuracies(right, seen.y, seen.seed, GUARD_COLUMNS)
            rows.append({"attack": attack, "detector": detector, "then": then, "n": len(seen.y), **row})
    return rows


def _right(seen, detector, then, attack):
    clean = seen.guard[detector, then, CLEAN, CLEAN]
    right = {
        "clean": clean.predicted == seen.y,
        "clean_flagged": clean.flagged == 1,
        "transferred": seen.guard[detector, then, attack, NETWORK].predicted == seen.y,
    }
    aware = seen.guard.get((detector, then, attack, KNOWS_ALL))
    if aware is not None:
        right["adaptive"] = aware.predicted == seen.y
        right["worst"] = right["transferred"] & right["adaptive"]
    return right
