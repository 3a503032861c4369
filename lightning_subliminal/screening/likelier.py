"""Select rows by a teacher's log-likelihood, computed on the CPU, so that no row depends on the device."""

import random
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
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
    """Keeps the rows that a teacher finds likelier than its control does, of rows that another model wrote.

    Logit-linear selection (arXiv 2602.04863): a row's score is
    (log p(completion | teacher) - log p(completion | control)) / completion tokens, in nats per token. The teacher gets
    its system prompt if it has one; the row keeps none. The teacher writes no token of the data, and yet the selection
    may carry its trait. Rows keep their order; of equal scores the first row is kept. A row without completion tokens,
    or whose prompt is not a prefix of it in tokens, has no score and is dropped.

    Args:
        teacher: scores the rows; a `Teacher` or a `Graduate`, made if the cache lacks it.
        share: of the rows that are kept, above 0 and up to 1.
        least: keep the rows with the smallest scores instead.

    Raises:
        InputError: if ``share`` is outside (0, 1], or the teacher has no probabilities.
    """

    def __init__(self, teacher: Source, share: float = 0.5, least: bool = False) -> None:
        if not 0 < share <= 1:
            raise InputError(f"`share` is {share}: expected a share of the rows above 0 and up to 1.")
        if not hasattr(teacher, "ready"):
            raise InputError(
                f"`teacher` is a {type(teacher).__name__}, which has no `ready`: expected a model with probabilities, "
                "such as Teacher."
            )
        self.teacher = teacher
        self.share = share
        self.least = least

    def ingredients(self) -> list[Any]:
        """Return the teacher, which must be made first."""
        return [self.teacher]

    def scores(self, rows: Sequence[Row]) -> list[float | None]:
        """Return each row's score, in nats per completion token; None where it has none."""
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


def _mean_log_probabilities(source: Source, rows: Sequence[Row]) -> list[float | None]:
    """Return log p(completion) per completion token in nats, by the source with its system prompt."""
    source.make(_CPU)
    model: Any = source.ready(_CPU)  # type: ignore[attr-defined]  # a LanguageModel, checked in __init__
    system = [{"role": "system", "content": source.system_prompt}] if source.system_prompt else []
    prompted = [{**row, "prompt": [*system, *row["prompt"]]} for row in rows]
    check_known(model.tokenizer, chain(*(row["prompt"] + row["completion"] for row in prompted)), model.base)
    found = _read(model, prompted)
    source.release()
    return found


@torch.no_grad()
def _read(model: Any, rows: Sequence[Row]) -> list[float | None]:
    places = [place for place, row in enumerate(rows) if _has_tokens(model.tokenizer, row)]
    found: list[float | None] = [None] * len(rows)
    if not places:
        return found
    data = TokenizedRows([rows[place] for place in places], model.tokenizer, max_length=2**31)
    order = sorted(range(len(data)), key=lambda index: data.lengths[index])  # similar lengths together: less padding
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
    except InputError:  # the prompt is not a prefix in tokens
        return False
    return bool(prompt and completion)
