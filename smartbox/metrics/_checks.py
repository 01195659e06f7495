"""What the metrics ask of their arrays; every refusal says what was expected, what came, and the cure."""

from numbers import Real

import numpy as np

from smartbox.protocol import check_labels, encode


def check_scores(scores, name):
    """Float64 array of shape (n,); may hold NaN."""
    scores = np.asarray(scores)
    if scores.ndim != 1 or scores.size == 0 or scores.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} must be a non-empty array of real numbers of shape (n,), got shape {scores.shape} "
            f"and dtype {scores.dtype}; pass one score a row, e.g. column 1 of predict_proba."
        )
    return scores.astype(np.float64)


def check_no_nan(scores, name):
    """The scores, unless one is NaN."""
    n_missing = np.count_nonzero(np.isnan(scores))
    if n_missing:
        raise ValueError(
            f"{name} must not hold NaN, got {n_missing} of {len(scores)}; "
            "write minus infinity where the lowest score is meant."
        )
    return scores


def check_rate(fpr):
    """A false positive rate, if it is one."""
    if not isinstance(fpr, Real) or not 0 < fpr < 1:
        raise ValueError(f"fpr must lie strictly between 0 and 1, got {fpr!r}; divide a percentage by 100.")
    return fpr


def check_flags(flags, name, n):
    """Boolean array of shape (n,)."""
    flags = np.asarray(flags)
    if flags.shape != (n,):
        raise ValueError(f"{name} must be of shape ({n},), got {flags.shape}; pass one flag for each score or label.")
    if flags.dtype.kind not in "biuf" or not np.isin(flags, (0, 1)).all():
        raise ValueError(
            f"{name} must hold True and False (or 1 and 0), got values like {flags[:5].tolist()}; "
            "compare labels first, e.g. claims == y_true."
        )
    return flags.astype(bool)


def check_same_labels(**arrays):
    """Label arrays of one length and of comparable types, in the order of the names."""
    arrays = {name: check_labels(values, name) for name, values in arrays.items()}
    names = ", ".join(arrays)
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{names} must be of one length, got {lengths}; pass them for the same images.")
    types = {name: type(values[0]).__name__ for name, values in arrays.items()}
    if len({isinstance(values[0], (str, bytes)) for values in arrays.values()}) > 1:
        raise ValueError(f"{names} must hold labels of one type, got {types}; convert them first.")
    return list(arrays.values())


def own_scores(labels, scores, classes, name):
    """The score of each probe's label, shape (n, 1), and all the scores with NaN made the worst."""
    labels = check_labels(labels, name)
    scores = _check_score_matrix(scores, len(labels), name)
    columns = encode(labels, _check_columns(labels, classes, scores.shape[1], name), name)
    scores = np.where(np.isnan(scores), -np.inf, scores)
    return np.take_along_axis(scores, columns[:, None], axis=1), scores


def _check_score_matrix(scores, n_probes, name):
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[1] < 2 or scores.dtype.kind not in "fiub":
        raise ValueError(
            "scores must be real numbers of shape (n_probes, n_classes) with at least two classes, got shape "
            f"{scores.shape} and dtype {scores.dtype}; pass decision_function(X), not predict(X), "
            "and a binary decision function d as np.column_stack([-d, d])."
        )
    if len(scores) != n_probes:
        raise ValueError(
            f"scores must have one row a probe, got {len(scores)} rows for {n_probes} labels in {name}; "
            "pass both for the same probes."
        )
    return scores


def _check_columns(labels, classes, n_columns, name):
    """Label of each column of the scores."""
    columns = np.unique(labels) if classes is None else check_labels(classes, "classes")
    if len(columns) != n_columns:
        source = name if classes is None else "classes"
        raise ValueError(
            f"scores must have one column an identity, got {n_columns} columns for {len(columns)} identities "
            f"in {source}; pass classes=face.classes_, the label of each column in order."
        )
    if len(np.unique(columns)) != n_columns:
        raise ValueError("classes must name each column once, got repeats; pass classes=face.classes_.")
    return columns
