"""Shares of right decisions, and how sure they are."""

import numpy as np

from smartbox.metrics import bootstrap_by_identity, wilson_interval

ALL_ATTACKS = "all attacks"  # in the place of an attack's name: what is right under each of them


def accuracies(right, people, seed, columns):
    """The share of each of the columns, and its 95 % interval as ``..._low`` and ``..._high``; NaN where there is none.

    The interval is by draws of identities, or where it reaches farther Wilson's: that has a width even where all faces agree.

    Parameters
    ----------
    right : dict of ndarray
        Boolean, a decision a face, by column; not all columns need be in it.
    people : ndarray
        Identity of each face.
    seed : int
        Draws the identities.
    columns : sequence of str
        In the order of the row.
    """
    found = {column: np.asarray(right[column], dtype=np.float64) for column in columns if column in right}

    def means(weights):
        return {column: weights @ each / weights.sum(axis=1) for column, each in found.items()}

    drawn = bootstrap_by_identity(means, people, random_state=seed)
    row = {column: found[column].mean() if column in found else np.nan for column in columns}
    for column in columns:
        low = high = np.nan
        if column in found:
            low, high = wilson_interval(int(found[column].sum()), len(people))
            low, high = min(low, drawn[column].low), max(high, drawn[column].high)
        row |= {f"{column}_low": low, f"{column}_high": high}
    return row


def all_of(decisions):
    """By key, what is right in each of several dicts of booleans."""
    return {key: np.logical_and.reduce([decided[key] for decided in decisions]) for key in decisions[0]}
