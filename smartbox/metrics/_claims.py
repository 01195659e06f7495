"""All claims of all probes: every probe claims to be everybody once."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from smartbox.metrics._checks import own_scores


def all_claim_scores(scores: ArrayLike, y_true: ArrayLike, *, classes: ArrayLike | None = None) -> Bunch:
    """Margins of all claims of all probes: one genuine claim a probe, and all others impostors.

    Parameters
    ----------
    scores : array-like of shape (n_probes, n_classes)
        Logits or similarities, larger is more similar; any unit. Probabilities saturate.
    y_true : array-like of shape (n_probes,)
        True identity of each probe.
    classes : array-like of shape (n_classes,), optional
        Identity of each column, e.g. ``face.classes_``. Default: the sorted labels in ``y_true``.

    Returns
    -------
    claims : Bunch
        Arrays of shape (n_probes * n_classes,): the claims of the first probe in the order of the columns, then
        those of the second, and so on.

        scores : ndarray of float64
            As of `claim_scores`.
        is_genuine : ndarray of bool
            Whether the claim is true.

    Raises
    ------
    ValueError
        If shapes or labels do not fit, or if a probe is not enrolled.

    Examples
    --------
    >>> from smartbox.metrics import all_claim_scores
    >>> claims = all_claim_scores([[4.0, 1.0, 0.0]], ["ann"], classes=["ann", "bob", "eve"])
    >>> claims.scores, claims.is_genuine
    (array([ 3., -3., -4.]), array([ True, False, False]))
    """
    _, scores = own_scores(y_true, scores, classes, "y_true")
    columns = np.unique(y_true) if classes is None else np.asarray(classes)
    is_genuine = np.asarray(y_true)[:, None] == columns
    scores = scores.astype(np.float64)
    best, second = np.partition(scores, (-2, -1), axis=1)[:, :-3:-1].T
    with np.errstate(invalid="ignore"):
        margins = scores - np.where(scores == best[:, None], second[:, None], best[:, None])
    return Bunch(scores=np.where(np.isnan(margins), -np.inf, margins).ravel(), is_genuine=is_genuine.ravel())
