"""The detection part of a pass: detectors are trained, and meet attacks that know nothing of them and ones that do."""

import numpy as np
from sklearn.base import clone

from smartbox._model import as_face_model
from smartbox.datasets import make_detection_set
from smartbox.metrics import detection_population, detection_report

PROTOCOLS = ("committed", "paper")
POPULATIONS = ("all", "successful")
_FPR = 0.05  # of a committed detector, on the validation faces


def detect(one, attacked):
    """Train the detectors of a pass and add a row for each attack, threat and population.

    ``committed``: each detector is trained once, on all attacks of the run, and its threshold flags 5 % of the clean
    validation faces; it meets every attack unaware of it and, where its score has a gradient, aware of it. ``paper``: a
    detector for each attack, with the boundary of its own classifier, which meets that attack alone.
    """
    if one.plan.protocol == "paper":
        for attack, X_adv in attacked.items():
            trained = {name: _fitted(one, name, (attack,)) for name in one.plan.detector}
            for name, detector in trained.items():
                _add(one, name, detector, attack, "unaware", X_adv, trained_on=attack)
        return
    everything = " + ".join(attacked)
    for name in one.plan.detector:
        fpr = max(_FPR, 1 / (1 + len(one.X_validation)))  # of a few faces no smaller share can be flagged
        detector = _fitted(one, name, tuple(attacked)).calibrate(one.X_validation, fpr=fpr)
        for attack, X_adv in attacked.items():
            _add(one, name, detector, attack, "unaware", X_adv, trained_on=everything)
            if has_gradient(detector, one.X_validation[:1]):
                guarded = as_face_model(one.face, detector=detector, scale=_scale(one, detector))
                X_aware = one.attack(attack, guarded, f"the network and {name}")
                _add(one, name, detector, attack, "aware", X_aware, trained_on=everything)


def has_gradient(detector, X):
    """Whether an attack can follow the detector's score."""
    try:
        detector.value_and_gradient(X)
    except (AttributeError, ValueError):
        return False
    return True


def _fitted(one, name, attacks):
    X, y = one.detection_training_set(attacks)
    one.say(f"{name} learns to detect {' + '.join(attacks)}")
    detector = one.seeded(clone(one.plan.detector[name]))
    if "model" in detector.get_params(deep=False):
        detector.set_params(model=one.face)
    return detector.fit(X, y)


def _scale(one, detector):
    """Logits for each unit of the score, so that neither of the two drowns the other for an attack."""
    logits = np.sort(one.face.logits(one.X_validation), axis=1)
    leads, scores = logits[:, -1] - logits[:, -2], detector.decision_function(one.X_validation)
    spread = float(np.std(scores))
    return float(np.std(leads)) / spread if spread > 0 and np.std(leads) > 0 else 1.0


def _add(one, name, detector, attack, threat, X_adv, trained_on):
    before, after = one.face.predict(one.X), one.face.predict(X_adv)
    flagged = detector.decision_function(X_adv) > detector.threshold_
    evaded = float(np.mean((after != one.y) & ~flagged))
    changed = (X_adv != one.X).any(axis=(1, 2, 3))
    for rule in POPULATIONS:
        counts = changed & detection_population(one.y, before, after, rule)
        if not counts.any():
            continue
        X, y, _ = make_detection_set(one.X[counts], X_adv[counts])
        report = detection_report(y, detector.decision_function(X), threshold=detector.threshold_)
        one.add(
            "detection", attack=attack, detector=name, threat=threat, population=rule, trained_on=trained_on, evaded=evaded,
            **report,
        )  # fmt: skip
