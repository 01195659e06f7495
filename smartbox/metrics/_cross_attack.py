"""A detector trained on some attacks, met by others."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils import Bunch, check_random_state

from smartbox._checks import check_images
from smartbox.metrics._checks import check_rate
from smartbox.metrics._detection import detection_report
from smartbox.protocol import check_labels

ALL_BUT = "all but the tested one"
_PARTS = 0.4, 0.5  # held out of training; of these, to test


def cross_attack_matrix(
    detector,
    X: ArrayLike,
    adversarial_sets: Mapping[str, ArrayLike],
    *,
    groups: ArrayLike | None = None,
    fpr: float = 0.05,
    random_state=None,
) -> Bunch:
    """How well a detector trained on one attack finds the others.

    Parameters
    ----------
    detector : detector of `smartbox.detectors`
        Cloned for each training; itself left as it is.
    X : array-like of shape (n, height, width, channels)
        Clean images in [0, 1].
    adversarial_sets : dict of {str: array-like like X}
        What each attack made of each image, by the attack's name.
    groups : array-like of shape (n,), optional
        What is not to be parted, such as identities: three fifths of the groups are trained on, a fifth sets the threshold,
        a fifth is tested. None keeps only an image and what attacks made of it together.
    fpr : float, default=0.05
        Rate of clean validation images that the threshold flags.
    random_state : int, RandomState or None, default=None
        Parts the groups, and shares images out among attacks.

    Returns
    -------
    matrix : Bunch
        trained_on : list of str, the rows
            Each attack; of two and more all together, of which each attacks an equal share of the images, so that both
            kinds stay of equal number; of three and more ``"all but the tested one"``, whose detector never saw the attack
            of the column.
        tested_on : list of str, the columns
        tpr : ndarray of shape (n_rows, n_columns)
            Share of the attacked test images above the threshold.
        roc_auc : ndarray of shape (n_rows, n_columns)
        fpr : ndarray of shape (n_rows, n_columns)
            Share of the clean test images above the threshold.

        Every image counts, one that an attack left as it was too.

    Raises
    ------
    ValueError
        If shapes do not fit, there is no attack, a name is taken, or the groups are too few to be parted.

    References
    ----------
    .. [1] Carlini, Wagner. "Adversarial Examples Are Not Easily Detected: Bypassing Ten Detection Methods", AISec 2017.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM, DeepFool
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.detectors import PCADetector
    >>> from smartbox.metrics import cross_attack_matrix
    >>> faces, face = make_faces(n_images=4), smartbox.load_sample_model()
    >>> sets = {"fgsm": FGSM(face).generate(faces.images), "deep_fool": DeepFool(face).generate(faces.images)}
    >>> detector = PCADetector(n_components=20, components="trailing", magnitude=True)
    >>> matrix = cross_attack_matrix(detector, faces.images, sets, groups=faces.target, random_state=0)
    >>> matrix.trained_on, matrix.tested_on, matrix.tpr.shape
    (['fgsm', 'deep_fool', 'fgsm + deep_fool'], ['fgsm', 'deep_fool'], (3, 2))
    """
    from smartbox.detectors import detection_scores  # which asks this package for thresholds

    if not (hasattr(detector, "calibrate") and hasattr(detector, "decision_function")):
        raise ValueError(f"expected detector as a detector of smartbox.detectors, got {type(detector).__name__}.")
    X, sets = _check_sets(X, adversarial_sets)
    check_rate(fpr)
    rng = check_random_state(random_state)
    train, validation, test = _parted(
        np.arange(len(X)) if groups is None else check_labels(groups, "groups"), len(X), rng
    )
    share = rng.permutation(len(train))
    fitted = {}
    for label, attacks, _ in trainings(sets):
        made = share_out([sets[attack][train] for attack in attacks], share)
        one = clone(detector).fit(np.concatenate([X[train], made]), np.repeat([0, 1], len(train)))
        fitted[label] = one.calibrate(X[validation], fpr=fpr)
    clean = detection_scores(fitted, X[test])
    attacked = {attack: detection_scores(fitted, X_adv[test]) for attack, X_adv in sets.items()}
    reports = [
        [
            detection_report(
                np.repeat([0, 1], len(test)),
                np.concatenate([clean[label], attacked[attack][label]]),
                threshold=fitted[label].threshold_,
            )
            for attack, label in zip(sets, labels, strict=True)
        ]
        for labels in rows_of(sets).values()
    ]
    figures = {name: np.array([[one[name] for one in row] for row in reports]) for name in ("recall", "roc_auc", "fpr")}
    return Bunch(trained_on=list(rows_of(sets)), tested_on=list(sets), tpr=figures.pop("recall"), **figures)


def trainings(attacks):
    """``(label, attacks that are trained on, attacks that are met)`` for each detector of the matrix."""
    attacks = tuple(attacks)
    made = [(attack, (attack,), attacks) for attack in attacks]
    if len(attacks) > 1:
        made.append((" + ".join(attacks), attacks, attacks))
    if len(attacks) > 2:  # of two, all but one is the other
        made += [(_all_but(left), tuple(one for one in attacks if one != left), (left,)) for left in attacks]
    return made


def rows_of(attacks):
    """The rows of the matrix: of each the label of the detector in each column."""
    attacks = tuple(attacks)
    rows = {label: [label] * len(attacks) for label, _, met in trainings(attacks) if met == attacks}
    return rows | ({ALL_BUT: [_all_but(left) for left in attacks]} if len(attacks) > 2 else {})


def share_out(sets, order):
    """Of each image the version of one set, all of equal share; ``order`` is a permutation."""
    made = np.empty_like(sets[0])
    for i, one in enumerate(sets):
        rows = order % len(sets) == i
        made[rows] = one[rows]
    return made


def _all_but(attack):
    return f"all but {attack}"


def _check_sets(X, adversarial_sets):
    X = check_images(X)
    if not isinstance(adversarial_sets, Mapping) or not adversarial_sets:
        raise ValueError(
            f"adversarial_sets must be a dict of images by attack, such as {{'fgsm': X_adv}}, got {adversarial_sets!r:.80}."
        )
    if len({str(name) for name in adversarial_sets}) < len(adversarial_sets):
        raise ValueError(f"the names of attacks must differ as text, got {list(adversarial_sets)}; rename them.")
    sets = {
        str(name): check_images(made, name=f"adversarial_sets[{name!r}]") for name, made in adversarial_sets.items()
    }
    for name, made in sets.items():
        if made.shape != X.shape:
            raise ValueError(
                f"adversarial_sets[{name!r}] must have the shape of X, {X.shape}, got {made.shape}; pass what the attack made "
                "of each image, in their order."
            )
    labels = [label for label, *_ in trainings(sets)]
    if len(set(labels)) < len(labels):
        raise ValueError(f"the names of attacks must not read like rows of the matrix, got {list(sets)}; rename them.")
    return X, sets


def _parted(groups, n, rng):
    """Rows to train, to validate and to test, no group in two of them."""
    if groups.shape != (n,):
        raise ValueError(f"groups must have one entry an image, ({n},), got shape {groups.shape}.")
    n_groups = len(np.unique(groups))
    if n_groups < 5:
        raise ValueError(
            f"groups must be at least five, so that each part has its own, got {n_groups}; pass more identities, or None."
        )
    held, tested = _PARTS
    split = GroupShuffleSplit(1, test_size=held, random_state=rng.randint(2**31 - 1))
    train, rest = next(split.split(groups, groups=groups))
    split = GroupShuffleSplit(1, test_size=tested, random_state=rng.randint(2**31 - 1))
    validation, test = next(split.split(rest, groups=groups[rest]))
    return train, rest[validation], rest[test]
