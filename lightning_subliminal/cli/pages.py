"""Pages of help: at most one screen, examples first, with texts from the docstrings of the commands."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["PROGRAM", "documented", "page", "shares", "with_default"]

PROGRAM = "lightning-subliminal"
_WIDTH = 100
_COLUMN = 26  # where the text about an option begins


def page(
    title: str, examples: Iterable[str], usage: str, rows: Iterable[tuple[str, str]], notes: str, name: str
) -> str:
    """Return a page of help: title, examples, usage, options, notes, and where all options are listed.

    Args:
        title: the first line.
        examples: command lines without the name of the program.
        usage: how the command is typed, likewise.
        rows: each word or option with its text.
        notes: paragraphs below the options; those with indented lines stay as they are, the others are filled.
        name: the command that has ``--help=all``.
    """
    lines = [*textwrap.wrap(title, _WIDTH), "", "examples:", *(f"  {PROGRAM} {each}" for each in examples), ""]
    lines += [f"usage: {PROGRAM} {usage}", ""]
    for label, text in rows:
        head = f"  {label}".ljust(_COLUMN - 2) + "  "
        lines += textwrap.wrap(
            text, _WIDTH, initial_indent=head, subsequent_indent=" " * _COLUMN, break_on_hyphens=False
        )
    for part in notes.strip().split("\n\n") if notes else ():
        lines += ["", part if "\n  " in part else textwrap.fill(part, _WIDTH)]
    return "\n".join([*lines, "", f"All options: {PROGRAM} {name} --help=all", ""])


def documented(function: Callable[..., Any]) -> dict[str, str]:
    """Return the texts under ``Args`` of a docstring in Google style, by parameter."""
    part = f"\n{inspect.getdoc(function) or ''}".partition("\nArgs:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", part, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def with_default(text: str, parameter: inspect.Parameter) -> str:
    """Return a text about a parameter with its default, where that is a number or a word."""
    default = parameter.default
    shown = not isinstance(default, bool) and default not in (None, "", [], parameter.empty)
    return text.rstrip(".") + (f" (default {default})" if shown else "")


def shares(other: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the options of another function in the place of ``**kwargs``.

    Args:
        other: the function; its parameters with a default become options, described by its docstring.
    """

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in inspect.signature(run).parameters.values() if each.kind is not each.VAR_KEYWORD]
        further = [each for each in inspect.signature(other).parameters.values() if each.default is not each.empty]
        texts = documented(run) | documented(other)
        first = (inspect.getdoc(run) or "").partition("\n")[0]
        args = [f"    {each.name}: {texts[each.name]}" for each in [*own, *further]]
        run.__doc__ = "\n".join([first, "", "Args:", *args])
        run.__signature__ = inspect.Signature([*own, *further])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in [*own, *further]} | {"return": None}
        return run

    return decorate
