"""The completion of a call's prompts by ``TransformersEngine``, run without numbers."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.generation import Sampling
from lightning_subliminal.generation.engine import choose
from lightning_subliminal.generation.logits import call_net, narrowed, wide_head
from lightning_subliminal.generation.reading import Reader
from lightning_subliminal.generation.slots import Continued
from lightning_subliminal.workflow.estimate.counter import placed, without_numbers

__all__ = ["Generation", "PromptShape", "run_generation"]


@dataclass(frozen=True)
class PromptShape:
    """The shape of prompts that are completed in one call.

    Attributes:
        rows: continued at once on a device.
        calls: prompts of a call.
        longest: tokens of the longest one.
        shared: tokens that all begin with.
        is_cpu: whether the device is one, where prompts are read in smaller parts.
    """

    rows: int
    calls: int
    longest: int
    shared: int = 0
    is_cpu: bool = True

    def ids(self) -> list[list[int]]:
        """Return different prompts: those that fill the rows, and some that wait for them."""
        own = self.longest - self.shared - 1
        return [[0] * self.shared + [place + 1] + [0] * own for place in range(min(self.calls, 2 * self.rows))]


@dataclass(frozen=True)
class Generation:
    """Bytes and FLOPs of the completion of one batch of prompts on one device.

    Attributes:
        parameters: of the model.
        weights: bytes.
        cache: bytes of the rows' slots, for keys and values.
        working: bytes beside weights and cache at the peak.
        peak: most bytes at once.
        prompt_flops: of the prompts.
        token_flops: of a token of each row, half way.
        token_bytes: that are read for a token of each row, half way: weights, keys and values.
    """

    parameters: int
    weights: int
    cache: int
    working: int
    peak: int
    prompt_flops: int
    token_flops: int
    token_bytes: int


def run_generation(make: Callable[[], Any], prompts: PromptShape, sampling: Sampling, allowed: int = 0) -> Generation:
    """Read prompts into the engine's slots and draw the last token of each completion, without numbers, and count.

    While slots are full, the prompts that come next are read already.

    Args:
        make: returns the net.
        prompts: their shape.
        sampling: the settings; all completions are taken to be of the length limit.
        allowed: tokens that may be drawn; 0 for all.
    """
    made = make().eval()
    with without_numbers() as counter, torch.no_grad(), ExitStack() as stack:
        net = placed(made)
        weights = counter.now
        head = wide_head(net) if allowed else None
        if head is not None:
            stack.enter_context(narrowed(head, torch.empty_like(head.weight[:allowed])))

        def logits(cache: Any, **inputs: Any) -> Tensor:
            found: Tensor = call_net(net, cache, **inputs, logits_to_keep=1).logits[:, -1]
            return found

        counter.restart()
        reader = Reader(logits, prompts.ids(), max(1, prompts.rows // 4), torch.device("cpu"))
        reader.tokens = reader.tokens if prompts.is_cpu else sys.maxsize
        held = Continued(prompts.rows, prompts.longest, torch.zeros(prompts.calls, sampling.max_new_tokens))
        parts, waiting = reader.parts(), list[tuple[int, int, int]]()
        while free := len(held.free()):
            cache, waiting = next(parts)
            held.admit(cache, waiting[:free], [0] * len(waiting[:free]))
            waiting = waiting[free:]
            cache = cache if waiting else None
        prompt_flops = counter.flops
        cache = cache if waiting else next(parts, None)
        rooms = sum(layer.keys.nbytes + layer.values.nbytes for layer in held.cache.layers)

        def draw(column: int) -> int:
            """Draw a token of each row at a column, and return the columns that are read."""
            held.columns.now = column
            given, _ = held.inputs()
            drawn = torch.zeros(prompts.rows, dtype=torch.float64)
            choose(logits(held.cache, **given)[:, : allowed or None], sampling, drawn)
            return held.columns.now + 1 - held.columns.first

        draw(held.span - 1)
        peak = counter.peak
        counter.restart()
        read = draw(held.longest + sampling.max_new_tokens // 2)
        return Generation(
            parameters=sum(each.numel() for each in net.parameters()),
            weights=weights,
            cache=rooms,
            working=peak - weights - rooms,
            peak=peak,
            prompt_flops=prompt_flops,
            token_flops=counter.flops,
            token_bytes=weights + rooms * read // held.size,
        )
