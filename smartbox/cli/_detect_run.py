"""What ``smartbox detect`` does with a detector and images: scores, files, a short table."""

import json
import sys
import warnings
from pathlib import Path

import click
import numpy as np
from rich.table import Table
from rich.text import Text
from sklearn.utils import gen_batches

from smartbox._progress import progress_bar, say
from smartbox._records import as_csv, circumstances, image_keys, jsonable
from smartbox.cli._image_figure import save_suspects
from smartbox.cli._terminal import console

FORMAT = "smartbox-detection-1"
FILES = ("faces.png", "scores.csv", "report.json")
_BATCH = 256
_SHOWN = 5  # names of the most suspicious


def score(found, read, verbose):
    """Scores of the images and, of an adversarial set, of the originals; warn of faces that the detector has learnt from."""
    known = np.array(found.about.get("learnt_from", []), dtype=np.uint64)
    of_all = np.isin(image_keys(read.X), known)
    if read.originals is not None:
        of_all |= np.isin(image_keys(read.originals), known)
    if of_all.any():
        warnings.warn(
            f"{of_all.sum()} of the {len(of_all)} images are faces that {found.name} was trained or calibrated on, or made of "
            "such: on them it looks better than it is. Take others, such as the test part (smartbox attack --part test) of the "
            f"same seed{_seed(found)}.",
            stacklevel=2,
        )
    parts = [read.X] if read.originals is None else [read.X, read.originals]
    scores = []
    with progress_bar(found.name, sum(map(len, parts)), enabled=verbose) as advance:
        for X in parts:
            for batch in gen_batches(len(X), _BATCH):
                scores.append(found.estimator.decision_function(X[batch]))
                advance(len(scores[-1]))
    scores = np.concatenate(scores)
    return scores[: len(read.X)], scores[len(read.X) :]


def _seed(found):
    return f", which is {found.about['seed']}" if "seed" in found.about else ""


def write_scores(folder, found, read, scores, images, *, verbose):
    """Write the files, and print the table."""
    scores, of_originals = scores
    threshold = float(found.estimator.threshold_)
    flagged = scores > threshold
    rows = [
        {"file": name, "score": float(one), "threshold": threshold, "flagged": bool(flag)}
        for name, one, flag in zip(read.names, scores, flagged, strict=True)
    ]
    about = {
        "format": FORMAT,
        "summary": {"images": len(rows), "flagged": int(flagged.sum()), "threshold": threshold},
        "detector": {
            "file or name": found.name,
            **{key: found.about.get(key) for key in ("name", "seed", "parameters")},
        },
        "images": str(images),
        "scores": rows,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        **circumstances(),
    }
    if len(of_originals):
        about["summary"]["originals_flagged"] = int((of_originals > threshold).sum())
    title = f"{found.name}: {flagged.sum()} of {len(rows)} flagged"
    with folder.replaced() as new:
        save_suspects(new / "faces.png", read.X, read.names, scores, flagged, title)
        (new / "scores.csv").write_bytes(as_csv(rows).encode(errors="backslashreplace"))
        (new / "report.json").write_text(json.dumps(jsonable(about), indent=1, allow_nan=False))
    _print(title, about["summary"], read, scores, flagged)
    say(f"Written to {folder.folder}: {', '.join(path.name for path in folder.paths())}", enabled=verbose)
    if not np.isfinite(threshold):
        click.echo("Remark: the threshold is infinite, so that nothing can be flagged: train it on more faces.")


def _print(title, summary, read, scores, flagged):
    terminal = console()
    terminal.print(Text(title, style="italic"))
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right")
    n = len(scores)
    table.add_row("flagged", f"{flagged.sum()} of {n} ({100 * flagged.mean():.2f} %)")
    if "originals_flagged" in summary:
        share = 100 * summary["originals_flagged"] / n
        table.add_row("flagged of the originals", f"{summary['originals_flagged']} of {n} ({share:.2f} %)")
    table.add_row("threshold", f"{summary['threshold']:.4g}")
    table.add_row("median score", f"{np.median(scores):.4g}")
    for i in np.argsort(-scores, kind="stable")[:_SHOWN]:
        table.add_row(Text(read.names[i]), f"{scores[i]:.4g}{' !' if flagged[i] else ''}")
    terminal.print(table)
