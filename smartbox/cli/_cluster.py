"""``--scheduler``: the workers of a dask cluster do the work."""

import re
from contextlib import contextmanager
from importlib.util import find_spec

_SECONDS = 10  # for the scheduler to answer


def check_scheduler(address):
    """Raise a ValueError if there is something that is no address, or no dask to call it with."""
    if address is not None and not re.fullmatch(r"\w+://\S+:\d+", address):
        raise ValueError(f"expected --scheduler as an address with protocol and port, e.g. tcp://host:8786, got {address!r}.")
    if address is not None and find_spec("distributed") is None:
        raise ValueError("--scheduler needs dask's distributed, which is not installed: pip install 'smartbox[dask]'.")


@contextmanager
def cluster(address):
    """Within the block joblib's work goes to the cluster; without an address nothing changes."""
    if address is None:
        yield
        return
    import joblib
    from distributed import Client

    try:
        client = Client(address, timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no dask scheduler answers at {address!r} ({error}): start one (dask scheduler), or leave --scheduler out."
        ) from error
    with client, joblib.parallel_config(backend="dask", client=client):
        yield
