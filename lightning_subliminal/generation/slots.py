"""Rows continued token by token, a limited number at once: the reading of prompts, and keys and values in place.

- A prompt is read up to its last token, and only as far as keys and values need it: behind those of the last layer
  nothing is computed. Its last token is the first one that is continued.
- Equal prompts are read once, up to the logits of their answers' first token, and so is what all of them begin with.
- A finished row's slot is given to a waiting row at once. All slots write into the same column, so a row's prompt lies
  in the columns before the one at which it begins; columns before its own are masked, as padding on the left is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from lightning_subliminal.generation.reading import Reader

__all__ = ["Continued", "continued", "rows_at_once"]

_ROWS = 128  # at once on a CPU: with more, keys and values leave its cache, and nothing is faster
_STRIDES = {"cpu": 1}  # tokens between looks at which rows have ended; elsewhere a look waits for the device: 8


@dataclass
class _Columns:
    """The columns of a cache that hold tokens.

    Attributes:
        first: the first one that a row needs.
        now: the one that is written next.
    """

    first: int
    now: int


class _Slots(DynamicLayer):
    """Keys and values of one layer, written in place, (slots, heads, columns, width)."""

    def __init__(self, columns: _Columns, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.columns, self.keys, self.values, self.is_initialized = columns, keys, values, True

    def update(self, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values, and return those of all columns in use."""
        first, now = self.columns.first, self.columns.now
        self.keys[:, :, now], self.values[:, :, now] = keys[:, :, 0], values[:, :, 0]
        return self.keys[:, :, first : now + 1], self.values[:, :, first : now + 1]

    def get_seq_length(self) -> int:
        """Return the number of columns in use before the one that is written next."""
        return self.columns.now - self.columns.first

    def keep(self, slots: Tensor) -> None:
        """Drop all slots but some; only columns in use are copied."""
        used, slots = slice(self.columns.first, self.columns.now), slots.to(self.keys.device)
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty(len(slots), *old.shape[1:])
            new[:, :, used] = old[slots, :, used]
            setattr(self, name, new)

    def fill(self, slots: Tensor, layer: Any, lines: Tensor, tokens: slice) -> None:
        """Copy prompts of one length into the columns before the one that is written next.

        Args:
            slots: of the rows.
            layer: keys and values of this layer for prompts.
            lines: the prompt of each row.
            tokens: where they are there.
        """
        columns = slice(self.columns.now - (tokens.stop - tokens.start), self.columns.now)
        slots, lines = slots.to(self.keys.device), lines.to(self.keys.device)
        for own, read in ((self.keys, layer.keys), (self.values, layer.values)):
            own[slots, :, columns] = read[lines, :, tokens]


