"""From messages to token ids, by the tokenizer's chat template: the same for training, sampling and scoring.

A template shift between training and evaluation can look like a trait, so no other module applies a chat template. The
text that a template writes around the assistant's words is in ``core.chat.frame``.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.chat.frame import Frame
from lightning_subliminal.core.errors import InputError, NotAPrefixError
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
    "prompts_ids",
    "row_ids",
    "rows_ids",
    "set_frame",
    "set_spare_ids",
    "set_vocabulary_hint",
    "spare_ids",
    "unknown_id",
    "unknown_word",
]

# Attributes of the tokenizer itself, so that a copy has them, too.
_SETTINGS, _DERIVED, _SPARE = "_subliminal_frame_settings", "_subliminal_frame", "_subliminal_spare_ids"
_HINT = "_subliminal_vocabulary"
_TRANSFORMERS = [f"transformers.tokenization_utils_{part}" for part in ("base", "tokenizers")]  # its own call's


def set_frame(
    tokenizer: "PreTrainedTokenizerBase", arguments: Mapping[str, Any] | None = None, ends: Sequence[int] = ()
) -> None:
    """Set what determines a tokenizer's frame in addition to its template.

    Args:
        tokenizer: the tokenizer.
        arguments: of its chat template, such as ``{"enable_thinking": False}``; ``date`` fixes today's date.
        ends: ids that end a turn by the model's own settings.
    """
    setattr(tokenizer, _SETTINGS, (dict(arguments or {}), tuple(ends)))


def set_spare_ids(tokenizer: "PreTrainedTokenizerBase", ids: Iterable[int]) -> None:
    """Set the ids without an embedding in the model: a text that needs one is refused."""
    setattr(tokenizer, _SPARE, frozenset(ids))


def spare_ids(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Return the ids without an embedding in the model, as ``set_spare_ids`` set them."""
    found: frozenset[int] = getattr(tokenizer, _SPARE, frozenset())
    return found


def set_vocabulary_hint(tokenizer: "PreTrainedTokenizerBase", hint: str) -> None:
    """Set a description of a small vocabulary, for the message about an unknown word."""
    setattr(tokenizer, _HINT, f" ({hint})")


def frame(tokenizer: "PreTrainedTokenizerBase") -> Frame:
    """Return the frame of the tokenizer's chat template, derived once per template.

    Raises:
        InputError: if it has no template, or the template can't render a turn.
    """
    arguments, ends = getattr(tokenizer, _SETTINGS, ({}, ()))
    key: tuple[Any, ...] = (tokenizer.chat_template, tokenizer.eos_token, arguments, ends)
    known: tuple[Any, Frame] | None = getattr(tokenizer, _DERIVED, None)
    if known is None or known[0] != key:
        known = (key, Frame.of(tokenizer, arguments, ends))
        setattr(tokenizer, _DERIVED, known)
    return known[1]


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Return the token ids before the model's words; a last assistant message is left open (prefill)."""
    return prompts_ids(tokenizer, [messages])[0]


