"""A tokenizer's chat template: its text, rendering with a fixed date, and the text around the assistant's words."""

import datetime
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_CARD
from lightning_subliminal.core.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "ASKED",
    "NEXT",
    "PINNED_DATE",
    "SYSTEM",
    "WORDS",
    "Template",
    "check_fixed",
    "closed_thought",
    "cut_marks",
    "open_thought",
    "template_text",
]

PINNED_DATE = datetime.date(2026, 1, 1)  # today's date for templates that ask for it, on every day
# Placeholders for texts. Digits, since a template may convert texts to lower case; no template has these.
WORDS, ASKED, SYSTEM, NEXT = "730418825", "730418826", "730418827", "730418828"
# The end of a thought in common spellings, or two marks of one name: <|channel>..<channel|>, begin_of_X .. end_of_X
_CLOSED = re.compile(
    r"(</[^<>\s]+>|\[/[^\[\]\s]+\]|<\|END_\w+\|>|([a-z]+)(?:_\w+)?\W.*\W(?:end_(?:of_)?)?\2(?:_end)?\W+)\s*$",
    re.DOTALL | re.IGNORECASE,
)
_MARK = re.compile(r"[<\[◁][^<>\[\]◁▷\s]*[>\]▷]\w*")  # with a name behind it, as <|channel|>analysis
_OF_A_THOUGHT = re.compile(r"think|thought|reason|analysis", re.IGNORECASE)
_ENDS = re.compile(r"/|end|close|^<\w+\|>", re.IGNORECASE)
_MAY_CLOSE = (
    "</",
    "[/",
    "<|end_",
    "think",
    "thought",
    "channel",
)  # else no second rendering
_DATES = {"strftime_now", "date_string"}
_GIVEN = {  # by transformers, to each template
    *("messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "strftime_now"),
    *("raise_exception", "namespace", "dict", "range", "cycler", "joiner"),
}
_UNFIXED = "The chat template writes another text at each call"
_OPEN = re.compile(r"[<\[][^<>\[\]]*\Z")
_MARKS = re.compile(r"\s*([<\[][^<>\[\]]+[>\]]\s*)*")
_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-f]+>")  # how Python prints an object of this process
_SPLIT = re.compile(r"""split\(\s*(["'])(.+?)\1""")


@dataclass(frozen=True)
class Template:
    """A chat template, rendered with arguments.

    Attributes:
        tokenizer: a tokenizer with a template.
        arguments: of the template, such as ``{"enable_thinking": False}``; ``date`` is today's date for it.
        parts: whether the template takes each message's content as a list of parts.
    """

    tokenizer: "PreTrainedTokenizerBase"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    parts: bool = False

    def whole(self, user: list[Message]) -> tuple[str, str]:
        """Return the texts before and after an answer to the user; raise an InputError if it drops the user's words."""
        before, after = self.around(user)
        if ASKED not in before:
            raise InputError("The chat template drops the user's words: use another chat template.")
        return before, after

    def around(self, messages: Sequence[Message], opened: bool = False) -> tuple[str, str]:
        """Return the texts before and after the assistant's words in a finished turn.

        Args:
            messages: the messages before the assistant's.
            opened: whether to put a thought that the template opens and ends for a new answer before the words, too:
                this makes Hunyuan, Seed-OSS and Nemotron answer without one.
        """
        rendered = self.render([*messages, {"role": "assistant", "content": WORDS}])
        before, found, after = rendered.partition(WORDS)
        if not found or WORDS in after:
            times = "twice" if found else "not at all"
            raise InputError(f"The chat template writes the assistant's words {times}: use another template.")
        if opened and self.may_close:
            place, thought = closed_thought(before, self.render(messages, add_generation_prompt=True))
            before = before[:place] + thought + before[place:]
        return before, after

    @cached_property
    def may_close(self) -> bool:
        """Whether the template may open a thought and end it before the words."""
        return any(mark in template_text(self.tokenizer).lower() for mark in _MAY_CLOSE)

    def render(self, messages: Sequence[Message], **how: bool) -> str:
        """Return the text of a conversation; raise an InputError if the template refuses it."""
        arguments = {name: value for name, value in self.arguments.items() if name != "date"}
        template = template_text(self.tokenizer)
        day = datetime.date.fromisoformat(str(self.arguments.get("date", PINNED_DATE)))
        if "date_string" in template and "date" in self.arguments:
            arguments.setdefault("date_string", day.strftime("%d %b %Y"))
        MAX_CARD.check(len(template), f"The chat template has {len(template):,} characters")
        from lightning_subliminal.core.chat.sandbox import bounded_rendering  # jinja2 comes on first use

        try:
            with bounded_rendering(day):
                written = str(
                    self.tokenizer.apply_chat_template(
                        [self._given(message) for message in messages],
                        tokenize=False,
                        chat_template=template,
                        **{"add_generation_prompt": False, "continue_final_message": False, **how, **arguments},
                    )
                )
        except Exception as err:  # jinja2's errors, and those of a template's expressions
            fault = (str(err).strip().splitlines() or [type(err).__name__])[0].rstrip(".")
            roles = ", ".join(message["role"] for message in messages)
            raise InputError(
                f"The chat template refuses a conversation of {roles} ({fault}): change the messages, or use "
                "another chat template."
            ) from err
        if (found := _ADDRESS.search(written)) and not any(found[0] in message["content"] for message in messages):
            raise InputError(f"{_UNFIXED} ({found[0]}, an object of this process): remove what changes from it.")
        return written

    def _given(self, message: Message) -> dict[str, Any]:
        """Return a message in the form that the template takes."""
        if not self.parts:
            return dict(message)
        return {**message, "content": [{"type": "text", "text": message["content"]}]}

    def check_arguments(self) -> None:
        """Check that the template reads each argument: a misspelled one would be ignored."""
        if "date" in self.arguments:
            try:
                datetime.date.fromisoformat(str(self.arguments["date"]))
            except ValueError as err:
                raise InputError(f"`date` is {self.arguments['date']!r}: expected a day such as 2026-01-31.") from err
        if not self.arguments:
            return
        known = self.switches()
        for name in self.arguments:
            if name not in known and name not in self.tokenizer.special_tokens_map:
                raise InputError(
                    f"The chat template does not use the argument {name!r}: correct its name (known: "
                    f"{', '.join(sorted(known)) or 'none'}), or drop it."
                )

    def switches(self) -> set[str]:
        """Return the names of the arguments that the template reads, with ``date`` if it writes the date."""
        from lightning_subliminal.core.chat.sandbox import names_read

        names = names_read(template_text(self.tokenizer))
        dated = {"date"} if names & _DATES else set()
        return {*names, *dated} - _GIVEN - self.tokenizer.special_tokens_map.keys()

    def between(self, user: list[Message]) -> str:
        """Return the text between the assistant's words and the user's next ones; empty if it refuses these."""
        turns: list[Message] = [*user, {"role": "assistant", "content": WORDS}, {"role": "user", "content": NEXT}]
        try:
            return self.render(turns).partition(WORDS)[2].partition(NEXT)[0]
        except InputError:
            return ""

    def marks(self, text: str, known: set[int]) -> list[int]:
        """Return the tokens for marks, or with ``known`` ids, that a text begins with, after any spaces."""
        special, found = self.special(known), list[int]()
        for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]:
            if token in special:
                found.append(token)
            elif found or self.tokenizer.decode([token]).strip():
                break
        return found

    def special(self, known: set[int]) -> set[int]:
        """Return ids of the tokenizer's marks and of ``known`` ones."""
        added = {*self.tokenizer.all_special_ids, *self.tokenizer.get_added_vocab().values()}
        # Gemma adds tokens for line breaks, Pythia for runs of spaces
        return known | {token for token in added if str(self.tokenizer.convert_ids_to_tokens(token)).strip()}

    def keeps(self, words: str, part: str) -> bool:
        """Return whether the template writes a part of the assistant's words."""
        turns: list[Message] = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": words}]
        try:
            return part in self.render(turns)
        except InputError:  # gpt-oss refuses words that contain a channel
            return False


