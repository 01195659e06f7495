"""The end of every minimum-norm attack: a line search back towards the image."""

import numpy as np


def polish(X, X_adv, judge, n_steps=12):
    """Move each adversarial image towards its original as far as it stays adversarial on the way that bisection takes.

    Parameters
    ----------
    X, X_adv : ndarray of shape (n, height, width, channels)
        Originals and results. Where ``X_adv`` is not adversarial it is kept as it is.
    judge : callable
        Takes images and their rows; tells which are where the attacker wants them.
    n_steps : int
        Halvings: the distance left is at most ``2**-n_steps`` of the whole.

    Returns
    -------
    X_near : ndarray like X
        Adversarial wherever ``X_adv`` is, and no farther from ``X``. Pixels that are equal stay so.
    """
    near = X_adv.copy()
    rows = np.flatnonzero(judge(X_adv, np.arange(len(X))))
    low, high = np.zeros(len(rows), np.float32), np.ones(len(rows), np.float32)
    for _ in range(n_steps if rows.size else 0):
        middle = (low + high) / 2
        tried = X[rows] + middle[:, None, None, None] * (X_adv[rows] - X[rows])
        won = judge(tried, rows)
        near[rows[won]] = tried[won]
        high, low = np.where(won, middle, high), np.where(won, low, middle)
    return near
