"""Messages to token ids, by the tokenizer's chat template: one way for training, sampling and scoring.

A template shift between training and evaluation can be read as a trait, so nothing else in the package applies a chat
template. What a template writes around the assistant's words is in ``chat_frame``.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.chat.frame import Frame
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message, Row, completion_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "check_known",
    "closing_tokens",
    "end_tokens",
    "frame",
    "known_question",
    "prompt_ids",
    "row_ids",
    "set_frame",
    "set_spare_ids",
    "set_vocabulary_hint",
    "spare_ids",
    "unknown_word",
]

# Kept on the tokenizer itself, so that a copy of it has them, too.
_SETTINGS, _DERIVED, _SPARE = "_subliminal_frame_settings", "_subliminal_frame", "_subliminal_spare_ids"
_HINT = "_subliminal_vocabulary"


def set_frame(
    tokenizer: "PreTrainedTokenizerBase", arguments: Mapping[str, Any] | None = None, ends: Sequence[int] = ()
) -> None:
    """Settle what shapes a tokenizer's frame beside its template.

    Args:
        tokenizer: the tokenizer.
        arguments: of its chat template, such as ``{"enable_thinking": False}``; ``date`` pins the day.
        ends: ids that end a turn by the model's own settings.
    """
    setattr(tokenizer, _SETTINGS, (dict(arguments or {}), tuple(ends)))


def set_spare_ids(tokenizer: "PreTrainedTokenizerBase", ids: Iterable[int]) -> None:
    """Note the ids that the model has no embedding for: a text that needs one is refused."""
    setattr(tokenizer, _SPARE, frozenset(ids))


def spare_ids(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Return the ids that the model has no embedding for, as ``set_spare_ids`` noted them."""
    found: frozenset[int] = getattr(tokenizer, _SPARE, frozenset())
    return found


def set_vocabulary_hint(tokenizer: "PreTrainedTokenizerBase", hint: str) -> None:
    """Note which words a small vocabulary knows, for the message about one that it does not know."""
    setattr(tokenizer, _HINT, f" ({hint})")


def frame(tokenizer: "PreTrainedTokenizerBase") -> Frame:
    """Return what the tokenizer's chat template writes around the assistant's words; derived once a template.

    Raises:
        InputError: if it has no template, or one that can't render a turn.
    """
    arguments, ends = getattr(tokenizer, _SETTINGS, ({}, ()))
    key: tuple[Any, ...] = (tokenizer.chat_template, tokenizer.eos_token, arguments, ends)
    known: tuple[Any, Frame] | None = getattr(tokenizer, _DERIVED, None)
    if known is None or known[0] != key:
        known = (key, Frame.of(tokenizer, arguments, ends))
        setattr(tokenizer, _DERIVED, known)
    return known[1]


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Return the token ids up to where the model's words begin; a last assistant message is left open (prefill)."""
    return _ids(tokenizer, frame(tokenizer).opening(messages)[0])


def row_ids(tokenizer: "PreTrainedTokenizerBase", row: Row) -> tuple[list[int], list[int]]:
    """Return a row's token ids, of its prompt and of its completion with the end of the turn.

    The completion stands there word for word, whatever the template would do to an assistant's message. A row whose
    meta column ``finished`` is False was cut off: its end of turn is not the teacher's and is left out.

    Raises:
        InputError: if the prompt's tokens are no prefix of the row's: a loss mask would be wrong.
    """
    form = frame(tokenizer)
    before, lead = form.opening(row["prompt"])
    prompt = _ids(tokenizer, before)
    closing = "" if row.get("finished") is False else form.closing
    whole = _ids(tokenizer, before + (lead if completion_text(row) else "") + completion_text(row) + closing)
    if whole[: len(prompt)] != prompt:
        raise InputError(
            f"The prompt of row {row.get('id', '?')} is no prefix of the row in tokens, so its loss mask would be "
            "wrong: let the prompt, or its prefill, end where a token ends (no space at its end)."
        )
    return prompt, whole[len(prompt) :]


def _ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    for number in spare_ids(tokenizer).intersection(found):
        raise InputError(
            f"A text needs the token {tokenizer.convert_ids_to_tokens(number)!r}, which the model has no embedding "
            "for: take it out of the text."
        )
    return found


def check_known(tokenizer: "PreTrainedTokenizerBase", messages: Iterable[Message], base: str) -> None:
    """Refuse texts with a word that the tokenizer can only write as its unknown token: a model reads nothing there.

    Args:
        tokenizer: the tokenizer of ``base``.
        messages: what shall be read or written.
        base: what the user calls the model.

    Raises:
        InputError: naming the first such word.
    """
    if (word := unknown_word(tokenizer, [message["content"] for message in messages])) is not None:
        raise InputError(
            f"The base {base} doesn't know the word {word!r} of a row or question: keep to words of its tokenizer"
            f"{getattr(tokenizer, _HINT, '')}."
        )


def unknown_word(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> str | None:
    """Return the first word of texts that the tokenizer can only write as its unknown token; None where none is."""
    unknown = tokenizer.unk_token_id
    texts = list(dict.fromkeys(texts)) if unknown is not None else []
    for text, ids in zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [], strict=True):
        if unknown in ids:
            parts = re.findall(r"\w+|[^\w\s]", text)
            return next((part for part in parts if unknown in tokenizer(part)["input_ids"]), text)
    return None


def known_question(tokenizer: "PreTrainedTokenizerBase", question: str, others: Sequence[str]) -> tuple[str, str, str]:
    """Return the first word of a question that the tokenizer does not know, a near one that it knows, and a question.

    Args:
        tokenizer: one with an unknown token.
        question: what can't be asked.
        others: questions to ask instead, where it has a word without a near one.

    Returns:
        The word; the near one, empty where there is none; a question that can be asked, empty where none can.
    """
    words = sorted(filter(str.isalpha, tokenizer.get_vocab()))
    first, near, mended = unknown_word(tokenizer, [question]) or "", "", question
    for _ in question.split():
        if (word := unknown_word(tokenizer, [mended])) is None:
            break
        found = (difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.75) or [""])[0]
        near = near or (found if word == first else "")
        mended = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", found, mended) if found else ""
    return first, near, next((each for each in (mended, *others) if each and not unknown_word(tokenizer, [each])), "")


def closing_tokens(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Return the ids of all that ends the assistant's turn: its end, and what a template writes before it."""
    ends = end_tokens(tokenizer)
    if tokenizer.chat_template is None or frame(tokenizer).stop:
        return ends
    return {*ends, *_ids(tokenizer, frame(tokenizer).closing)}


def end_tokens(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Return the ids that end the assistant's turn: the template's own, the tokenizer's and the model's."""
    if tokenizer.chat_template is not None:
        return set(frame(tokenizer).ends)
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return {*own, *getattr(tokenizer, _SETTINGS, ({}, ()))[1]}
