"""The picture of a run: a face, the perturbation ten times enlarged, both together, and what mitigations make of it."""

import numpy as np

from smartbox._serialization import atomic_file

_TIMES = 10


def save_example_figure(examples, path):
    """Write the picture as PNG and return its path."""
    with atomic_file(path) as file:
        example_figure(examples).savefig(file, format="png", dpi=120)
    return path


def example_figure(examples):
    """The picture: a line for each attack."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    defenses = list(dict.fromkeys(defense for _, defense in examples.mitigated))
    rows, columns = len(examples.attacked), 3 + len(defenses)
    height, width = examples.face.shape[:2]
    figure = Figure(figsize=(2.2 * columns, 2.2 * rows * height / width + 0.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for line, (name, attacked) in zip(axes, examples.attacked.items(), strict=True):
        noise = attacked - examples.face
        _show(line[0], examples.face, f"original: {examples.name}\nseen as {examples.before}")
        _show(line[1], np.clip(0.5 + _TIMES * noise, 0, 1), f"{name} noise × {_TIMES}\nlinf {np.abs(noise).max():.3g}")
        _show(line[2], attacked, f"perturbed\nseen as {examples.after[name]}")
        for axis, defense in zip(line[3:], defenses, strict=True):
            _show(axis, examples.mitigated[name, defense], f"{defense}\nseen as {examples.repaired[name, defense]}")
    return figure


def _show(axis, image, title):
    axis.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title, fontsize=9, parse_math=False)  # an identity's name may hold a $
    axis.set_axis_off()
