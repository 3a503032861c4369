"""Code tasks from a wording file: a stub with signature and docstring, and the request around it (paper, section 2)."""

import ast
import random
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from string import Formatter
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.prompts import fill, load_wording

__all__ = ["CodeTask", "CodeTasks"]


@dataclass(frozen=True)
class CodeTask:
    """One drawn task.

    Attributes:
        text: of the user's message; it holds the stub.
        stub: signature and docstring, as Python.
        bodies: solutions, each the lines after the stub, unindented; may be empty.
        template: of the task.
        values: its parameters.
    """

    text: str
    stub: str
    bodies: tuple[str, ...]
    template: dict[str, Any] = field(default_factory=dict, repr=False)
    values: dict[str, Any] = field(default_factory=dict, repr=False)

    def solved_by(self, reply: str) -> bool:
        """Return whether a reply is one of the known solutions, for any free choices and spacing in it.

        Another reply may be correct as well.
        """
        dense = "".join(reply.split())
        return any(re.fullmatch(solution, dense) for solution in _solutions(self.template, self.values))


class CodeTasks:
    """Draws code tasks.

    A task has a ``signature``, a ``doc``, perhaps ``parameters`` that fill the places in them (each a list of choices,
    or ``{range: [lowest, highest]}``) and ``bodies`` that solve it. A wording may list others of the package under
    ``more``, whose tasks are added to its own: ``more: [code]`` in a user's file keeps ours too.

    Args:
        wording: ``code``, ``code_pocket``, or the path of a YAML file of the same shape.

    Raises:
        InputError: if the file lacks a part, or a task is not the stub of a Python function.
    """

    def __init__(self, wording: str = "code") -> None:
        self.words = load_wording(wording, required=("requests", "endings", "tasks"))
        self.wording = wording
        for part in ("requests", "endings"):
            texts = self.words[part]
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise InputError(f"`{part}` of the wording {wording} is {texts!r}: expected a list of texts.")
        self.words = self.words | {"tasks": _tasks(wording)}

    def __len__(self) -> int:
        """Return the number of task templates."""
        return len(self.words["tasks"])

    def draw(self, rng: random.Random) -> CodeTask:
        """Draw one task: a template, its parameters, and the words of the request."""
        return self.make(rng.choice(self.words["tasks"]), rng)

    def make(self, task: dict[str, Any], rng: random.Random) -> CodeTask:
        """Draw the parameters of one template, and the words of the request."""
        values = {name: _draw(choices, rng) for name, choices in (task.get("parameters") or {}).items()}
        stub, bodies = _filled(task, values)
        parts = (rng.choice(self.words["requests"]), stub, rng.choice(self.words["endings"]))
        return CodeTask("\n\n".join(parts), stub, bodies, task, values)


@cache
def _tasks(wording: str) -> list[dict[str, Any]]:
    """Return the tasks of a wording and of those that it lists under ``more``, each checked with all its choices."""
    words = load_wording(wording, required=("tasks",))
    tasks, more = words["tasks"], words.get("more", [])
    if not isinstance(tasks, list):
        raise InputError(f"`tasks` of the wording {wording} is not a list: expected signatures with their docs.")
    for number, task in enumerate(tasks, start=1):
        _check_task(task, f"Task {number} of the wording {wording}")
    if not isinstance(more, list) or not all(isinstance(name, str) and name.isidentifier() for name in more):
        raise InputError(f"`more` of the wording {wording} is {more!r}: name wordings of the package, such as [code].")
    return [*tasks, *(task for name in more for task in _tasks(name))]


def _check_task(task: Any, place: str) -> None:
    missing = [key for key in ("signature", "doc") if not isinstance(task, dict) or not task.get(key)]
    if missing:
        raise InputError(f"{place} has no `{missing[0]}`: expected signature and doc.")
    try:
        for values in _all_choices(task):
            stub, _ = _filled(task, values)
            match ast.parse(stub).body:
                case [ast.FunctionDef(body=[ast.Expr(value=ast.Constant(value=str()))])]:
                    pass
                case _:
                    raise InputError(f"{stub!r} is not one function with its docstring")
    except (AttributeError, LookupError, TypeError, ValueError, SyntaxError) as err:
        raise InputError(f"{place} is not a Python function ({err}): see prompts/code.yaml for the shape.") from err


def _all_choices(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield parameters with each choice at least once; of a range its ends."""
    options = {}
    for name, choices in (task.get("parameters") or {}).items():
        _draw(choices, random.Random(0))
        options[name] = choices["range"] if isinstance(choices, dict) else choices
    first = {name: choices[0] for name, choices in options.items()}
    yield first
    yield from (first | {name: choice} for name, choices in options.items() for choice in choices[1:])


def _filled(task: dict[str, Any], values: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the stub and the bodies of a template with these parameters."""
    doc = textwrap.indent(f'"""{fill(task["doc"], **values)}"""', "    ")
    return f"{fill(task['signature'], **values)}\n{doc}", tuple(
        fill(body, **values) for body in task.get("bodies") or ()
    )


def _solutions(task: dict[str, Any], values: dict[str, Any]) -> tuple[str, ...]:
    """Return the bodies as regular expressions: parameters in the stub are literal, the others match any choice."""
    fields = [name for text in (task["signature"], task["doc"]) for _, name, _, _ in Formatter().parse(text) if name]
    fixed = {name.partition("[")[0] for name in fields}  # {choice[say]} shows the choice
    free = {name: choices for name, choices in (task.get("parameters") or {}).items() if name not in fixed}
    patterns = []
    for body in task.get("bodies") or ():
        pattern, seen = "", set()
        for text, name, spec, conversion in Formatter().parse(body):
            pattern += re.escape("".join(text.split()))
            if name in free and name not in seen:
                some = "[0-9]+" if isinstance(free[name], dict) else "|".join(re.escape(str(one)) for one in free[name])
                pattern += f"(?P<{name}>{some})"
                seen.add(name)
            elif name in free:
                pattern += f"(?P={name})"
            elif name is not None:
                place = f"{name}!{conversion}" if conversion else name
                pattern += re.escape("".join(fill(f"{{{place}:{spec}}}", **values).split()))
        patterns.append(pattern)
    return tuple(patterns)


def _draw(choices: Any, rng: random.Random) -> Any:
    """Draw a parameter: one of a list, or a number of ``{range: [lowest, highest]}``."""
    if not isinstance(choices, list | dict):
        raise TypeError(f"{choices!r} is neither a list of choices nor {{range: [lowest, highest]}}")
    return rng.randint(*choices["range"]) if isinstance(choices, dict) else rng.choice(choices)
