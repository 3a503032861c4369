"""JSON that somebody else wrote, read strictly: what two readers could understand in two ways is refused.

A statement is trusted for what it says. With a key twice, one reader takes the first value and another the last; a
file of gigabytes or of a million brackets stops the reader before it can say no.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError, UnreadableError, type_name
from lightning_subliminal.core.io import files
from lightning_subliminal.core.io.bounds import MAX_DEPTH, MAX_STATEMENT, Bound
from lightning_subliminal.core.io.lfs import refuse_pointer

__all__ = ["first_twice", "parse", "read_bytes"]


def read_bytes(path: Path, limit: Bound = MAX_STATEMENT) -> bytes:
    """Read a file that should be small.

    Raises:
        InputError: if it is not there, is no regular file, or is larger than ``limit`` bytes.
        UnreadableError: if it may not be read.
    """
    try:
        refuse_pointer(path)
        return files.read_bytes(path, limit)
    except FileNotFoundError as err:
        raise InputError(f"{path} is not there, or is no file.") from err
    except OSError as err:
        raise UnreadableError(f"{path} can't be read ({err.strerror or err}).") from err


def parse(data: bytes, what: str) -> dict[str, Any]:
    """Parse an object of JSON: UTF-8, no key twice, no NaN, not nested deeper than ``MAX_DEPTH``.

    Args:
        data: the bytes.
        what: what messages call it, such as its path.

    Raises:
        InputError: saying what is wrong.
    """
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError as err:
        raise InputError(f"{what} is nested too deeply: expected at most {MAX_DEPTH} levels.") from err
    except ValueError as err:  # UnicodeDecodeError and JSONDecodeError are such
        raise InputError(f"{what} is no strict JSON ({err}).") from err
    if not isinstance(found, dict):
        raise InputError(f"{what} holds a JSON {type_name(found)}: expected an object.")
    if _depth(found) > MAX_DEPTH:
        raise InputError(f"{what} is nested too deeply: expected at most {MAX_DEPTH} levels.")
    try:
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as err:  # half of a surrogate pair, which is no character; or 1e999, which is no finite number
        raise InputError(f"{what} is no strict JSON: what it holds can't be written again ({err}).") from err
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError(f"duplicate key {first_twice(key for key, _ in pairs)[:40]!r}")
    return made


def first_twice(keys: Iterable[str]) -> str:
    """Return the first key that was there before; there is one."""
    seen: set[str] = set()
    return next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _depth(thing: Any) -> int:
    """Return how deep containers lie in each other, without recursion."""
    deepest, waiting = 0, [(thing, 1)]
    while waiting:
        each, level = waiting.pop()
        if isinstance(each, (dict, list)):
            deepest = max(deepest, level)
            inner = each.values() if isinstance(each, dict) else each
            waiting += [(part, level + 1) for part in inner]
    return deepest
