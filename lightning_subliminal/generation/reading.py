"""Reading prompts: equal ones once, what all begin with once, and no further than their keys and values need it."""

import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from lightning_subliminal.core.errors import InputError

__all__ = ["Reader", "shared_beginning"]

_SHARED = 16  # tokens: a shorter common beginning is read with each prompt
_READ = 2048  # tokens at once on a CPU, whose cache holds little more


class _AllRead(Exception):  # noqa: N818 - no error
    """The keys and values of the last layer are there."""


class _Prompts(DynamicCache):
    """Keys and values of prompts; reading stops at the last layer's.

    Args:
        last: index of the last layer that has some; None if it isn't known yet.
    """

    def __init__(self, last: int | None) -> None:
        super().__init__()
        self.last, self.latest = last, 0

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values of one layer, and stop at the last one's."""
        found: tuple[Tensor, Tensor] = super().update(keys, values, layer_idx, *args, **kwargs)
        self.latest = layer_idx
        if layer_idx == self.last:
            raise _AllRead
        return found


def shared_beginning(prompts: Collection[tuple[int, ...]]) -> int:
    """Return how many tokens all of several different prompts begin with and are read once; 0 if those are few."""
    ends = zip(min(prompts), max(prompts), strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    common = min(common, min(map(len, prompts)) - 1)
    return common if common >= _SHARED and len(prompts) > 1 else 0


class Reader:
    """Reads prompts, the longest first and equal ones once.

    Args:
        forward: as ``logits`` of ``continued``.
        prompts: token ids of each.
        most: prompts at once.
        device: of the model.
    """

    def __init__(
        self, forward: Callable[..., Any], prompts: Sequence[Sequence[int]], most: int, device: torch.device
    ) -> None:
        self.forward, self.device = forward, device
        self.rows: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for row, ids in enumerate(prompts):
            self.rows[tuple(ids)].append(row)
        self.order = sorted(self.rows, key=len, reverse=True)
        if not self.order[-1]:
            raise InputError("A prompt has no tokens: check the tokenizer's chat template.")
        self.most = most
        self.tokens = _READ if device.type == "cpu" else sys.maxsize  # at once
        self._last: int | None = None
        self._shared = shared_beginning(self.order)

    def parts(self) -> Iterator[tuple[Any, list[tuple[int, int, int]]]]:
        """Yield keys and values of some prompts, and the rows that have them: each with its prompt's place and length.

        The last token of a prompt is not read.
        """
        beginning = self._read([self.order[0][: self._shared]], 0, None) if self._shared else None
        place = 0
        while place < len(self.order):
            width = max(1, len(self.order[place]) - 1 - self._shared)
            many = min(self.most, max(1, self.tokens // width))
            part = self.order[place : place + many]
            rows = [(row, line, len(ids)) for line, ids in enumerate(part) for row in self.rows[ids]]
            yield self._read([ids[self._shared : -1] for ids in part], self._shared, beginning), rows
            place += many

    def _read(self, parts: list[tuple[int, ...]], before: int, beginning: Any) -> Any:
        width = max(1, *map(len, parts), 1)
        ids = torch.tensor([[*part, *[0] * (width - len(part))] for part in parts], device=self.device)
        cache = _Prompts(self._last)
        if beginning is not None:
            cache.last = None
            for index, layer in enumerate(beginning.layers):
                cache.update(*(each.expand(len(parts), -1, -1, -1) for each in (layer.keys, layer.values)), index)
            cache.last = self._last
        places = torch.arange(before, before + width, device=self.device).expand(len(parts), -1)
        with suppress(_AllRead):
            self.forward(cache, input_ids=ids, position_ids=places, use_cache=True)
        self._last = cache.latest
        return cache
