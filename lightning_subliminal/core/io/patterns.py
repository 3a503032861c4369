"""Regular expressions of other people: those that take for ever are refused before they are used.

A pattern is tried in a process of its own, with a clock: an adapter's on the names that it is for, a tokenizer's, where
it repeats a repetition, on long runs of its own letters. Most repetitions of repetitions are harmless, as K-EXAONE's.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MATCH_SECONDS, MAX_PATTERN
from lightning_subliminal.core.io.files import read_json

__all__ = ["check_adapter_patterns", "check_tokenizer_patterns", "repeats_a_repetition"]

_MANY = 3  # repetitions in a row: GPT-4o's pattern has two
_PLAIN = re.compile(r"[\w./ -]*")
_QUANTIFIER = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")
_LIMITED = """
import json, re, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
except ImportError:
    pass
told = json.load(sys.stdin)
sys.path[:] = told["path"]  # -I drops PYTHONPATH and the user's site, where packages may be
"""
# PEFT puts a pattern into these.
_ON_NAMES = """
for pattern in told["patterns"]:
    for form in ("{}", r"(.*\\.)?({})$", r"(^|.*\\.){}($|\\..*)", r"(?:^|.*?\\.){}\\.(?P<idx>\\d+)\\."):
        try:
            found = re.compile(form.replace("{}", pattern))
        except re.error:
            continue
        for name in told["names"]:
            found.fullmatch(name), found.match(name)
print("done")
"""
# What follows a run has all letters once more: a pattern that asks for one of them is not given up before it begins.
_ON_RUNS = """
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split
for pattern in told["patterns"]:
    split = Split(Regex(pattern), "isolated")
    letters = sorted({*"aA1 ._\\n\u00e9\u6f22", *(each for each in pattern if each.isalnum() or each in " -_.;!")})
    for run in [*(each * 400 for each in letters), "a " * 200, "a1" * 200]:
        for end in ("", "\\0", "\\0" + "\\0".join(letters)):
            split.pre_tokenize_str(run + end)
print("done")
"""


def check_adapter_patterns(config: Mapping[str, Any], names: Iterable[str], place: Path) -> None:
    """Try each pattern of an adapter's config on the names of a model's modules.

    Args:
        config: of the adapter.
        names: of the modules.
        place: the config's file.

    Raises:
        InputError: if one is too long, or takes too long.
    """
    told = {name: value for name, value in config.items() if name not in ("base_model_name_or_path", "revision")}
    patterns = [each for each in dict.fromkeys(_texts(told)) if not _PLAIN.fullmatch(each)]
    for each in patterns:
        _check_length(each, place)
    if not patterns:
        return
    if not _ends(_ON_NAMES, patterns=patterns, names=list(names)):
        raise InputError(
            f"{place} has a pattern that takes more than {MATCH_SECONDS} s on the names of the model's modules, such "
            f"as {patterns[0][:60]!r}: name the modules in a list ({MATCH_SECONDS.how})."
        )


def check_tokenizer_patterns(folder: Path) -> None:
    """Look at the patterns of a tokenizer.json, and try those that repeat a repetition.

    Raises:
        InputError: if one is too long, or takes too long.
    """
    place = folder / "tokenizer.json"
    if not place.is_file():
        return
    for pattern in _patterns(read_json(place)):
        _check_length(pattern, place)
        if repeats_a_repetition(pattern) and not _ends(_ON_RUNS, patterns=[pattern]):
            raise InputError(
                f"{place} has the pattern {pattern[:60]!r}, which repeats a repetition and takes too long on a run of "
                f"400 letters: copy the file anew ({MATCH_SECONDS.how})."
            )


def _ends(code: str, **given: Any) -> bool:
    """Return whether some code gets through what it is given, within the bound of time.

    Raises:
        InputError: if it can't begin, since a package is missing.
    """
    limited = _LIMITED.replace("SECONDS", str(int(MATCH_SECONDS)))
    try:
        tried = subprocess.run(
            [sys.executable, "-I", "-c", limited + code],
            input=json.dumps({**given, "path": [each for each in sys.path if Path(each).is_absolute()]}),
            text=True,
            capture_output=True,
            timeout=MATCH_SECONDS * 12,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    last = (tried.stderr.strip().splitlines() or [""])[-1]
    if tried.returncode > 0 and re.match(r"(ImportError|ModuleNotFoundError)\b", last):
        raise InputError(
            f"Patterns can't be tried: {sys.executable} in a process of its own ends with {last!r}: mend the install."
        )
    return tried.stdout.strip() == "done"


def _check_length(pattern: str, place: Path) -> None:
    MAX_PATTERN.check(len(pattern), f"{place} has a pattern of {len(pattern):,} characters")


def _texts(thing: Any) -> Iterator[str]:
    """Yield all texts and names of keys of a config, without recursion."""
    waiting = [thing]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            waiting += each


def _patterns(thing: Any) -> Iterator[str]:
    """Yield the patterns of a tokenizer's settings: whatever stands under ``Regex``."""
    waiting = [thing]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if isinstance(each.get("Regex"), str):
                yield each["Regex"]
            waiting += [value for value in each.values() if isinstance(value, (dict, list))]
        elif isinstance(each, list) and not (each and isinstance(each[0], str)):  # a vocabulary's merges have none
            waiting += [value for value in each if isinstance(value, (dict, list))]


