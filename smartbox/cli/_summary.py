"""What ``smartbox attack`` prints in the end."""

import json

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smartbox.cli._terminal import console

_LOW = 0.5  # accuracy before the attack
_LOST = 0.9  # share of the successes that rounding should leave


def print_summary(folder):
    """Print the figures of the adversarial set in ``folder``, and remarks on what they are worth."""
    about = json.loads((folder / "report.json").read_text())
    terminal = console()
    for part in summary_table(about), *(Text(f"Remark: {remark}") for remark in remarks(about)):
        terminal.print(part)


def summary_table(about):
    """The figures, one a line, so that they fit any terminal."""
    figures = about["summary"]
    faces = f"{figures['images']} of {about['planned_images']}" if about["partial"] else str(figures["images"])
    which = "" if about["part"] == "all" else f"{about['part']} "
    title = f"{about['attack']} against {about['model']['file']}: {faces} {which}faces, {about['seconds']:.0f} s"
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right")
    shares = {
        "accuracy before the attack": "accuracy_before",
        "accuracy after it": "accuracy_after",
        "success": "success",
        "success, 8 bits": "success_8bit",
    }
    for label, name in shares.items():
        table.add_row(label, f"{100 * figures[name]:.2f} %")
    for norm in ("l1", "l2", "linf"):
        table.add_row(f"median {norm}", f"{figures[f'median_{norm}']:.4g}")
    table.add_row("gradients a face", f"{figures['gradients_per_image']:.4g}")
    return Group(Text(title, style="italic"), table)


def remarks(about):
    """Why the figures may mean little."""
    figures, found = about["summary"], []
    if figures["accuracy_before"] < _LOW:
        found.append(
            f"without any attack the model identifies only {100 * figures['accuracy_before']:.0f} % of these faces, so that "
            "successes say little. Was it trained on these people, in this order, on pixels in [0, 1]?"
        )
    if figures["success_8bit"] < _LOST * figures["success"]:
        found.append(
            f"of {100 * figures['success']:.0f} % success {100 * figures['success_8bit']:.0f} % are left after rounding to 8 "
            "bits: the PNG files are for the eye, adversarial.npz is the set."
        )
    if figures["images_with_zero_gradients"]:
        found.append(
            f"the gradient was zero for {figures['images_with_zero_gradients']} faces, at least at times: a success rate that "
            "is low for this reason says nothing about robustness."
        )
    return found
