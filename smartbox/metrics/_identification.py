"""Closed-set identification: how far down the list of candidates the true identity stands."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smartbox.metrics._checks import own_scores


def rank_k_accuracy(y_true: ArrayLike, scores: ArrayLike, *, k: int = 1, classes: ArrayLike | None = None) -> float:
    """Share of the probes whose true identity is among the ``k`` best candidates.

    Parameters
    ----------
    y_true : array-like of shape (n_probes,)
        True identity of each probe.
    scores : array-like of shape (n_probes, n_classes)
        Larger is more similar; any unit. Logits rather than probabilities, which tie once float32 underflows;
        negate distances. NaN counts as the worst score.
    k : int, default=1
        How many candidates to look at, 1 to ``n_classes``.
    classes : array-like of shape (n_classes,), optional
        Identity of each column, e.g. ``face.classes_``. Default: the sorted labels in ``y_true``.

    Returns
    -------
    accuracy : float
        In [0, 1].

    Raises
    ------
    ValueError
        If shapes or labels do not fit, if a probe is not enrolled, or if ``k`` is out of range.

    See Also
    --------
    cmc_curve : The same for every ``k``, and how ties count.

    Examples
    --------
    >>> from smartbox.metrics import rank_k_accuracy
    >>> scores = [[0.9, 0.1, 0.0], [0.2, 0.1, 0.7], [0.3, 0.6, 0.1]]
    >>> rank_k_accuracy(["a", "b", "c"], scores, k=1, classes=["a", "b", "c"])
    0.333...
    >>> rank_k_accuracy(["a", "b", "c"], scores, k=3, classes=["a", "b", "c"])
    1.0
    """
    curve = cmc_curve(y_true, scores, classes=classes)
    if not isinstance(k, Integral) or not 1 <= k <= len(curve):
        raise ValueError(f"k must be an integer from 1 to n_classes = {len(curve)}, got {k!r}.")
    return float(curve[k - 1])


def cmc_curve(y_true: ArrayLike, scores: ArrayLike, *, classes: ArrayLike | None = None) -> NDArray:
    """Cumulative match characteristic: accuracy at rank 1, 2, ..., ``n_classes``.

    Parameters
    ----------
    y_true : array-like of shape (n_probes,)
        True identity of each probe.
    scores : array-like of shape (n_probes, n_classes)
        Larger is more similar; any unit. Logits rather than probabilities, which tie once float32 underflows;
        negate distances. NaN counts as the worst score.
    classes : array-like of shape (n_classes,), optional
        Identity of each column, e.g. ``face.classes_``. Default: the sorted labels in ``y_true``.

    Returns
    -------
    accuracy : ndarray of float64, shape (n_classes,)
        In [0, 1], non-decreasing, 1 at the end; ``accuracy[k - 1]`` is the accuracy at rank k.

    Raises
    ------
    ValueError
        If shapes or labels do not fit, or if a probe is not enrolled.

    Notes
    -----
    With ``a`` better and ``b`` equal rivals, the true identity is among the best k with probability
    ``clip((k - a) / (b + 1), 0, 1)``: the expectation over a random order of the tied. A constant score thus
    earns chance.

    References
    ----------
    .. [1] Phillips, Moon, Rizvi, Rauss. "The FERET Evaluation Methodology for Face-Recognition Algorithms",
       TPAMI 2000.
    .. [2] Grother, Phillips. "Models of Large Population Recognition Performance", CVPR 2004.

    Examples
    --------
    >>> from smartbox.metrics import cmc_curve
    >>> cmc_curve(["a", "b"], [[0.9, 0.4, 0.1], [0.5, 0.5, 0.5]], classes=["a", "b", "c"])
    array([0.66666667, 0.83333333, 1.        ])
    """
    own, scores = own_scores(y_true, scores, classes, "y_true")
    better = np.count_nonzero(scores > own, axis=1)
    equal = np.count_nonzero(scores == own, axis=1) - 1
    # Few distinct pairs of counts exist, so that the table below is small whatever the number of probes.
    (a, b), n_probes = np.unique(np.stack([better, equal]), axis=1, return_counts=True)
    ranks = np.arange(1, scores.shape[1] + 1)
    chance = np.clip((ranks - a[:, None]) / (b[:, None] + 1), 0, 1)
    return (n_probes[:, None] * chance).sum(axis=0) / len(own)