class Continued:
    """Rows in slots.

    Args:
        slots: number of rows at once.
        longest: tokens of a prompt.
        draws: as for ``continued``.
    """

    def __init__(self, slots: int, longest: int, draws: Tensor) -> None:
        self.longest, self.draws, self.device = longest - 1, draws, draws.device
        self.span = longest + draws.shape[1] - 1
        self.size = self.span + max(16, self.span // 4)
        self.columns = _Columns(self.longest, self.longest)
        self.cache: Any = Cache(layers=[])
        self.tokens = torch.zeros(slots, dtype=torch.long, device=self.device)
        # The row of each slot, or None, and the columns of its first token and of the first that is continued.
        self.owners: list[int | None] = [None] * slots
        self.starts, self.births = [self.longest] * slots, [self.longest] * slots
        self._lists: Tensor | None = None

    def free(self) -> list[int]:
        """Return the slots without a row."""
        return [slot for slot, owner in enumerate(self.owners) if owner is None]

    def admit(self, cache: Any, rows: list[tuple[int, int, int]], last: list[int], drawn: int = 0) -> None:
        """Assign slots to rows; there must be as many.

        Args:
            cache: their prompts, as ``Reader.parts`` yields them, with the rows; or those that have gone a step here.
            rows: the rows.
            last: the last token of each, which is not in the cache.
            drawn: how many of a row's tokens were drawn before.
        """
        slots, now = self.free()[: len(rows)], self.columns.now
        for slot, (row, _, length) in zip(slots, rows, strict=True):
            self.owners[slot], self.starts[slot], self.births[slot] = row, now - length + 1, now - drawn
        if not self.cache.layers:
            self.cache.layers = [
                _Slots(self.columns, *(self._room(each) for each in (layer.keys, layer.values)))
                for layer in cache.layers
            ]
        places = torch.tensor([slots, [line for _, line, _ in rows], last], device=self.device)
        begin = 0
        for length, alike in groupby(length for _, _, length in rows):  # sorted, so these are few
            end = begin + len(list(alike))
            for own, read in zip(self.cache.layers, cache.layers, strict=True):
                stop = read.columns.now if isinstance(read, _Slots) else length - 1
                tokens = slice(stop - length + 1, stop)
                own.fill(places[0, begin:end], read, places[1, begin:end], tokens)
            begin = end
        self.tokens[places[0]] = places[2]
        self._changed()

    def _room(self, like: Tensor) -> Tensor:
        room = like.new_empty(len(self.owners), like.shape[1], self.size, like.shape[3])
        room[:, :, : self.longest] = 0  # later columns are written, in all slots, before they are read
        return room

    def inputs(self) -> tuple[dict[str, Any], Tensor]:
        """Return the arguments of the next forward pass, and the random number of each slot."""
        if self.columns.now == self.size:
            self._move()
        if self._lists is None:
            rows = [0 if owner is None else owner for owner in self.owners]
            self._lists = torch.tensor([self.starts, self.births, rows], device=self.device)
        starts, births, rows = self._lists
        first, now = self.columns.first, self.columns.now
        columns = torch.arange(first, now + 1, device=self.device)
        given = {
            "input_ids": self.tokens.unsqueeze(1),
            "attention_mask": (columns >= starts.unsqueeze(1)).long(),
            "position_ids": (now - starts).unsqueeze(1),
            "use_cache": True,
        }
        return given, self.draws[rows, (now - births).clamp(max=self.draws.shape[1] - 1)]

    def end(self, slots: list[int]) -> None:
        """Take the rows of slots away; an empty slot begins at the next column, so that its positions stay small."""
        for slot in slots:
            self.owners[slot], self.starts[slot], self.births[slot] = None, self.columns.now, self.columns.now
        self._changed()

    def shrink(self) -> None:
        """Drop the slots without a row."""
        kept = [slot for slot, owner in enumerate(self.owners) if owner is not None]
        self.owners = [self.owners[slot] for slot in kept]
        self.starts, self.births = ([each[slot] for slot in kept] for each in (self.starts, self.births))
        chosen = torch.tensor(kept, device=self.device)
        self.tokens = self.tokens[chosen]
        for layer in self.cache.layers:
            layer.keep(chosen)
        self._changed()

    def _move(self) -> None:
        """Move the columns in use to the front, behind room for the longest prompt."""
        by = min(self.columns.first, self.columns.now - self.longest)
        for layer in self.cache.layers:
            for each in (layer.keys, layer.values):
                each[:, :, : self.size - by] = each[:, :, by:].clone()
        self.columns.now -= by
        self.starts, self.births = ([place - by for place in each] for each in (self.starts, self.births))
        self._changed()

    def _changed(self) -> None:
        self._lists = None
        living = [start for start, owner in zip(self.starts, self.owners, strict=True) if owner is not None]
        self.columns.first = min(living, default=self.columns.now)


def rows_at_once(most: int, prompts: int, device: str) -> int:
    """Return how many rows are continued at once.

    Args:
        most: that the caller allows.
        prompts: of the call.
        device: its type.
    """
    return min(most, _ROWS if device == "cpu" and prompts > 2 * _ROWS else prompts)


def continued(
    logits: Callable[..., Tensor],
    choose: Callable[[Tensor, Tensor], Tensor],
    prompts: Sequence[Sequence[int]],
    draws: Tensor,
    ends: set[int],
    rows: int,
) -> list[list[int]]:
    """Return the tokens that continue each prompt, with the one that ended it.

    Args:
        logits: returns those after the last token, (rows, tokens), from a cache and arguments for ``call_net``.
        choose: returns each row's next token from its logits and its draw.
        prompts: token ids of each.
        draws: random numbers, one a token, (prompts, most tokens), on the model's device.
        ends: ids that end a row.
        rows: at once.
    """
    if not prompts:
        return []
    said: list[list[int]] = [[] for _ in prompts]
    limit, left = draws.shape[1], len(prompts)
    slots = rows_at_once(rows, left, draws.device.type)
    reader = Reader(logits, prompts, max(1, slots // 4), draws.device)
    alike = len(prompts) >= 2 * len(reader.order)
    held, parts = Continued(slots, len(reader.order[0]) + alike, draws), reader.parts()
    cache, waiting, unread = None, list[tuple[int, int, int]](), True
    while left:
        free = len(held.free())
        while (unread or waiting) and free >= min(max(1, slots // 8), left):
            if not waiting:
                cache, waiting = next(parts, (None, []))
                unread = bool(waiting)
                if alike and waiting:
                    cache, begun = _begun(logits, choose, cache, waiting, prompts, draws, slots)
                    for (place, _, _), token in zip(waiting, begun, strict=True):
                        said[place].append(token)
                    going = [each for each in waiting if limit > 1 and said[each[0]][0] not in ends]
                    left -= len(waiting) - len(going)
                    waiting = [(place, line, length + 1) for place, line, length in going]
                continue
            taken, waiting = waiting[:free], waiting[free:]
            held.admit(cache, taken, [(said[place] or prompts[place])[-1] for place, _, _ in taken], int(alike))
            cache = cache if waiting else None
            free -= len(taken)
        if not left:
            break
        if not unread and not waiting and 5 * free > len(held.owners):
            held.shrink()
        chosen = []
        stride = _STRIDES.get(draws.device.type, 8)
        for _ in range(min(stride, *(limit - len(said[row]) for row in held.owners if row is not None))):
            given, drawn = held.inputs()
            held.tokens = choose(logits(held.cache, **given), drawn)
            held.columns.now += 1
            chosen.append(held.tokens)
        ended = []
        for slot, (row, new) in enumerate(zip(held.owners, torch.stack(chosen, 1).tolist(), strict=True)):
            if row is None:
                continue
            for token in new:
                said[row].append(token)
                if token in ends or len(said[row]) == limit:
                    ended.append(slot)
                    break
        if ended:
            held.end(ended)
            left -= len(ended)
    return said


def _begun(
    logits: Callable[..., Tensor],
    choose: Callable[[Tensor, Tensor], Tensor],
    cache: Any,
    rows: list[tuple[int, int, int]],
    prompts: Sequence[Sequence[int]],
    draws: Tensor,
    most: int,
) -> tuple[Any, list[int]]:
    """Return a cache of whole prompts and each row's first token, drawn from logits that are computed once a prompt."""
    firsts = {line: (row, line, length) for row, line, length in rows}
    begun = Continued(len(firsts), next(iter(firsts.values()))[2], draws[:, :1])
    begun.admit(cache, [*firsts.values()], [prompts[row][-1] for row, _, _ in firsts.values()])
    given, _ = begun.inputs()
    found, tokens = logits(begun.cache, **given), list[int]()
    begun.columns.now += 1
    for start in range(0, len(rows), most):
        chosen = torch.tensor(rows[start : start + most], device=draws.device)
        tokens += choose(found[chosen[:, 1]], draws[chosen[:, 0], 0]).tolist()
    return begun.cache, tokens
