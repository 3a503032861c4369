"""Untrusted regular expressions: those with runaway backtracking are refused before they are used.

A pattern is tried in a separate process with a time limit: an adapter's on the names of the model's modules, and a
tokenizer's, if it has nested quantifiers, on long runs of its own letters. Most nested quantifiers are harmless.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MATCH_SECONDS, MAX_PATTERN
from lightning_subliminal.core.io.files import read_json, walk_json

__all__ = ["check_adapter_patterns", "check_tokenizer_patterns", "repeats_a_repetition"]

_MANY = 3  # unbounded quantifiers in a row; GPT-4o's pattern has two
_PLAIN = re.compile(r"[\w./ -]*")
_QUANTIFIER = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")
_LIMITED = """
import json, re, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
except ImportError:
    pass
given = json.load(sys.stdin)
sys.path[:] = given["path"]  # -I drops PYTHONPATH and the user's site, where packages may be
"""
# The forms in which PEFT uses a pattern.
_ON_NAMES = """
for pattern in given["patterns"]:
    for form in ("{}", r"(.*\\.)?({})$", r"(^|.*\\.){}($|\\..*)", r"(?:^|.*?\\.){}\\.(?P<idx>\\d+)\\."):
        try:
            found = re.compile(form.replace("{}", pattern))
        except re.error:
            continue
        for name in given["names"]:
            found.fullmatch(name), found.match(name)
print("done")
"""
# The end of a text has all letters: else a matcher rejects a pattern that requires one of them before it backtracks.
_ON_RUNS = """
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split
for pattern in given["patterns"]:
    split = Split(Regex(pattern), "isolated")
    letters = sorted({*"aA1 ._\\n\u00e9\u6f22", *(each for each in pattern if each.isalnum() or each in " -_.;!")})
    for run in [*(each * 400 for each in letters), "a " * 200, "a1" * 200]:
        for end in ("", "\\0", "\\0" + "\\0".join(letters)):
            split.pre_tokenize_str(run + end)
print("done")
"""


def check_adapter_patterns(config: Mapping[str, Any], names: Iterable[str], place: Path) -> None:
    """Check each pattern of an adapter's config, of the file ``place``, on the names of a model's modules.

    Raises:
        InputError: if a pattern is too long, or takes too long.
    """
    fields = {name: value for name, value in config.items() if name not in ("base_model_name_or_path", "revision")}
    texts = dict.fromkeys(each for pair in walk_json(fields) for each in pair if isinstance(each, str))
    patterns = [each for each in texts if not _PLAIN.fullmatch(each)]
    for each in patterns:
        _check_length(each, place)
    if patterns and not _finishes(_ON_NAMES, patterns=patterns, names=list(names)):
        raise InputError(
            f"{place} has a pattern that takes more than {MATCH_SECONDS} s on the names of the model's modules, such "
            f"as {patterns[0][:60]!r}: name the modules in a list ({MATCH_SECONDS.how})."
        )


def check_tokenizer_patterns(folder: Path) -> None:
    """Check the patterns of a tokenizer.json, and try those with nested quantifiers.

    Raises:
        InputError: if a pattern is too long, or takes too long.
    """
    place = folder / "tokenizer.json"
    if not place.is_file():
        return
    for pattern in (each for key, each in walk_json(read_json(place)) if key == "Regex" and isinstance(each, str)):
        _check_length(pattern, place)
        if repeats_a_repetition(pattern) and not _finishes(_ON_RUNS, patterns=[pattern]):
            raise InputError(
                f"{place} has the pattern {pattern[:60]!r}, which repeats a repetition and takes too long on a run of "
                f"400 letters: copy the file again ({MATCH_SECONDS.how})."
            )


def _finishes(code: str, **given: Any) -> bool:
    """Return whether code finishes with its input within the time limit.

    Raises:
        InputError: if it can't start because a package is missing.
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
            f"Patterns can't be checked: {sys.executable} failed in another process with {last!r}: repair the install."
        )
    return tried.stdout.strip() == "done"


def _check_length(pattern: str, place: Path) -> None:
    MAX_PATTERN.check(len(pattern), f"{place} has a pattern of {len(pattern):,} characters")


@dataclass
class _Group:
    """State of a group while a pattern is scanned.

    Attributes:
        varies: whether part of it may match in several ways.
        row: unbounded quantifiers in this branch.
    """

    varies: bool = False
    row: int = 0


def repeats_a_repetition(pattern: str) -> bool:
    r"""Return whether a pattern has nested quantifiers, or more unbounded ones in a row than ``_MANY``.

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
    """Return whether an unbounded quantifier is at ``at``, whether a variable one is, and the position behind them."""
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
    """Return the position behind a character class whose bracket is before ``at``; classes may be nested."""
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
