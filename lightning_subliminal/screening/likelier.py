"""Rows chosen by a teacher, which reads them on the CPU: no row depends on the device."""

import random
from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_subliminal.core.chat.encoding import check_known, row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import Row
from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows
from lightning_subliminal.generation import Source
from lightning_subliminal.transforms.base import Transform

__all__ = ["KeepLikelier"]

_BATCH = 256  # rows that go through a model at once
_CPU = torch.device("cpu")


class KeepLikelier(Transform):
    """Keeps the rows that a teacher finds likelier than its control does, of rows that somebody else wrote.

    Logit-linear selection (arXiv 2602.04863): a row's score is
    (log p(completion | teacher) - log p(completion | control)) / completion tokens, in nats a token, where the teacher
    reads its system prompt if it has one, and the row keeps none. No token of the teacher's is in the data, and yet
    the choice may carry its trait. Rows stay in their order; of equal scores the first row is kept. A row without
    completion tokens, or whose prompt is no prefix of it in tokens, has no score and is dropped.

    Args:
        teacher: who judges; a `Teacher` or a `Graduate`, made on the way where the cache lacks it.
        share: part of the rows that is kept, above 0 and up to 1.
        least: keep those with the smallest scores instead.

    Raises:
        InputError: if the share is none, or the teacher gives no probabilities.
    """

    def __init__(self, teacher: Source, share: float = 0.5, least: bool = False) -> None:
        if not 0 < share <= 1:
            raise InputError(f"`share` is {share}: expected a part above 0 and up to 1 of the rows.")
        if not hasattr(teacher, "ready"):
            raise InputError(
                f"KeepLikelier needs a teacher whose probabilities can be read, such as Teacher, and "
                f"{type(teacher).__name__} has no `ready`."
            )
        self.teacher = teacher
        self.share = share
        self.least = least

    def ingredients(self) -> list[Any]:
        """Return what is made first: the teacher."""
        return [self.teacher]

    def control(self) -> "KeepLikelier":
        """Return the same with the teacher's control: all scores are 0, so the first rows are kept, as many."""
        return type(self)(self.teacher.control(), self.share, self.least)

    def scores(self, rows: Sequence[Row]) -> list[float | None]:
        """Return each row's score, in nats a completion token; None where it has none."""
        control = self.teacher.control()
        by_teacher = _mean_log_probabilities(self.teacher, rows)
        same = digest(control) == digest(self.teacher)
        by_control = by_teacher if same else _mean_log_probabilities(control, rows)
        pairs = zip(by_teacher, by_control, strict=True)
        return [None if one is None or other is None else one - other for one, other in pairs]

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows that are kept, in their order."""
        if not rows:
            return []
        scored = [(score, place) for place, score in enumerate(self.scores(rows)) if score is not None]
        count = max(1, round(self.share * len(rows)))
        ranked = sorted(scored, key=lambda each: (each[0] if self.least else -each[0], each[1]))
        kept = sorted(place for _, place in ranked[:count])
        return [rows[place] for place in kept]


class _Reader(Protocol):
    """A language model, as far as reading needs it."""

    tokenizer: Any
    base: str

    def completion_logits(self, batch: Any, reuse: bool = True) -> tuple[Tensor, Tensor]:
        """Return the logits that predict the completion tokens, and those tokens."""


def _mean_log_probabilities(source: Source, rows: Sequence[Row]) -> list[float | None]:
    """Return log p(completion) a completion token in nats, as the source with its system prompt has it."""
    source.make(_CPU)
    model: _Reader = source.ready(_CPU)  # type: ignore[attr-defined]  # __init__ has looked
    told = source.system_prompt
    start = [{"role": "system", "content": told}] if told else []
    heard = [{**row, "prompt": [*start, *row["prompt"]]} for row in rows]
    check_known(model.tokenizer, chain(*(row["prompt"] + row["completion"] for row in heard)), model.base)
    found = _read(model, heard)
    source.release()
    return found


@torch.no_grad()
def _read(model: _Reader, rows: Sequence[Row]) -> list[float | None]:
    places = [place for place, row in enumerate(rows) if _has_tokens(model.tokenizer, row)]
    found: list[float | None] = [None] * len(rows)
    if not places:
        return found
    data = TokenizedRows([rows[place] for place in places], model.tokenizer, max_length=2**31)
    order = sorted(range(len(data)), key=lambda index: data.lengths[index])  # like lengths together: less padding
    for first in range(0, len(order), _BATCH):
        chosen = order[first : first + _BATCH]
        batch = data.batch(chosen)
        logits, tokens = model.completion_logits(batch, reuse=False)
        losses = cross_entropy(logits.float(), tokens, reduction="none").double()  # (completion tokens,)
        counts = (batch.labels[:, 1:] != IGNORED).sum(1).tolist()  # (rows,)
        for index, part in zip(chosen, torch.split(losses, counts), strict=True):
            found[places[index]] = -part.mean().item()
    return found


def _has_tokens(tokenizer: Any, row: Row) -> bool:
    try:
        prompt, completion = row_ids(tokenizer, row)
    except InputError:  # the prompt is no prefix in tokens
        return False
    return bool(prompt and completion)
