"""How options are written on the command line, and read."""

import ast

import click


class Shape(click.ParamType):
    name = "shape"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        try:
            height, width = (int(side) for side in value.lower().split("x"))
        except ValueError:
            self.fail(f"expected height x width in pixels, e.g. 96x84, got {value!r}.", param, ctx)
        if min(height, width) < 1:
            self.fail(f"expected at least one pixel a side, e.g. 96x84, got {value!r}.", param, ctx)
        return height, width


class Names(click.ParamType):
    name = "names"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        return () if names == ("none",) else names


def parse_settings(settings, example="attack.fgsm.eps=8/255"):
    """Values by key, read as Python where they can be."""
    parsed = {}
    for text in settings:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise ValueError(f"expected --set KEY=VALUE, e.g. --set {example}, got {text!r}.")
        if key in parsed:
            raise ValueError(f"expected each --set KEY once, got {key!r} twice: leave one out.")
        parsed[key] = _parse_value(value)
    return parsed


def _parse_value(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)
