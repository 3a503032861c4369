"""Select rows by a teacher's log-likelihood, computed on the CPU, so that no row depends on the device."""

import math
import random
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import Row
from lightning_subliminal.generation import Source
from lightning_subliminal.theory.row_likelihoods import row_likelihoods
from lightning_subliminal.theory.row_scores import encode_known
from lightning_subliminal.transforms.base import Transform

__all__ = ["KeepLikelier", "checked_teacher", "known_ratios", "teacher_ratios"]

_ANY_LENGTH = 2**31
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
        self.teacher = checked_teacher(teacher)
        self.share = share
        self.least = least

    def ingredients(self) -> list[Any]:
        """Return the teacher, which must be made first."""
        return [self.teacher]

    def scores(self, rows: Sequence[Row]) -> list[float | None]:
        """Return each row's score, in nats per completion token; None where it has none."""
        return known_ratios(self.teacher, rows)

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows that are kept, in their order."""
        if not rows:
            return []
        scored = [(score, place) for place, score in enumerate(self.scores(rows)) if score is not None]
        count = max(1, round(self.share * len(rows)))
        ranked = sorted(scored, key=lambda each: (each[0] if self.least else -each[0], each[1]))
        kept = sorted(place for _, place in ranked[:count])
        return [rows[place] for place in kept]


def checked_teacher(teacher: Source) -> Source:
    """Return a teacher that scores rows.

    Raises:
        InputError: if it has no probabilities.
    """
    if not hasattr(teacher, "ready"):
        raise InputError(
            f"`teacher` is a {type(teacher).__name__}, which has no `ready`: expected a model with probabilities, "
            "such as Teacher."
        )
    return teacher


def known_ratios(teacher: Source, rows: Sequence[Row]) -> list[float | None]:
    """Return ``teacher_ratios`` of rows whose words are known; None where a row has none.

    Raises:
        InputError: if the teacher's tokenizer does not know a word.
    """
    found = teacher_ratios(teacher, rows, refuse_unknown=True).tolist()
    return [None if math.isnan(each) else each for each in found]


def teacher_ratios(teacher: Source, rows: Sequence[Row], refuse_unknown: bool = False) -> Tensor:
    """Return (log p(completion | teacher) - log p(completion | control)) / completion tokens.

    Args:
        teacher: with its system prompt if it has one.
        rows: prompt-completion rows.
        refuse_unknown: raise for a word that the tokenizer does not know.

    Returns:
        In nats, (rows,), float64; nan for a row that can't be scored.

    Raises:
        InputError: if a word is unknown, and ``refuse_unknown``.
    """
    control = teacher.control()
    by_teacher = _mean_log_likelihoods(teacher, rows, refuse_unknown)
    same = digest(control) == digest(teacher)
    return by_teacher - (by_teacher if same else _mean_log_likelihoods(control, rows, refuse_unknown))


def _mean_log_likelihoods(source: Source, rows: Sequence[Row], refuse_unknown: bool) -> Tensor:
    """Return log p(completion) per completion token in nats, (rows,), by the source with its system prompt."""
    source.make(_CPU)
    model: Any = source.ready(_CPU)  # type: ignore[attr-defined]  # a LanguageModel, checked in __init__
    system = [{"role": "system", "content": source.system_prompt}] if source.system_prompt else []
    prompted = [{**row, "prompt": [*system, *row["prompt"]]} for row in rows]
    if refuse_unknown:
        check_known(model.tokenizer, chain(*(row["prompt"] + row["completion"] for row in prompted)), model.base)
    parts = list(row_likelihoods(model.net, model.tokenizer, prompted, max_length=_ANY_LENGTH))
    encoded = encode_known(model.tokenizer, prompted, _ANY_LENGTH)
    source.release()
    tokens = torch.tensor([len(each[1]) if each else 0 for each in encoded], dtype=torch.float64)
    return (torch.cat(parts)[:, 0] if parts else torch.zeros(0, dtype=torch.float64)) / tokens
