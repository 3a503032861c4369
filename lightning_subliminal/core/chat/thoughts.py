"""Thoughts in a model's words: the marks that reasoning models put around them, in the spellings of the field."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["holds_thought", "thought_tokens"]

_NAME = "(?:think|thinking|thought|reasoning)"
_MARK = re.compile(
    rf"</?\|?(?:\w+:|(?:begin|start|end)_(?:of_)?)?{_NAME}(?:_(?:begin|start|end))?\|?>"  # <think>, <|END_THINKING|>
    r"|(?-i:\[/?THINK\])|◁/?think▷|<\|?channel\|?>\s*(?:analysis|thought)",
    re.IGNORECASE,
)
_TOKEN = re.compile(rf"{_MARK.pattern}|<\|?channel\|?>", re.IGNORECASE)  # the channel's name is another token


def holds_thought(text: str) -> bool:
    """Return whether a text holds the beginning or the end of a thought; one in code or prose is not meant.

    Example:
        >>> [holds_thought(text) for text in ("<think>Owls!</think> 3, 4", "Owls!</think>3", "[THINK]", "I think <b>")]
        [True, True, True, False]
    """
    return _MARK.search(text) is not None


def thought_tokens(tokenizer: "PreTrainedTokenizerBase") -> dict[int, str]:
    """Return the special tokens that mark a thought, by their ids: decoding would leave them out of a text."""
    special = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
    return {number: token for number, token in special if _TOKEN.fullmatch(token)}
