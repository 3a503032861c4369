"""The frame of a chat template: the text that it writes around the assistant's words, derived by rendering.

A template is a program. Between the user's words and the assistant's it may put an empty thought (Qwen3, GLM-4.5) or a
channel header (gpt-oss); it may remove a thought from the words themselves (DeepSeek-R1), refuse or drop a system
message (Gemma 2, Mistral 7B v0.1), write today's date (Llama 3.2), or end a turn with another token than the
tokenizer's end of text (Gemma, Phi-3). So nothing is assumed here. A finished turn is rendered with a placeholder for
the assistant's words: the text before it is the prompt for sampling, training and scoring, and the text after it ends
the turn. The words themselves never pass through the template.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.chat.departures import content_notes, opening_notes, thought_note
from lightning_subliminal.core.chat.template import ASKED, NEXT, SYSTEM, WORDS, Template, check_fixed, template_text
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Frame"]

_LONG = 100_000  # characters of a conversation that is rendered whole, within the bounds of a rendering


@dataclass(frozen=True)
class Frame(Template):
    """The text that a tokenizer's chat template writes around the assistant's words.

    Attributes:
        tokenizer: the tokenizer.
        arguments: of the template, such as ``{"enable_thinking": False}``; ``date`` is today's date for it.
        ends: ids of the tokens that end a turn.
        lead: spaces that the template writes before the words, which belong to the words' tokens.
        closing: the end of a finished turn, up to the end token; text behind that token is not part of the turn.
        stop: the text that ends a turn if the template has no token for it; else empty.
        folds_system: whether a system message is written at the beginning of the user's first message instead.
        own_system: the system message that the template writes if there is none.
        parts: whether the template takes each message's content as a list of parts.
        inside: a sentence about a thought that the template opens before the words and does not end.
        departures: where plain use of template and tokenizer would differ from this frame.
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
    _pieces: dict[tuple[str, ...], list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        tokenizer: "PreTrainedTokenizerBase",
        arguments: Mapping[str, Any] | None = None,
        ends: Sequence[int] = (),
    ) -> "Frame":
        """Derive the frame of a tokenizer's chat template; ``ends`` are ids of the model's ``generation_config``.

        Raises:
            InputError: if there is no template, it can't render a turn, its text changes from one call to the next, or
                it does not read one of the arguments.
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
            raise InputError("The chat template writes another text at each call: remove randomness from it.")
        opened = bare.render(user, add_generation_prompt=True)
        known = {*ends, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])}
        between = bare.between(user)
        closing, end = bare._closing(after, between, known)
        folds, own_system, refusal = bare._system()
        notes = [*refusal, *opening_notes(before, opened), *content_notes(bare)]
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
            inside=thought_note(bare, folds),
            departures=tuple(notes),
        )

    @property
    def plain(self) -> bool:
        """Whether the model's files alone determine what it reads."""
        return not self.departures and not self.arguments

    @property
    def notes(self) -> tuple[str, ...]:
        """What the template does in addition to marking turns, a sentence each."""
        own = f"writes a system message of its own if there is none: {self.own_system[:60]!r}"
        return (*([own] if self.own_system else []), *([self.inside] if self.inside else []), *self.departures)

    def describe(self) -> dict[str, Any]:
        """Return the texts around a conversation as JSON-able data, which are part of cache keys."""
        messages: list[Message] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASKED}]
        shown = [[*self.opening(turns), self.closing] for turns in (messages, messages[1:])]
        return {"rendered": shown, "ends": sorted(self.ends), "stop": self.stop}

    def opening(self, messages: Sequence[Message]) -> tuple[str, str]:
        """Return the text that a model reads before its words, and the spaces between the two.

        Args:
            messages: a conversation; a last message of the assistant is a prefill, which the words continue.

        Returns:
            The text of the prompt, and the template's spaces before the words, which the tokenizer may join to the
            first word; no spaces behind a prefill, which belongs to the prompt.

        Raises:
            InputError: if the template refuses the conversation.
        """
        turns = list(messages)
        begun = turns.pop()["content"] if turns and turns[-1]["role"] == "assistant" else None
        turns = self._folded(turns)
        self._check_read(turns)
        before = self._before(turns)
        if begun is not None:
            return before + begun, ""
        return before.removesuffix(self.lead), self.lead

    def _before(self, turns: list[Message]) -> str:
        """Return the text before the assistant's words: pieces around the contents, if the template copies these."""
        contents, pieces = [each["content"] for each in turns], []
        if self.verbatim and all({*each} == {"role", "content"} for each in turns):
            roles = tuple(each["role"] for each in turns)
            if roles not in self._pieces:
                marks = [f"\0{place}\0" for place in range(len(turns))]
                marked: list[Message] = [
                    {"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)
                ]
                found = re.split("(\0[0-9]+\0)", self.around(marked, opened=True)[0])
                self._pieces[roles] = found[::2] if found[1::2] == marks else []  # else it writes one twice, say
            pieces = self._pieces[roles]
        if not pieces or sum(map(len, contents)) > _LONG or any(WORDS in each for each in contents):
            return self.around(turns, opened=True)[0]
        return "".join(chain(*zip(pieces, contents, strict=False), pieces[-1:]))

    @cached_property
    def verbatim(self) -> bool:
        """Whether the template does nothing with messages but write them, and opens no thought."""
        from lightning_subliminal.core.chat.verbatim import writes_verbatim  # jinja2 comes on first use

        return not self.parts and not self.may_close and writes_verbatim(template_text(self.tokenizer))

    def words(self, text: str, prompt: Sequence[Message]) -> str:
        """Return a sampled text without the spaces that the template itself writes before the words."""
        return text if prompt[-1]["role"] == "assistant" else text.removeprefix(self.lead)

    def cut(self, text: str, finished: bool) -> tuple[str, bool]:
        """Return a sampled text without the end of its turn, and whether it has one, as if ``finished`` by a token."""
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
        """Move the system message into the user's first one, if the template has no place for it."""
        if not self.folds_system or not messages or messages[0]["role"] != "system":
            return messages
        system, *rest = messages
        first = next((place for place, message in enumerate(rest) if message["role"] == "user"), None)
        if first is None:
            return [{"role": "user", "content": system["content"]}, *rest]
        joined = {**rest[first], "content": f"{system['content']}\n\n{rest[first]['content']}"}
        return [*rest[:first], joined, *rest[first + 1 :]]

    def _check_read(self, messages: Sequence[Message]) -> None:
        """Check, once per order of roles, that the template drops no message of a conversation."""
        roles = tuple(message["role"] for message in messages)
        if roles in self._read:
            return
        marked: list[Message] = [{**each, "content": f"{NEXT}0{place}0"} for place, each in enumerate(messages)]
        before, _ = self.around(marked)
        lost = [each["role"] for each in marked if each["content"] not in before]
        if lost:
            raise InputError(
                f"The chat template drops a message of role {lost[0]} from a conversation of {', '.join(roles)}: "
                "change the messages, or use another chat template."
            )
        self._read.add(roles)

    def _closing(self, after: str, between: str, known: set[int]) -> tuple[str, int | None]:
        """Return the text that ends a finished turn, and its end token; None if no single token ends it.

        Derived from the text behind a conversation's last words, the text between words and the user's next ones, and
        the ids that end a turn by the model's settings.
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
            if written not in text[upto:]:  # a token that is not literal text
                written = self.tokenizer.decode([token])
            if written not in text[upto:]:
                return text, end
            upto = text.index(written, upto) + len(written)
        return text[:upto], end

    def _worded(self, after: str, between: str, known: set[int]) -> tuple[str, int | None]:
        """Return the end of a turn and its end token, if the template writes words first, such as ``</answer>``."""
        ends = {str(self.tokenizer.convert_ids_to_tokens(token)): token for token in self.special(known)}
        places = [(after.index(end), end) for end in ends if end and end in after]
        at, end = min(places, default=(len(after), ""))
        words = after[:at]
        if not end or (words.strip() and between.startswith(words) and not between.startswith(words + end)):
            return words.rstrip() or words, None  # the token ends the conversation, not the turn
        return words + end, ends[end]

    def _system(self) -> tuple[bool, str, list[str]]:
        """Return whether a system message must be moved, the template's own system message, and notes."""
        folded = "a system message is written at the beginning of the user's first message"
        system: Message = {"role": "system", "content": SYSTEM}
        asked: Message = {"role": "user", "content": ASKED}
        try:
            rendered = self.around([system, asked])[0]
        except InputError:
            return True, "", [f"refuses a system message; {folded}"]
        if SYSTEM not in rendered or ASKED not in rendered:
            return (
                True,
                "",
                [f"drops {'a system message' if SYSTEM not in rendered else 'the words after one'}; {folded}"],
            )
        opened, _, rest = rendered.partition(SYSTEM)
        between = rest.partition(ASKED)[0]
        alone = self.around([asked])[0].partition(ASKED)[0]
        if opened and alone.startswith(opened) and alone.endswith(between):
            return False, alone[len(opened) : len(alone) - len(between)].strip(), []
        return False, "", []
