"""How each piece of a pass is made, out of others.

A piece is a fitted estimator or a dictionary of arrays, and is known by its kind and names:

network
defense, NAME
attacked, ATTACK, *AGAINST
    Test faces, and what the attack reports of each. Against "network", "defense" NAME, "detector" NAME, or "guard" DETECTOR THEN.
lesson, ATTACK
    Training faces for the detectors, as many as the trainings of the run share out to the attack.
detector, NAME, LABEL
    By what it is trained on, see `_trainings.trainings_of`.
recognised, DEFENSE, ATTACK, *AGAINST
scored, NAME, LABEL, ATTACK, *AGAINST
guarded, DETECTOR, THEN, ATTACK, *AGAINST
searched, DEFENSE, ATTACK
costs, DETECTOR
"""

import numpy as np
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from smartbox._compat import FrozenEstimator
from smartbox._model import FaceModelMixin, as_face_model, thawed
from smartbox.attacks import AutoAttack
from smartbox.benchmark._cost import costs
from smartbox.benchmark._one_seed import CLEAN, UNDEFENDED
from smartbox.benchmark._records import REPORTED
from smartbox.benchmark._registry import CLASSIFIERS
from smartbox.benchmark._sharing import share_network
from smartbox.benchmark._signs import random_search
from smartbox.benchmark._trainings import allowed_fpr, lesson_rows, shares, teachers, trainings_of
from smartbox.datasets import make_detection_set
from smartbox.defenses import GuardedClassifier, NoiseTraining, RandomizedSmoothing
from smartbox.defenses._retrained import RetrainedClassifier
from smartbox.detectors import detection_scores

REJECTION = "rejection"  # in the place of a mitigation: what is flagged is rejected


def network(one):
    """The trained face network."""
    face = clone(one.plan.network).set_params(random_state=one.seed, verbose=one.verbose)
    return face.fit(one.training.X, one.training.y, validation_data=(one.X_validation, one.y_validation))


def rejoined(one, piece, found):
    """A piece from the store as it was made: the network with what trained it, others around the very network of the pass."""
    if piece == ("network",):
        face = clone(one.plan.network).set_params(random_state=one.seed, verbose=one.verbose)
        face._adopt(found.network_, found.classes_, found._columns)
        face.history_ = getattr(found, "history_", None)
        return face
    return found if isinstance(found, dict) else share_network(found, one.get("network"))


def defense(one, name):
    """A fitted mitigation.

    Those that learn from attacked faces do so from the run's, see `teachers`: a classifier from the first attack, the others
    from all, a part of the faces each. Smoothing stands on the network trained anew with its noise.
    """
    made = one.seeded(clone(one.plan.defense[name]))
    is_classifier, parameters = isinstance(made, RetrainedClassifier), made.get_params(deep=False)
    if "attack" in parameters:
        names = teachers(one.plan, name)
        attacks = [aimed(one, attack, one.model()) for attack in names]
        made.set_params(attack=attacks[0] if is_classifier else attacks)
        one.say(f"{name} learns from {' + '.join(names)}")
    X, y = one.training.X, one.training.y
    if isinstance(made, RandomizedSmoothing):
        one.say(f"{name} stands on a network that learns with noise of {made.sigma:g}")
        noisy = one.seeded(NoiseTraining(one.model(), sigma=made.sigma))
        return made.set_params(model=noisy.fit(X, y, validation_data=(one.X_validation, one.y_validation)))
    if is_classifier:
        return made.set_params(estimator=one.model()).fit(X, y, validation_data=(one.X_validation, one.y_validation))
    if "verbose" in parameters:
        made.set_params(verbose=one.verbose)
    return made.fit(X, y)


def model(one, name=UNDEFENDED):
    """The network, what takes its place behind a mitigation, or a mitigation that is a classifier instead of it."""
    if name == UNDEFENDED:
        return one.get("network")
    made = one.get("defense", name)
    steps = [(name, FrozenEstimator(made))]
    if not isinstance(made, CLASSIFIERS):
        steps.append(("face", FrozenEstimator(one.model())))
    return Pipeline(steps)


