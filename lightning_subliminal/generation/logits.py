"""Logits of a model, for judges and metrics: one forward pass, and continuations of cached prompts."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.linear_maps import is_plain, product
from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message

__all__ = [
    "LARGEST",
    "call_net",
    "evaluating",
    "head_logits",
    "is_wide",
    "left_pad",
    "narrow_head",
    "narrowed",
    "prompt_tokens",
    "wide_head",
]

_WIDE = 2**13  # tokens; of fewer, all logits cost no more than the choice among them
LARGEST = 1 << 26  # logits at once, 256 MiB in float32; more are computed in parts


def left_pad(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return token ids padded on the left, the mask of real tokens, and positions, each (rows, tokens)."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def call_net(net: nn.Module, cache: Any = None, **inputs: Any) -> Any:
    """Call a model with those inputs that it accepts: some take no positions, some can't keep only a few logits.

    Args:
        net: a causal language model of transformers, which may have an adapter, or a callable like one.
        cache: keys and values of the tokens before, named ``past_key_values`` before transformers 5.24.
        inputs: arguments of ``forward``.
    """
    module: Any = getattr(net, "module", net)  # of a net called with other parameters (`ModelFunction.at`)
    base: Any = module.get_base_model() if hasattr(module, "get_base_model") else module  # PEFT
    known = _parameters(getattr(base.forward, "__func__", base.forward))
    accepted = {name: value for name, value in inputs.items() if name in known}
    if cache is not None:  # never omitted: the model would answer without its context
        accepted["cache" if "cache" in known else "past_key_values"] = cache
    return net(**accepted)


@lru_cache(maxsize=64)  # reading a signature takes a tenth of a pocket model's step
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def narrow_head(net: nn.Module, tokens: Tensor) -> AbstractContextManager[None] | None:
    """Return a context in which a model computes the logits of a few tokens alone.

    The logits of SmolLM2's 49,152 tokens are a tenth of its work, of Gemma 3 270M's 262,144 two thirds. What a model
    does with its logits, such as scaling, it does with these.

    Args:
        net: as for ``call_net``.
        tokens: ids, (tokens,).

    Returns:
        The context. None for models whose head is small, no linear map, or has its logits capped: those are computed
        as a whole.
    """
    head = wide_head(net)
    return None if head is None else narrowed(head, head.weight[tokens[tokens < len(head.weight)]])


def wide_head(net: Any) -> Any:
    """Return the head that ``narrow_head`` narrows; None if there is none."""
    head = net.get_output_embeddings() if hasattr(net, "get_output_embeddings") else None
    inner = net.get_base_model() if hasattr(net, "get_base_model") else net
    if head is None or not is_wide(head):
        return None
    capped = getattr(inner.config.get_text_config(decoder=True), "final_logit_softcapping", None) is not None
    return None if capped else head


@contextmanager
def narrowed(head: Any, weight: Tensor) -> Iterator[None]:
    """Let a head compute the logits of some rows of its weight alone inside."""
    head.forward = lambda hidden: product(hidden, weight)
    try:
        yield
    finally:
        del head.forward


def head_logits(head: Any, hidden: Tensor, tokens: Tensor | None) -> Tensor:
    """Return the logits of a few tokens alone, (positions, tokens).

    Args:
        head: of the model, from hidden states to logits.
        hidden: states, (positions, width).
        tokens: ids, (tokens,); all where it is None.
    """
    if tokens is not None and is_plain(head):
        return product(hidden, head.weight[tokens])
    logits: Tensor = head(hidden)
    return logits if tokens is None else logits[:, tokens]


def is_wide(head: Any) -> bool:
    """Return whether a head is a plain linear map to so many tokens that a part of them is worth its copy."""
    return is_plain(head) and head.out_features >= _WIDE


@contextmanager
def evaluating(net: Any) -> Iterator[None]:
    """Turn dropout and gradients off inside, and restore each module's mode.

    A function of other parameters than the module's own (``theory.ModelFunction.at``) is differentiated, so its caller
    sets both.
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
    """Return a prompt's token ids; raise an InputError if there are none."""
    ids = prompt_ids(tokenizer, prompt)
    if not ids:
        raise InputError("A prompt has no tokens: check the tokenizer's chat template.")
    return ids
