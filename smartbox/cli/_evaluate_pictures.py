"""The pictures of ``smartbox evaluate``: curves of all rows on one pair of axes, and some faces."""

import warnings

import numpy as np

from smartbox._drawing import judged, short_name, show_face
from smartbox.metrics import CMCDisplay, DETDisplay, VerificationROCDisplay

_MOST = 4  # faces
_TIMES = 10
_SIDE = 1.5  # of a face, inches


def save_cmc(path, cmcs, title):
    """Identification accuracy against rank: a curve a row."""
    _save(path, title, lambda ax: [CMCDisplay(accuracy=cmc, name=name).plot(ax) for name, cmc in cmcs.items()])


def save_roc(path, curves, title):
    """True against false accepts: a curve a row, from its scores and whether each claim is true."""
    _save(path, title, lambda ax: _draw(VerificationROCDisplay, curves, ax))


def save_det(path, curves, title):
    """False rejects against false accepts, likewise."""
    _save(path, title, lambda ax: _draw(DETDisplay, curves, ax))


def _draw(display, curves, ax):
    for name, (scores, is_genuine) in curves.items():
        display.from_predictions(scores, is_genuine, name=name, ax=ax)


def _save(path, title, draw):
    figure = _figure((6.4, 5.6))
    ax = figure.subplots()
    draw(ax)
    ax.set_title(title, fontsize=10, parse_math=False)
    figure.savefig(path, format="png", dpi=150)


def save_faces(path, X, X_adv, names, defenses, captions, title):
    """Faces, the noise, both together, and what mitigations make of it.

    Parameters
    ----------
    path : Path
    X, X_adv : ndarray of shape (n, height, width, channels)
    names : sequence of str
        Whose faces.
    defenses : list of (str, BaseDefense)
    captions : list of (list of str, ndarray of bool)
        What is said below the faces of each column but the noise, and whether the decision is right.
    title : str
    """
    X, X_adv = X[:_MOST], X_adv[:_MOST]
    columns = [("before attack", X), ("after attack", X_adv)]
    columns += [(name, defense.transform(X_adv)) for name, defense in defenses]
    height, width = X.shape[1:3]
    figure = _figure((_SIDE * (1 + len(columns)) + 0.4, len(X) * (_SIDE * height / width + 0.3) + 0.6))
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    figure.suptitle(title, fontsize=10 if len(columns) > 2 else 8, parse_math=False)
    axes = figure.subplots(len(X), 1 + len(columns), squeeze=False)
    for i, row in enumerate(axes):
        noise = X_adv[i] - X[i]
        show_face(row[1], np.clip(0.5 + _TIMES * noise, 0, 1), cmap="RdBu_r", vmin=0.2, vmax=0.8)
        row[1].set_xlabel(f"linf {255 * np.abs(noise).max():.3g}/255", fontsize=7)
        row[0].set_ylabel(short_name(names[i]), fontsize=8, parse_math=False)
        for axis, (_, images), (texts, right) in zip(row[[0, *range(2, len(row))]], columns, captions, strict=True):
            show_face(axis, images[i])
            color, mark = judged(right[i])
            axis.set_xlabel(mark + texts[i], fontsize=7, color=color, parse_math=False)
    for axis, heading in zip(
        axes[0], ("before attack", f"noise × {_TIMES}", *(name for name, _ in columns[1:])), strict=True
    ):
        axis.set_title(heading, fontsize=8, parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in a script that the font lacks show as boxes
        figure.savefig(path, format="png", dpi=150)


def _figure(size):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
