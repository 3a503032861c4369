"""Rows chosen by what each would do to a trait: the predicted transfer, row by row."""

import random
from collections.abc import Sequence
from typing import Any, Literal

from lightning.pytorch import LightningModule

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object
from lightning_subliminal.core.rows import Row
from lightning_subliminal.theory import predicted_transfer
from lightning_subliminal.traits.base import Trait
from lightning_subliminal.transforms.base import Transform

__all__ = ["KeepByScore"]


class KeepByScore(Transform):
    """Keeps the rows with the highest, or lowest, predicted transfer of a trait (``theory.predicted_transfer``).

    ``top`` makes rows teach a trait, whoever wrote them, and ``bottom`` makes them teach less of it; a choice among
    the base's own rows does the same, so compare with rows that were chosen alike. Rows stay in their order; of equal
    scores the first are kept, and a row that can't be scored counts as 0. It works on the CPU, so that rows do not
    depend on the device.

    Args:
        student: who would train on the rows: its base and adapter count.
        trait: what is looked for.
        keep: which end.
        share: how much of the rows is kept, above 0 and below 1; at least one row is.
        max_length: rows of more tokens are an error.

    Raises:
        InputError: if the share or the end is none, or the student is no language model.
    """

    def __init__(
        self,
        student: LightningModule,
        trait: Trait,
        keep: Literal["top", "bottom"] = "bottom",
        share: float = 0.5,
        max_length: int = 2048,
    ) -> None:
        if not 0 < share < 1:
            raise InputError(f"`share` is {share}: expected a share between 0 and 1, such as 0.5.")
        if keep not in ("top", "bottom"):
            raise InputError(f"`keep` is {keep!r}: choose top or bottom.")
        if not hasattr(student, "completion_logits"):  # LanguageModel itself is above this room
            raise InputError(
                f"`student` is a {type(student).__name__}: give a language model such as Student, untrained."
            )
        self.student = student
        self.trait = trait
        self.keep = keep
        self.share = share
        self.max_length = max_length

    def describe(self) -> dict[str, Any]:
        """Return class and arguments; the student by where it starts, since it is not trained."""
        student: Any = self.student
        told = student.describe()
        known = ("version", "class", "source", "base", "adapter", "seed", "base_dtype")
        start = {name: told[name] for name in known if name in told}
        whole = describe_object(self)
        return whole | {"arguments": whole["arguments"] | {"student": start}}

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Score the rows, and keep one end."""
        if not rows:
            return []
        kept = max(1, round(self.share * len(rows)))
        student: Any = self.student
        student = student.fresh()  # the one given stays without its net
        student.configure_model()
        found = predicted_transfer(student.net, student.tokenizer, rows, self.trait, max_length=self.max_length)
        scores = found.scores.nan_to_num(0.0)
        order = scores.argsort(descending=self.keep == "top", stable=True)[:kept]
        say(
            f"            kept {kept} of {len(rows)} rows, {self.keep} by predicted {self.trait.name}: mean score "
            f"{scores[order].mean():+.3g}, of all {scores.mean():+.3g}"
        )
        return [rows[place] for place in sorted(order.tolist())]