def aimed(one, name, target):
    """An attack on a model; one that learns does so on the training faces.

    Images made against the bare network meet mitigations and detectors: there an attack that could stop at the first
    success, just across the boundary, goes on to its largest loss. Else the strongest attacks would look the weakest.
    AutoAttack meets chance in the version that is made for it.
    """
    attack = one.seeded(clone(one.plan.attack[name])).set_params(model=target, verbose=one.verbose)
    if target is one.model() and "early_stop" in attack.get_params(deep=False):
        attack.set_params(early_stop=False)
    if isinstance(attack, AutoAttack) and attack.version == "standard" and _has_chance(target):
        attack.set_params(version="rand")
    if get_tags(attack).requires_fit:
        attack.fit(one.training.X, one.training.targets if attack.targeted else one.training.y)
    return attack


def attacked(one, name, *against):
    """Attacked test faces and the report; nothing if what it is against has no gradient that an attack could follow."""
    target, what = _target(one, *against)
    if target is None:
        return {}
    attack = aimed(one, name, target)
    one.say(f"{name} against {what}")
    y = one.claims.targets if attack.targeted else one.y
    X, report = attack.generate(one.X, y, return_report=True)
    changed = (X != one.X).any(axis=(1, 2, 3))
    return {"X": X, "changed": changed, **{name: np.asarray(report[name]) for name in REPORTED}}


def _target(one, kind, *names):
    """The model that an attack is to get past, and what to call it."""
    if kind == "defense":
        return one.model(*names), names[0]
    if kind == "detector":
        judge = committed(one, *names)
        if not has_gradient(judge, one.X_validation[:1]):
            return None, ""
        scale = scale_of(one.model(), judge, one.X_validation)
        return as_face_model(one.model(), detector=judge, scale=scale), f"the network and {names[0]}"
    if kind == "guard":
        judge, then = names
        return guarded_model(one, judge, then), f"{then} where {judge} flags"
    return one.model(), "the network"


def lesson(one, name):
    """What an attack makes of training faces."""
    rows = lesson_rows(one, name)
    attack = aimed(one, name, one.model())
    one.say(f"{name} against the network, on training faces for the detectors")
    faces = one.training
    y = (faces.targets if attack.targeted else faces.y)[rows]
    return {"rows": rows, "X": attack.generate(faces.X[rows], y) if rows.size else faces.X[rows]}


def detection_training_set(one, attacks):
    """Each training face clean and attacked once, by one of the attacks each, so that both halves are equal."""
    used, rows_of = shares(one, attacks)
    X = one.training.X[used]
    X_adv = np.empty_like(X)
    for name, rows in rows_of.items():
        if rows.size:  # there may be more attacks than faces
            made = one.get("lesson", name)
            X_adv[rows] = made["X"][np.searchsorted(made["rows"], used[rows])]
    return make_detection_set(*_perturbed(X, X_adv))[:2]


def detector(one, name, label):
    """A fitted detector, and unless it is to keep the boundary of its own classifier a calibrated one."""
    attacks = {each: learnt for each, learnt, _ in trainings_of(one.plan)}[label]
    X, y = detection_training_set(one, attacks)
    one.say(f"{name} learns to detect {' + '.join(attacks)}")
    made = one.seeded(clone(one.plan.detector[name]))
    if "model" in made.get_params(deep=False):
        made.set_params(model=one.model())
    made.fit(X, y)
    return made if one.plan.protocol == "paper" else made.calibrate(one.X_validation, fpr=allowed_fpr(one))


def committed(one, name):
    """The first training of a detector."""
    return one.get("detector", name, trainings_of(one.plan)[0][0])


def has_gradient(detector, X):
    """Whether an attack can follow the detector's score."""
    try:
        detector.value_and_gradient(X)
    except (AttributeError, ValueError):
        return False
    return True


def scale_of(face, detector, X_validation):
    """Logits for each unit of the score, so that neither of the two drowns the other for an attack."""
    logits = np.sort(face.logits(X_validation), axis=1)
    leads, scores = logits[:, -1] - logits[:, -2], detector.decision_function(X_validation)
    spread = float(np.std(scores))
    return float(np.std(leads)) / spread if spread > 0 and np.std(leads) > 0 else 1.0


