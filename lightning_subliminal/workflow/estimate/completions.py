"""The completion of a batch of prompts, run without numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.generation import Sampling
from lightning_subliminal.generation.engine import choose
from lightning_subliminal.generation.logits import call_net
from lightning_subliminal.models.memory import vocabulary_size
from lightning_subliminal.workflow.estimate.counter import placed, without_numbers

__all__ = ["Generation", "run_generation"]

_NUMBERS = 1024  # about as many tokens of a vocabulary are numbers


@dataclass(frozen=True)
class Generation:
    """Bytes and FLOPs of the completion of one batch of prompts on one device.

    Attributes:
        parameters: of the model.
        weights: bytes.
        cache: bytes of keys and values when the last token is drawn.
        working: bytes beside weights and cache at the peak.
        peak: most bytes at once.
        prompt_flops: of the prompts.
        token_flops: of a token of each row, half way.
        token_bytes: that are read for a token of each row, half way: weights and cache.
    """

    parameters: int
    weights: int
    cache: int
    working: int
    peak: int
    prompt_flops: int
    token_flops: int
    token_bytes: int


def run_generation(make: Callable[[], Any], rows: int, prompt: int, sampling: Sampling) -> Generation:
    """Read a batch of prompts and draw the last token of each completion, without numbers, and count.

    Args:
        make: returns the net.
        rows: prompts per batch.
        prompt: tokens per prompt.
        sampling: the settings; all completions are taken to be of the length limit.
    """
    made = make().eval()
    with without_numbers() as counter, torch.no_grad():
        net = placed(made)
        weights = counter.now
        counter.restart()
        _draw(net, *_read(net, rows, prompt), sampling)
        peak, prompt_flops = counter.peak, counter.flops
        most, half = prompt + sampling.max_new_tokens - 1, prompt + sampling.max_new_tokens // 2
        cache = _read(net, rows, most)[0]
        held = counter.now - weights
        counter.restart()
        _draw(net, cache, _next(net, cache, rows, most), sampling)
        peak = max(peak, counter.peak)
        cache = _read(net, rows, half)[0]
        token_bytes = counter.now
        counter.restart()
        _next(net, cache, rows, half)
        return Generation(
            parameters=sum(each.numel() for each in net.parameters()),
            weights=weights,
            cache=held,
            working=peak - weights - held,
            peak=peak,
            prompt_flops=prompt_flops,
            token_flops=counter.flops,
            token_bytes=token_bytes,
        )


def _read(net: Any, rows: int, tokens: int) -> tuple[Any, Tensor]:
    """Return the cache of prompts, and the logits after them."""
    from transformers import DynamicCache

    cache = DynamicCache()
    ids = torch.zeros(rows, tokens, dtype=torch.long)
    mask, positions = torch.ones_like(ids), torch.zeros_like(ids)
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    return cache, call_net(net, cache, **given, use_cache=True, logits_to_keep=1).logits[:, -1]


def _next(net: Any, cache: Any, rows: int, before: int) -> Tensor:
    """Return the logits after one more token of each row."""
    ids, mask = torch.zeros(rows, 1, dtype=torch.long), torch.ones(rows, before + 1, dtype=torch.long)
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "position_ids": torch.zeros_like(ids)}
    logits: Tensor = call_net(net, cache, **given, use_cache=True, logits_to_keep=1).logits[:, -1]
    return logits


def _draw(net: Any, cache: Any, logits: Tensor, sampling: Sampling) -> None:
    """Draw a token of each row."""
    allowed = torch.arange(min(_NUMBERS, vocabulary_size(net))) if sampling.restrict_to == "numbers" else None
    if allowed is not None:
        logits, allowed = logits[:, : len(allowed)], None  # its length depends on numbers
    choose(logits, sampling, torch.zeros(len(logits), dtype=torch.float64), allowed)