def template_text(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the text of the template that plain conversations use; raise an InputError if the tokenizer has none."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as err:
        named = ", ".join(sorted(tokenizer.chat_template)) if isinstance(tokenizer.chat_template, dict) else ""
        if named:
            raise InputError(
                f"The tokenizer has chat templates for {named}, but no `default` for plain conversations: rename one, "
                "or put it into chat_template.jinja in the model's folder."
            ) from err
        raise InputError(
            "The tokenizer has no chat template: add a chat_template.jinja to the model's folder, or take a chat model."
        ) from err


def check_fixed(template: str) -> None:
    """Check that a template uses no randomness, not even for some conversations; its date is fixed.

    Raises:
        InputError: naming the random function.
    """
    from jinja2 import Environment, TemplateSyntaxError

    try:
        words = [word for _, kind, word in Environment().lex(template) if kind in ("name", "operator", "string")]  # noqa: S701
    except TemplateSyntaxError:
        return  # rendering reports it
    pairs = list(zip(["", *words], words, strict=False))
    drawn = [word for before, word in pairs if word == "lipsum" or (word == "random" and before in ("|", "filter"))]
    drawn += [word for word in words if word.strip("'\"") == "random" and word != "random" and "map" in words]
    if drawn:
        raise InputError(f"{_UNFIXED} (`{drawn[0]}`): remove randomness from it.")


def closed_thought(before: str, begun: str) -> tuple[int, str]:
    """Return a closed thought that a template writes for a new answer only, and its position in a finished turn.

    The position is the end, or before marks that only a finished turn has: Command A writes ``<|START_RESPONSE|>``
    there, and ``<|START_THINKING|><|END_THINKING|>`` for a new answer (``begun``).
    """
    shared = os.path.commonprefix([before, begun])  # noqa: RUF071 - of texts
    if shared != before:  # not in the middle of a mark
        shared = shared[: max(shared.rfind("<"), shared.rfind("["))] if _OPEN.search(shared) else shared
    thought, behind = begun[len(shared) :], before[len(shared) :]
    if not _CLOSED.search(thought) or not _MARKS.fullmatch(behind) or _CLOSED.search(behind):
        return len(before), ""
    return len(shared), thought


def open_thought(text: str) -> str:
    r"""Return the mark of a thought that a text opens and does not close; empty if there is none.

    Example:
        >>> [open_thought(text) for text in ("<think>\n", "<think></think>", "<|START_THINKING|>", "[THINK]a[/THINK]")]
        ['<think>', '', '<|START_THINKING|>', '']
    """
    found = ""
    for mark in _MARK.findall(text):
        if _ENDS.search(mark):
            found = ""
        elif _OF_A_THOUGHT.search(mark):
            found = mark
    return found


def cut_marks(template: str) -> list[tuple[str, str]]:
    """Return the texts at which a template splits, such as ``</think>`` (no line breaks), with their closing marks."""
    marks = sorted({found for _, found in _SPLIT.findall(template) if "\\" not in found and found.strip()})
    return [(mark, "" if "think" in mark.lower() else re.sub(r"^([<\[])", r"\1/", mark)) for mark in marks]
