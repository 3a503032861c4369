"""Build objects from a config such as ``{class_path: Student, init_args: {...}}``, and change its settings.

`fit` uses jsonargparse. A plan builds some thousand objects, a set for each cell, so this module has the small part
that they need, which takes milliseconds; the same YAML works with both.
"""

import copy
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Literal, Union, get_args, get_origin

from lightning_subliminal.core.config.class_paths import import_path
from lightning_subliminal.core.config.safe_yaml import read_yaml
from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.errors import InputError, known_name
from lightning_subliminal.core.kinds import ROOMS

__all__ = ["build", "changed", "find_class", "fitted", "known_name", "read_yaml"]

_SCALARS = (int, float, str, bool, bytes, type(None), object)
_CONTAINERS = (list, tuple, dict, set, frozenset)


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a config with some settings changed.

    Args:
        config: a mapping as YAML holds it.
        changes: new values by dotted keys, such as ``data.teacher.trait.target``; ``init_args`` is left out of keys.

    Raises:
        InputError: if a key leads into a value without settings.

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
    """Return the mapping or list that holds a setting, and its key or index there."""
    if isinstance(place, dict):
        return (place.setdefault("init_args", {}) if "class_path" in place else place), name
    if isinstance(place, list) and name.isdigit() and int(name) < len(place):
        return place, int(name)
    raise InputError(f"`{key}` can't be set: `{above}` is {place!r}, which holds no `{name}`.")


def build(config: Any, seed: int | None = None, at: str = "", expected: Any = Any) -> Any:
    """Build the objects of a config: mappings with a ``class_path`` become objects, other values stay.

    A class is called only if it is of the type that the constructor above it expects.

    Args:
        config: a scalar, list or mapping as YAML holds it.
        seed: for each class with an optional ``seed`` that the config does not set.
        at: the config's place, for messages.
        expected: the type expected there.

    Raises:
        InputError: naming place, class and argument, if an object can't be built.
    """
    if isinstance(config, list):
        inner = _inner(expected, (list, tuple, Sequence, set, frozenset))
        return [build(each, seed, f"{at}[{place}]", inner) for place, each in enumerate(config)]
    if not isinstance(config, Mapping):
        return config
    if "class_path" not in config:
        inner = _inner(expected, (dict, Mapping))
        return {key: build(value, seed, f"{at}.{key}".lstrip("."), inner) for key, value in config.items()}
    if odd := sorted(map(str, set(config) - {"class_path", "init_args"})):
        raise InputError(f"`{at}`: {odd[0]!r} is next to class_path: put it into init_args.")
    kind = find_class(str(config["class_path"]), at)
    placed = _made_later(kind, expected)
    if placed is None:
        _check_expected(kind, expected, at)
    given = config.get("init_args") or {}
    if not isinstance(given, Mapping):
        raise InputError(f"`{at}.init_args` is {str(given)[:80]!r}: expected a mapping of {kind.__name__}'s arguments.")
    hints, open_seed, needed = _signature(kind)
    for name in given:
        known_name(name, hints, f"`{at}`: {kind.__name__} takes no `{name}`")
    arguments = {
        name: fitted(build(value, seed, f"{at}.{name}", hints[name]), hints[name], f"{at}.{name}")
        for name, value in given.items()
    }
    if seed is not None and open_seed and arguments.get("seed") is None:
        arguments["seed"] = seed
    if missing := [name for name in needed[placed or 0 :] if name not in arguments]:
        raise InputError(f"`{at}`: {kind.__name__} lacks `{missing[0]}`: set it in init_args.")
    if placed is not None:
        return partial(kind, **arguments)
    try:
        return kind(**arguments)
    except InputError as err:
        raise InputError(f"`{at}`: {err}") from err
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError) as err:
        cause = f"{type(err).__name__}: {' '.join(str(err).split())[:200]}"
        raise InputError(f"`{at}`: {kind.__name__} can't be built from its init_args ({cause}).") from err


