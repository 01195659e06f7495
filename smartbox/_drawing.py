"""What the pictures share: curves that can be told apart, and faces. Matplotlib is imported when one is drawn."""

import numpy as np

# Okabe and Ito's colours, which the colour-blind tell apart, less yellow, which is lost on white paper. Line style and
# marker change along with them, so that a black and white print will do.
_LOOKS = (
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", "-.", "^"),
    ("#CC79A7", (0, (5, 1, 1, 1, 1, 1)), "D"),
    ("#E69F00", (0, (3, 1)), "v"),
    ("#56B4E9", (0, (1, 1)), "P"),
    ("#000000", (0, (8, 2)), "X"),
)
_CURVE = "smartbox curve"
_AXIS = 0.48  # height of the numbers and the title of an axis, inches
RIGHT, WRONG = ("#0072B2", "✓ "), ("#D55E00", "✗ ")
_LONGEST = 14  # characters of a name
_LONGEST_LABEL = 60  # characters of a line of a legend, which must leave room for the axes


def axes_for(ax):
    """The given axes, or new ones of a figure that pyplot shows."""
    if ax is not None:
        return check_axes(ax)
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def check_axes(ax):
    """Refuse what is no axes: a figure, or several axes."""
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise ValueError(f"ax must be the axes to draw on, got {type(ax).__name__}; make one with figure, ax = plt.subplots().")
    return ax


def is_first_curve(ax):
    """Whether no display has drawn on the axes so far: then they are still to be set up."""
    return not any(line.get_gid() == _CURVE for line in ax.lines)


def draw_curve(ax, x, y, *, label=None, title=None, band=None, step=False, kwargs=None):
    """Draw a curve in the next of the looks, its band and the legend; return the line.

    ``title`` is that of the legend; ``band`` is ``(x, low, high)`` or None; ``step`` holds each value up to the next x;
    ``kwargs`` of `Line2D` come before the looks.
    """
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    n_curves = sum(line.get_gid() == _CURVE for line in ax.lines)
    color, linestyle, _ = _LOOKS[n_curves % len(_LOOKS)]
    marker = _LOOKS[(n_curves + n_curves // len(_LOOKS)) % len(_LOOKS)][2]  # another where colours begin again
    looks = {
        "color": color,
        "linestyle": linestyle,
        "marker": marker,
        "markersize": 5,
        "linewidth": 1.6,
        # where there are many points, few markers, and not all in the same places as on other curves
        "markevery": 1 if len(x) <= 12 else (0.0, 0.1 + 0.017 * (n_curves % 4)),
        "drawstyle": "steps-post" if step else "default",
        "label": label,
    }
    (line,) = ax.plot(x, y, **looks | normalize_kwargs(kwargs, Line2D))
    line.set_gid(_CURVE)
    if band is not None:
        low_x, low, high = check_band(band)
        kind = "post" if step else None
        ax.fill_between(low_x, low, high, step=kind, color=line.get_color(), alpha=0.2, linewidth=0)
    _set_legend(ax, title)
    return line


def _set_legend(ax, title):
    """Inside, or below the axes if it is so large that it would hide a curve and the layout makes room for it."""
    from matplotlib.transforms import ScaledTranslation

    lines, names = ax.get_legend_handles_labels()
    names = [_without_middle(name) for name in names]
    looks = {"title": title, "title_fontsize": "small", "handlelength": 3.5}
    if not names:
        return
    is_below = len(names) > 3 and ax.figure.get_layout_engine() is not None
    size, columns, fits = _legend_size(ax, max(map(len, names)), (2, 1) if is_below else (1,))
    if is_below and fits:
        below = ax.transAxes + ScaledTranslation(0, -_AXIS, ax.figure.dpi_scale_trans)
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below}
        legend = ax.legend(lines, names, fontsize=size, ncols=columns, columnspacing=1, **place, **looks)
    else:
        legend = ax.legend(lines, names, loc="best", fontsize=size, **looks)
    legend.set_in_layout(fits)  # the layout would make the axes narrower and narrower for one that does not fit
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold a $


def _legend_size(ax, longest, columns):
    """Font size, number of columns, and whether they fit what the axes have of the figure's width."""
    from matplotlib.font_manager import FontProperties

    place = ax.get_subplotspec()
    share = ax.get_position().width if place is None else len(place.colspan) / place.get_gridspec().ncols
    room = 72 * share * ax.figure.bbox.width / ax.figure.dpi
    for n in columns:
        for size in ("small", "x-small"):
            # a letter is about 0.6 of the size wide, the line before it and the gaps take six
            if n * (0.6 * longest + 6) * FontProperties(size=size).get_size_in_points() <= room:
                return size, n, True
    return size, n, False


def _without_middle(name):
    """What a legend has room for: the figure at the end of a name stays."""
    if len(name) <= _LONGEST_LABEL:
        return name
    return f"{name[: _LONGEST_LABEL - 21]}…{name[-20:]}"


def draw_reference(ax, x, y):
    """A thin grey line to compare with, which neither the legend nor the limits of the axes care about."""
    from matplotlib.lines import Line2D

    ax.add_artist(Line2D(x, y, color="0.6", linewidth=0.8, linestyle=":", zorder=0))


def check_band(band):
    """Three arrays x, low, high of one length."""
    try:
        x, low, high = (np.asarray(values, dtype=np.float64) for values in band)
        fits = x.ndim == 1 and x.shape == low.shape == high.shape
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            "band must be three arrays (x, low, high) of one length, in the units of the axes, got "
            f"{np.shape(band) if isinstance(band, np.ndarray) else type(band).__name__}; pass e.g. (eps, *wilson_interval(k, n))."
        )
    return x, low, high


def show_face(axis, image, **kwargs):
    """Draw an image ``(height, width, 1 or 3)`` in [0, 1] without ticks and frame; ``kwargs`` go to ``imshow``."""
    image = image if image.shape[-1] == 3 else image[..., 0]
    axis.imshow(image, **{"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest", **kwargs})
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def judged(right):
    """Colour and mark of a decision; the mark for those who do not tell the colours apart."""
    return RIGHT if right else WRONG


def short_name(name, longest=_LONGEST):
    """A name as one short line of printable text."""
    text = "".join(c if c.isprintable() else " " for c in str(name))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
