"""Every number of the tables, out of the records."""

import numpy as np

from smartbox.benchmark._detection import detection_rows
from smartbox.benchmark._guard import guard_rows
from smartbox.benchmark._mitigation import attack_rows, mitigation_rows
from smartbox.benchmark._one_seed import OneSeed

_ROWS = {"mitigation": mitigation_rows, "detection": detection_rows, "guard": guard_rows, "attacks": attack_rows}


def empty_tables():
    """Rows by table, none yet."""
    return {table: [] for table in _ROWS}


def tables_of(records, provenance):
    """The rows of each table, seed after seed.

    Parameters
    ----------
    records : dict of DataFrame
        See `_records`.
    provenance : dict
        Of the run: ``protocol`` and ``attacks`` count.

    Returns
    -------
    tables : dict of list of dict

    Raises
    ------
    ValueError
        If records are missing.
    """
    tables = empty_tables()
    for seed in records["faces"]["seed"].unique():
        part = {table: frame[frame["seed"] == seed] for table, frame in records.items()}
        try:
            seen = OneSeed(part, provenance)
            for table, rows in _ROWS.items():
                tables[table] += [{"seed": seen.seed, **_plain(row)} for row in rows(seen)]
        except KeyError as error:
            raise ValueError(f"the records of seed {seed} are not whole: there is nothing on {error}.") from error
    return tables


def _plain(row):
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
