"""The derivative of each row's loss along one direction of the parameters, for all rows of a batch at once.

It is the inner product of the direction with the gradient of each row's loss, which is never formed. There are two
methods:

- ``ByForwardMode`` pushes the direction through the network (``torch.func.jvp``). It supports all modules, and costs
  about twice a forward and backward pass of the batch.
- ``ByRowScales`` gives each row r its own parameters p + s_r v, with s = 0, and takes the gradient of the summed loss
  by s: a forward and a backward pass without the weights' gradients, a third of the work. A linear map x -> W x becomes
  W x + s_r V x, so that no row's weights are formed. It supports linear maps, embeddings and vectors that are added or
  multiplied, which covers Llama, Qwen, LoRA and steering.

``row_slopes`` returns the second where it agrees with the first on a few rows, else the first.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from lightning_subliminal.bases.layers import body
from lightning_subliminal.bases.linear_maps import product
from lightning_subliminal.generation.logit_map import logit_map
from lightning_subliminal.metrics.functional.statements import IGNORED
from lightning_subliminal.theory.functional import ModelFunction, directional, plain_experts

__all__ = [
    "ByForwardMode",
    "ByRowScales",
    "CompletionLogits",
    "RowSlopes",
    "completion_targets",
    "row_slopes",
    "sum_by_row",
    "summed_loss",
]

CLOSE = 1e-3  # of the largest slope: float32 of two orders of summation differs by less than 1e-5


class CompletionLogits(nn.Module):
    """A causal language model that returns the logits of completion tokens alone: (completion tokens, vocabulary)."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self._logits = [logit_map(net)]  # in a list: not a submodule

    def forward(self, input_ids: Tensor, places: Tensor) -> Tensor:
        """Return the logits at ``places``, (rows, tokens - 1) of bool."""
        # causal attention ignores padding on the right: without a mask, the fast kernel is used
        hidden = body(self.net)(input_ids=input_ids, use_cache=False).last_hidden_state[:, :-1]
        logits = self._logits[0](hidden[places])
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


