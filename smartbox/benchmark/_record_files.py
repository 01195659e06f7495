"""A folder of results on disk: written file by file, each whole or not at all, and read back."""

import gzip
import json
from pathlib import Path

from smartbox._records import file_sha256
from smartbox._serialization import atomic_file
from smartbox.benchmark._records import SCHEMA, dtypes

FOLDER = "records"
FORMATS = {"csv": ".csv.gz", "parquet": ".parquet"}


def check_format(form):
    """Raise a ValueError unless records can be written so."""
    if form not in FORMATS:
        raise ValueError(f"there is no format {form!r} of records. Known: {', '.join(FORMATS)}.")
    if form == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ValueError(
                "parquet files need pyarrow, which is not installed: pip install 'smartbox[parquet]', or leave the format at csv."
            ) from error


def write_records(frames, folder, form="csv"):
    """Write each table, and return the SHA-256 of each file by its name; those of an earlier run are taken away."""
    folder = Path(folder) / FOLDER
    if frames is None:
        _remove_others(folder, ())
        return None
    folder.mkdir(exist_ok=True)
    names = {table: f"{table}{FORMATS[form]}" for table in frames if len(frames[table])}
    for table, name in names.items():
        with atomic_file(folder / name) as file:
            _write(frames[table], file, form)
    _remove_others(folder, names.values())
    return {name: file_sha256(folder / name) for name in names.values()}


def _write(frame, file, form):
    if form == "parquet":
        frame.to_parquet(file, engine="pyarrow", index=False)
        return
    text = frame.to_csv(index=False, lineterminator="\n").encode(errors="surrogatepass")
    file.write(gzip.compress(text, compresslevel=6, mtime=0))  # equal records, equal bytes


def _remove_others(folder, names):
    for table in SCHEMA:
        for ending in FORMATS.values():
            if f"{table}{ending}" not in names:
                (folder / f"{table}{ending}").unlink(missing_ok=True)  # or an earlier run's would pass for this one's


def read_folder(folder):
    """What ``results.json`` says, and the tables of records, None where the run kept none.

    Raises
    ------
    ValueError
        If the folder holds no results, or they are damaged.
    """
    path = Path(folder) / "results.json"
    if not path.is_file():
        raise ValueError(
            f"expected {folder} as a folder that smartbox bench or Results.save wrote, but it holds no results.json."
        )
    try:
        whole = json.loads(path.read_text())
        provenance, tables, sums = whole["provenance"], whole["tables"], whole.get("records")
        labels = provenance["data"]["labels"] if sums else "text"
        is_whole = all(isinstance(each, dict) for each in (provenance, tables, sums or {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not what smartbox bench or Results.save writes, or is damaged ({error!r})."
        ) from error
    if not is_whole:
        raise ValueError(f"{path} is not what smartbox bench or Results.save writes: its parts are no JSON objects.")
    return whole, (_read_records(path.parent / FOLDER, sums, labels) if sums else None)


def _read_records(folder, sums, labels):
    from pandas import DataFrame

    frames = {}
    for table in SCHEMA:
        name = next((f"{table}{ending}" for ending in FORMATS.values() if f"{table}{ending}" in sums), None)
        if name is None:
            frames[table] = DataFrame({column: [] for column in SCHEMA[table]}).astype(dtypes(table, labels))
            continue
        path = folder / name
        if not path.is_file() or file_sha256(path) != sums[name]:
            state = "is missing" if not path.exists() else "is not the file that belongs to results.json"
            raise ValueError(
                f"{path} {state}: the folder is damaged, or a run was cut off there; give its command again."
            )
        try:
            frames[table] = _read(path, table, labels)
        except Exception as error:  # readers of tables raise anything
            raise ValueError(f"cannot read {path} as records of a benchmark ({error}).") from error
    return frames


def _read(path, table, labels):
    import pandas

    types = dtypes(table, labels)
    if path.name.endswith(FORMATS["parquet"]):
        return pandas.read_parquet(path, engine="pyarrow")[list(types)].astype(types)
    # Numbers by Python's own reader of them, which is exact in every version of pandas.
    reals = [name for name, kind in SCHEMA[table].items() if kind == "real"]
    frame = pandas.read_csv(path, dtype={**types, **dict.fromkeys(reals, object)}, keep_default_na=False,
                            encoding_errors="surrogatepass")[list(types)]  # fmt: skip
    return frame.assign(**{name: [float(text or "nan") for text in frame[name]] for name in reals})
