"""Nested parameters of an object that several estimators refer to: set on a copy, or refused where nothing would follow."""

from sklearn.utils import get_tags


def split_shared(params, names):
    """``params`` without those inside one of ``names``, and the latter by name: ``{"model": {"epochs": 3}}``."""
    plain, inside = {}, {}
    for key, value in params.items():
        name, dunder, rest = key.partition("__")
        if dunder and name in names:
            inside.setdefault(name, {})[rest] = value
        else:
            plain[key] = value
    return plain, inside


def changed_copy(given, params, *, owner, path, trains=False):
    """``given`` with other parameters: a shallow copy, as is what lies on the way to a nested one; all else stays shared.

    Parameters
    ----------
    given : estimator
        Left as it is.
    params : dict
        As for ``set_params``.
    owner : estimator
        What refers to ``given``, for messages.
    path : str
        The name of ``given`` among the parameters of ``owner``.
    trains : bool, default=False
        Whether ``owner`` trains by these parameters; if not, those of a fitted object are refused.
    """
    if not hasattr(given, "get_params"):
        raise ValueError(
            f"{path!r} of {type(owner).__name__} is {given!r}, which has no parameter {next(iter(params))!r}: set {path!r} "
            "itself."
        )
    if not trains and _has_learnt(given):
        shown = ", ".join(f"{name}={value!r}" for name, value in params.items())
        raise ValueError(
            f"{path!r} of {type(owner).__name__} is fitted, and {type(owner).__name__} neither copies nor fits it, so that "
            f"{shown} would change nothing that it has learnt: fit one with {shown} and pass that as {path}."
        )
    copied = object.__new__(type(given))  # copy.copy would go by the state for pickles, in which networks are packed
    copied.__dict__.update(vars(given))
    known = given.get_params(deep=True)
    own, inside = split_shared(params, known)
    copied.set_params(**own)
    for name, some in inside.items():
        value = own.get(name, known[name])
        made = changed_copy(value, some, owner=owner, path=f"{path}__{name}", trains=trains)
        copied.set_params(**{name: made})
    return copied


def _has_learnt(estimator):
    """Whether it holds what a fit has left and cannot do without."""
    learnt = any(name.endswith("_") and not name.startswith("_") for name in vars(estimator))
    return learnt and get_tags(estimator).requires_fit
