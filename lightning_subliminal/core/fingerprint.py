"""What an object is, as plain JSON, and the digest of it: the key of every cached artefact.

The rule is scikit-learn's: an object keeps each constructor argument under the argument's own name. Then its class and
those attributes say all that shapes its behaviour. A class from outside this package also brings the digest of its
source, so that editing your own trait makes new rows instead of reusing old ones.
"""

import hashlib
import inspect
import json
import os
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
    "file_stamp",
    "is_mine",
    "outside_source",
    "stream_digest",
]

_BLOCK = 1 << 20  # bytes; larger ones leave the processor's cache, smaller ones ask for the interpreter too often

_ABSENT = "absent"


def describe(thing: Any) -> Any:
    """Return ``thing`` as JSON-able data: scalars and containers as they are, objects as class and constructor arguments.

    Args:
        thing: a scalar, a container, a class or function, or an object that keeps its constructor arguments under
            their own names. An object may instead define ``describe()``.

    Raises:
        InputError: if an object does not keep one of its constructor arguments.
    """
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, Mapping):
        return {str(key): describe(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [describe(value) for value in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted((describe(value) for value in thing), key=str)
    if isinstance(thing, partial):
        return {"class": kind_of(thing.func), "arguments": describe(thing.keywords)}
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return {"class": kind_of(thing)}
    if hasattr(thing, "describe"):
        return thing.describe()
    return describe_object(thing)


def constructor_arguments(thing: Any) -> dict[str, Any]:
    """Return an object's constructor arguments, as it keeps them.

    Raises:
        InputError: if it does not keep one of them, or takes any number of them.
    """
    kind: Any = type(thing)
    arguments = {}
    for name, parameter in parameters(kind).items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            bare = parameter.replace(annotation=parameter.empty)
            raise InputError(
                f"{kind.__name__} takes `{bare}`, which hides its settings from the cache: name each argument in "
                "__init__, or hand `**kwargs` on to the parent class, super().__init__(..., **kwargs)."
            )
        if not hasattr(thing, name):
            raise InputError(
                f"{kind.__name__} does not keep its argument `{name}`: set `self.{name} = {name}` in __init__, "
                "so that the cache can tell one setting from another."
            )
        arguments[name] = getattr(thing, name)
    return arguments


def describe_object(thing: Any) -> dict[str, Any]:
    """Describe an object by its class, its constructor arguments and, from outside this package, its source."""
    told: dict[str, Any] = {"class": kind_of(type(thing)), "arguments": describe(constructor_arguments(thing))}
    return told | outside_source(thing)


def outside_source(thing: Any) -> dict[str, str]:
    """Return class and digest of the source of an object whose class is from outside this package; else nothing."""
    own = list(takewhile(lambda kind: not is_ours(kind) and kind is not object, type(thing).__mro__))
    return {"class": kind_of(own[0]), "source": _source_digest(own)} if own else {}


def digest(thing: Any) -> str:
    """Return the SHA-256 of ``describe(thing)`` as 64 hexadecimal digits."""
    text = json.dumps(describe(thing), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def difference(then: Any, now: Any, at: str = "") -> str | None:
    """Say what differs first between two things that ``describe`` gave, by its dotted name; None if nothing does."""
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
    """Write a value in a few characters: of a digest the first twelve digits."""
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return f"{value[:12]}..."
    text = value if value is _ABSENT else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a regular file's bytes as 64 hexadecimal digits.

    Raises:
        InputError: if it is no regular file.
    """
    with open_plain(path) as stream:
        return stream_digest(stream.raw.readinto)


def file_stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes with a file, as far as its status says: device, inode, size, and both times."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_mine(status: os.stat_result) -> bool:
    """Return whether nobody else may have written a file."""
    return os.name != "posix" or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def stream_digest(readinto: Callable[[memoryview], int | None], tick: Callable[[int], None] = lambda size: None) -> str:
    """Return the SHA-256 of a stream, read in blocks into one buffer: memory does not grow with the file.

    Args:
        readinto: fills a buffer, and returns how many bytes it got.
        tick: is given the size of each block.
    """
    sha, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    while size := readinto(block):
        sha.update(block[:size])
        tick(size)
    return sha.hexdigest()


def _source_digest(kinds: list[type]) -> str:
    try:  # with the classes that it inherits from, as far as this package's
        return hashlib.sha256("".join(map(inspect.getsource, kinds)).encode()).hexdigest()
    except (OSError, TypeError):
        return "unknown"