class RowSlopes(ABC):
    """Computes the slope of each row's loss along a direction.

    Args:
        function: a causal language model of transformers, as a function of its trained parameters.
        direction: by the names of ``function.start``.
    """

    def __init__(self, function: ModelFunction, direction: Mapping[str, Tensor]) -> None:
        self.model = CompletionLogits(function.module)
        self.start = {f"net.{name}": value for name, value in function.start.items()}
        self.rest = {f"net.{name}": value for name, value in function.rest.items()}
        self.direction = {f"net.{name}": direction[name].to(value.dtype) for name, value in function.start.items()}

    @abstractmethod
    def __call__(self, input_ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return slopes and losses of a batch, both summed over each row's completion: (rows,), (rows,).

        Args:
            input_ids: (rows, tokens), padded on the right.
            labels: (rows, tokens); -100 where nothing is trained.
        """


class ByForwardMode(RowSlopes):
    """By one forward-mode pass."""

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return slopes and losses: the direction is pushed through to the logits, and the cross-entropy by hand."""
        targets, places, lines = completion_targets(labels)

        def logits(parameters: dict[str, Tensor]) -> Tensor:
            made: Tensor = functional_call(self.model, {**self.rest, **parameters}, (input_ids, places))
            return made

        with plain_experts(self.model.net):
            found, pushed = directional(logits, self.start, self.direction)  # (completion tokens, vocabulary)
        slopes = (found.softmax(-1) * pushed).sum(-1) - pushed.gather(-1, targets[:, None])[:, 0]
        losses = F.cross_entropy(found, targets, reduction="none")
        return sum_by_row(slopes, lines, len(labels)), sum_by_row(losses, lines, len(labels))


class ByRowScales(RowSlopes):
    """By the gradient of the summed loss by a scale of each row."""

    def __init__(self, function: ModelFunction, direction: Mapping[str, Tensor]) -> None:
        super().__init__(function, direction)
        # tied weights are one parameter with one name, in several modules
        names = {id(value): name for name, value in self.model.named_parameters() if name in self.start}
        self._maps: list[tuple[nn.Module, dict[str, Tensor]]] = []
        self._vectors: dict[str, str] = {}  # where parameters broadcast, with their names in `start`
        self._of_head = set(self.model.net.get_output_embeddings().modules())
        for place, module in self.model.named_modules():
            own = {k: names[id(v)] for k, v in module._parameters.items() if v is not None and id(v) in names}
            if own and isinstance(module, (nn.Linear, nn.Embedding)):
                self._maps.append((module, {k: self.direction[name] for k, name in own.items()}))
            else:
                self._vectors |= {f"{place}.{k}": name for k, name in own.items()}

    def __call__(self, input_ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return slopes and losses, by a backward pass to the scales."""
        targets, places, lines = completion_targets(labels)
        with torch.enable_grad():
            dtype = torch.promote_types(next(iter(self.start.values())).dtype, torch.float32)
            scale = torch.zeros(len(labels), dtype=dtype, device=labels.device, requires_grad=True)
            values = {**self.rest, **self.start}
            for place, name in self._vectors.items():
                moved = self.start[name] + scale.to(self.start[name].dtype)[:, None, None] * self.direction[name]
                values[place] = moved  # (rows, 1, width)
            with self._hooked(scale, lines):
                logits = functional_call(self.model, values, (input_ids, places))
            losses = F.cross_entropy(logits, targets, reduction="none")
            (slopes,) = torch.autograd.grad(losses.sum(), scale)
        return slopes, sum_by_row(losses.detach(), lines, len(labels))

    @contextmanager
    def _hooked(self, scale: Tensor, lines: Tensor) -> Iterator[None]:
        """Add s_r V x to the output of each linear map, (rows, tokens, width), or the head, (..., places, words)."""

        def hook_of(direction: dict[str, Tensor]) -> Any:
            def hook(module: nn.Module, args: tuple[Tensor, ...], made: Tensor) -> Tensor:
                weight, bias = direction.get("weight"), direction.get("bias")
                by_row = scale[lines].view(*made.shape[:-1], 1) if module in self._of_head else scale[:, None, None]
                factor = by_row.to(made.dtype)
                if isinstance(module, nn.Embedding):
                    return torch.addcmul(made, factor, F.embedding(args[0], weight)) if weight is not None else made
                if weight is None:
                    return made + factor * bias if bias is not None else made
                return torch.addcmul(made, factor, product(args[0], weight, bias))

            return hook

        handles = [module.register_forward_hook(hook_of(direction)) for module, direction in self._maps]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def row_slopes(
    function: ModelFunction, direction: Mapping[str, Tensor], input_ids: Tensor, labels: Tensor
) -> RowSlopes:
    """Return the faster method if it agrees with the general one on the rows; else the general one."""
    general, fast = ByForwardMode(function, direction), ByRowScales(function, direction)
    if len(labels) == 1:  # on one row alone, a module that mixes rows would agree
        input_ids, labels = input_ids.repeat(2, 1), labels.repeat(2, 1)
    expected, _ = general(input_ids, labels)
    try:
        found, _ = fast(input_ids, labels)
    except (IndexError, RuntimeError, TypeError, ValueError):  # a module without parameters for each row
        return general
    far = (found - expected).abs().max() > CLOSE * expected.abs().max()
    return general if far or not found.isfinite().all() else fast


def summed_loss(function: ModelFunction, parameters: Mapping[str, Tensor], input_ids: Tensor, labels: Tensor) -> Tensor:
    """Return the negative log-likelihood of all completion tokens of a batch, in nats, differentiable: a scalar."""
    targets, places, _ = completion_targets(labels)
    values = {f"net.{name}": value for name, value in {**function.rest, **parameters}.items()}
    logits = functional_call(CompletionLogits(function.module), values, (input_ids, places))
    return F.cross_entropy(logits, targets, reduction="sum")


def completion_targets(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the completion tokens, a mask of where they are predicted (rows, tokens - 1), and each one's row."""
    places = labels[:, 1:] != IGNORED
    return labels[:, 1:][places], places, places.nonzero()[:, 0]


def sum_by_row(values: Tensor, lines: Tensor, rows: int) -> Tensor:
    """Return the sum of token values, (tokens,), by the row that each is of: (rows,)."""
    return torch.zeros(rows, dtype=values.dtype, device=values.device).index_add_(0, lines, values)