def recognised(one, defense, attack, *against):
    """What a model says of test faces: the labels, the rank of the true one, and the odds of the claimed one."""
    found, X = one.model(defense), faces(one, attack, *against)
    seen = as_face_model(found)
    logits, last = seen.logits(X), thawed(found[-1] if isinstance(found, Pipeline) else found)
    if getattr(type(last), "predict", None) is FaceModelMixin.predict:  # the label of the largest
        predicted = seen.classes_[np.argmax(logits, axis=1)]
    else:
        predicted = found.predict(X)
    return {
        "predicted": predicted,
        "rank": _ranks(seen, logits, one.y),
        "claim_score": _odds(seen, logits, one.claims.claims),
    }


def _ranks(model, logits, y):
    """Of each label among its row, 1 the first; of ties the mean, as a random order would give it in the long run."""
    own = logits[np.arange(len(y)), model.label_index(y)][:, None]
    return 1 + (logits > own).sum(axis=1) + ((logits == own).sum(axis=1) - 1) / 2


def _odds(model, logits, y):
    """Logarithm of the odds of each label."""
    rows, columns = np.arange(len(y)), model.label_index(y)
    others = logits.astype(np.float64)
    own = others[rows, columns]
    others[rows, columns] = -np.inf
    return own - logsumexp(others, axis=1)


def faces(one, attack, *against):
    """Test faces, attacked or not."""
    return one.X if attack == CLEAN else one.get("attacked", attack, *against)["X"]


def scored(one, name, label, attack, *against):
    """Scores of test faces by a detector."""
    return {"score": one.get("detector", name, label).decision_function(faces(one, attack, *against))}


def score_together(one, which, attack, *against):
    """Of several detectors on the same faces at once, since those that look into the network can share its pass."""
    left = [pair for pair in which if not one.has(("scored", *pair, attack, *against))]
    with one.journal.making(one.seed, *(("scored", *pair, attack, *against) for pair in left)):
        found = detection_scores({pair: one.get("detector", *pair) for pair in left}, faces(one, attack, *against))
    for pair, scores in found.items():
        one.keep(("scored", *pair, attack, *against), {"score": scores})


def guarded_model(one, detector, then):
    """The network with a detector before it; what is flagged is rejected, or mitigated and then named."""
    judge, defense = committed(one, detector), None if then == REJECTION else one.model(then)[:-1]
    return GuardedClassifier(
        one.model(), detector=judge, defense=defense, scale=scale_of(one.model(), judge, one.X_validation)
    )


def guarded(one, detector, then, attack, *against):
    """What detector, mitigation and network together say of test faces."""
    guard, X = guarded_model(one, detector, then), faces(one, attack, *against)
    return {"predicted": guard.predict(X), "flagged": guard.flagged(X)}


def searched(one, defense, attack):
    """What a random search finds behind a mitigation, on a few of the faces that are named rightly there."""
    known = np.flatnonzero(one.get("recognised", defense, CLEAN)["predicted"] == one.y)
    if not known.size:
        return {"face": known, "success": known > 0}
    rows, success = random_search(one, attack, defense, one.model(defense), known)
    return {"face": rows, "success": success}


def cost(one, name):
    """What a detector costs a face."""
    return costs(one.model(), {name: committed(one, name)}, one.X)[name]


MAKERS = {
    "network": network, "defense": defense, "attacked": attacked, "lesson": lesson, "detector": detector,
    "recognised": recognised, "scored": scored, "guarded": guarded, "searched": searched, "costs": cost,
}  # fmt: skip


def _has_chance(target):
    return getattr(as_face_model(target), "has_chance", False)


def _perturbed(X, X_adv):
    """The pairs in which the attack has changed anything: there is nothing to detect in the others."""
    changed = (X_adv != X).any(axis=(1, 2, 3))
    if not changed.any():
        raise ValueError(
            "the attack left every image as it is, so that there is nothing to detect: expected a larger eps or more steps."
        )
    return X[changed], X_adv[changed]
