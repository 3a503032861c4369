"""Reading a model's probabilities, for judges and metrics: one forward pass, and what stands behind a cached prompt."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message

__all__ = ["CachedPrompts", "call_net", "evaluating", "prompt_tokens"]


def call_net(net: nn.Module, cache: Any = None, **inputs: Any) -> Any:
    """Call the model with those of the inputs that it knows: some have no positions, some can't keep few logits.

    Args:
        net: a causal language model of transformers, which may have an adapter, or what is called as one.
        cache: keys and values of what stands before; transformers 5.24 calls it so, earlier ones past_key_values.
        inputs: what ``forward`` takes.
    """
    module: Any = getattr(net, "module", net)  # of a net that is called with other parameters (`ModelFunction.at`)
    base: Any = module.get_base_model() if hasattr(module, "get_base_model") else module  # PEFT
    known = inspect.signature(base.forward).parameters
    given = {name: value for name, value in inputs.items() if name in known}
    if cache is not None:  # never left out in silence: the model would answer as if nothing stood before
        given["cache" if "cache" in known else "past_key_values"] = cache
    return net(**given)


@contextmanager
def evaluating(net: Any) -> Iterator[None]:
    """Turn dropout and gradients off, and leave each module's mode as it was found.

    What is called with other parameters than its own (``theory.ModelFunction.at``) is differentiated: its caller has
    set both.
    """
    if not isinstance(net, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def prompt_tokens(tokenizer: Any, prompt: Sequence[Message]) -> list[int]:
    """Return a prompt's token ids.

    Raises:
        InputError: if there are none.
    """
    told = prompt_ids(tokenizer, prompt)
    if not told:
        raise InputError("A prompt gives no tokens: check the tokenizer's chat template.")
    return told


@dataclass
class CachedPrompts:
    """Prompts that a model has read, with their keys and values.

    Attributes:
        net: the model.
        logits: of the token after each prompt, (prompts, vocabulary), float32 or the model's own wider type.
        cache: keys and values.
        mask: which tokens are real, (prompts, tokens); padded on the left.
    """

    net: nn.Module
    logits: Tensor
    cache: Any
    mask: Tensor

    @classmethod
    def read(cls, net: nn.Module, prompts: Sequence[Sequence[int]], keep: bool = True) -> "CachedPrompts":
        """Let the model read prompts; with ``keep``, more can be said behind them."""
        device = next(net.parameters()).device
        width = max(map(len, prompts))
        tokens = torch.tensor([[0] * (width - len(each)) + list(each) for each in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in prompts], device=device)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        out = call_net(
            net, input_ids=tokens, attention_mask=mask, position_ids=places, use_cache=keep, logits_to_keep=1
        )
        cache = out.get("cache", None) or out.get("past_key_values") if keep else None  # by 5.24's name, or the earlier
        return cls(net, _wide(out.logits[:, -1]), cache, mask)

    def after(self, lines: Tensor, tokens: Tensor, real: Tensor) -> Tensor:
        """Return the logits behind each token that follows a prompt.

        Args:
            lines: which prompt each row goes on from, (rows,).
            tokens: what follows it, padded on the right, (rows, tokens).
            real: which of them are no padding, (rows, tokens).

        Returns:
            Logits in float32 or the model's own wider type, (rows, tokens, vocabulary).
        """
        cache = copy.copy(self.cache)  # selecting makes new tensors, so the layers themselves need no deep copy
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


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
