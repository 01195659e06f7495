"""The pictures of ``smartbox detect`` and ``smartbox mitigate``."""

from pathlib import PurePosixPath

import numpy as np

from smartbox._drawing import short_name, show_face

_MOST = 6  # images in a row
_TIMES = 10
_SIDE = 1.5  # inches
_FLAGGED, _PASSED, _QUIET = "#c0392b", "#2e7d32", "#555555"


def save_suspects(path, X, names, scores, flagged, title):
    """Two rows: the most suspicious images, then the least."""
    order = np.argsort(-scores, kind="stable")
    n = max(1, min(_MOST, len(order) // 2))  # of few images none is in both rows
    figure, axes = _grid(2, n, X[0].shape, title)
    for row, label, chosen in zip(
        axes, ("most suspicious", "least suspicious"), (order[:n], order[::-1][:n]), strict=True
    ):
        row[0].set_ylabel(label, fontsize=9, color=_QUIET)
        for axis, i in zip(row, chosen, strict=True):
            show_face(axis, X[i])
            axis.set_title(short_name(PurePosixPath(names[i]).stem), fontsize=8, parse_math=False)
            axis.set_xlabel(f"{scores[i]:.4g}", fontsize=8, color=_FLAGGED if flagged[i] else _PASSED)
    figure.savefig(path, format="png", dpi=150)


def save_before_after(path, before, after, names, title):
    """Three rows: some images, ten times the change, and what they have become."""
    chosen = np.unique(np.linspace(0, len(before) - 1, min(_MOST, len(before))).astype(int))
    figure, axes = _grid(3, len(chosen), before[chosen[0]].shape, title)
    for row, label in zip(axes, ("before", f"change × {_TIMES}", "after"), strict=True):
        row[0].set_ylabel(label, fontsize=9, color=_QUIET)
    for column, i in zip(axes.T, chosen, strict=True):
        change = after[i] - before[i]
        show_face(column[0], before[i])
        column[0].set_title(short_name(PurePosixPath(names[i]).stem), fontsize=8, parse_math=False)
        show_face(column[1], np.clip(0.5 + _TIMES * change, 0, 1), cmap="RdBu_r", vmin=0.2, vmax=0.8)
        column[1].set_xlabel(
            f"l2 {np.linalg.norm(change):.2g}   linf {np.abs(change).max():.2g}", fontsize=7, color=_QUIET
        )
        show_face(column[2], after[i])
    figure.savefig(path, format="png", dpi=150)


def _grid(n_rows, n_columns, shape, title):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = _SIDE * max(n_columns, 2) + 0.35, n_rows * (_SIDE * shape[0] / shape[1] + 0.3) + 0.35
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    figure.suptitle(title, fontsize=11 if n_columns > 3 else 8, fontweight="bold", parse_math=False)
    return figure, figure.subplots(n_rows, n_columns, squeeze=False)
