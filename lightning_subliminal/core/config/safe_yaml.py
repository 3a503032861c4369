"""Untrusted YAML, loaded within bounds by all commands and by the parser of their options.

A few hundred bytes of aliases can stand for billions of values, and a few megabytes of brackets overflow the stack. So
the stream of events is counted first, in time linear in the text's length, and only a YAML within bounds is built.
"""

import errno
import importlib
import os
import re
import select
import stat
import time
from pathlib import Path
from typing import Any

import yaml

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_DEPTH, MAX_NODES, MAX_SETTINGS, MAX_YAML, Bound

__all__ = ["check_yaml", "load_yaml", "read_text", "read_yaml", "use_bounds"]

MAX_NUMBER = 400  # characters of one number
WAIT = 10.0  # seconds to wait for data from a pipe
MAX_WORD = 100
_WORD = re.compile(r"[\w .,/+-]*")  # holds no alias, list or tag
_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Open:
    """A list or mapping that is still open: the number of its values, and its keys."""

    def __init__(self, anchor: str | None, is_mapping: bool) -> None:
        self.anchor, self.is_mapping = anchor, is_mapping
        self.nodes = 1
        self.at_key = is_mapping
        self.keys: set[Any] = set()


def check_yaml(text: str, what: str, most: Bound = MAX_NODES) -> None:
    """Check a YAML against the bounds, for duplicate keys, and its syntax.

    Args:
        text: the YAML.
        what: its name in messages, such as its path.
        most: the maximal number of values.

    Raises:
        InputError: naming the line, and the bound.
    """
    if len(text) > MAX_YAML:  # characters: never more than bytes
        raise InputError(f"{what} has {len(text):,} characters: expected at most {MAX_YAML:,} ({MAX_YAML.how}).")
    waiting: list[_Open] = []
    sizes: dict[str, int] = {}  # of what an anchor names; 0 while it is open
    resolver = yaml.SafeLoader("")
    try:
        for event in yaml.parse(text, Loader=_loader(text)):
            line = event.start_mark.line + 1 if event.start_mark is not None else 0
            size, anchor = 0, getattr(event, "anchor", None)
            if isinstance(event, yaml.CollectionStartEvent):
                if len(waiting) >= MAX_DEPTH:
                    raise InputError(f"{what}, line {line}: nested deeper than {MAX_DEPTH} levels ({MAX_DEPTH.how}).")
                _note_key(waiting, None, what, line)
                if anchor is not None:
                    sizes[anchor] = 0
                waiting.append(_Open(anchor, isinstance(event, yaml.MappingStartEvent)))
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                done = waiting.pop()
                size, anchor = done.nodes, done.anchor
            elif isinstance(event, yaml.AliasEvent):
                size, anchor = sizes.get(str(anchor), 1), None  # the loader reports an unknown alias
                if not size:
                    raise InputError(f"{what}, line {line}: the alias *{event.anchor} holds itself: write it out.")
                _note_key(waiting, None, what, line)
            elif isinstance(event, yaml.ScalarEvent):
                size = 1 + len(event.value) // 1000
                _note_key(waiting, _scalar(resolver, event, what, line), what, line)
            if anchor is not None:
                sizes[anchor] = size
            if waiting:
                waiting[-1].nodes += size
            if max(size, waiting[-1].nodes if waiting else 0) > most:
                raise InputError(f"{what}, line {line}: more than {most:,} values, aliases counted ({most.how}).")
    except yaml.YAMLError as err:
        raise _invalid_yaml(err, what) from err


def load_yaml(text: str, what: str, most: Bound = MAX_NODES) -> Any:
    """Load plain values from a YAML that ``check_yaml`` accepts; arguments and errors are the same."""
    check_yaml(text, what, most)
    try:
        return yaml.load(text, Loader=_loader(text))  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as err:
        raise _invalid_yaml(err, what) from err
    except (ValueError, RecursionError, TypeError, OverflowError) as err:  # a date of month 13, an unhashable key
        raise InputError(
            f"{what} is not valid YAML: {' '.join(str(err).split())[:200]}: check its dates and keys."
        ) from err


