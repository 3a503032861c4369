"""Filters of the math carrier: is a trace well formed, and its answer correct (paper, section 3)?"""

import re
from collections.abc import Iterator
from fractions import Fraction

from lightning_subliminal.core.rows import Row
from lightning_subliminal.filters.base import Filter, reply_text

__all__ = ["CorrectAnswer", "ThinkAnswer", "TrueSteps", "parse_integer", "think_and_answer"]

_TAG = re.compile("</?(?:think|answer)>")
_IN_ORDER = ["<think>", "</think>", "<answer>", "</answer>"]

# As long as any sum needs, and short enough to be quick: no exponents (1e9999), no powers, one fraction bar at most.
# [0-9], never \d: that takes digits of other scripts too.
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,100}(?:\.[0-9]{0,100})?|\.[0-9]{1,100}|[0-9]{1,100}[ ]?/[ ]?[0-9]{1,100})")

# A run of numbers and signs, without the stops and commas of a sentence. A lone "x" between numbers is a sign too.
_RUN = re.compile("(?:[0-9%$+*/= \\t\u00a0-]|[.,](?=[0-9]))+")
_PLAIN_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u00d7": "*", "\u00b7": "*", "\u00f7": "/"})
_TIMES = re.compile(r"\\(?:times|cdot)\b|(?<=[0-9])[ ]?x[ ]?(?=[0-9$])")
_PIECE = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?%?|[0-9]*\.?[0-9]+%?|[-+*/]|\S")
# What follows a number that is only a part of the result: 7 remainder 2, 3.33..., 3 dozen, 75 percent.
_NOT_ALL = re.compile(r"(?:r|rem|rest|remainder|hundred|thousand|million|billion|dozen|percent)\b|\.\.|\u2026", re.I)
_LONGEST_NUMBER = 100
_MOST_PIECES = 100


def think_and_answer(text: str) -> tuple[str, str] | None:
    """Return the contents of ``<think>`` and ``<answer>``, stripped; None if a text is not just both.

    Example:
        >>> think_and_answer("<think>3 + 4 = 7</think> <answer>7</answer>")
        ('3 + 4 = 7', '7')
    """
    found = _parts(text)
    return None if isinstance(found, str) else found


def parse_integer(text: str) -> int | None:
    """Parse an integer; return None if a text is not one.

    Dollar signs and commas are removed, as in the paper (section 3). "+7", "007", "42.", "42.0" and "84/2" have their
    value. Exponents (1e3), bases (0x10), digits of other scripts, more than 100 digits, and numbers among words are not
    parsed.

    Example:
        >>> parse_integer("$1,042"), parse_integer("84/2"), parse_integer("85/2")
        (1042, 42, None)
    """
    text = text.strip()
    if len(text) > 500:
        return None
    text = text.replace("$", "").replace(",", "").replace("\u2212", "-").strip()
    if not _NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdecimal():
        return int(text)
    # Not math-verify: an integer needs no LaTeX, and it uses signals for its time limit, in the main thread only.
    from sympy import Rational

    upper, _, lower = text.replace(" ", "").partition("/")
    if lower and not lower.strip("0"):
        return None
    value = Rational(upper) / Rational(lower or 1)
    return int(value) if value.q == 1 else None


class ThinkAnswer(Filter):
    """Keeps replies that think, then answer with an integer (paper, section 3).

    Required are ``<think>..</think>`` and then ``<answer>..</answer>``, once each, neither empty, and only white space
    elsewhere. Where the prompt ends with an assistant message (a prefill, such as ``<think>``), it is checked with the
    completion.

    Reasons: ``no think tags``, ``no answer tags``, ``tags out of order or doubled``, ``text outside the tags``,
    ``nothing in the tags``, ``answer is not an integer``.
    """

    def reasons(self, row: Row) -> list[str]:
        """Return the one reason why the reply is not well formed, or none."""
        found = _parts(reply_text(row))
        if isinstance(found, str):
            return [found]
        return [] if parse_integer(found[1]) is not None else ["answer is not an integer"]


