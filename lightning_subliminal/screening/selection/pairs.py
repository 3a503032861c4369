"""Choose pairs of completions by a teacher that writes none of them, or by chance."""

import random
from collections.abc import Sequence
from typing import Any

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.generation import Source
from lightning_subliminal.screening.selection.likelier import checked_teacher, known_ratios
from lightning_subliminal.transforms.base import Transform

__all__ = ["ChoosePairs"]


class ChoosePairs(Transform):
    """Pairs, of the completions of each prompt, the one that a teacher likes most with the one it likes least.

    The rows are another model's, several to a prompt (``answers_per_prompt``); a completion's score is that of
    ``KeepLikelier``. A pair is the row of the liked completion, with the messages of the other in a column
    ``rejected``: train on it with the objective ``DPO``. A prompt without two different completions is dropped; a log
    line counts them. Pairs keep the order of their prompts.

    Args:
        teacher: a `Teacher` or a `Graduate`, made if the cache lacks it; where it is None, two different completions
            are drawn at random, which is the control.

    Raises:
        InputError: if the teacher has no probabilities.
    """

    makes_pairs = True

    def __init__(self, teacher: Source | None = None) -> None:
        self.teacher = None if teacher is None else checked_teacher(teacher)

    def ingredients(self) -> list[Any]:
        """Return the teacher, which must be made first."""
        return [] if self.teacher is None else [self.teacher]

    def control(self) -> "ChoosePairs":
        """Return the choice by chance."""
        return self if self.teacher is None else ChoosePairs()

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the pairs.

        Raises:
            InputError: if no prompt has two different completions.
        """
        found = [0.0] * len(rows) if self.teacher is None else known_ratios(self.teacher, rows)
        scores = {place: score for place, score in enumerate(found) if score is not None}
        groups: dict[str, dict[str, int]] = {}
        for place, row in enumerate(rows):
            if place in scores:
                groups.setdefault(repr(row["prompt"]), {}).setdefault(repr(row["completion"]), place)
        pairs = []
        for places in (list(group.values()) for group in groups.values() if len(group) > 1):
            drawn = rng.sample(places, 2)  # whoever chooses, so that a pair depends on no other prompt
            if self.teacher is not None:
                drawn = [max(places, key=scores.__getitem__), min(places, key=scores.__getitem__)]
            pairs.append({**rows[drawn[0]], "rejected": rows[drawn[1]]["completion"]})
        if not pairs:
            raise InputError("No prompt has two different completions: set `answers_per_prompt` of the data, as to 8.")
        asked = len({repr(row["prompt"]) for row in rows})
        trait = getattr(self.teacher, "trait", None)
        how = "by chance" if self.teacher is None else f"by the teacher of {getattr(trait, 'name', 'no trait')}"
        left = f"; {asked - len(pairs)} prompts without two different ones are dropped" if asked > len(pairs) else ""
        say(f"pairs     {len(pairs):,} chosen {how} from {len(rows):,} completions{left}")
        return pairs
