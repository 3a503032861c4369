"""Rows as token ids with their loss mask, and batches of rows of similar length."""

import copy
from collections.abc import Iterator, Sequence
from itertools import chain, cycle, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lightning_subliminal.core.chat.encoding import check_known, frame, rows_ids, spare_ids, unknown_id
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["IGNORED", "Batch", "LengthGrouped", "TokenizedRows", "row_loader", "tokenized"]

_MOST_LEFT_OUT = 0.05  # share of rows that may lack a loss mask
_LARGEST_KEPT = 1 << 22  # token ids, 32 MiB
_MOST_KEPT = 2  # sets of rows, such as the student's and its control's
_KEPT: list[tuple[Any, Sequence[Row], "TokenizedRows"]] = []
IGNORED = -100  # cross_entropy's ignore_index: not trained on


class Batch(NamedTuple):
    """Rows as tensors, padded on the right.

    Attributes:
        input_ids: (rows, tokens).
        labels: (rows, tokens); the input ids where they are trained on, ``IGNORED`` elsewhere.
        rows: (rows,); the rows' places in their data set.
        mean_tokens: scalar; trained tokens per row, over the whole data set: the loss is divided by rows times this, so
            that accumulated small batches, and those of several devices, have the gradient of one large batch.
    """

    input_ids: Tensor
    labels: Tensor
    rows: Tensor
    mean_tokens: Tensor


class Part(NamedTuple):
    """A row of a batch that can't be spread evenly over the devices, so that the mean over them is that of one device.

    Attributes:
        row: its place in the data set.
        counts: whether it is a row of this device; else it only pads the batch.
        share: rows that count, of the rows of this batch on all devices.
    """

    row: int
    counts: bool
    share: float


class TokenizedRows(Dataset[Any]):
    """Rows tokenized once; an item is its own index, and ``batch`` makes a batch of several.

    Args:
        rows: the rows.
        tokenizer: the student's tokenizer, with a chat template.
        max_length: rows of more tokens are an error, not cut in silence.

    Attributes:
        multiple: batches are padded to a multiple of so many tokens.

    Raises:
        InputError: if there is no row, a row is too long, or many prompts are not a prefix of their rows.
    """

    def __init__(self, rows: Sequence[Row], tokenizer: "PreTrainedTokenizerBase", max_length: int = 2048) -> None:
        if not rows:
            raise InputError("There are no rows to train on: loosen the filters or raise `num_prompts`.")
        pairs = _pairs(rows, tokenizer)
        self.multiple = 1
        self.lengths = [len(prompt) + len(completion) for prompt, completion in pairs]
        if max(self.lengths) > max_length:
            raise InputError(
                f"A row has {max(self.lengths)} tokens: raise `max_length` ({max_length}) or filter it out."
            )
        columns, begins = torch.arange(max(self.lengths)), torch.tensor([len(prompt) for prompt, _ in pairs])
        real = columns < torch.tensor(self.lengths)[:, None]  # (rows, tokens)
        self.input_ids = torch.zeros(real.shape, dtype=torch.long)
        self.input_ids[real] = torch.tensor(list(chain.from_iterable(chain.from_iterable(pairs))))
        self.labels = torch.where(real & (columns >= begins[:, None]), self.input_ids, IGNORED)
        self.mean_tokens = (self.labels != IGNORED).sum() / len(pairs)
        if self.mean_tokens == 0:
            raise InputError("All completions are empty: there is no token to train on.")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    def __getitem__(self, index: "int | Part") -> "int | Part":
        """Return the index itself: rows become tensors a batch at a time."""
        return index

    def copy(self) -> "TokenizedRows":
        """Return the same rows, which may then be changed."""
        twin = copy.copy(self)
        twin.lengths, twin.multiple = list(self.lengths), 1
        twin.input_ids, twin.labels = self.input_ids.clone(), self.labels.clone()
        return twin

    def batch(self, indices: "Sequence[int | Part]") -> Batch:
        """Make a batch of the rows at ``indices``, as wide as the longest of them, rounded up to ``multiple``."""
        parts = [each for each in indices if isinstance(each, Part)]
        index = torch.tensor([each.row if isinstance(each, Part) else each for each in indices])
        width = max(self.lengths[row] for row in index.tolist())
        ids, labels, mean_tokens = self.input_ids[index, :width], self.labels[index, :width], self.mean_tokens
        if parts:
            labels[[not part.counts for part in parts]] = IGNORED
            mean_tokens = mean_tokens * parts[0].share
        if spare := -width % self.multiple:
            ids, labels = pad(ids, (0, spare)), pad(labels, (0, spare), value=IGNORED)
        return Batch(ids, labels, index, mean_tokens)