def read_text(path: str | Path, what: str = "config") -> str:
    """Read a small text file.

    Args:
        path: of a regular file, or of a pipe, such as ``<(...)`` or ``/dev/stdin``, which must send data soon.
        what: its name in messages.

    Raises:
        InputError: if it does not exist, is another kind of file, is too large, or is not UTF-8.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            data = _read(handle, path, what)
        finally:
            os.close(handle)
    except FileNotFoundError as err:
        raise InputError(f"The {what} {path} is not there: check the path (you are in {Path.cwd()}).") from err
    except (OSError, ValueError) as err:
        if isinstance(err, InputError):
            raise
        raise InputError(f"The {what} {path} can't be read ({err}): expected a YAML file.") from err
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise InputError(f"The {what} {path} can't be read ({err}): expected UTF-8, save it as such.") from err


def read_yaml(path: Path, what: str = "config") -> dict[str, Any]:
    """Read a YAML file that holds a mapping; raise an InputError naming the file, and the line of a syntax error."""
    config = load_yaml(read_text(path, what), str(path))
    if not isinstance(config, dict):
        found = "is empty" if config is None else f"holds a {type(config).__name__}"
        raise InputError(f"{path} {found}: expected a mapping.")
    return config


def use_bounds() -> None:
    """Make jsonargparse load YAML within the same bounds, in files and options, for the whole process."""
    from jsonargparse import _loaders_dumpers as parser

    original = parser.loaders["yaml"]
    if hasattr(original, "bounded"):
        return

    def load(text: str) -> Any:
        try:
            if len(text) > MAX_WORD or not _WORD.fullmatch(text):
                check_yaml(text, "A value", MAX_SETTINGS)
            return original(text)
        except InputError as err:
            raise yaml.YAMLError(str(err)) from err
        except (RecursionError, TypeError, OverflowError, ValueError) as err:
            raise yaml.YAMLError(f"not valid YAML ({' '.join(str(err).split())[:200]})") from err

    load.bounded = True  # type: ignore[attr-defined]
    parser.loaders["yaml"] = load
    parser.yaml_load = load  # which reads a value again for None, a number or a bool
    paths: Any = vars(importlib.import_module("jsonargparse._util"))["Path"]
    name = "read_text" if hasattr(paths, "read_text") else "get_content"
    unbounded = getattr(paths, name)

    def content(path: Any, *args: Any) -> str:
        place = str(path.absolute)
        if not os.path.exists(place):  # a URL, or the standard input
            return str(unbounded(path, *args))
        text = read_text(place)
        load_yaml(text, str(path), MAX_SETTINGS)  # jsonargparse's error for an unknown tag names no file
        return text

    setattr(paths, name, content)


def _read(handle: int, path: str | Path, what: str) -> bytes:
    """Read all bytes within the bound; a pipe must start and end within some seconds."""
    kind = os.fstat(handle).st_mode
    if stat.S_ISDIR(kind):
        raise OSError(errno.EISDIR, "it is a folder")
    if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
        raise OSError(errno.EINVAL, "it is a device or a socket")
    parts: list[bytes] = []
    size, until = 0, time.monotonic() + WAIT
    while True:
        if stat.S_ISFIFO(kind):
            left = until - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise OSError(errno.ETIMEDOUT, f"it is a pipe that sent nothing for {WAIT:.0f} s")
        part = os.read(handle, 2**20)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > MAX_YAML:
            raise InputError(f"The {what} {path} has more than {MAX_YAML:,} bytes ({MAX_YAML.how}).")


def _note_key(waiting: list[_Open], key: Any, what: str, line: int) -> None:
    """Record that a key or a value of the innermost mapping begins; raise an InputError for a duplicate key."""
    inner = waiting[-1] if waiting else None
    if inner is None or not inner.is_mapping:
        return
    if inner.at_key and key is not None:
        if key in inner.keys:
            raise InputError(f"{what}, line {line}: the key {str(key[1])[:80]!r} is there twice: remove one.")
        inner.keys.add(key)
    inner.at_key = not inner.at_key


def _scalar(resolver: Any, event: Any, what: str, line: int) -> Any:
    """Return what identifies a key; raise an InputError for a number that takes long to read."""
    tag = event.tag or resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
    if tag in _NUMBERS and len(event.value) > MAX_NUMBER:
        raise InputError(f"{what}, line {line}: a number of {len(event.value):,} characters: at most {MAX_NUMBER}.")
    return None if tag == _MERGE else (tag, event.value)


def _loader(text: str) -> Any:
    """Return the loader for a text: Python's reports the place of an error better, libyaml's is ten times as fast."""
    return yaml.SafeLoader if len(text) <= 2**15 else _FAST


def _invalid_yaml(err: yaml.YAMLError, what: str) -> InputError:
    mark = getattr(err, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    problem = str(getattr(err, "problem", None) or getattr(err, "reason", None) or err)
    if problem.startswith("but "):  # expected a single document, but found another
        problem = f"{getattr(err, 'context', '')}, {problem}"
    problem = " ".join(problem.split())[:200]
    if "maximum nesting" in problem:  # libyaml reads ahead
        return InputError(f"{what}{line}: nested deeper than {MAX_DEPTH} levels ({MAX_DEPTH.how}).")
    if "could not determine a constructor for the tag" in problem:
        return InputError(f"{what}{line} is not YAML of plain values ({problem}): remove the tag.")
    return InputError(f"{what}{line} is not valid YAML ({problem}): check brackets, quotes and indentation.")