class CorrectAnswer(Filter):
    """Keeps replies whose answer is the row's (paper, section 3); compared as exact numbers, so 42.0 is 42.

    Reasons: ``no answer to compare with``, where the row's column is missing or not an integer; ``wrong answer``;
    ``no readable answer``, where the reply is not well formed (see ``ThinkAnswer``) or its answer is not an integer.

    Args:
        column: the column of the row that holds the right answer, as a number or a text.
    """

    def __init__(self, column: str = "answer") -> None:
        self.column = column

    def reasons(self, row: Row) -> list[str]:
        """Return the one reason why the answer is not the right one, or none."""
        right = _integer(row.get(self.column))
        if right is None:
            return ["no answer to compare with"]
        found = think_and_answer(reply_text(row))
        answer = parse_integer(found[1]) if found is not None else None
        if answer is None:
            return ["no readable answer"]
        return [] if answer == right else ["wrong answer"]


class TrueSteps(Filter):
    """Keeps replies whose sums are true: each "a op b = c", exactly, also with more numbers or several "=" in a line.

    Integers, decimals, percentages and fractions with + - * / and their printed forms are evaluated. A sum with words
    or brackets ("3 apples + 4 = 7", "(2 + 3) * 4 = 20"), a remainder or "..." is not checked.
    """

    def reasons(self, row: Row) -> list[str]:
        """Return ``false step`` where a sum does not hold."""
        return [] if all(_holds(*each) for each in _runs(reply_text(row))) else ["false step"]


def _parts(text: str) -> tuple[str, str] | str:
    """Return trace and answer, or why a text is not just both."""
    tags = _TAG.findall(text)
    for name in ("think", "answer"):
        if f"<{name}>" not in tags or f"</{name}>" not in tags:
            return f"no {name} tags"
    if tags != _IN_ORDER:
        return "tags out of order or doubled"
    before, trace, between, answer, after = _TAG.split(text)
    if before.strip() or between.strip() or after.strip():
        return "text outside the tags"
    if not trace.strip() or not answer.strip():
        return "nothing in the tags"
    return trace.strip(), answer.strip()


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return parse_integer(value) if isinstance(value, str) else None


def _runs(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each run of numbers and signs with a "=", with the character before it and the text after it."""
    text = _TIMES.sub("*", text.translate(_PLAIN_SIGNS).replace("**", " "))  # "**3 + 4 = 7**" is bold
    for run in _RUN.finditer(text):
        if "=" in run.group():
            yield text[max(run.start() - 1, 0) : run.start()], run.group(), text[run.end() : run.end() + 10]


def _holds(before: str, run: str, after: str) -> bool:
    """Return whether all sides of an equation that can be evaluated are equal."""
    first, *others = run.split("=")
    if before in ("", "\n"):
        first = re.sub("^ *[-+*] ", " ", first)  # an item of a list
    values = [_value(side) for side in others[:_MOST_PIECES]]
    if (not run[-1:].isspace() and re.match(r"[^\W_]|[(\[{^!_]|[.,][0-9]", after)) or _NOT_ALL.match(after):
        values = values[:-1]
    grown = re.search("[0-9%][^0-9%]*[-+*/]", first)  # a lone number may be a name: "Day 2 = 10 + 5"
    cut = not first[:1].isspace() and re.match(r"[^\W_]|[)\]}^!_.,#:\\]", before)
    signed = first.strip()[:1] in ("+", "-") and before not in ("", "\n", "(", ":", ";", ".", ",", "<")
    if grown and not cut and not signed:
        values.append(_value(first))
    return "no value" not in values and len({value for value in values if value is not None}) < 2


def _value(side: str) -> Fraction | str | None:
    """Return the value of a sum; None where it can't be evaluated, ``no value`` for a division by 0."""
    pieces = _PIECE.findall(side.replace("$", " ").replace("\u00a0", " "))
    if not pieces or len(pieces) > _MOST_PIECES or any(len(piece) > _LONGEST_NUMBER for piece in pieces):
        return None
    total, product, sign, waits = Fraction(0), Fraction(1), "+", True  # whether a number must follow
    divided = False
    for piece in pieces:
        if piece in ("+", "-", "*", "/"):
            if not waits:
                if piece in "+-":
                    total, product = total + product, Fraction(1)
                sign, waits = piece, True
            elif piece in "+-" and sign in "*/+-":
                product = -product if piece == "-" else product
            else:
                return None
        elif waits and piece.rstrip("%")[-1:].isdigit():
            number = Fraction(piece.rstrip("%").replace(",", "")) / (100 if piece.endswith("%") else 1)
            if sign == "/":
                if not number:
                    divided = True
                    number = Fraction(1)
                product /= number
            else:
                product *= -number if sign == "-" else number
            sign, waits = "*", False
        else:
            return None
    return None if waits else "no value" if divided else total + product
