"""The detection part of a pass: detectors are trained, and meet attacks that know nothing of them and ones that do."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch

from smartbox._model import as_face_model
from smartbox.benchmark._cost import costs
from smartbox.benchmark._paper import detection_figures
from smartbox.detectors import detection_scores
from smartbox.metrics import bootstrap_by_identity, detection_population, detection_report
from smartbox.metrics._cross_attack import trainings

PROTOCOLS = ("committed", "paper", "cross")
POPULATIONS = ("all", "successful")
RATES = ("precision", "recall", "accuracy", "fpr", "roc_auc", "tpr_at_fpr_1", "tpr_at_fpr_5")
_FPR = 0.05  # of a committed detector, on the validation faces


def detect(one, attacked):
    """Train the detectors of a pass and add a row for each attack, threat and population.

    ``committed``: each detector is trained once, on all attacks of the run, and its threshold flags 5 % of the clean
    validation faces; it meets every attack unaware of it and, where its score has a gradient, aware of it. ``paper``: a
    detector for each attack, with the boundary of its own classifier, which meets that attack alone. ``cross``: detectors
    trained on each attack, on all, and on all but one, with the threshold as committed; each meets every attack, and those
    trained on all but one that one.

    Returns
    -------
    found : Bunch
        ``detectors`` by name, the first of each, and ``aware``, the images of attacks that know the detector, by both names.
    """
    runs = _trainings(one.plan.protocol, tuple(attacked))
    detectors = {(label, name): _trained(one, name, learnt) for label, learnt, _ in runs for name in one.plan.detector}
    first = {name: detectors[runs[0][0], name] for name in one.plan.detector}
    taken, clean = costs(one.face, first, one.X), detection_scores(detectors, one.X)
    scores, images = {}, {}
    for attack, X_adv in attacked.items():
        meeting = {(label, name): detectors[label, name] for label, _, met in runs if attack in met for name in first}
        scores[attack] = detection_scores(meeting, X_adv)
    for label, _, met in runs:
        for name, detector in ((name, detectors[label, name]) for name in first):
            aware = one.plan.protocol == "committed" and has_gradient(detector, one.X_validation[:1])
            about = {"detector": name, "trained_on": label, "threshold": detector.threshold_, "cost": taken[name]}
            before = clean[label, name]
            for attack in met:
                _add(
                    one, attacked[attack], before, scores[attack][label, name], attack=attack, threat="unaware", **about
                )
                if aware:
                    guarded = as_face_model(one.face, detector=detector, scale=scale_of(one, detector))
                    X_adv = images[attack, name] = one.attack(attack, guarded, f"the network and {name}")
                    _add(one, X_adv, before, detector.decision_function(X_adv), attack=attack, threat="aware", **about)
    return Bunch(detectors=first, aware=images)


def _trainings(protocol, attacks):
    """``(label, attacks that are trained on, attacks that are met)`` for each detector."""
    if protocol == "cross":
        return trainings(attacks)
    if protocol == "paper":
        return [(attack, (attack,), (attack,)) for attack in attacks]
    return [(" + ".join(attacks), attacks, attacks)]


def has_gradient(detector, X):
    """Whether an attack can follow the detector's score."""
    try:
        detector.value_and_gradient(X)
    except (AttributeError, ValueError):
        return False
    return True


def _trained(one, name, attacks):
    X, y = one.detection_training_set(attacks)
    one.say(f"{name} learns to detect {' + '.join(attacks)}")
    detector = one.seeded(clone(one.plan.detector[name]))
    if "model" in detector.get_params(deep=False):
        detector.set_params(model=one.face)
    detector.fit(X, y)
    if one.plan.protocol == "paper":
        return detector
    return detector.calibrate(one.X_validation, fpr=allowed_fpr(one))


def allowed_fpr(one):
    """Share of the validation faces that a threshold may flag: of a few faces none smaller than one can be."""
    return max(_FPR, 1 / (1 + len(one.X_validation)))


def scale_of(one, detector):
    """Logits for each unit of the score, so that neither of the two drowns the other for an attack."""
    logits = np.sort(one.face.logits(one.X_validation), axis=1)
    leads, scores = logits[:, -1] - logits[:, -2], detector.decision_function(one.X_validation)
    spread = float(np.std(scores))
    return float(np.std(leads)) / spread if spread > 0 and np.std(leads) > 0 else 1.0


def _add(one, X_adv, clean, scores, *, attack, detector, threat, trained_on, threshold, cost):
    """A row for each population, from the scores of all test faces, clean and attacked."""
    before, after = one.face.predict(one.X), one.face.predict(X_adv)
    unnoticed = (after != one.y) & ~(scores > threshold)
    evaded = bootstrap_by_identity(unnoticed, one.y, random_state=one.seed)
    changed = (X_adv != one.X).any(axis=(1, 2, 3))
    for rule in POPULATIONS:
        counts = changed & detection_population(one.y, before, after, rule)
        if not counts.any():
            continue
        people = one.y[counts]
        report = detection_report(
            np.repeat([0, 1], len(people)),
            np.concatenate([clean[counts], scores[counts]]),
            threshold=threshold,
            groups=np.tile(people, 2) if len(np.unique(people)) > 1 else None,
            random_state=one.seed,
        )
        intervals = report.pop("intervals", dict.fromkeys(RATES, (np.nan, np.nan)))
        intervals["evaded"] = evaded.low, evaded.high
        ends = {f"{name}_{end}": pair[i] for name, pair in intervals.items() for i, end in enumerate(("low", "high"))}
        is_paper = one.plan.protocol == "paper"  # then each detector has the boundary of its own classifier
        figures = {"allowed_fpr": np.nan if is_paper else allowed_fpr(one), "never_flags": float(threshold == np.inf)}
        if is_paper:
            figures |= detection_figures(attack, one.plan.attack[attack], detector, rule)
        row = {"evaded": unnoticed.mean(), **report, **cost, **ends, **figures}
        one.add(
            "detection", attack=attack, detector=detector, threat=threat, population=rule, trained_on=trained_on, **row
        )
