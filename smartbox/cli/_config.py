"""Options out of a TOML file, a preset of ours or one of the user's; what stands on the command line wins."""

import sys
from pathlib import Path

import click

_SETTINGS = "set"
_OF_THE_COMMAND_LINE = ("config", "help")


def config_options(command):
    """Decorator: the options ``--preset`` and ``--config``."""
    for option in (
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=_take,
            metavar="FILE.toml",
            help='Options by their names, e.g. attacks = ["fgsm"], seed = [0, 1], and --set as a table: [set] '
            "attack.fgsm.eps = \"8/255\". Options given here win over the file's, and those over the preset's.",
        ),
        click.option(
            "--preset",
            is_eager=True,
            expose_value=False,
            callback=_take,
            metavar="NAME",
            help="'quick', these defaults, or 'paper', the SmartBox paper's tables.  [default: quick]",
        ),
    ):
        command = option(command)
    return command


def settings_of_files(ctx, **chosen):
    """Values by key out of the ``[set]`` of the file, and of the preset's those that are of what is ``chosen``, names by kind."""
    from smartbox.benchmark._registry import find

    below, settings = ctx.meta[_SETTINGS]
    names = {f"{kind}.{find(kind, name)[0]}" for kind, each in chosen.items() for name in each} | {"network"}
    return {key: value for key, value in below.items() if key.rpartition(".")[0] in names} | settings


def presets():
    """Those that come along, by name."""
    folder = Path(__file__).parents[1] / "benchmark" / "presets"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _take(ctx, option, value):
    """Of both options, whichever comes first: when both are known, their values become the defaults of all the others."""
    ctx.meta[option.name] = value
    if not {"config", "preset"} <= set(ctx.meta):
        return
    file = _checked(ctx, ctx.meta["config"], _read(ctx.meta["config"])) if ctx.meta["config"] else {}
    name = ctx.meta["preset"] or file.get("preset")
    below = _checked(ctx, _preset(name), _read(_preset(name))) if name else {}
    ctx.meta[_SETTINGS] = _flat(below.pop(_SETTINGS, {})), _flat(file.pop(_SETTINGS, {}))
    options = {_plain_name(each): each for each in ctx.command.params}
    ctx.default_map = {
        options[key].name: _as_given(each, options[key]) for key, each in {**below, **file}.items() if key != "preset"
    }


def _preset(name):
    from smartbox.benchmark._registry import nearest

    if name not in presets():
        raise ValueError(f"there is no preset {name!r}{nearest(str(name), presets())} Known: {', '.join(presets())}.")
    return presets()[name]


def _read(path):
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ValueError(f"no file at {path}: expected a TOML file with options of smartbox bench.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}.") from error


def _checked(ctx, path, content):
    """The content, with ``-`` for ``_`` in names; each must be that of an option, and of a kind that it takes."""
    from smartbox.benchmark._registry import nearest

    options = {_plain_name(each): each for each in ctx.command.params if each.name not in _OF_THE_COMMAND_LINE}
    found = {}
    for key, value in content.items():
        name = key.replace("_", "-")
        if name not in options:
            raise ValueError(f"{path}: there is no option {key!r}{nearest(name, options)} Known: {', '.join(options)}.")
        if isinstance(value, dict) != (name == _SETTINGS):
            expected = "a table, [set]" if name == _SETTINGS else "a value, not a table"
            raise ValueError(f"{path}: expected {key} as {expected}, got {value!r}.")
        takes_names = options[name].type.name == "names"
        if isinstance(value, list) and not (options[name].multiple or takes_names):
            raise ValueError(f"{path}: expected {key} as one value, got the list {value!r}.")
        if takes_names and not all(isinstance(each, str) for each in (value if isinstance(value, list) else [value])):
            raise ValueError(f"{path}: expected {key} as a list of names, got {value!r}.")
        if options[name].multiple and not isinstance(value, (list, dict)):
            value = [value]
        found[name] = value
    return found


def _plain_name(option):
    return option.opts[0].lstrip("-")


def _as_given(value, option):
    """A value as the command line would give it: click cuts a number of 1.5 to 1, but refuses the text."""
    if isinstance(value, list):
        return tuple(_as_given(each, option) for each in value)
    is_flag = getattr(option, "is_flag", False)
    return str(value) if isinstance(value, (bool, int, float)) and not is_flag else value


def _flat(table, before=""):
    """``{"attack": {"fgsm": {"eps": 0.1}}}`` as ``{"attack.fgsm.eps": 0.1}``."""
    found = {}
    for key, value in table.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found
