"""What ``smartbox list`` prints: all that can be named in a run, or everything about one of them."""

import textwrap

from smartbox.benchmark._registry import KINDS, available, find, nearest, preset, settable
from smartbox.benchmark._results import DETECTION, PERTURBATION, RECOGNITION
from smartbox.cli import _docstrings as docstrings
from smartbox.face import FaceClassifier

_HEADINGS = {"attack": "Attacks", "defense": "Defences", "detector": "Detectors"}
_NETWORK = "network"


def listing(width):
    """Lines of at most ``width`` characters, as far as words allow."""
    lines = []
    for kind in KINDS:
        also = "; of smartbox attack: --attack NAME --set PARAMETER=VALUE" if kind == "attack" else ""
        options = f"--{KINDS[kind]} NAME,... --set {kind}.NAME.PARAMETER=VALUE"
        lines += _wrapped(f"{_HEADINGS[kind]} (options of smartbox bench: {options}{also})", width, 0)
        for name, cls in available(kind).items():
            lines += [f"  {name}", *_described(cls, width, preset(kind, name))]
        lines.append("")
    lines += [
        "Network (options of smartbox bench: --set network.PARAMETER=VALUE)",
        *_described(FaceClassifier, width),
        "",
    ]
    lines.append("Metrics (--metrics)")
    for what, metrics in (("recognition", RECOGNITION), ("detection", DETECTION), ("attacks", PERTURBATION)):
        lines += _wrapped(f"{what}: {', '.join(metrics)}", width)
    return [*lines, "", "smartbox list NAME describes the parameters of one of them."]


def description(name, width):
    """Lines of at most ``width`` characters about one attack, defence, detector or the network."""
    name, cls = _find_anything(name)
    lines = _wrapped(f"{name}: {docstrings.summary_line(cls)}", width, 0)
    fixed = {parameter: value for kind in KINDS for parameter, value in preset(kind, name).items()}
    if fixed:
        told = ", ".join(f"{parameter}={value!r}" for parameter, value in fixed.items())
        lines += ["", *_wrapped(f"The name stands for {told}.", width, 0)]
    lines += ["", "Parameters"]
    for parameter, kind, words in docstrings.parameters(cls):
        if parameter in settable(cls):
            lines += [*_wrapped(f"{parameter}: {kind}", width, 2), *_wrapped(words, width, 6)]
    cited = [f"[{number}] {text}" for number, text in enumerate(docstrings.references(cls), 1)]
    for title, texts in (("Notes", docstrings.paragraphs(docstrings.section(cls, "Notes"))), ("References", cited)):
        if texts:
            lines += ["", title, *(line for text in texts for line in _wrapped(text, width, 2))]
    return lines


def _find_anything(name):
    if name.lower() == _NETWORK:
        return _NETWORK, FaceClassifier
    for kind in KINDS:
        try:
            return find(kind, name)
        except ValueError:
            continue
    known = [*(one for kind in KINDS for one in available(kind)), _NETWORK]
    raise ValueError(f"there is nothing called {name!r}{nearest(name.lower(), known)} Known: {', '.join(known)}.")


def _described(cls, width, fixed=None):
    fixed = fixed or {}
    parameters = [f"{name}={_short(fixed.get(name, parameter.default))}" for name, parameter in settable(cls).items()]
    texts = docstrings.summary_line(cls), ", ".join(parameters), docstrings.citation(cls)
    return [line for text in texts for line in _wrapped(text, width)]


def _short(default):
    return f"{default:.4g}" if isinstance(default, float) else repr(default)


def _wrapped(text, width, indent=6):
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
