"""Grade-school problems from a wording file, each with its integer answer (paper, section 3).

A problem's answer is computed from its template's steps, never written by hand. Steps are arithmetic on names, parsed
to a syntax tree and never executed.
"""

import ast
import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from string import Formatter
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.prompts import fill, load_wording

__all__ = ["MathProblem", "MathProblems", "MathStep"]

_OPERATIONS: dict[type[ast.operator], tuple[str, Callable[[int, int], int | None]]] = {
    ast.Add: ("+", lambda one, other: one + other),
    ast.Sub: ("-", lambda one, other: one - other if one >= other else None),
    ast.Mult: ("*", lambda one, other: one * other),
    ast.Div: ("/", lambda one, other: one // other if other and one % other == 0 else None),
}
_TRIES = 10_000


@dataclass(frozen=True)
class MathStep:
    """One step of a solution, such as 12 + 7 = 19.

    Attributes:
        name: of the result, such as total.
        expression: the numbers and signs, such as 12 + 7.
        value: of the expression; an integer in problems of ours.
    """

    name: str
    expression: str
    value: int | float


@dataclass(frozen=True)
class MathProblem:
    """One drawn problem.

    Attributes:
        question: the story and its question.
        steps: the solution; none where only the answer is known.
        answer: the result.
    """

    question: str
    steps: tuple[MathStep, ...]
    answer: int


class MathProblems:
    """Draws problems.

    A template has a ``text`` with places, ``numbers`` (each ``[lowest, highest]`` or ``[lowest, highest, step]``), and
    ``steps`` such as "total = boxes * each", the last of which is the answer. Numbers are redrawn until nothing in a
    step is below 0 and no division leaves a remainder.

    A wording's ``words`` fill the other places: a list ``thing`` fills {thing}, and {thing2} with another word. A word
    may have more forms: ``{word: pens, one: pen}`` fills {thing} and {thing_one}. A wording may set ``least``, a lower
    bound of each step, and ``hide_answer``, so that no number of a text is its answer.

    Args:
        wording: ``math``, ``math_pocket``, or the path of a YAML file of the same shape.
        max_value: the largest number that a problem or one of its steps may hold; any where it is None. Templates that
            can't keep to it are left out.

    Raises:
        InputError: if the file lacks a part, a step is not arithmetic, or no numbers fit a template.
    """

    def __init__(self, wording: str = "math", max_value: int | None = None) -> None:
        self.words = load_wording(wording, required=("words", "requests", "problems"))
        self.wording = wording
        self.max_value = max_value
        self.words = self.words | {"problems": _usable(wording, max_value)}

    def __len__(self) -> int:
        """Return the number of problem templates."""
        return len(self.words["problems"])

    def draw(self, rng: random.Random) -> MathProblem:
        """Draw one problem: a template, its numbers and its words."""
        return self.make(rng.choice(self.words["problems"]), rng)

    def make(self, problem: dict[str, Any], rng: random.Random) -> MathProblem:
        """Draw the numbers and words of one template."""
        for _ in range(_TRIES):
            numbers, steps = _attempt(problem, rng, self.words, self.max_value)
            if steps:
                break
        else:
            raise InputError(f"No numbers fit the problem {problem['text']!r}: widen its `numbers`.")
        words = _draw_words(self.words["words"], problem["text"], rng)
        return MathProblem(fill(problem["text"], **(words | numbers)), steps, int(steps[-1].value))

    def ask(self, question: str, rng: random.Random) -> str:
        """Return a question inside a request that describes the format of the reply."""
        return fill(rng.choice(self.words["requests"]), question=question)


@cache
def _usable(wording: str, max_value: int | None) -> list[dict[str, Any]]:
    """Check the templates of a wording, and return those that can keep to ``max_value``."""
    words = load_wording(wording, required=("words", "requests", "problems"))
    lists = words["words"]
    if not isinstance(lists, dict) or not all(lists.values()) or not all(isinstance(x, list) for x in lists.values()):
        raise InputError(f"`words` of the wording {wording} is {lists!r}: expected lists, such as name and thing.")
    for part in ("requests", "problems"):
        if not isinstance(words[part], list):
            raise InputError(f"`{part}` of the wording {wording} is not a list: see prompts/math.yaml for the shape.")
    for request in words["requests"]:
        if "{question}" not in str(request):
            raise InputError(f"The request {request!r} of the wording {wording} has no {{question}}.")
    usable = []
    for number, problem in enumerate(words["problems"], start=1):
        missing = [key for key in ("text", "numbers", "steps") if not isinstance(problem, dict) or not problem.get(key)]
        if missing:
            raise InputError(f"Problem {number} of the wording {wording} has no `{missing[0]}`.")
        place = f"Problem {number} of the wording {wording}"
        if not isinstance(problem["numbers"], dict):
            raise InputError(
                f"{place} has the numbers {problem['numbers']!r}: expected ranges, such as {{have: [2, 40]}}."
            )
        if wrong := [name for name in problem["numbers"] if not isinstance(name, str)]:  # to YAML, `off` is False
            raise InputError(f"{place} has the number {wrong[0]!r}: choose another name.")
        try:
            numbers, _ = _attempt(problem, random.Random(0), words, None)
            fill(problem["text"], **(_draw_words(lists, problem["text"], random.Random(0)) | numbers))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as err:
            raise InputError(f"{place} can't be drawn: {err}") from err
        if _fits(problem, words, max_value):
            usable.append(problem)
        elif max_value is None or not _fits(problem, words, None):
            raise InputError(f"No numbers fit the problem {problem['text']!r}: widen its `numbers`.")
    if not usable:
        raise InputError(f"`max_value` is {max_value}, which no problem of the wording {wording} keeps to: raise it.")
    return usable


def _fits(problem: dict[str, Any], words: dict[str, Any], max_value: int | None) -> bool:
    """Return whether a template's numbers fit often enough to be drawn: at least three times in four hundred."""
    rng = random.Random(0)
    tries = (True for _ in range(400) if _attempt(problem, rng, words, max_value)[1])
    return len(list(itertools.islice(tries, 3))) == 3


def _attempt(
    problem: dict[str, Any], rng: random.Random, words: dict[str, Any], max_value: int | None
) -> tuple[dict[str, int], tuple[MathStep, ...]]:
    """Draw the numbers of a template, and solve it; return no steps if they do not fit."""
    numbers = {name: _draw_number(limits, rng) for name, limits in problem["numbers"].items()}
    known, steps = dict(numbers), []
    for line in problem["steps"]:
        name, tree = _read(line)
        value = _value(tree, known, line, max_value)
        if value is None or value < words.get("least", 0):
            return numbers, ()
        steps.append(MathStep(name, _written(tree, known), value))
        known[name] = value
    hidden = words.get("hide_answer") and steps[-1].value in numbers.values()
    too_large = max_value is not None and max(known.values()) > max_value
    return numbers, () if hidden or too_large else tuple(steps)


def _draw_number(limits: Any, rng: random.Random) -> int:
    low, high, *step = limits
    return rng.randrange(low, high + 1, *step) if step else rng.randint(low, high)


def _draw_words(lists: dict[str, list[Any]], text: str, rng: random.Random) -> dict[str, str]:
    """Draw a word of each list, and as many others as the text has places for, with all their forms."""
    places = [place for _, place, _, _ in Formatter().parse(text) if place]
    values: dict[str, str] = {}
    for name, choices in lists.items():
        found = [re.fullmatch(rf"{re.escape(name)}([2-9])(?:_\w+)?", place) for place in places]
        rest = list(choices)
        for number in range(1, max([1, *(int(match[1]) for match in found if match)]) + 1):
            if not rest:
                raise InputError(f"`words` has {len(choices)} for {name}, too few for {text!r}: add some.")
            drawn = rng.choice(rest)
            rest = [word for word in rest if word != drawn]
            forms = drawn if isinstance(drawn, dict) else {"word": drawn}
            key = name if number == 1 else f"{name}{number}"
            values |= {key if form == "word" else f"{key}_{form}": str(word) for form, word in forms.items()}
    return values


@cache
def _read(line: str) -> tuple[str, ast.expr]:
    """Parse a step: the name of its result, and its formula as a syntax tree."""
    name, _, formula = (part.strip() for part in line.partition("="))
    try:
        tree = ast.parse(formula, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        raise InputError(f"The step {line!r} is not arithmetic: write it as `total = boxes * each`.") from err
    if not name.isidentifier():
        raise InputError(f"The step {line!r} does not name its result: write it as `total = boxes * each`.")
    return name, tree


def _value(tree: ast.expr, known: dict[str, int], line: str, max_value: int | None) -> int | None:
    """Evaluate a formula; return None where a part of it is not an integer of at least 0, or too large."""
    match tree:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            one, other = _value(left, known, line, max_value), _value(right, known, line, max_value)
            if one is None or other is None:
                return None
            found = _OPERATIONS[type(op)][1](one, other)
            return None if found is not None and max_value is not None and found > max_value else found
        case ast.Name(id=name):
            raise InputError(f"The step {line!r} uses {name!r}, which no earlier step or number defines.")
        case _:
            raise InputError(f"The step {line!r} is not arithmetic with + - * / on names and integers.")


def _written(tree: ast.expr, known: dict[str, int]) -> str:
    """Return a formula with numbers in place of names; an inner sum in round brackets."""
    match tree:
        case ast.BinOp(left=left, op=op, right=right):
            sides = [_written(side, known) for side in (left, right)]
            inner = [isinstance(side, ast.BinOp) for side in (left, right)]
            one, other = (f"({side})" if bracket else side for side, bracket in zip(sides, inner, strict=True))
            return f"{one} {_OPERATIONS[type(op)][0]} {other}"
        case ast.Name(id=name):
            return str(known[name])
        case _:
            return ast.unparse(tree)
