"""Detectors and mitigations at work together: what is flagged is rejected, or mitigated and then named."""

from smartbox.benchmark._accuracy import ALL_ATTACKS, accuracies, all_of
from smartbox.benchmark._detection import scale_of
from smartbox.benchmark._results import GUARD_COLUMNS
from smartbox.defenses import GuardedClassifier

REJECTION = "rejection"  # in the place of a mitigation


def guard(one, attacked, pipelines, found):
    """Add a row for each detector, way to go on, and attack, and where there are several attacks one for all of them.

    Mitigations that are classifiers of their own are left out: there is nothing to put before the network.

    Parameters
    ----------
    one : Pass
    attacked : dict of ndarray
        Test faces by attack, made against the bare network.
    pipelines : dict of Pipeline
        The network behind each mitigation.
    found : Bunch
        From `detect`: ``detectors`` by name, and ``aware``, the images made against network and detector.
    """
    defenses = {name: pipeline[:-1] for name, pipeline in pipelines.items() if len(pipeline) > 1}
    for detector in found.detectors:
        for name, defense in {REJECTION: None, **defenses}.items():
            _meet(one, attacked, detector, name, defense, found)


def _meet(one, attacked, detector, name, defense, found):
    """All rows of one detector and one way to go on."""
    judge = found.detectors[detector]
    guarded = GuardedClassifier(one.face, detector=judge, defense=defense, scale=scale_of(one, judge))
    clean = {"clean": guarded.predict(one.X) == one.y, "clean_flagged": guarded.flagged(one.X)}
    met = {}
    for attack, X_adv in attacked.items():
        met[attack] = right = {**clean, "transferred": guarded.predict(X_adv) == one.y}
        if defense is None:  # those that the detector has met already; none if its score has no gradient
            X_aware = found.aware.get((attack, detector))
        else:
            X_aware = one.attack(attack, guarded, f"{name} where {detector} flags")
        if X_aware is not None:
            right["adaptive"] = guarded.predict(X_aware) == one.y
            right["worst"] = right["transferred"] & right["adaptive"]
    if len(met) > 1:
        met[ALL_ATTACKS] = all_of(list(met.values()))
    for attack, right in met.items():
        row = accuracies(right, one.y, one.seed, GUARD_COLUMNS)
        one.add("guard", attack=attack, detector=detector, then=name, n=len(one.y), **row)
