"""All of a fit or nothing."""

from contextlib import contextmanager


@contextmanager
def unchanged_on_failure(estimator):
    """What is refused or interrupted (Ctrl-C) inside leaves the attributes of ``estimator`` as they were."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
