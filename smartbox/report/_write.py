"""Reports of finished runs, as files."""

from pathlib import Path

import smartbox
from smartbox._records import write_text
from smartbox.report._compare import comparison_sections, comparison_summary
from smartbox.report._differences import check_comparable
from smartbox.report._folder import read_run
from smartbox.report._page import page
from smartbox.report._plain import as_latex, as_markdown
from smartbox.report._sections import sections, summary, threat_models
from smartbox.report._summary import headlines

REPORT, COMPARISON = "report.html", "comparison.html"
FORMATS = {"markdown": (".md", as_markdown), "latex": (".tex", as_latex)}


def write_report(folder, path=None, *, other=None):
    """Write one HTML file on a run of ``smartbox bench``, or on the differences between two.

    It holds everything that it shows, and loads nothing.

    Parameters
    ----------
    folder : str or path
        Where the run is.
    path : str or path, optional
        Of the file, which is replaced. Default: ``report.html`` in the folder, or ``comparison.html``.
    other : str or path, optional
        Folder of a second run, on the same faces and seeds.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If a folder holds no run, or a damaged one, or the two runs are not on the same faces and seeds.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from smartbox.benchmark import Benchmark
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.report import write_report
    >>> faces = make_faces(n_identities=4, n_images=12, image_shape=(32, 28))
    >>> folder = mkdtemp()
    >>> _ = Benchmark(faces, attacks=["fgsm"], detectors=[], parameters={"network.epochs": 2}).run().save(folder)
    >>> write_report(folder).name
    'report.html'
    """
    made = _content(folder, other)
    path = Path(folder) / (REPORT if other is None else COMPARISON) if path is None else Path(path)
    return write_text(path, page(version=smartbox.__version__, **made))


def write_tables(folder, out=None, *, format="markdown", other=None):
    """Write the tables of a report to one file each, for papers.

    Parameters
    ----------
    folder : str or path
        Where the run is.
    out : str or path, optional
        Folder to write to, made if it does not exist. Default: ``tables`` in the folder of the run.
    format : {"markdown", "latex"}, default="markdown"
        "latex" needs the package booktabs.
    other : str or path, optional
        As for `write_report`.

    Returns
    -------
    paths : list of Path

    Raises
    ------
    ValueError
        As `write_report`, or if there is no such format.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from smartbox.benchmark import Benchmark
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.report import write_tables
    >>> faces = make_faces(n_identities=4, n_images=12, image_shape=(32, 28))
    >>> folder = mkdtemp()
    >>> _ = Benchmark(faces, attacks=["fgsm"], detectors=[], parameters={"network.epochs": 2}).run().save(folder)
    >>> "recognition.md" in [path.name for path in write_tables(folder)]
    True
    """
    if format not in FORMATS:
        raise ValueError(f"expected format as one of {', '.join(FORMATS)}, got {format!r}.")
    ending, render = FORMATS[format]
    made = _content(folder, other)
    grids = [item for section in made["sections"] for item in section.items if item.kind == "grid"]
    texts = {f"{grid.id}{ending}": render(grid) for grid in grids}
    out = Path(folder) / "tables" if out is None else Path(out)
    out.mkdir(parents=True, exist_ok=True)
    return [write_text(out / name, text) for name, text in texts.items()]


def _content(folder, other):
    """What the page says."""
    run = read_run(folder)
    if other is None:
        return {
            "title": "SmartBox report",
            "subtitle": run.results.provenance["data"].get("description") or run.folder.name,
            "headlines": headlines(run.results),
            "summary": summary(run),
            "threats": threat_models(),
            "sections": sections(run),
        }
    second = read_run(other)
    check_comparable(run, second)
    parts = comparison_sections(run, second)
    return {
        "title": "SmartBox comparison",
        "subtitle": f"A: {run.folder}, B: {second.folder}",
        "headlines": [],
        "summary": comparison_summary(run, second, parts),
        "threats": threat_models(),
        "sections": parts,
    }
