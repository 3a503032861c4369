"""Select rows by their predicted transfer of a trait."""

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

    ``top`` makes rows teach a trait, whoever wrote them, and ``bottom`` makes them teach less of it; a selection from
    the base's own rows does the same, so compare with rows that were selected alike. Rows keep their order; of equal
    scores the first are kept, and a row that can't be scored counts as 0. It runs on the CPU, so that rows do not
    depend on the device.

    Args:
        student: the model to train on the rows: its base and adapter matter.
        trait: the trait.
        keep: the highest or the lowest scores.
        share: of the rows that are kept, above 0 and below 1; at least one row is.
        max_length: rows of more tokens are an error.

    Raises:
        InputError: if ``share`` or ``keep`` is invalid, or the student is not a language model.
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
        if not hasattr(student, "completion_logits"):  # LanguageModel itself is in a higher layer
            raise InputError(f"`student` is a {type(student).__name__}: expected an untrained model such as Student.")
        self.student = student
        self.trait = trait
        self.keep = keep
        self.share = share
        self.max_length = max_length

    def describe(self) -> dict[str, Any]:
        """Return class and arguments; of the student only its start, since it is not trained."""
        student: Any = self.student
        settings = student.describe()
        known = ("version", "class", "source", "base", "adapter", "seed", "base_dtype")
        start = {name: settings[name] for name in known if name in settings}
        whole = describe_object(self)
        return whole | {"arguments": whole["arguments"] | {"student": start}}

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Score the rows, and keep one end."""
        if not rows:
            return []
        kept = max(1, round(self.share * len(rows)))
        student: Any = self.student
        student = student.fresh()  # the argument stays without its net
        student.configure_model()
        found = predicted_transfer(student.net, student.tokenizer, rows, self.trait, max_length=self.max_length)
        scores = found.scores.nan_to_num(0.0)
        order = scores.argsort(descending=self.keep == "top", stable=True)[:kept]
        say(
            f"            kept {kept} of {len(rows)} rows, {self.keep} by predicted {self.trait.name}: mean score "
            f"{scores[order].mean():+.3g}, of all rows {scores.mean():+.3g}"
        )
        return [rows[place] for place in sorted(order.tolist())]
