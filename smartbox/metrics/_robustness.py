"""Accuracy where several attacks, a certificate or a right to refuse come into it; every image counts."""

from collections.abc import Mapping
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch

from smartbox.metrics._checks import check_no_nan, check_same_labels, check_scores


def worst_case_accuracy(y_true: ArrayLike, predictions: Mapping | ArrayLike) -> float:
    """Share of all images that are right under each of several attacks: what an attacker leaves who may choose among them.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        True identity of each image.
    predictions : dict of {str: array-like of shape (n_images,)}, or a sequence of such arrays
        What is predicted for the images under each attack, in the order of ``y_true``. Put the clean images among them, lest an
        attack that failed to reach an image repair it by chance.

    Returns
    -------
    accuracy : float
        In [0, 1]; at most the least accuracy under one of them.

    Raises
    ------
    ValueError
        If there is no attack, or lengths or types of labels do not fit.

    References
    ----------
    .. [1] Carlini et al. "On Evaluating Adversarial Robustness", arXiv:1902.06705, 2019, section 5.3 (per-example worst case).

    Examples
    --------
    >>> from smartbox.metrics import worst_case_accuracy
    >>> worst_case_accuracy(["a", "b", "c", "d"], {"fgsm": ["a", "b", "x", "d"], "pgd": ["x", "b", "x", "d"]})
    0.5
    """
    named = predictions if isinstance(predictions, Mapping) else dict(enumerate(predictions))
    if not named:
        raise ValueError('predictions must hold those under at least one attack, got none; pass e.g. {"pgd": labels}.')
    right = True
    for name, predicted in named.items():
        y, labels = check_same_labels(**{"y_true": y_true, f"predictions[{name!r}]": predicted})
        right = right & (y == labels)
    return float(np.mean(right))


def certified_accuracy(
    y_true: ArrayLike, labels: ArrayLike, radii: ArrayLike, *, at: ArrayLike = 0.0
) -> float | NDArray:
    """Share of all images that are named rightly, with a certificate that reaches at least so far.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        True identity of each image.
    labels : array-like of shape (n_images,)
        The certified class of each image, such as ``label`` of `RandomizedSmoothing.certify`; an abstention is a mistake.
    radii : array-like of shape (n_images,)
        How far each holds; not negative.
    at : float or array-like of shape (n_radii,), default=0.0
        Where to measure, in the unit of ``radii``; not negative.

    Returns
    -------
    accuracy : float, or ndarray of shape (n_radii,)
        In [0, 1]; it never rises with ``at``.

    Raises
    ------
    ValueError
        If lengths or types of labels do not fit, an identity has the label of abstention (-1 or ``"rejected"``), or a radius or
        one of ``at`` is NaN or negative.

    References
    ----------
    .. [1] Cohen, Rosenfeld, Kolter. "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, section 4.

    Examples
    --------
    >>> from smartbox.metrics import certified_accuracy
    >>> certified_accuracy([3, 1, 2], [3, 1, -1], [0.4, 0.1, 0.0], at=[0.0, 0.25, 0.5])
    array([0.66666667, 0.33333333, 0.        ])
    """
    y, labels = check_same_labels(y_true=y_true, labels=labels)
    radii = _check_length(check_no_nan(check_scores(radii, "radii"), "radii"), len(y), "radii")
    if radii.min() < 0:
        raise ValueError(f"radii must not be negative, got {radii.min():.3g}; pass 0 where nothing is certain.")
    nobody = "rejected" if isinstance(y[0], str) else -1
    if (y == nobody).any():
        raise ValueError(
            f"y_true holds {nobody!r}, which stands for an abstention among the certified labels, so that one would count as "
            "right: give that identity another label, and leave out faces of nobody that is known."
        )
    at = _check_places(at)
    share = ((y == labels) & (radii >= at[..., None])).mean(axis=-1)
    return share if at.ndim else float(share)


