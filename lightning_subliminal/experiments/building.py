"""From a mapping, as YAML holds it, to objects: ``{class_path: Student, init_args: {...}}``, and differences to it.

`fit` leaves this to jsonargparse. A plan builds some thousand objects, one set for each cell, so here is the small part
of it that they need, which takes milliseconds; the same YAML works in both.
"""

import copy
import importlib
import inspect
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lightning_subliminal.errors import InputError, known_name

__all__ = ["build", "changed", "find_class", "known_name", "read_yaml"]

_ROOMS = (
    "",
    ".callbacks",
    ".data",
    ".experiments",
    ".filters",
    ".judges",
    ".models",
    ".traits",
    ".transforms",
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        InputError: naming the file, and the line where it is no YAML.
    """
    import yaml

    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise InputError(f"The config {path} is not there: check the path (you are in {Path.cwd()}).") from err
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"The config {path} can't be read ({err}): expected a YAML file.") from err
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line} is no YAML: check brackets, quotes and indentation.") from err
    if not isinstance(told, dict):
        raise InputError(f"{path} holds a {type(told).__name__}: expected a mapping.")
    return told


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Give a copy of a config with some settings changed.

    Args:
        config: a mapping as YAML holds it.
        changes: new values by dotted keys, such as ``data.teacher.trait.target``; ``init_args`` is left out of keys.

    Raises:
        InputError: if a key leads into what holds no settings.

    Example:
        >>> changed({"model": {"class_path": "Student", "init_args": {"base": "pocket/a"}}}, {"model.base": "pocket/b"})
        {'model': {'class_path': 'Student', 'init_args': {'base': 'pocket/b'}}}
    """
    made = copy.deepcopy(dict(config))
    for key, value in changes.items():
        place: Any = made
        *path, last = key.split(".")
        for at, name in enumerate(path):
            inner, where = _inside(place, name, ".".join(path[:at]), key)
            if isinstance(inner, dict) and inner.get(where) is None:
                inner[where] = {}
            place = inner[where]
        inner, where = _inside(place, last, ".".join(path), key)
        inner[where] = copy.deepcopy(value)
    return made


def _inside(place: Any, name: str, above: str, key: str) -> tuple[Any, Any]:
    """Give the mapping or list that holds a setting, and its key there; a number counts the parts of a list."""
    if isinstance(place, dict):
        return (place.setdefault("init_args", {}) if "class_path" in place else place), name
    if isinstance(place, list) and name.isdigit() and int(name) < len(place):
        return place, int(name)
    raise InputError(f"`{key}` can't be set: `{above}` is {place!r}, which holds no `{name}`.")


def build(told: Any, seed: int | None = None, at: str = "") -> Any:
    """Build what a config tells: mappings with a ``class_path`` become objects, all else stays.

    Args:
        told: a scalar, list or mapping as YAML holds it.
        seed: for whatever takes a ``seed`` that may be left open, and is given none.
        at: where this stands, for messages.

    Raises:
        InputError: naming place, class and argument, if something can't be built.
    """
    if isinstance(told, list):
        return [build(each, seed, f"{at}[{place}]") for place, each in enumerate(told)]
    if not isinstance(told, Mapping):
        return told
    if "class_path" not in told:
        return {key: build(value, seed, f"{at}.{key}".lstrip(".")) for key, value in told.items()}
    if odd := sorted(set(told) - {"class_path", "init_args"}):
        raise InputError(f"`{at}`: {odd[0]!r} stands beside class_path: put it into init_args.")
    kind = find_class(str(told["class_path"]), at)
    given = told.get("init_args") or {}
    hints, open_seed, needed = _signature(kind)
    for name in given:
        known_name(name, hints, f"`{at}`: {kind.__name__} takes no `{name}`")
    arguments = {
        name: _fit(build(value, seed, f"{at}.{name}"), hints[name], f"{at}.{name}") for name, value in given.items()
    }
    if seed is not None and open_seed and arguments.get("seed") is None:
        arguments["seed"] = seed
    if missing := [name for name in needed if name not in arguments]:
        raise InputError(f"`{at}`: {kind.__name__} lacks `{missing[0]}`: give it in init_args.")
    try:
        return kind(**arguments)
    except InputError as err:
        raise InputError(f"`{at}`: {err}") from err


@cache
def find_class(path: str, at: str = "") -> type:
    """Find a class by its full path, or one of this package by its name alone.

    Raises:
        InputError: if there is none.
    """
    module, _, name = path.rpartition(".")
    rooms = [module] if module else [f"lightning_subliminal{room}" for room in _ROOMS]
    for room in rooms:
        try:
            found = getattr(importlib.import_module(room), name, None)
        except ImportError as err:
            raise InputError(f"`{at}`: no class is named `{path}` ({err}).") from err
        if inspect.isclass(found):
            return found
    raise InputError(
        f"`{at}`: no class is named `{path}`: give the name of one of ours, or a full path, my_pkg.{name}."
    )


@cache
def _signature(kind: type) -> tuple[dict[str, Any], bool, tuple[str, ...]]:
    """Give the types of a class's arguments, whether it has a seed that may be left open, and what must be given."""
    parameters = inspect.signature(kind).parameters
    try:
        hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    except (NameError, TypeError):  # a name that only type checkers import
        hints = {}
    known = {name: hints.get(name, Any) for name in parameters}
    needed = tuple(
        name
        for name, each in parameters.items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    )
    return known, "seed" in parameters and parameters["seed"].default is None, needed


def _fit(value: Any, hint: Any, at: str) -> Any:
    """Check a plain value against its type; YAML reads 1e-3 as a text, which becomes the number it means."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if get_origin(hint) is Literal:
        kinds = (hint,)
    for kind in kinds:
        if get_origin(kind) is Literal and value in get_args(kind):
            return value
        if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value) if isinstance(value, int) and int not in kinds else value
        if kind is float and isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                continue
        fits = isinstance(kind, type) and get_origin(kind) is None and isinstance(value, kind)
        if fits and not (isinstance(value, bool) and kind is int):
            return value
    plain = [kind for kind in kinds if kind in (int, float, str, bool, type(None)) or get_origin(kind) is Literal]
    if len(plain) < len(kinds):
        return tuple(value) if any(get_origin(kind) is tuple for kind in kinds) and isinstance(value, list) else value
    told = " or ".join(
        " or ".join(map(repr, get_args(kind)))
        if get_origin(kind) is Literal
        else "null"
        if kind is type(None)
        else kind.__name__
        for kind in plain
    )
    raise InputError(f"`{at}` is {value!r}: expected {told}.")
