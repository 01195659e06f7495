"""What ``smartbox list`` prints: all that can be named in a run."""

import inspect
import textwrap

from smartbox.benchmark._registry import KINDS, OF_THE_RUN, available
from smartbox.benchmark._results import DETECTION, PERTURBATION, RECOGNITION
from smartbox.face import FaceClassifier

_HEADINGS = {"attack": "Attacks", "defense": "Defences", "detector": "Detectors"}


def listing(width):
    """Lines of at most ``width`` characters, as far as words allow."""
    lines = []
    for kind in KINDS:
        lines.append(f"{_HEADINGS[kind]} (--{KINDS[kind]}; parameters: --set {kind}.NAME.PARAMETER=VALUE)")
        for name, cls in available(kind).items():
            lines += [f"  {name}", *_described(cls, width)]
        lines.append("")
    lines += ["Network (parameters: --set network.PARAMETER=VALUE)", *_described(FaceClassifier, width), ""]
    lines.append("Metrics (--metrics)")
    for what, metrics in (("recognition", RECOGNITION), ("detection", DETECTION), ("attacks", PERTURBATION)):
        lines += _wrapped(f"{what}: {', '.join(metrics)}", width)
    return lines


def _described(cls, width):
    summary = inspect.getdoc(cls).splitlines()[0].replace("``", "")
    parameters = [
        f"{name}={_short(parameter.default)}"
        for name, parameter in inspect.signature(cls).parameters.items()
        if name not in OF_THE_RUN
    ]
    return _wrapped(summary, width) + _wrapped(", ".join(parameters), width)


def _short(default):
    return f"{default:.4g}" if isinstance(default, float) else repr(default)


def _wrapped(text, width):
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=" " * 6,
        subsequent_indent=" " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    )
