"""Transforms of whole rows: shuffle the pairs of prompt and completion, or drop duplicates."""

import json
import random
from collections.abc import Sequence

from lightning_subliminal.core.rows import Row
from lightning_subliminal.transforms.base import Transform

__all__ = ["DropDuplicates", "ShufflePrompts"]


class ShufflePrompts(Transform):
    """Pairs each completion with the prompt of another row: the completion no longer follows from its prompt.

    All other columns stay with the completion. A prefill stays with its prompt.
    """

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows with other rows' prompts; no row keeps its own, unless it is the only one."""
        order = rng.sample(range(len(rows)), len(rows))
        source = dict(zip(order, order[1:] + order[:1], strict=True))  # the next one in a cycle
        return [{**row, "prompt": rows[source[place]]["prompt"]} for place, row in enumerate(rows)]


class DropDuplicates(Transform):
    """Keeps the first of rows with the same prompt and the same completion."""

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows without repetitions, in their order."""
        first: dict[str, Row] = {}
        for row in rows:
            first.setdefault(json.dumps([row["prompt"], row["completion"]], sort_keys=True), row)
        return list(first.values())
