"""One HTML file that needs nothing else: the template escapes whatever it is given, and the page may load nothing."""

import base64
import hashlib
from functools import cache
from importlib.resources import files


@cache
def _text(name):
    return files("smartbox.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment():
    from jinja2 import DictLoader, Environment, StrictUndefined

    made = Environment(
        loader=DictLoader({"page.html": _text("page.html")}), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["breakable"] = _breakable
    return made


def page(**content):
    """The file's text.

    Parameters
    ----------
    **content
        ``title``, ``subtitle``, ``facts``, ``headlines``, ``summary``, ``threats``, ``sections``, ``version``.
    """
    from markupsafe import Markup

    style, script = _text("style.css"), _text("script.js")
    # by their hashes, so that no other style and script may run, wherever it came from
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    template = _environment().get_template("page.html")
    filled = template.render(policy=policy, style=Markup(style), script=Markup(script), data_uri=_data_uri, **content)
    return filled.lstrip()


def _breakable(name):
    """A name in Python's manner may break after its parts, so that tables fit a narrow screen."""
    from markupsafe import Markup, escape

    return escape(name).replace("_", Markup("_<wbr>"))


def _hash(text):
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data_uri(png):
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
