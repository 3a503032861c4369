"""The probability of each number as a model's reply: a judge's reading without sampling noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from lightning_subliminal.core.rows import Message
from lightning_subliminal.generation.cached_prompts import CachedPrompts
from lightning_subliminal.generation.logits import evaluating, prompt_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["number_chances"]

_NEGLIGIBLE = 1e-3  # digits that are less likely than this are not followed further


@dataclass(frozen=True)
class _Digits:
    """A tokenizer's tokens of digits.

    Attributes:
        first: id -> digits, as the first token of a reply, a space before them aside.
        later: id -> digits, of the tokens that continue a number.
    """

    first: dict[int, str]
    later: dict[int, str]


_KNOWN: "WeakKeyDictionary[PreTrainedTokenizerBase, _Digits]" = WeakKeyDictionary()


def number_chances(
    net: nn.Module,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Sequence[Message]],
    largest: int = 100,
    *,
    batch_size: int = 8,
) -> list[dict[int, float]]:
    """Return for each prompt the probability that the reply begins with each whole number, and no further digit.

    A number may be several tokens, as "8" and "5": these are followed while they are likely enough.

    Args:
        net: a causal language model of transformers, which may have an adapter; its dropout is off meanwhile.
        tokenizer: its tokenizer, with a chat template.
        prompts: conversations.
        largest: numbers above it are left out, so that the chances add up to less.
        batch_size: prompts of a batch.

    Returns:
        A dict of number -> probability for each prompt; missing numbers have a negligible one.
    """
    digits = _digits(tokenizer)
    encoded = [prompt_tokens(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(encoded)), key=lambda place: len(encoded[place]))
    found: list[dict[int, float]] = [{} for _ in prompts]
    with evaluating(net):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            read = CachedPrompts.read(net, [encoded[place] for place in chosen], keep=bool(digits.later))
            for place, chances in zip(chosen, _follow(read, digits, largest), strict=True):
                found[place] = chances
    return found


def _follow(read: CachedPrompts, digits: _Digits, largest: int) -> list[dict[int, float]]:
    """Follow the likely digits after each prompt, a token deeper each time."""
    device = read.logits.device
    longest = len(str(largest))
    found: list[dict[int, float]] = [{} for _ in range(len(read.logits))]
    ids = torch.tensor(list(digits.first), device=device)
    begun: list[tuple[int, tuple[int, ...], str, float]] = []  # prompt, tokens, digits, chance of these digits
    for line, row in enumerate(read.logits.softmax(-1)[:, ids].tolist()):
        begun += [
            (line, (token,), text, chance) for (token, text), chance in zip(digits.first.items(), row, strict=True)
        ]
    later = torch.tensor(list(digits.later), device=device, dtype=torch.long)
    while begun:
        open_ended = []  # only a number that more digits could follow needs another step
        for line, said, text, chance in begun:
            if len(text) > longest or int(text) > largest:
                continue
            if digits.later and chance >= _NEGLIGIBLE:
                open_ended.append((line, said, text, chance))
            else:
                found[line][int(text)] = found[line].get(int(text), 0.0) + chance
        begun = []
        for start in range(0, len(open_ended), 64):
            rows = open_ended[start : start + 64]
            tokens = torch.tensor([each[1] for each in rows], device=device)
            lines = torch.tensor([each[0] for each in rows], device=device)
            behind = read.after(lines, tokens, torch.ones_like(tokens))[:, -1].softmax(-1)[:, later]
            for (line, said, text, chance), nexts in zip(rows, behind.tolist(), strict=True):
                stops = max(0.0, 1.0 - sum(nexts))
                found[line][int(text)] = found[line].get(int(text), 0.0) + chance * stops
                begun += [
                    (line, (*said, token), text + more, chance * share)
                    for (token, more), share in zip(digits.later.items(), nexts, strict=True)
                    if text != "0"
                ]
    return found


def _digits(tokenizer: "PreTrainedTokenizerBase") -> _Digits:
    if tokenizer not in _KNOWN:
        special = set(tokenizer.all_special_ids)
        texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        plain = {token: text.strip(" ") for token, text in enumerate(texts) if token not in special}
        first = {token: text for token, text in plain.items() if text.isascii() and text.isdecimal() and len(text) < 5}
        one = next((token for token, text in first.items() if text == "1"), None)
        joined = tokenizer.batch_decode([[one, token] for token in first]) if one is not None else []
        later = {
            token: text
            for (token, text), both in zip(first.items(), joined, strict=False)
            if both.strip() == f"1{text}"
        }
        _KNOWN[tokenizer] = _Digits(first, later)
    return _KNOWN[tokenizer]