def accuracy_rejection_curve(y_true: ArrayLike, y_pred: ArrayLike, scores: ArrayLike) -> Bunch:
    """Accuracy on the images that are left when the most suspect ones are rejected, at each rate of rejection.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        True identity of each image.
    y_pred : array-like of shape (n_images,)
        Predicted identity of each image, as if nothing were rejected.
    scores : array-like of shape (n_images,)
        Larger is rejected first, e.g. a detector's ``decision_function``; any unit, no NaN. Equal scores go together.

    Returns
    -------
    curve : Bunch
        Arrays of one length, from nothing rejected to all but the least suspect images.

        rejection_rate : share of the images rejected, rising from 0.
        accuracy : share of the images that are left which are right.
        right : share of all images that are left and right; it never rises.
        threshold : what scores above it is rejected.

    Raises
    ------
    ValueError
        If lengths or types of labels do not fit, or a score is NaN.

    See Also
    --------
    accuracy_at_rejection : One point of it.

    References
    ----------
    .. [1] Nadeem, Zucker, Hanczar. "Accuracy-Rejection Curves (ARCs) for Comparing Classification Methods with a Reject Option",
       MLSB 2009.

    Examples
    --------
    >>> from smartbox.metrics import accuracy_rejection_curve
    >>> curve = accuracy_rejection_curve([0, 1, 2, 3], [0, 1, 2, 0], [0.1, 0.3, 0.2, 0.9])
    >>> curve.rejection_rate, curve.accuracy
    (array([0.  , 0.25, 0.5 , 0.75]), array([0.75, 1.  , 1.  , 1.  ]))
    """
    y, predicted = check_same_labels(y_true=y_true, y_pred=y_pred)
    scores = _check_length(check_no_nan(check_scores(scores, "scores"), "scores"), len(y), "scores")
    order = np.argsort(scores, kind="stable")
    n_right = np.cumsum((y == predicted)[order])
    thresholds = scores[order]
    # the last image of each score; what is left at a threshold ends there
    ends = np.flatnonzero(np.append(thresholds[1:] > thresholds[:-1], True))[::-1]
    n_left = ends + 1
    return Bunch(
        rejection_rate=1 - n_left / len(y),
        accuracy=n_right[ends] / n_left,
        right=n_right[ends] / len(y),
        threshold=thresholds[ends],
    )


def accuracy_at_rejection(y_true: ArrayLike, y_pred: ArrayLike, scores: ArrayLike, *, rate: float) -> float:
    """Accuracy on the images that are left when the most suspect ones are rejected, at most a share ``rate`` of all.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        True identity of each image.
    y_pred : array-like of shape (n_images,)
        Predicted identity of each image, as if nothing were rejected.
    scores : array-like of shape (n_images,)
        Larger is rejected first; any unit, no NaN. Equal scores go together, all or none.
    rate : float
        In [0, 1).

    Returns
    -------
    accuracy : float
        In [0, 1].

    Raises
    ------
    ValueError
        If lengths or types of labels do not fit, a score is NaN, or ``rate`` is out of range.

    Examples
    --------
    >>> from smartbox.metrics import accuracy_at_rejection
    >>> accuracy_at_rejection([0, 1, 2, 3], [0, 1, 2, 0], [0.1, 0.3, 0.2, 0.9], rate=0.25)
    1.0
    """
    if not isinstance(rate, Real) or not 0 <= rate < 1:
        raise ValueError(f"rate must lie in [0, 1), got {rate!r}; divide a percentage by 100.")
    curve = accuracy_rejection_curve(y_true, y_pred, scores)
    # rounded, lest 1 - 0.7 = 0.30000000000000004 count as more than 0.3
    return float(curve.accuracy[np.flatnonzero(np.round(curve.rejection_rate - rate, 12) <= 0)[-1]])


def _check_places(at):
    """``at`` as float64, if it is numbers from 0 on."""
    try:
        places = np.asarray(at, dtype=np.float64)
    except (TypeError, ValueError):
        places = np.array(np.nan)
    if not (places >= 0).all():
        raise ValueError(
            f"at must hold numbers, each 0 or more, got {at!r}; pass radii in l2, e.g. at=[0.0, 0.25, 0.5]."
        )
    return places


def _check_length(values, n, name):
    if len(values) != n:
        raise ValueError(f"{name} must be of shape ({n},), got {values.shape}; pass one for each label.")
    return values
