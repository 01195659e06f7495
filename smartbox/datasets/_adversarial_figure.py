"""The picture of an adversarial set: a few faces, the noise ten times enlarged, and both together."""

import warnings

import numpy as np

from smartbox._drawing import short_name, show_face

_MOST = 6  # faces
_TIMES = 10
_SIDE = 1.5  # of a face, inches
_ROWS = ("original", f"noise × {_TIMES}", "adversarial")
_FOOLED, _STANDING, _QUIET = "#c0392b", "#2e7d32", "#555555"


def save_set_figure(adversarial, path, attack=""):
    """Write the picture as PNG."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in a script that the font lacks show as boxes
        set_figure(adversarial, attack).savefig(path, format="png", dpi=150)


def set_figure(adversarial, attack=""):
    """The picture: a column for each of some faces."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = some_faces(adversarial)
    height, width = adversarial.X.shape[1:3]
    size = _SIDE * len(chosen) + 0.35, 3 * _SIDE * height / width + 0.95  # inches, with room for the text
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    won, n = np.sum(adversarial.success), len(adversarial.y)
    wide = len(chosen) > 3
    title = (
        (attack or "adversarial faces") + (": " if wide else "\n") + f"{won} of {n} succeeded ({100 * won / n:.1f} %)"
    )
    figure.suptitle(title, fontsize=11 if wide else 8, fontweight="bold", parse_math=False)
    axes = figure.subplots(len(_ROWS), len(chosen), squeeze=False)
    for label, axis in zip(_ROWS, axes[:, 0], strict=True):
        axis.set_ylabel(label, fontsize=9, color=_QUIET)
    for i, column in zip(chosen, axes.T, strict=True):
        _draw(adversarial, i, column)
    return figure


def some_faces(adversarial):
    """Rows to show: of different identities as far as there are, won rather than not, the best lit of each."""
    light = np.median(adversarial.X.reshape(len(adversarial.X), -1), axis=1)
    won = adversarial.success & ~adversarial.initially_wrong
    order = np.lexsort((-light, ~won))  # the best first
    _, place = np.unique(adversarial.y[order], return_index=True)
    leaders = np.sort(place)  # the best of each identity, the best identity first
    leaders = leaders[: max(_MOST, len(leaders) // 2)]
    spread = leaders[np.linspace(0, len(leaders) - 1, min(_MOST, len(leaders))).astype(int)]
    others = np.setdiff1d(np.arange(len(order)), spread)[: _MOST - len(spread)]
    rows = order[np.concatenate([spread, others])]
    return rows[np.lexsort((rows, adversarial.y[rows]))]


def _draw(adversarial, i, axes):
    noise = adversarial.X_adv[i] - adversarial.X[i]
    name = adversarial.target_names[adversarial.y[i]]
    show_face(axes[0], adversarial.X[i])
    axes[0].set_title(short_name(name), fontsize=9, parse_math=False)
    show_face(
        axes[1], np.clip(0.5 + _TIMES * noise, 0, 1), cmap="RdBu_r", vmin=0.2, vmax=0.8
    )  # strongest from 8/255 on
    axes[1].set_xlabel(f"l2 {adversarial.l2[i]:.2g}   linf {adversarial.linf[i]:.2g}", fontsize=7, color=_QUIET)
    show_face(axes[2], adversarial.X_adv[i])
    color = _QUIET if adversarial.initially_wrong[i] else _FOOLED if adversarial.success[i] else _STANDING
    seen = short_name(adversarial.prediction_after[i])
    axes[2].set_xlabel(f"seen as {seen}", fontsize=8, color=color, parse_math=False)
