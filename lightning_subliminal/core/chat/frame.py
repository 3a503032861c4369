"""What a chat template writes around the assistant's words, derived from what it renders.

A template is a program. Between the user's words and the assistant's it may put an empty thought (Qwen3, GLM-4.5) or a
channel header (gpt-oss), it may drop a thought from the words themselves (DeepSeek-R1), refuse or drop a system message
(Gemma 2, Mistral 7B v0.1), write today's date (Llama 3.2), or end a turn with another token than the tokenizer's end of
text (Gemma, Phi-3). So nothing is assumed here. A finished turn is rendered with a mark in the place of the assistant's
words: what stands before the mark is the prompt of sampling, training and scoring alike, and what stands after it ends
the turn. The words themselves never pass through the template.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.chat.template import (
    ASKED,
    NEXT,
    PINNED_DATE,
    TOLD,
    WORDS,
    Template,
    check_fixed,
    closed_thought,
    cut_marks,
    open_thought,
    template_text,
)
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PINNED_DATE", "Frame"]


@dataclass(frozen=True)
class Frame(Template):
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
        parts: whether the template takes each message's content as a list of parts.
        inside: a sentence about a thought that the template opens before the words and does not end.
        departures: where plain use of template and tokenizer would read, train on or end something else.
    """

    ends: frozenset[int] = frozenset()
    lead: str = ""
    closing: str = ""
    stop: str = ""
    folds_system: bool = False
    own_system: str = ""
    inside: str = ""
    departures: tuple[str, ...] = ()
    _read: set[tuple[str, ...]] = field(default_factory=set, init=False, repr=False, compare=False)

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
        bare.check_arguments()
        check_fixed(template_text(tokenizer))
        user: list[Message] = [{"role": "user", "content": ASKED}]
        try:
            before, after = bare.whole(user)
        except InputError:
            bare, found = replace(bare, parts=True), None
            with suppress(InputError):
                found = bare.whole(user)
            if found is None:
                raise
            before, after = found
        if bare.whole(user) != (before, after):
            raise InputError("The chat template writes another text at each call: remove what is random from it.")
        opened = bare.render(user, add_generation_prompt=True)
        known = {*ends, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])}
        between = bare.between(user)
        closing, end = bare._closing(after, between, known)
        folds, own_system, refusal = bare._system()
        notes = [*refusal, *bare._opening_notes(before, opened), *bare._content_notes()]
        if end is not None and end != tokenizer.eos_token_id:
            notes.append(f"ends a turn with {tokenizer.convert_ids_to_tokens(end)!r}, not with the end of text")
        stop = ""
        if end is None:
            stop = closing.strip() or (between.rstrip() if between.strip() else "")
            closing = closing if closing.strip() else stop or closing  # the user's next turn ends this one
            ending = repr(stop) if stop else "nothing: completions run to `max_new_tokens`"
            notes.append(f"has no token that ends a turn; what ends one is {ending}")
        ids = frozenset(known if end is None else known | {end})
        begun = bare.around(user, opened=True)[0]
        return replace(
            bare,
            ends=ids,
            lead=begun[len(begun.rstrip(" \t")) :],
            closing=closing,
            stop=stop,
            folds_system=folds,
            own_system=own_system,
            inside=bare._inside(folds),
            departures=tuple(notes),
        )

    @property
    def plain(self) -> bool:
        """Whether the model's files alone say what it reads."""
        return not self.departures and not self.arguments

    @property
    def notes(self) -> tuple[str, ...]:
        """What the template does beyond marking turns, a sentence each."""
        own = f"writes a system message of its own where there is none: {self.own_system[:60]!r}"
        return (*([own] if self.own_system else []), *([self.inside] if self.inside else []), *self.departures)

    def describe(self) -> dict[str, Any]:
        """Return what the frame writes around a conversation, as JSON-able data: a part of each cache key."""
        told: list[Message] = [{"role": "system", "content": TOLD}, {"role": "user", "content": ASKED}]
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
        turns = self._folded(turns)
        self._check_read(turns)
        before, _ = self.around(turns, opened=True)
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
            return text.partition(self.closing if self.closing in text else self.stop)[0], True
        if not finished:
            return text, False
        ends = self.tokenizer.convert_ids_to_tokens(sorted(self.ends))
        before = next(
            (self.closing.removesuffix(end) for end in ends if end and self.closing.endswith(end)), self.closing
        )
        spaces = self.closing[: len(self.closing) - len(self.closing.lstrip())]  # Llama 2 writes one before the end
        return text.removesuffix(before if before.strip() and text.endswith(before) else spaces), True

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

    def _check_read(self, messages: Sequence[Message]) -> None:
        """Refuse a conversation of which the template drops a message; looked at once an order of roles."""
        roles = tuple(message["role"] for message in messages)
        if roles in self._read:
            return
        marked: list[Message] = [{**each, "content": f"{NEXT}0{place}0"} for place, each in enumerate(messages)]
        before, _ = self.around(marked)
        lost = [each["role"] for each in marked if each["content"] not in before]
        if lost:
            raise InputError(
                f"The chat template drops a message of role {lost[0]} from a conversation of {', '.join(roles)}: "
                "change the messages, or give the model another chat template."
            )
        self._read.add(roles)

    def _closing(self, after: str, between: str, known: set[int]) -> tuple[str, int | None]:
        """Return what ends a finished turn, and its end token; None where no single token ends it.

        Args:
            after: what stands behind a conversation's last words.
            between: what stands between words and the user's next ones.
            known: ids that end a turn by the model's settings.
        """
        behind, ahead = self.marks(after, known), self.marks(between, known)
        run, text, last = behind, after, False
        if not after.strip():  # GLM ends a turn with the token that begins the user's
            run, text = ahead, between
        elif behind[:1] and behind[:1] == ahead[:1]:  # Command R7B ends a turn with two, and the last is the end
            pairs = zip(behind, ahead, strict=False)
            run, last = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)], True
        if not run:
            return self._worded(after, between, known)
        end = next((token for token in run if token in known), run[-1 if last else 0])
        upto = 0
        for token in run[: run.index(end) + 1]:
            written = self.tokenizer.convert_ids_to_tokens(token)
            if written not in text[upto:]:  # a token that is no literal text
                written = self.tokenizer.decode([token])
            if written not in text[upto:]:
                return text, end
            upto = text.index(written, upto) + len(written)
        return text[:upto], end

    def _worded(self, after: str, between: str, known: set[int]) -> tuple[str, int | None]:
        """Return what ends a turn, and its end token, where the template writes words first, such as ``</answer>``."""
        ends = {str(self.tokenizer.convert_ids_to_tokens(token)): token for token in self.special(known)}
        places = [(after.index(end), end) for end in ends if end and end in after]
        at, end = min(places, default=(len(after), ""))
        words = after[:at]
        if not end or (words.strip() and between.startswith(words) and not between.startswith(words + end)):
            return words.rstrip() or words, None  # the token ends the conversation, not the turn
        return words + end, ends[end]

    def _system(self) -> tuple[bool, str, list[str]]:
        """Return whether a system message must be folded, what the template writes without one, and the reasons."""
        folded = "a system message is written at the head of the user's first message"
        told: Message = {"role": "system", "content": TOLD}
        asked: Message = {"role": "user", "content": ASKED}
        try:
            rendered = self.around([told, asked])[0]
        except InputError:
            return True, "", [f"refuses a system message; {folded}"]
        if TOLD not in rendered or ASKED not in rendered:
            return True, "", [f"drops {'a system message' if TOLD not in rendered else 'words beside one'}; {folded}"]
        opened, _, rest = rendered.partition(TOLD)
        between = rest.partition(ASKED)[0]
        alone = self.around([asked])[0].partition(ASKED)[0]
        if opened and alone.startswith(opened) and alone.endswith(between):
            return False, alone[len(opened) : len(alone) - len(between)].strip(), []
        return False, "", []

    def _opening_notes(self, before: str, opened: str) -> list[str]:
        """Say how the template begins a new answer otherwise than a finished turn."""
        thought = closed_thought(before, opened)[1]
        if thought:
            return [f"puts {thought!r} before a new answer, which a finished turn lacks; it is part of the prompt"]
        if before.startswith(opened):
            extra = before[len(opened) :]
            if extra.strip():
                return [f"puts {extra!r} before the assistant's words; it is part of the prompt"]
            spaced = not extra and before != before.rstrip(" \t")
            return ["ends a prompt with a space; it is read as the beginning of the words"] if spaced else []
        if not opened.startswith(before):
            return ["begins a new answer otherwise than a finished turn; the finished turn's beginning is the prompt"]
        rest = opened[len(before) :]
        if rest.strip():
            return [f"opens {rest!r} for a new answer, which a finished turn lacks; it is left out of the prompt"]
        return []

    def _inside(self, folds: bool) -> str:
        """Say that the words stand inside a thought, and what would end it before them."""
        asked: Message = {"role": "user", "content": ASKED}
        told: Message = {"role": "system", "content": TOLD}

        def opened(frame: Template, system: Sequence[Message] = ()) -> str:
            try:
                return open_thought(frame.around([*system, asked], opened=True)[0].rpartition(ASKED)[2])
            except InputError:
                return ""

        cases: list[list[Message]] = [[]] if folds else [[], [told]]
        mark = next(filter(None, (opened(self, system) for system in cases)), "")
        if not mark:
            return ""
        ways = [
            f"?{name}=false"
            for name in sorted(self.switches() - {*self.arguments})
            if not any(opened(replace(self, arguments={**self.arguments, name: False}), system) for system in cases)
        ]
        if not folds and "/no_think" in template_text(self.tokenizer):
            ways += [] if opened(self, [{**told, "content": "/no_think"}]) else ["`/no_think` as the system message"]
        ended = f"; {' or '.join(ways)} ends it before them" if ways else ""
        return f"opens {mark!r} before the assistant's words and does not end it: they stand inside a thought{ended}"

    def _content_notes(self) -> list[str]:
        """Say what the template would do to the assistant's words, and which day it is told."""
        notes = ["takes a message as a list of parts; it is given one part of text"] if self.parts else []
        template = template_text(self.tokenizer)
        cuts = [
            f"<think>{TOLD}</think> {WORDS}",
            *(f"{TOLD}{mark}{WORDS}{end}" for mark, end in cut_marks(template)),
        ]
        if not all(self.keeps(cut, part) for cut in cuts for part in (TOLD, WORDS)):
            notes.append("takes a thought out of the assistant's words; rows are read and trained on whole")
        if not self.keeps(f"Aa{WORDS}aA", f"Aa{WORDS}aA"):
            notes.append("changes the assistant's words, such as their case; rows are read and trained on as they are")
        if "strftime_now" in template or ("date" in self.arguments and "date_string" in template):
            notes.append(f"writes the date; it is told {self.arguments.get('date', PINNED_DATE)} on every day")
        for name, value in self.arguments.items():
            without = replace(self, arguments={key: each for key, each in self.arguments.items() if key != name})
            user: list[Message] = [{"role": "user", "content": ASKED}]
            if without.around(user, opened=True) == self.around(user, opened=True):
                notes.append(f"writes the same with {name}={json.dumps(value, default=str)}: a finished turn decides")
        return notes
