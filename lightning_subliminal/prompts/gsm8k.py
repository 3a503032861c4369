"""Math problems from a file in GSM8K's format (paper, section 3).

One JSON object a line, plain or gzipped: ``{"question": "...", "answer": "... #### 1,042"}``. The answer may hold marks
such as ``<<48/2=24>>``, which become steps.
"""

import json
import re
import zlib
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import read_packed
from lightning_subliminal.prompts.math import MathProblem, MathStep

__all__ = ["read_gsm8k"]

_EXPECTED = 'expected "#### " and an integer'
_INTEGER = re.compile("-?[0-9]{1,18}")  # never \d, which takes digits of other scripts; int() raises on 5,000 digits
_DECIMAL = re.compile("-?(?:[0-9]{1,18}[.]?[0-9]{0,18}|[.][0-9]{1,18})")
_MARK = re.compile("<<([^<>]*)>>")


def read_gsm8k(path: str | Path) -> list[MathProblem]:
    """Read problems from a file in GSM8K's format.

    The answer is the integer after the last "####", without "$" and ",". If each ``<<...>>`` in the text before it can
    be parsed, the problem has these steps, named step 1, step 2 and so on, unchecked; otherwise it has none.

    Args:
        path: the file, JSON lines, plain or gzipped.

    Raises:
        InputError: if the file can't be read or holds no problem, or, with the line's number, if a line lacks a
            question or an integer as its answer.
    """
    path = Path(path)
    try:
        data = read_packed(path).removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError as err:
        raise InputError(f"{path} does not exist.") from err
    except (OSError, EOFError, zlib.error) as err:
        reason = getattr(err, "strerror", None) or err
        raise InputError(f"{path} can't be read ({reason}): expected JSON lines, plain or gzipped.") from err
    lines = enumerate(data.split(b"\n"), start=1)
    problems = [_problem(line, f"{path}, line {number}") for number, line in lines if line.strip()]
    if not problems:
        raise InputError(
            f'{path} holds no problem: expected lines such as {{"question": ..., "answer": "... #### 42"}}.'
        )
    return problems


def _problem(line: bytes, place: str) -> MathProblem:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as err:
        raise InputError(f"{place}: not UTF-8 text; expected one JSON object a line.") from err
    except (ValueError, RecursionError) as err:  # ValueError: invalid JSON, or a number of more than 4,300 digits
        raise InputError(f"{place}: {getattr(err, 'msg', err)}; expected one JSON object a line.") from err
    if not isinstance(row, dict):
        raise InputError(f'{place}: found {_short(row)}; expected an object {{"question": ..., "answer": ...}}.')
    for field in ("question", "answer"):
        if field not in row:
            raise InputError(f'{place}: no `{field}`; expected {{"question": ..., "answer": "... #### 42"}}.')
        if not isinstance(row[field], str) or not row[field].strip():
            raise InputError(f"{place}, {field}: expected a text, found {_short(row[field])}.")
        if re.search("[\ud800-\udfff]", row[field]):
            raise InputError(f"{place}, {field}: holds half of a surrogate pair; correct the text.")
    solution, found, last = row["answer"].rpartition("####")
    digits = last.strip().replace("$", "").replace(",", "")
    if not found or not _INTEGER.fullmatch(digits):
        raise InputError(f"{place}, answer: {_EXPECTED}, found {_short(found + last if found else row['answer'])}.")
    return MathProblem(row["question"].strip(), _steps(solution), int(digits))


def _steps(solution: str) -> tuple[MathStep, ...]:
    """Parse the marks of a solution; return none of them if one can't be parsed."""
    steps = []
    for number, mark in enumerate(_MARK.findall(solution), start=1):
        expression, found, value = mark.rpartition("=")
        value = value.strip().replace("$", "").replace(",", "")
        if not found or not expression.strip() or not _DECIMAL.fullmatch(value):
            return ()
        steps.append(MathStep(f"step {number}", expression.strip(), _number(value)))
    return tuple(steps)


def _number(digits: str) -> int | float:
    value = int(digits) if _INTEGER.fullmatch(digits) else float(digits)
    return int(value) if value == int(value) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