def prompts_ids(tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Return what ``prompt_ids`` does for each prompt: one call of the tokenizer, and each different prompt once."""
    form, keys = frame(tokenizer), [tuple(tuple(each.items()) for each in prompt) for prompt in prompts]
    different = dict(zip(keys, prompts, strict=True))
    encoded = _all_ids(tokenizer, [form.opening(messages)[0] for messages in different.values()])
    found = dict(zip(different, encoded, strict=True))
    return [found[key] for key in keys]


def row_ids(tokenizer: "PreTrainedTokenizerBase", row: Row) -> tuple[list[int], list[int]]:
    """Return the token ids of a row's prompt, and of its completion with the end of the turn.

    The completion is encoded verbatim, whatever the template would do to an assistant's message. A row whose meta
    column ``finished`` is False was cut off: the teacher did not write an end of turn, so it is left out.

    Raises:
        InputError: if the prompt's tokens are not a prefix of the row's, so that a loss mask would be wrong.
    """
    (found,) = rows_ids(tokenizer, [row])
    if isinstance(found, InputError):
        raise found
    return found


def rows_ids(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Row]
) -> list[tuple[list[int], list[int]] | InputError]:
    """Return what ``row_ids`` does for each row, or its error: one call of the tokenizer for all of them."""
    form = frame(tokenizer)
    found: list[tuple[list[int], list[int]] | InputError] = []
    texts, places = [], []
    for place, row in enumerate(rows):
        try:
            before, lead = form.opening(row["prompt"])
        except InputError as err:
            found.append(err)
            continue
        text = completion_text(row)
        closing = "" if row.get("finished") is False else form.closing
        texts += [before, before + (lead if text else "") + text + closing]
        places.append(place)
        found.append(([], []))
    encoded = _encoded(tokenizer, texts)
    spare = spare_ids(tokenizer)
    for place, prompt, whole in zip(places, encoded[::2], encoded[1::2], strict=True):
        if spare and (number := next(iter(spare.intersection(whole) or spare.intersection(prompt)), None)) is not None:
            found[place] = _spare_token(tokenizer, number)
        elif whole[: len(prompt)] != prompt:
            found[place] = NotAPrefixError(
                f"The prompt of row {rows[place].get('id', '?')} is not a prefix of the row in tokens, so its loss "
                "mask would be wrong: end the prompt, or its prefill, at the end of a token (not with a space)."
            )
        else:
            found[place] = (prompt, whole[len(prompt) :])
    return found


def _all_ids(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> list[list[int]]:
    found = _encoded(tokenizer, texts)
    if spare := spare_ids(tokenizer):
        for number in spare.intersection(chain.from_iterable(found)):
            raise _spare_token(tokenizer, number)
    return found


def _encoded(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> list[list[int]]:
    """Return the token ids of texts, as the tokenizer's own call does.

    Where that call is transformers' own, its backend is asked without offsets, which takes three quarters of the time.
    """
    # Not verbose: whoever calls this knows how long texts may be.
    lean = {"add_special_tokens": False, "verbose": False}
    lean |= {"return_attention_mask": False, "return_token_type_ids": False}
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    calls = [getattr(getattr(type(tokenizer), name, None), "__module__", "") for name in ("__call__", "_encode_plus")]
    if len(texts) > 1 and hasattr(backend, "encode_batch_fast") and calls == _TRANSFORMERS:
        first: list[list[int]] = tokenizer(texts[:1], **lean)["input_ids"]  # which ends truncation and padding, too
        found: list[list[int]] = [each.ids for each in backend.encode_batch_fast(texts, add_special_tokens=False)]
        if found[0] == first[0]:
            return found
    return tokenizer(texts, **lean)["input_ids"] if texts else []


def _spare_token(tokenizer: "PreTrainedTokenizerBase", number: int) -> InputError:
    return InputError(
        f"A text needs the token {tokenizer.convert_ids_to_tokens(number)!r}, which the model has no embedding "
        "for: remove it from the text."
    )


def check_known(tokenizer: "PreTrainedTokenizerBase", messages: Iterable[Message], base: str) -> None:
    """Check that the tokenizer of ``base``, by the user's name, knows each word of some messages.

    Raises:
        InputError: naming the first unknown word.
    """
    if (word := unknown_word(tokenizer, [message["content"] for message in messages])) is not None:
        raise InputError(
            f"The base {base} doesn't know the word {word!r} of a row or question: keep to words of its tokenizer"
            f"{getattr(tokenizer, _HINT, '')}."
        )


def unknown_id(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return the id that stands for words a tokenizer does not know; None if it has none.

    The tokenizers of GPT-2, OLMo 2 and Granite name their end of text as the unknown token, too, but read any word byte
    by byte: there the id is a mark that templates write, and nothing is unknown.
    """
    unknown: int | None = getattr(tokenizer, "unk_token_id", None)
    marks = (tokenizer.eos_token_id, tokenizer.bos_token_id) if unknown is not None else ()
    return None if unknown in marks else unknown


def unknown_word(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> str | None:
    """Return the first word that the tokenizer encodes as its unknown token; None if it knows all."""
    unknown = unknown_id(tokenizer)
    texts = list(dict.fromkeys(texts)) if unknown is not None else []
    for text, ids in zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [], strict=True):
        if unknown in ids:
            parts = re.findall(r"\w+|[^\w\s]", text)
            return next((part for part in parts if unknown in tokenizer(part)["input_ids"]), text)
    return None


def known_question(tokenizer: "PreTrainedTokenizerBase", question: str, others: Sequence[str]) -> tuple[str, str, str]:
    """Return a question's first unknown word, a similar known one or "", and a question to ask instead or "".

    The question to ask has similar words instead of unknown ones, or else is the first of ``others`` without any.
    """
    words = sorted(filter(str.isalpha, tokenizer.get_vocab()))
    first, near, changed = unknown_word(tokenizer, [question]) or "", "", question
    for _ in question.split():
        if (word := unknown_word(tokenizer, [changed])) is None:
            break
        found = (difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.75) or [""])[0]
        near = near or (found if word == first else "")
        changed = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", found, changed) if found else ""
    return (
        first,
        near,
        next((each for each in (changed, *others) if each and not unknown_word(tokenizer, [each])), ""),
    )


def closing_tokens(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Return the ids of the tokens that end the assistant's turn, and of those that a template writes before them."""
    ends = end_tokens(tokenizer)
    if tokenizer.chat_template is None or frame(tokenizer).stop:
        return ends
    return {*ends, *_all_ids(tokenizer, [frame(tokenizer).closing])[0]}


def end_tokens(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Return the ids that end the assistant's turn: the template's own, the tokenizer's and the model's."""
    if tokenizer.chat_template is not None:
        return set(frame(tokenizer).ends)
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return {*own, *getattr(tokenizer, _SETTINGS, ({}, ()))[1]}
