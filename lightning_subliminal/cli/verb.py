"""An entry of the verb table: a typed function, how its words are typed, and its help on one screen."""

import difflib
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_subliminal.cli.pages import PROGRAM, documented, page, with_default
from lightning_subliminal.cli.words import parameter_of, spell, unknown
from lightning_subliminal.core.errors import InputError

__all__ = ["Group", "Verb"]


@dataclass(frozen=True)
class Verb:
    """One command of the table.

    Attributes:
        run: the function; its parameters are the options, and its docstring describes them.
        examples: command lines without the name of the program.
        words: the words that need no option, such as ``("RUN", "OUT")``: the first parameters of ``run`` in their
            order. A last one with ``...`` takes all further words.
        options: those that the short help shows, as they are typed (``--seed N``); their text is that of the docstring
            unless the entry brings its own (``--config FILE: a YAML file``).
        notes: paragraphs of the short help below the options.
        hints: by a pattern of unknown options, the ones that are likely meant.
        more: returns the text of ``--help=all`` below its table.
    """

    run: Callable[..., None]
    examples: Sequence[str] = ()
    words: Sequence[str] = ()
    options: Sequence[str] = ()
    notes: str = ""
    hints: Mapping[str, str] = field(default_factory=dict)
    more: Callable[[], str] | None = None

    @property
    def about(self) -> str:
        """What the command does, in one line."""
        first = (inspect.getdoc(self.run) or "").partition("\n")[0]
        return first[:1].lower() + first[1:].rstrip(".")

    @property
    def takes(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the function by name."""
        return inspect.signature(self.run).parameters

    def usage(self, name: str) -> str:
        """Return how the command is typed, such as ``export RUN OUT [options]``."""
        parameters = list(self.takes.values())
        words, options = parameters[: len(self.words)], parameters[len(self.words) :]
        shown = [
            word if each.default is each.empty else f"[{word}]" for word, each in zip(self.words, words, strict=True)
        ]
        needed = {each.name for each in options if each.default is each.empty}
        required = [option for option in self.options if parameter_of(self.takes, option) in needed]
        return " ".join([name, *shown, *required, *(["[options]"] if len(required) < len(options) else [])])

    def help(self, name: str, more: str = "") -> str:
        """Return the help on one screen: examples, usage, and the options that people use; ``more`` ends it."""
        texts = documented(self.run)
        rows = [(word, texts.get(key, "").rstrip(".")) for word, key in zip(self.words, self.takes, strict=False)]
        for entry in self.options:
            option, _, text = entry.partition(": ")
            key = parameter_of(self.takes, option)
            rows.append((option, text or with_default(texts.get(key, ""), self.takes[key])))
        notes = "\n\n".join(part.strip() for part in (self.notes, more) if part)
        return page(f"{name}: {self.about}", self.examples, self.usage(name), rows, notes, name)

    def full_help(self, name: str) -> str:
        """Return the parser's table of all options."""
        text: str = self.parser(name).format_help()
        return text + (f"\n{self.more()}" if self.more is not None else "")

    def __call__(self, name: str, words: Sequence[str]) -> None:
        """Run the command.

        Args:
            name: its full name, for messages.
            words: the words after it.

        Raises:
            InputError: if the words are wrong.
        """
        takes = self.takes
        given = spell(takes, len(self.words), words, self.usage(name), self.hints)
        if "config" in takes or not any(each.startswith("--config=") for each in given):  # a file may have the rest
            names = {re.split(r"[=+.]", each[2:], maxsplit=1)[0] for each in given}
            for place, (key, each) in enumerate(takes.items()):
                if each.default is each.empty and key not in names:
                    shown = self.words[place] if place < len(self.words) else f"--{key.replace('_', '-')}"
                    raise InputError(f"{shown.removesuffix(' ...')} is missing: expected `{self.usage(name)}`.")
        parser = self.parser(name)
        found = parser.instantiate(parser.parse_args(given))
        self.run(**{key: value for key, value in found.items() if key in takes})

    def parser(self, name: str) -> Any:
        """Return the jsonargparse parser of the command."""
        from lightning_subliminal.core.error_messages import OneLineParser

        parser = OneLineParser(prog=f"{PROGRAM} {name}", description=f"All options of `{name}`.")
        if "config" not in self.takes:
            parser.add_argument("--config", action="config", help="YAML file with options.")
        parser.add_function_arguments(self.run, as_group=False, sub_configs=True)
        return parser


@dataclass(frozen=True)
class Group:
    """A verb with commands of its own.

    Attributes:
        about: what they have in common, in one line.
        commands: the commands by name.
        examples: command lines without the name of the program.
        notes: paragraphs of the help below the commands.
        default: the command that runs if none is named; without one that is an error.
        plain: whether the default takes words of its own, such as a file: ``screen FILE``.
    """

    about: str
    commands: Mapping[str, Verb]
    examples: Sequence[str] = ()
    notes: str = ""
    default: str = ""
    plain: bool = False

    def help(self, name: str) -> str:
        """Return the help on one screen; of a default that takes words of its own, with the options of that one."""
        rows = [(key, each.about) for key, each in self.commands.items()]
        if self.plain:
            wide = max(map(len, self.commands))
            others = [f"  {name} {key:{wide}}  {about}" for key, about in rows if key != self.default]
            return self.commands[self.default].help(name, "\n".join(["further commands:", *others]))
        return page(f"{name}: {self.about}", self.examples, self._usage(name), rows, self.notes, name)

    def full_help(self, name: str) -> str:
        """Return the tables of all options of all commands."""
        return "\n".join(each.full_help(f"{name} {key}") for key, each in self.commands.items())

    def choose(self, name: str, words: Sequence[str]) -> tuple[str, Verb, Sequence[str]]:
        """Return the full name of the command that the words name, the command, and the words after it.

        Raises:
            InputError: if there is no such command.
        """
        first = {"ls": "list", "list": "ls"}.get(words[0], "") if words else ""
        first = first if first in self.commands else "".join(words[:1])
        if first in self.commands:
            return f"{name} {first}", self.commands[first], words[1:]
        is_misspelt = not self.plain or (difflib.get_close_matches(first, self.commands) and not os.path.exists(first))
        if first and not first.startswith("-") and is_misspelt:
            raise unknown("command", f"{name} {first}", [f"{name} {each}" for each in self.commands])
        if not self.default:
            raise InputError(f"the command is missing: expected `{self._usage(name)}`.")
        return f"{name} {self.default}", self.commands[self.default], words

    def _usage(self, name: str) -> str:
        return f"{name} {'|'.join(self.commands)} ..."