@dataclass
class _Group:
    """What a group holds so far.

    Attributes:
        varies: whether something in it may match in more ways than one.
        row: repetitions without end in this branch.
    """

    varies: bool = False
    row: int = 0


def repeats_a_repetition(pattern: str) -> bool:
    r"""Return whether a pattern repeats what itself varies, or has more repetitions in a row than ``_MANY``.

    Example:
        >>> [repeats_a_repetition(each) for each in (r"(a+)+$", r"(a|a)*b", "a*a*a*a*b", r" ?[^\s(]+|\s+(?!\S)")]
        [True, True, True, False]
    """
    stack, at = [_Group()], 0
    while at < len(pattern):
        each, inner = pattern[at], None
        at += 1
        if each == "\\":
            at += 1
            if pattern[at - 1 : at] in ("p", "P", "x") and pattern[at : at + 1] == "{":
                at = pattern.find("}", at) + 1 or len(pattern)
        elif each == "[":
            at = _behind_class(pattern, at)
        elif each == "(":
            stack.append(_Group())
            begun = re.compile(r"\?(?:[:=!>|]|<[=!]|P?<\w+>|[a-zA-Z-]+:?)").match(pattern, at)
            at = begun.end() if begun else at
            continue
        elif each == ")":
            inner = stack.pop() if len(stack) > 1 else _Group()
        elif each == "|":
            stack[-1].varies, stack[-1].row = True, 0
            continue
        endless, varies, at = _quantified(pattern, at)
        top = stack[-1]
        if inner is not None:
            if endless and inner.varies:
                return True
            top.varies |= inner.varies
            top.row += inner.row
        top.varies |= varies
        top.row += endless
        if top.row > _MANY:
            return True
    return False


def _quantified(pattern: str, at: int) -> tuple[bool, bool, int]:
    """Return whether a quantifier stands here that has no near end, whether one that varies, and what is behind it."""
    endless = varies = False
    while found := _QUANTIFIER.match(pattern, at):
        if found[0] in "*+":
            endless = varies = True
        elif found[0] == "?":
            varies = True
        else:
            low, high = int(found[1] or 0), int(found[3] or 0)
            if found[2]:
                varies = True
                endless |= not found[3] or high - low > 100
            elif not found[1]:
                break  # {} alone is text
        at = found.end()
    return endless, varies, at


def _behind_class(pattern: str, at: int) -> int:
    """Return the place behind a character class, whose bracket stands before ``at``; classes may lie in it."""
    depth, start = 1, at
    while at < len(pattern) and depth:
        each = pattern[at]
        at += 1
        if each == "\\":
            at += 1
        elif each == "[":
            depth += 1
        elif each == "]" and at - 1 != start and pattern[start : at - 1] != "^":
            depth -= 1
    return at