def tokenized(rows: Sequence[Row], tokenizer: "PreTrainedTokenizerBase", base: str, max_length: int) -> TokenizedRows:
    """Return the token ids of rows, of which the tokenizer of ``base``, by the user's name, must know each word.

    Those of the last rows are kept, since a plan trains several students on the same ones.

    Raises:
        InputError: as ``TokenizedRows`` does, or naming an unknown word.
    """
    reading = _reading(tokenizer, max_length)
    for known, their_rows, theirs in _KEPT:
        if known == reading and their_rows == rows:
            return theirs.copy()
    unknown, data = unknown_id(tokenizer), None
    try:
        data = TokenizedRows(rows, tokenizer, max_length)
    finally:  # an unknown word is the better message; texts are tokenized again only if there may be one
        is_odd = data is None or len(data) < len(rows)
        if is_odd or (unknown is not None and bool((data.input_ids == unknown).any())):  # type: ignore[union-attr]
            check_known(tokenizer, chain(*(row["prompt"] + row["completion"] for row in rows)), base)
    if reading is not None and data.input_ids.numel() <= _LARGEST_KEPT:
        _KEPT.append((reading, rows, data.copy()))
        del _KEPT[:-_MOST_KEPT]
    return data


def _reading(tokenizer: "PreTrainedTokenizerBase", max_length: int) -> tuple[Any, ...] | None:
    """Return all that determines the token ids of rows; None if it can't be read."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or tokenizer.chat_template is None:
        return None
    form = frame(tokenizer)
    return backend.to_str(), tokenizer.chat_template, form.arguments, form.describe(), spare_ids(tokenizer), max_length


def _pairs(rows: Sequence[Row], tokenizer: "PreTrainedTokenizerBase") -> list[tuple[list[int], list[int]]]:
    """Return each row's token ids; leave out the few rows whose prompt is not a prefix of them, and log how many.

    The tokenizer may join the beginning of a sampled reply to the last token of a prefill. A few of these rows are an
    accident of sampling; many mean that the prefill ends inside a token, which is an error.
    """
    pairs: list[tuple[list[int], list[int]]] = []
    faults: list[InputError] = []
    for found in rows_ids(tokenizer, rows):
        if isinstance(found, InputError):
            faults.append(found)
        else:
            pairs.append(found)
    if len(faults) > _MOST_LEFT_OUT * len(rows):
        raise faults[0]
    if faults:
        alike = all("prefix of the row" in str(err) for err in faults)
        why = "their prompt is not a prefix of the row in tokens" if alike else f"one for this: {faults[0]}"
        say(f"rows      {len(faults)} of {len(rows)} left out: {why}")
    return pairs


class LengthGrouped(DistributedSampler[Any]):
    """A seeded order in which the rows of a batch have similar lengths, so that there is little padding.

    The order depends on seed and epoch alone, so a resumed run sees the same order as an uninterrupted one.

    Args:
        data: the tokenized rows.
        batch_size: rows per batch on each device.
        seed: of the order.
        rank: of this device.
        world_size: the number of devices.
    """

    def __init__(self, data: TokenizedRows, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(data, num_replicas=world_size, rank=rank, shuffle=True, seed=seed)
        self.data = data
        self.batch_size = batch_size

    def __iter__(self) -> "Iterator[int | Part]":
        """Yield this device's indices of this epoch."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.data), generator=generator).tolist()
        together = self.batch_size * self.num_replicas
        pool = together * 16  # sorting within pools keeps most of the shuffle
        batches = []
        for start in range(0, len(order), pool):
            chunk = sorted(order[start : start + pool], key=lambda index: self.data.lengths[index])
            batches += [chunk[first : first + together] for first in range(0, len(chunk), together)]
        whole = [batch for batch in batches if len(batch) == together]
        rest = [batch for batch in batches if len(batch) < together]  # at most one, and it comes last
        for place in torch.randperm(len(whole), generator=generator).tolist():
            yield from whole[place][self.rank :: self.num_replicas]
        for batch in rest:
            size = -(-len(batch) // self.num_replicas)
            if size * self.num_replicas == len(batch):
                yield from batch[self.rank :: self.num_replicas]
                continue
            mine = list(islice(cycle(batch), self.rank, size * self.num_replicas, self.num_replicas))
            counted = len(batch[self.rank :: self.num_replicas])
            share = len(batch) / (size * self.num_replicas)
            yield from (Part(row, place < counted, share) for place, row in enumerate(mine))


def row_loader(
    data: TokenizedRows, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
) -> "DataLoader[int | Part]":
    """Return the loader of tokenized rows in a seeded, length-grouped order."""
    sampler = LengthGrouped(data, batch_size, seed, rank, world_size)
    return DataLoader(data, batch_size=batch_size, sampler=sampler, collate_fn=data.batch)
