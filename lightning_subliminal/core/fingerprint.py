"""Objects as plain JSON, and their digests: the keys of cached artefacts.

The rule is scikit-learn's: an object keeps each constructor argument under the argument's own name, so that its class
and those attributes determine its behaviour. The digest of a class from outside this package also covers its source, so
that editing your own trait makes new rows instead of reusing old ones.
"""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import open_plain
from lightning_subliminal.core.kinds import is_ours, kind_of

__all__ = [
    "constructor_arguments",
    "describe",
    "describe_object",
    "difference",
    "digest",
    "file_digest",
    "outside_source",
    "stream_digest",
]

_BLOCK = 1 << 20  # bytes; larger ones leave the processor's cache, smaller ones cost interpreter time
_ABSENT = "absent"


def describe(value: Any) -> Any:
    """Return a value as JSON-able data: scalars and containers as they are, objects as class and constructor arguments.

    Args:
        value: a scalar, a container, a class or function, or an object that keeps its constructor arguments under
            their own names. An object may instead define ``describe()``.

    Raises:
        InputError: if an object does not keep one of its constructor arguments.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): describe(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted((describe(each) for each in value), key=str)
    if isinstance(value, partial):
        return {"class": kind_of(value.func), "arguments": describe(value.keywords)}
    if inspect.isclass(value) or inspect.isroutine(value):
        return {"class": kind_of(value)}
    if hasattr(value, "describe"):
        return value.describe()
    return describe_object(value)


def constructor_arguments(instance: Any) -> dict[str, Any]:
    """Return an object's constructor arguments, as it keeps them.

    Raises:
        InputError: if it does not keep one of them, or takes any number of them.
    """
    kind: Any = type(instance)
    arguments = {}
    for name, parameter in parameters(kind).items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            bare = parameter.replace(annotation=parameter.empty)
            raise InputError(
                f"{kind.__name__} takes `{bare}`, which hides its settings from the cache: name each argument in "
                "__init__, or pass `**kwargs` to the parent class, super().__init__(..., **kwargs)."
            )
        if not hasattr(instance, name):
            raise InputError(
                f"{kind.__name__} does not keep its argument `{name}`: set `self.{name} = {name}` in __init__, "
                "so that the cache can distinguish two settings."
            )
        arguments[name] = getattr(instance, name)
    return arguments


def describe_object(instance: Any) -> dict[str, Any]:
    """Describe an object by its class, its constructor arguments and, from outside this package, its source."""
    return {
        "class": kind_of(type(instance)),
        "arguments": describe(constructor_arguments(instance)),
        **outside_source(instance),
    }


def outside_source(instance: Any) -> dict[str, str]:
    """Return class and source digest of an object of a class from outside this package; else an empty dict."""
    own = list(takewhile(lambda kind: not is_ours(kind) and kind is not object, type(instance).__mro__))
    if not own:
        return {}
    try:  # with its parent classes, up to those of this package
        source = hashlib.sha256("".join(map(inspect.getsource, own)).encode()).hexdigest()
    except (OSError, TypeError):
        source = "unknown"
    return {"class": kind_of(own[0]), "source": source}


def digest(value: Any) -> str:
    """Return the SHA-256 of ``describe(value)`` as 64 hexadecimal digits."""
    text = json.dumps(describe(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def difference(then: Any, now: Any, at: str = "") -> str | None:
    """Describe the first difference between two results of ``describe``, by its dotted name; None if they are equal."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        name = then.get("name")
        if name is not None and name == now.get("name") and then.get("digest") != now.get("digest"):
            return f"{at} {name} was {_shortly(then.get('digest'))} and is {_shortly(now.get('digest'))}"
        for key in {**then, **now}:
            found = difference(then.get(key, _ABSENT), now.get(key, _ABSENT), f"{at}.{key}" if at else str(key))
            if found is not None:
                return found
        return None
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        then, now = dict(enumerate(then)), dict(enumerate(now))
        return difference(then, now, at)
    return None if then == now else f"{at} was {_shortly(then)} and is {_shortly(now)}"


def _shortly(value: Any) -> str:
    """Return a value in at most 80 characters, a digest by its first twelve digits."""
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return f"{value[:12]}..."
    text = value if value is _ABSENT else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a regular file's bytes as 64 hexadecimal digits.

    Raises:
        InputError: if it is not a regular file.
    """
    with open_plain(path) as stream:
        return stream_digest(stream.raw.readinto)


def stream_digest(readinto: Callable[[memoryview], int | None], tick: Callable[[int], None] = lambda size: None) -> str:
    """Return the SHA-256 of a stream, read in blocks into one buffer: memory does not grow with the file.

    Args:
        readinto: fills a buffer and returns the number of bytes read.
        tick: called with the size of each block.
    """
    sha, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    while size := readinto(block):
        sha.update(block[:size])
        tick(size)
    return sha.hexdigest()
