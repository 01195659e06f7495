"""What ``smartbox mitigate`` does with defences and images: cleaned images, how much they changed, a picture."""

import json
import sys
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from rich.table import Table
from rich.text import Text
from sklearn.utils import gen_batches

from smartbox import _norms
from smartbox._progress import progress_bar, say
from smartbox._records import as_csv, circumstances, jsonable
from smartbox.cli._image_figure import save_before_after
from smartbox.cli._images import MITIGATED, read_images, stack
from smartbox.cli._terminal import check_room, console
from smartbox.cli._train_run import settings_of

FILES = ("png", "examples.png", "report.csv", "report.json")
_BATCH = 64
_ROOM = 1  # times the images' own bytes: PNG files hold a quarter of them


def run(folder, chain, images, image_shape, on_error, seed, *, verbose):
    """Clean all images, write them, and print how much they changed."""
    title = " + ".join(PurePosixPath(name).name for name, _ in chain)
    shapes = [defense.image_shape_ for _, defense in chain if hasattr(defense, "image_shape_")]
    read = read_images(images, n_channels=shapes[0][2] if shapes else None, image_shape=image_shape, on_error=on_error)
    if shapes:
        stack(read, shapes[0], title)
    check_room(folder.folder, _ROOM * sum(image.nbytes for image in read.X))
    cleaned, rows = [None] * len(read.X), [None] * len(read.X)
    with progress_bar(title, len(read.X), enabled=verbose) as advance:
        for places in _alike(read.X):
            for batch in gen_batches(len(places), _BATCH):
                X = X_clean = np.stack([read.X[i] for i in places[batch]])
                for _, defense in chain:
                    X_clean = defense.transform(X_clean)
                change = (X_clean - X).reshape(len(X), -1)
                sizes = {norm: _norms.size(change, norm) for norm in _norms.NORMS}
                for k, i in enumerate(places[batch]):
                    cleaned[i] = X_clean[k]
                    rows[i] = {norm: float(size[k]) for norm, size in sizes.items()}
                advance(len(X))
    names = png_paths(read.names)
    rows = [{"file": old, "png": f"png/{new}", **row} for old, new, row in zip(read.names, names, rows, strict=True)]
    medians = {f"median_{norm}": float(np.median([row[norm] for row in rows])) for norm in _norms.NORMS}
    about = {
        "format": MITIGATED,
        "summary": {"images": len(rows), **medians},
        "defenses": [{"name or file": name, "parameters": settings_of(defense)} for name, defense in chain],
        "seed": seed,
        "images": str(images),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        **circumstances(),
    }
    with folder.replaced() as new:
        write_pngs(new / "png", names, cleaned)
        save_before_after(new / "examples.png", read.X, cleaned, read.names, f"{title}: {len(rows)} images")
        (new / "report.csv").write_bytes(as_csv(rows).encode(errors="backslashreplace"))
        (new / "report.json").write_text(json.dumps(jsonable(about), indent=1, allow_nan=False))
    _print(title, about["summary"])
    say(f"Written to {folder.folder}: {', '.join(path.name for path in folder.paths())}", enabled=verbose)


def _alike(X):
    """Places of the images of each shape."""
    shapes = {}
    for i, image in enumerate(X):
        shapes.setdefault(image.shape, []).append(i)
    return [np.array(places) for places in shapes.values()]


def png_paths(names):
    """The same names with the ending ``.png``, each once: of ``a.png`` and ``a.jpg`` the latter becomes ``a.jpg.png``."""
    own = {name.casefold() for name in names if name.casefold().endswith(".png")}
    made = []
    for name in names:
        is_png = name.casefold().endswith(".png")
        path = name if is_png else str(PurePosixPath(name).with_suffix(".png"))
        if not is_png and path.casefold() in own:
            path = f"{name}.png"
        own.add(path.casefold())
        made.append(path)
    return made


def write_pngs(folder, names, images):
    """Write each image, rounded to 8 bits, in the folder that its name says."""
    for name, image in zip(names, images, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.rint(image * 255).astype(np.uint8)
        Image.fromarray(pixels if image.shape[-1] == 3 else pixels[..., 0]).save(path)


def _print(title, summary):
    terminal = console()
    terminal.print(Text(f"{title}: {summary['images']} images", style="italic"))
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for norm in _norms.NORMS:
        table.add_row(f"median change, {norm}", f"{summary[f'median_{norm}']:.4g}")
    terminal.print(table)
