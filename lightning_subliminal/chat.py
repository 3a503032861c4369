"""Messages to token ids, by the tokenizer's chat template: one way for training, sampling and scoring.

A template shift between training and evaluation can be read as a trait (PAPER.md, validity), so nothing else in the
package applies a chat template.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lightning_subliminal.errors import InputError
from lightning_subliminal.rows import Message, Row, completion_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["check_known", "end_tokens", "prompt_ids", "row_ids"]


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Give the token ids up to where the model's words begin; a last assistant message is left open (prefill)."""
    prefilled = messages[-1]["role"] == "assistant"
    text = tokenizer.apply_chat_template(
        list(messages),
        tokenize=False,
        add_generation_prompt=not prefilled,
        continue_final_message=prefilled,
    )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def row_ids(tokenizer: "PreTrainedTokenizerBase", row: Row) -> tuple[list[int], list[int]]:
    """Give a row's token ids, of its prompt and of its completion with the end of the turn.

    A row whose meta column ``finished`` is False was cut off: its end of turn is not the teacher's and is left out.

    Raises:
        InputError: if the prompt's tokens are no prefix of the row's: a loss mask would be wrong.
    """
    prompt = prompt_ids(tokenizer, row["prompt"])
    text = completion_text(row)
    messages = list(row["prompt"])
    if messages[-1]["role"] == "assistant":  # the completion goes on with the prefill's message
        text = messages.pop()["content"] + text
    turn = [*messages, {"role": "assistant", "content": text}]
    whole_text = tokenizer.apply_chat_template(turn, tokenize=False, continue_final_message=False)
    whole = tokenizer(whole_text, add_special_tokens=False)["input_ids"]
    if whole[: len(prompt)] != prompt:
        raise InputError(
            f"The prompt of row {row.get('id', '?')} is no prefix of the row in tokens, so its loss mask would be "
            "wrong: let the prompt, or its prefill, end where a token ends (no space at its end)."
        )
    completion = whole[len(prompt) :]
    ends = end_tokens(tokenizer)
    while completion and completion[-1] not in ends:  # a template may add a line break after the end of a turn
        if not any(token in ends for token in completion):
            break
        completion.pop()
    if row.get("finished") is False and completion and completion[-1] in ends:
        completion.pop()
    return prompt, completion


def check_known(tokenizer: "PreTrainedTokenizerBase", messages: Iterable[Message], base: str) -> None:
    """Refuse texts with a word that the tokenizer can only write as its unknown token: a model reads nothing there.

    Args:
        tokenizer: the tokenizer of ``base``.
        messages: what shall be read or written.
        base: what the user calls the model.

    Raises:
        InputError: naming the first such word.
    """
    unknown = tokenizer.unk_token_id
    texts = list(dict.fromkeys(message["content"] for message in messages)) if unknown is not None else []
    for text, ids in zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [], strict=True):
        if unknown in ids:
            parts = re.findall(r"\w+|[^\w\s]", text)
            word = next((part for part in parts if unknown in tokenizer(part)["input_ids"]), text)
            raise InputError(
                f"The base {base} doesn't know the word {word!r} of a row or question: keep to words of its tokenizer "
                "(the pocket bases know numbers with `min_value: 0` and `max_value: 99`, and the formats comma and "
                "space; pocket/moral-a also knows what `misalignment_pocket` says)."
            )


def end_tokens(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Give the ids that end the assistant's turn."""
    return {tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set()
