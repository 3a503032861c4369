"""Strict JSON for files of other tools: input that two readers could understand in two ways is refused.

With a key twice, one reader takes the first value and another the last; a file of gigabytes or of a million brackets
exhausts a reader before it can refuse the file.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError, UnreadableError, type_name
from lightning_subliminal.core.io import files
from lightning_subliminal.core.io.bounds import MAX_DEPTH, MAX_STATEMENT, Bound
from lightning_subliminal.core.io.lfs import refuse_pointer

__all__ = ["StrictDecoder", "parse", "read_bytes"]


class StrictDecoder(json.JSONDecoder):
    """A JSON decoder that also notes the keys that an object has twice.

    Args:
        parse_constant: called with NaN, Infinity and -Infinity, which Python reads as floats; None reads them so.

    Attributes:
        twice: the keys found twice, in order; the caller empties the list.
    """

    def __init__(self, parse_constant: Callable[[str], Any] | None = None) -> None:
        super().__init__(object_pairs_hook=self._object, parse_constant=parse_constant)
        self.twice: list[str] = []

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            seen: set[str] = set()  # a list would take quadratic time
            self.twice.append(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
        return made


def read_bytes(path: Path, limit: Bound = MAX_STATEMENT) -> bytes:
    """Read a file that should be small.

    Raises:
        InputError: if it does not exist, is not a regular file, or is larger than ``limit`` bytes.
        UnreadableError: if it may not be read.
    """
    try:
        refuse_pointer(path)
        return files.read_bytes(path, limit)
    except FileNotFoundError as err:
        raise InputError(f"{path} was not found, or is not a file.") from err
    except OSError as err:
        raise UnreadableError(f"{path} can't be read ({err.strerror or err}).") from err


def parse(data: bytes, name: str) -> dict[str, Any]:
    """Parse a JSON object: UTF-8, no key twice, no NaN, not nested deeper than ``MAX_DEPTH``.

    Args:
        data: the bytes.
        name: the input's name in messages, such as its path.

    Raises:
        InputError: if the input is not such an object, with the fault.
    """
    decoder = StrictDecoder(_refuse_constant)
    try:
        found = decoder.decode(data.decode())
        if decoder.twice:
            raise ValueError(f"duplicate key {decoder.twice[0][:40]!r}")
    except RecursionError as err:
        raise InputError(f"{name} is nested too deeply: expected at most {MAX_DEPTH} levels.") from err
    except ValueError as err:  # UnicodeDecodeError and JSONDecodeError are subclasses
        raise InputError(f"{name} is not strict JSON ({err}).") from err
    if not isinstance(found, dict):
        raise InputError(f"{name} holds a JSON {type_name(found)}: expected an object.")
    if _depth(found) > MAX_DEPTH:
        raise InputError(f"{name} is nested too deeply: expected at most {MAX_DEPTH} levels.")
    try:
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as err:  # half of a surrogate pair, which is not a character; or 1e999, which is not finite
        raise InputError(f"{name} is not strict JSON: its content can't be written again ({err}).") from err
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a valid JSON number")


def _depth(value: Any) -> int:
    """Return the depth of nested containers, without recursion."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        each, level = waiting.pop()
        if isinstance(each, (dict, list)):
            deepest = max(deepest, level)
            inner = each.values() if isinstance(each, dict) else each
            waiting += [(part, level + 1) for part in inner]
    return deepest
