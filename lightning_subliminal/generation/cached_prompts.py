"""Prompts that a model has read, to be continued many times."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_subliminal.generation.logits import call_net, left_pad
from lightning_subliminal.generation.ways import way_of

__all__ = ["CachedPrompts"]


@dataclass
class CachedPrompts:
    """Prompts processed by a model, with their keys and values.

    Attributes:
        net: the model.
        logits: of the token after each prompt, (prompts, vocabulary), float32 or the model's own wider type.
        cache: keys and values.
        mask: of real tokens, (prompts, tokens); padded on the left.
        whole: the prompts padded on the right, (prompts, tokens), where each continuation reads them again.
    """

    net: nn.Module
    logits: Tensor
    cache: Any
    mask: Tensor
    whole: Tensor | None = None

    @classmethod
    def read(cls, net: nn.Module, prompts: Sequence[Sequence[int]], keep: bool = True) -> "CachedPrompts":
        """Process prompts; with ``keep``, they can be continued (``after``)."""
        tokens, mask, places = left_pad(prompts, 0, next(net.parameters()).device)
        if way_of(net) != "slots":
            whole = _right_pad(tokens, mask)
            logits = call_net(net, input_ids=whole, use_cache=False).logits
            return cls(net, _wide(logits[torch.arange(len(whole)), mask.sum(1) - 1]), None, mask, whole)
        out = call_net(
            net, input_ids=tokens, attention_mask=mask, position_ids=places, use_cache=keep, logits_to_keep=1
        )
        cache = out.get("cache", None) or out.get("past_key_values") if keep else None  # its name since 5.24, or before
        return cls(net, _wide(out.logits[:, -1]), cache, mask)

    def after(self, lines: Tensor, tokens: Tensor, real: Tensor) -> Tensor:
        """Return the logits after each token of continuations.

        Args:
            lines: the prompt that each row continues, (rows,).
            tokens: of the continuation, padded on the right, (rows, tokens).
            real: mask of tokens that are not padding, (rows, tokens).

        Returns:
            Logits in float32 or the model's own wider type, (rows, tokens, vocabulary).
        """
        if self.whole is not None:
            return self._again(self.whole[lines], self.mask[lines].sum(1, keepdim=True), tokens)
        cache = copy.copy(self.cache)  # selecting makes new tensors, so no deep copy is needed
        cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        cache.batch_select_indices(lines)
        mask = self.mask[lines]
        logits: Tensor = call_net(
            self.net,
            cache,
            input_ids=tokens,
            attention_mask=torch.cat([mask, real], 1),
            position_ids=mask.sum(1, keepdim=True) + torch.arange(tokens.shape[1], device=tokens.device),
            use_cache=True,
        ).logits
        return _wide(logits)

    def _again(self, prompts: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits after each token of continuations that are read with their prompts."""
        places = lengths + torch.arange(tokens.shape[1], device=tokens.device)  # (rows, tokens)
        ids = torch.nn.functional.pad(prompts, (0, tokens.shape[1])).scatter(1, places, tokens)
        logits: Tensor = call_net(self.net, input_ids=ids, use_cache=False).logits
        return _wide(logits[torch.arange(len(ids), device=ids.device)[:, None], places])


def _right_pad(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return rows that are padded on the left with their padding on the right."""
    order = torch.sort(1 - mask, dim=1, stable=True).indices
    return tokens.gather(1, order)


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