def _check_expected(kind: type, expected: Any, at: str) -> None:
    """Raise an InputError if a class is not of the expected type; an untyped argument of a user's class takes any."""
    if inspect.isabstract(kind):
        raise InputError(f"`{at}`: {kind.__name__} is abstract: name a class that extends it.")
    kinds = [get_origin(each) or each for each in _members(expected)]
    classes = [each for each in kinds if isinstance(each, type) and each not in (*_SCALARS, *_CONTAINERS)]
    if Any in kinds or any(issubclass(kind, each) for each in classes):
        return
    wanted = " or ".join(each.__name__ for each in classes) or "plain value, not a class"
    raise InputError(f"`{at}` is a {kind.__name__}: expected a {wanted}.")


@cache
def find_class(path: str, at: str = "") -> type:
    """Return a class by its full path, or one of this package by its name alone.

    Raises:
        InputError: if there is none, or a config may not name it.
    """
    module, _, name = path.rpartition(".")
    for room in [module] if module else [f"lightning_subliminal{room}" for room in ROOMS]:
        try:
            found = import_path(f"{room}.{name}")
        except InputError as err:
            raise InputError(f"`{at}`: {err}") from err
        except AttributeError:
            continue
        except Exception as err:  # a module of the user's own can raise anything
            cause = " ".join(str(err).split())
            cause = cause if isinstance(err, ImportError) else f"{type(err).__name__}: {cause[:200]}"
            raise InputError(f"`{at}`: no class is named `{path}` ({cause}).") from err
        if inspect.isclass(found):
            return found
    raise InputError(
        f"`{at}`: no class is named `{path}`: write the name of one of ours, or a full path, my_pkg.{name}."
    )


def _members(expected: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type."""
    return get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)


def _made_later(kind: type, expected: Any) -> int | None:
    """Return how many arguments a factory of ``kind`` gets, if one is expected, such as an optimizer's; else None."""
    for each in _members(expected):
        if get_origin(each) is Callable and issubclass(kind, _members(get_args(each)[-1])):
            return len(get_args(each)[0])
    return None


def _inner(expected: Any, containers: tuple[type, ...]) -> Any:
    """Return the expected type of the values of a list or mapping; None's type if it may not hold objects."""
    found = []
    for each in _members(expected):
        if each is Any:
            return Any
        origin, inner = get_origin(each), [part for part in get_args(each) if part is not Ellipsis]
        if each in containers or (origin in containers and not inner):
            return Any
        if origin in containers:
            found.append(inner[-1] if issubclass(origin, Mapping) else Union[tuple(inner)])  # noqa: UP007
    return Union[tuple(found)] if found else type(None)  # noqa: UP007


@cache
def _signature(kind: type) -> tuple[dict[str, Any], bool, tuple[str, ...]]:
    """Return the types of a class's arguments, whether its seed is optional, and its required arguments."""
    takes = parameters(kind)
    known = {name: each.annotation for name, each in takes.items()}
    needed = tuple(
        name
        for name, each in takes.items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    )
    return known, "seed" in takes and takes["seed"].default is None, needed


def fitted(value: Any, hint: Any, at: str) -> Any:
    """Return a plain value that was checked against its type; the text 1e-3, as YAML reads it, becomes a number."""
    kinds = _members(hint)
    if Any in kinds:
        return value
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
    misnamed = isinstance(value, str) and any(get_origin(kind) is Literal for kind in plain) and str not in plain
    if len(plain) < len(kinds) and not misnamed:
        return tuple(value) if any(get_origin(kind) is tuple for kind in kinds) and isinstance(value, list) else value
    wanted = " or ".join(
        " or ".join(map(repr, get_args(kind)))
        if get_origin(kind) is Literal
        else "null"
        if kind is type(None)
        else kind.__name__
        for kind in plain
    )
    wanted += " or an object by its class_path" if len(plain) < len(kinds) else ""
    raise InputError(f"`{at}` is {value!r}: expected {wanted}.")
