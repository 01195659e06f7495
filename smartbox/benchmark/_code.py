"""Which version of SmartBox's code something was made by: a hash of all modules that it can reach by imports."""

import ast
import hashlib
import inspect
from functools import cache
from pathlib import Path

import smartbox

_ROOT = Path(smartbox.__file__).parent


@cache
def code_of_class(cls):
    """Hash of the sources that a class reaches: of SmartBox all modules, of others those that define it and its bases."""
    names = sorted({base.__module__ for base in cls.__mro__})
    ours = {name for name in names if _path(name)}
    others = {name: source for name in names if name not in ours and (source := _source_outside(cls, name))}
    return _digest([*sorted(code_of_module(name) for name in ours), *others.values()])


def code_of_text(function):
    """Hash of the source of a function or a module alone, without what it imports."""
    try:
        return _digest([inspect.getsource(function)])
    except (OSError, TypeError):
        return _digest([repr(function)])


@cache
def code_of_module(name):
    """Hash of the source of a module of SmartBox and of all that it imports, anywhere in its text."""
    seen, left = set(), [name]
    while left:
        module = left.pop()
        if module not in seen:
            seen.add(module)
            left += _imports(module)
    return _digest([f"{module}\n{_text(module)}" for module in sorted(seen)])


@cache
def _imports(module):
    """Modules of SmartBox that a module imports; of names out of a package those alone that define them."""
    found = set()
    for node in ast.walk(ast.parse(_text(module))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if _path(alias.name)}
        elif isinstance(node, ast.ImportFrom) and node.module and _path(node.module):
            found |= {_home(node.module, alias.name) for alias in node.names}
    return frozenset(found)


def _home(module, name):
    """Where a name of a module comes from: a module inside a package, one that the package imports it from, or itself."""
    if _path(f"{module}.{name}"):
        return f"{module}.{name}"
    if _path(module).name == "__init__.py":
        for node in ast.parse(_text(module)).body:
            if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
                return _home(node.module, name) if node.module and _path(node.module) else module
    return module


@cache
def _path(name):
    """The file of a module of SmartBox, None of any other."""
    first, *rest = name.split(".")
    if first != "smartbox":
        return None
    place = _ROOT.joinpath(*rest)
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


@cache
def _text(module):
    return _path(module).read_text()


def _source_outside(cls, module):
    """Text of a user's module; packages have versions, which keys name."""
    base = next(base for base in cls.__mro__ if base.__module__ == module)
    try:
        path = Path(inspect.getfile(base))
        return None if {"site-packages", "dist-packages"} & set(path.parts) else path.read_text()
    except (OSError, TypeError):
        return None


def _digest(parts):
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()
