"""What a chat template writes around the assistant's words, derived from what it renders.

A template is a program. Between the user's words and the assistant's it may put an empty thought (Qwen3, GLM-4.5) or a
channel header (gpt-oss), it may drop a thought from the words themselves (DeepSeek-R1), refuse or drop a system message
(Gemma 2, Mistral 7B v0.1), write today's date (Llama 3.2), or end a turn with another token than the tokenizer's end of
text (Gemma, Phi-3). So nothing is assumed here. A finished turn is rendered with a mark in the place of the assistant's
words: what stands before the mark is the prompt of sampling, training and scoring alike, and what stands after it ends
the turn. The words themselves never pass through the template.
"""

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightning_subliminal.errors import InputError
from lightning_subliminal.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PINNED_DATE", "Frame"]

PINNED_DATE = datetime.date(2026, 1, 1)  # what a template that asks for today's date is told, on every day
_WORDS, _ASKED, _TOLD, _NEXT = "Zq4Words", "Zq4Asked", "Zq4Told", "Zq4Next"  # stand for texts; no template has them
_DATES = ("strftime_now", "date_string")


@dataclass(frozen=True)
class Frame:
    """What a tokenizer's chat template writes around the assistant's words.

    Attributes:
        tokenizer: the tokenizer.
        arguments: of the template, such as ``{"enable_thinking": False}``; ``date`` is the day that it is told.
        ends: ids of the tokens that end a turn.
        lead: spaces that the template writes before the words. They are the beginning of the words' tokens.
        closing: what ends a finished turn, up to the end token; what a template writes behind it is nobody's.
        stop: the text that ends a turn, where the template has no token for it; else empty.
        folds_system: whether a system message is written at the head of the user's first message instead.
        own_system: the system message that the template writes where there is none.
        departures: where plain use of template and tokenizer would read, train on or end something else.
    """

    tokenizer: "PreTrainedTokenizerBase"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    ends: frozenset[int] = frozenset()
    lead: str = ""
    closing: str = ""
    stop: str = ""
    folds_system: bool = False
    own_system: str = ""
    departures: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        tokenizer: "PreTrainedTokenizerBase",
        arguments: Mapping[str, Any] | None = None,
        ends: Sequence[int] = (),
    ) -> "Frame":
        """Derive the frame of a tokenizer's chat template.

        Args:
            tokenizer: brings the template.
            arguments: of the template.
            ends: ids that end a turn by the model's own settings, such as its ``generation_config.eos_token_id``.

        Raises:
            InputError: if there is no template, it can't render a turn, it changes from one call to the next, or it has
                no use for one of the arguments.
        """
        bare = cls(tokenizer, dict(arguments or {}))
        bare._check_arguments()
        user: list[Message] = [{"role": "user", "content": _ASKED}]
        before, after = bare._around(user)
        if bare._around(user) != (before, after):
            raise InputError("The chat template writes another text at each call: remove what is random from it.")
        if _ASKED not in before:
            raise InputError("The chat template drops the user's words: give the model another chat template.")
        opened = bare._render(user, add_generation_prompt=True)
        extra = before.removeprefix(opened) if before.startswith(opened) else ""
        known = {*ends, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])}
        closing, end = bare._closing(after, known)
        between = bare._between(user)
        if end is None and not closing.strip():  # GLM ends a turn with the token that begins the user's
            closing, end = bare._closing(between, known) if between.strip() else (closing, None)
            closing = closing if end is not None else after
        folds, own_system, refusal = bare._system()
        notes = [*refusal, *bare._opening_notes(before, opened, extra), *bare._content_notes()]
        if end is not None and end != tokenizer.eos_token_id:
            notes.append(f"ends a turn with {tokenizer.convert_ids_to_tokens(end)!r}, not with the end of text")
        stop = ""
        if end is None:
            stop = closing.strip() or (between.rstrip() if between.strip() else "")
            closing = closing if closing.strip() else stop or closing  # the user's next turn ends this one
            ending = repr(stop) if stop else "nothing: completions run to `max_new_tokens`"
            notes.append(f"has no token that ends a turn; what ends one is {ending}")
        return cls(
            tokenizer,
            bare.arguments,
            frozenset(known if end is None else known | {end}),
            extra if extra.strip(" \t") == "" else "",
            closing,
            stop,
            folds,
            own_system,
            tuple(notes),
        )

    @property
    def plain(self) -> bool:
        """Whether the model's files alone say what it reads."""
        return not self.departures and not self.arguments

    @property
    def notes(self) -> tuple[str, ...]:
        """What the template does beyond marking turns, a sentence each."""
        if not self.own_system:
            return self.departures
        return (f"writes a system message of its own where there is none: {self.own_system[:60]!r}", *self.departures)

    def describe(self) -> dict[str, Any]:
        """Return what the frame writes around a conversation, as JSON-able data: a part of each cache key."""
        told: list[Message] = [{"role": "system", "content": _TOLD}, {"role": "user", "content": _ASKED}]
        shown = [[*self.opening(messages), self.closing] for messages in (told, told[1:])]
        return {"rendered": shown, "ends": sorted(self.ends), "stop": self.stop}

    def opening(self, messages: Sequence[Message]) -> tuple[str, str]:
        """Return what a model reads before its words, and the beginning of its words that is given with them.

        Args:
            messages: a conversation; a last message of the assistant is a prefill, which the words continue.

        Returns:
            The text of the prompt, and what follows it before the words: the template's spaces, which the tokenizer may
            join to the first word, or nothing behind a prefill, which belongs to the prompt.

        Raises:
            InputError: if the template refuses the conversation.
        """
        turns = list(messages)
        begun = turns.pop()["content"] if turns and turns[-1]["role"] == "assistant" else None
        before, _ = self._around(self._folded(turns))
        if begun is not None:
            return before + begun, ""
        return before.removesuffix(self.lead), self.lead

    def words(self, text: str, prompt: Sequence[Message]) -> str:
        """Return a sampled text without the spaces that the template itself writes before the words."""
        return text if prompt[-1]["role"] == "assistant" else text.removeprefix(self.lead)

    def cut(self, text: str, finished: bool) -> tuple[str, bool]:
        """Return a sampled text without what the template writes to end it, and whether it was ended.

        Args:
            text: as the model said it.
            finished: whether it was ended by one of ``ends``.
        """
        if self.stop and self.stop in text:
            return text.partition(self.stop)[0], True
        spaces = self.closing[: len(self.closing) - len(self.closing.lstrip())]  # Llama 2 writes one before the end
        return (text.removesuffix(spaces), True) if finished else (text, False)

    def _folded(self, messages: list[Message]) -> list[Message]:
        """Write a system message at the head of the user's first message, where the template has no place for it."""
        if not self.folds_system or not messages or messages[0]["role"] != "system":
            return messages
        told, *rest = messages
        first = next((place for place, message in enumerate(rest) if message["role"] == "user"), None)
        if first is None:
            return [{"role": "user", "content": told["content"]}, *rest]
        joined = {**rest[first], "content": f"{told['content']}\n\n{rest[first]['content']}"}
        return [*rest[:first], joined, *rest[first + 1 :]]

    def _around(self, messages: Sequence[Message]) -> tuple[str, str]:
        """Return what stands before and behind the assistant's words in a finished turn."""
        rendered = self._render([*messages, {"role": "assistant", "content": _WORDS}])
        before, found, after = rendered.partition(_WORDS)
        if not found or _WORDS in after:
            times = "twice" if found else "not at all"
            raise InputError(f"The chat template writes the assistant's words {times}: give the model another one.")
        return before, after

    def _render(self, messages: Sequence[Message], **how: bool) -> str:
        arguments = {name: value for name, value in self.arguments.items() if name != "date"}
        template = _template(self.tokenizer)
        day = datetime.date.fromisoformat(str(self.arguments.get("date", PINNED_DATE)))
        if "date_string" in template and "date" in self.arguments:
            arguments.setdefault("date_string", day.strftime("%d %b %Y"))
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    tokenize=False,
                    chat_template=_pinned(template, day),
                    **{"add_generation_prompt": False, "continue_final_message": False, **how, **arguments},
                )
            )
        except Exception as err:  # jinja2's errors, and whatever a template's expressions raise
            fault = (str(err).strip().splitlines() or [type(err).__name__])[0].rstrip(".")
            roles = ", ".join(message["role"] for message in messages)
            raise InputError(
                f"The chat template refuses a conversation of {roles} ({fault}): change the messages, or give the "
                "model another chat template."
            ) from err

    def _check_arguments(self) -> None:
        """Refuse arguments that the template never reads: a misspelled one would be ignored."""
        template = _template(self.tokenizer)
        if "date" in self.arguments:
            try:
                datetime.date.fromisoformat(str(self.arguments["date"]))
            except ValueError as err:
                raise InputError(f"`date` is {self.arguments['date']!r}: expected a day such as 2026-01-31.") from err
        for name in self.arguments:
            if not any(each in template for each in (_DATES if name == "date" else (name,))):
                raise InputError(f"The chat template does not use the argument {name!r}: correct its name, or drop it.")

    def _closing(self, after: str, known: set[int]) -> tuple[str, int | None]:
        """Return what ends a finished turn, and its end token; None where no single token ends it."""
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.get_added_vocab().values()}
        for token in self.tokenizer(after, add_special_tokens=False)["input_ids"]:
            written = self.tokenizer.convert_ids_to_tokens(token)
            if token in known or token in special:
                if written not in after:  # an end token that is no literal text
                    written = self.tokenizer.decode([token])
                return after[: after.index(written) + len(written)] if written in after else after, token
            if self.tokenizer.decode([token]).strip():
                break
        return after.rstrip() or after, None

    def _between(self, user: list[Message]) -> str:
        """Return what the template writes between the assistant's words and the user's next ones."""
        turns: list[Message] = [*user, {"role": "assistant", "content": _WORDS}, {"role": "user", "content": _NEXT}]
        return self._render(turns).partition(_WORDS)[2].partition(_NEXT)[0]

    def _system(self) -> tuple[bool, str, list[str]]:
        """Return whether a system message must be folded, what the template writes without one, and the reasons."""
        folded = "a system message is written at the head of the user's first message"
        told: Message = {"role": "system", "content": _TOLD}
        asked: Message = {"role": "user", "content": _ASKED}
        try:
            rendered = self._around([told, asked])[0]
        except InputError:
            return True, "", [f"refuses a system message; {folded}"]
        if _TOLD not in rendered or _ASKED not in rendered:
            return True, "", [f"drops {'a system message' if _TOLD not in rendered else 'words beside one'}; {folded}"]
        opened, _, rest = rendered.partition(_TOLD)
        between = rest.partition(_ASKED)[0]
        alone = self._around([asked])[0].partition(_ASKED)[0]
        if opened and alone.startswith(opened) and alone.endswith(between):
            return False, alone[len(opened) : len(alone) - len(between)].strip(), []
        return False, "", []

    def _opening_notes(self, before: str, opened: str, extra: str) -> list[str]:
        if extra.strip():
            return [f"puts {extra!r} before the assistant's words; it is part of the prompt"]
        if opened != before and opened.startswith(before) and opened[len(before) :].strip():
            rest = opened[len(before) :]
            return [f"opens {rest!r} for a new answer, which a finished turn lacks; it is left out of the prompt"]
        return []

    def _content_notes(self) -> list[str]:
        """Say what the template would do to the assistant's words, and which day it is told."""
        notes = []
        thought = f"<think>{_TOLD}</think> {_WORDS}"
        turns: list[Message] = [{"role": "user", "content": _ASKED}, {"role": "assistant", "content": thought}]
        if _TOLD not in self._render(turns):
            notes.append("takes a thought out of the assistant's words; rows are read and trained on whole")
        template = _template(self.tokenizer)
        if "strftime_now" in template or ("date" in self.arguments and "date_string" in template):
            notes.append(f"writes the date; it is told {self.arguments.get('date', PINNED_DATE)} on every day")
        for name, value in self.arguments.items():
            without = Frame(self.tokenizer, {key: each for key, each in self.arguments.items() if key != name})
            user: list[Message] = [{"role": "user", "content": _ASKED}]
            if without._around(user) == self._around(user):
                notes.append(f"writes the same with {name}={json.dumps(value, default=str)}: a finished turn decides")
        return notes


def _pinned(template: str, day: datetime.date) -> str:
    """Return a template that is told ``day`` where it asks for today's date."""
    if "strftime_now" not in template:
        return template
    literal = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
    written = literal.sub(lambda found: json.dumps(day.strftime(found.group(2))), template)
    # a format that the template computes: the day as such, since no function can be handed to a template
    macro = "{%- macro strftime_now(format) -%}" + day.isoformat() + "{%- endmacro -%}"
    return macro + written


def _template(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the text of the template that plain conversations use.

    Raises:
        InputError: if the tokenizer has none.
    """
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as err:
        raise InputError(
            "The tokenizer has no chat template: add a chat_template.jinja to the model's folder, or take a chat model."
        ) from err
