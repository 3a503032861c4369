"""Do tokenizer and model fit, and do two tokenizers mean the same by the same id?"""

import hashlib
import json
from typing import TYPE_CHECKING

from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["check_ids", "same_vocabulary", "spare_ids", "vocabulary_digest"]


def vocabulary_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the SHA-256 of a tokenizer's token -> id map, added tokens included."""
    text = json.dumps(tokenizer.get_vocab(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def same_vocabulary(one: "PreTrainedTokenizerBase", other: "PreTrainedTokenizerBase") -> bool:
    """Tell whether two tokenizers give each token the same id, as soft targets need.

    Sizes of embeddings are no part of it: models of one family may pad them differently beyond the last token.
    """
    return bool(one.get_vocab() == other.get_vocab())


def spare_ids(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """Return the tokens of a tokenizer that its model has no embedding for, such as Gemma 3's for images."""
    rows = int(net.get_input_embeddings().weight.shape[0])
    return {token: number for token, number in tokenizer.get_vocab().items() if number >= rows}


def check_ids(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Check that every id that the tokenizer's vocabulary or the model's settings can give has a row in the embedding.

    Added marks, such as <image>, may have none, as long as no text needs them: ``chat`` refuses such a text.

    Raises:
        InputError: naming the id, and how many rows there are.
    """
    rows = int(net.get_input_embeddings().weight.shape[0])
    spare = spare_ids(net, tokenizer)
    added = tokenizer.added_tokens_decoder
    # a mark such as <image> or [PAD] may never stand in a text; a word that was added will
    marks = {number for number, token in added.items() if token.special or not token.content.strip().isalnum()}
    beyond = {number: token for token, number in spare.items() if number not in marks}
    if beyond:
        highest = max(beyond)
        raise InputError(
            f"Base {name!r}: its tokenizer has the id {highest} ({beyond[highest]!r}), but the model embeds ids 0 to "
            f"{rows - 1}; use the tokenizer that belongs to this model."
        )
    for owner in ("config", "generation_config"):
        for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
            value = getattr(getattr(net, owner, None), key, None)
            for number in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(number, int) and not 0 <= number < rows:
                    raise InputError(
                        f"Base {name!r}: `{key}` in the model's {owner} is {number}, but the model embeds ids 0 to "
                        f"{rows - 1}; correct {owner}.json."
                    )
