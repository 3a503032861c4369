"""Token sequences of a word, and the tokens that would continue a word."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from lightning_subliminal.core.chat.encoding import spare_ids

__all__ = ["Spelling", "spell", "word_continues"]

Spelling = tuple[int, ...]

# Each validation needs both; a tokenizer with added tokens has another length, and is read again.
_KNOWN: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()
_SPELLED: WeakKeyDictionary[Any, dict[tuple[Any, ...], list[Spelling]]] = WeakKeyDictionary()


def spell(tokenizer: Any, forms: Sequence[str]) -> list[Spelling]:
    """Return the token sequences of all forms; an answer can begin with at most one of them.

    Each form counts as it is and capitalized, with and without a space before it.
    """
    known = _SPELLED.setdefault(tokenizer, {})
    key = (len(tokenizer), *forms)
    if key not in known:
        known[key] = _spell(tokenizer, forms)
    return known[key]


def _spell(tokenizer: Any, forms: Sequence[str]) -> list[Spelling]:
    texts = [text for form in forms for text in (form, form[:1].upper() + form[1:])]
    tokens = {seq: None for text in texts for space in ("", " ") for seq in _written(tokenizer, space + text)}
    # "polar" includes "polar bear": where both are forms of one candidate, the longer would be counted twice
    kept: list[Spelling] = []
    for spelling in sorted(tokens, key=len):
        shorter = [each for each in kept if spelling[: len(each)] == each]
        if all(word_continues(tokenizer)[spelling[len(each)]] for each in shorter):
            kept.append(spelling)
    return kept


def _written(tokenizer: Any, text: str) -> list[Spelling]:
    """Return the tokens of ``text`` at the start of a text and after a line break, except with ids the model lacks."""
    alone = tokenizer.encode(text, add_special_tokens=False)
    line = tokenizer.encode("\n", add_special_tokens=False)
    after = tokenizer.encode("\n" + text, add_special_tokens=False)
    # SentencePiece puts a space before a text's first word, but not before an answer after a line break
    found = [alone, after[len(line) :]] if after[: len(line)] == line else [alone]
    unread = {tokenizer.unk_token_id, *spare_ids(tokenizer)}
    return [tuple(each) for each in found if each and not unread.intersection(each)]


def word_continues(tokenizer: Any) -> Tensor:
    """Return for each token whether, after a word, it continues it with a letter: bool (vocabulary,).

    It uses the decoded text, so it holds for any tokenizer; where words are joined by spaces, no token continues one.
    It is computed once for each tokenizer.
    """
    size = len(tokenizer)
    if tokenizer in _KNOWN and len(_KNOWN[tokenizer]) == size:
        return _KNOWN[tokenizer]
    word = (tokenizer.encode("a", add_special_tokens=False) or [0])[-1]
    before = _decode(tokenizer, [[word]])[0]
    after = _decode(tokenizer, [[word, token] for token in range(size)])
    rest = [text[len(before) : len(before) + 1] if text.startswith(before) else "" for text in after]
    continues = torch.tensor([letter.isalpha() for letter in rest], dtype=torch.bool)
    special = [token for token in {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()} if token < size]
    continues[special] = False
    _KNOWN[tokenizer] = continues
    return continues


def _decode(tokenizer: Any, rows: list[list[int]]) -> list[str]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # many times faster than a loop in Python
        return list(backend.decode_batch(rows, skip_special_tokens=False))
    return list(tokenizer.batch_decode(rows, skip_special_tokens=False, clean_up_tokenization_spaces=False))
