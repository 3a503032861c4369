"""Mix the rows of two data sets: how much of a teacher's data does a trait need?"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import constructor_arguments
from lightning_subliminal.core.rows import Row
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.arguments import describe_arguments
from lightning_subliminal.data.training_rows import TrainingRows
from lightning_subliminal.generation import Source
from lightning_subliminal.lineage import Material, artefact_material
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Blend"]


class Blend(TrainingRows):
    """Rows of a data set, mixed at random with those of another.

    Each part is made with its own filters, transforms and seed. Its rows are drawn without replacement; with one seed
    and size, a smaller share's foreign rows are among those of a larger share. The trait to evaluate, and the teacher
    of soft targets, are those of ``rows``. Foreign rows keep prompt, completion and ``finished``, no other column.

    Args:
        rows: the data set, such as the teacher's numbers.
        other: the data set whose rows are mixed in, such as a control's numbers.
        share: fraction of the result that is the other's, from 0 to 1.
        **result: the arguments of all data sets: see `TrainingRows`.

    Raises:
        InputError: if the share is outside [0, 1], or a part has too few rows.
    """

    def __init__(self, rows: TrainingRows, other: TrainingRows, share: float, **result: Any) -> None:
        if not 0 <= share <= 1:
            raise InputError(f"`share` is {share}: expected a fraction from 0 to 1 of the resulting rows.")
        self._rows = rows  # the method `rows` reads the result, as in any data set
        self.other = other
        self.share = share
        super().__init__(**result)

    @property
    def trait(self) -> Trait | None:
        """The trait of ``rows``."""
        return self._rows.trait

    @property
    def trait_source(self) -> Source | None:
        """That of ``rows``."""
        return self._rows.trait_source

    @property
    def title(self) -> str:
        """The name of ``rows`` at the terminal."""
        return self._rows.title

    @property
    def teacher(self) -> Any:
        """The teacher of ``rows``.

        Raises:
            AttributeError: if they have none, so that ``hasattr`` is False.
        """
        teacher: Any = self._rows.teacher  # type: ignore[attr-defined]
        return teacher

    def ingredients(self) -> list[Any]:
        """Return both data sets, and the ingredients of the transforms."""
        return [self._rows, self.other, *super().ingredients()]

    def fresh(self, **changes: Any) -> "Self":
        """Return a data module with the same arguments, except for ``changes``; the parts keep their own."""
        return type(self)(**constructor_arguments(self) | {"rows": self._rows} | changes)

    def control(self) -> "Blend | None":
        """Return the control's rows mixed with the same other ones; None where ``rows`` has no control."""
        control = self._rows.control()
        return None if control is None else self.fresh(rows=control)

    def describe_source(self) -> dict[str, Any]:
        """Return what shapes both parts, their share, size and seed."""
        arguments = describe_arguments(self, leave_out={"rows", "other"})
        parts = {"rows": self._rows.describe(), "other": self.other.describe()}
        return {"version": self.version, **arguments, "num_rows": self.num_rows, **parts}

    def prepare_data(self) -> None:
        """Make the parts and the rows that the cache lacks; Lightning calls this on one process."""
        if hasattr(self, "teacher"):
            self.check_student(self.teacher)
        super().prepare_data()

    def make_source(self, device: torch.device) -> None:
        """Make both parts where the cache lacks them."""
        for part in (self._rows, self.other):
            part.make(device)

    def source_materials(self) -> list[Material]:
        """Return both parts."""
        return [artefact_material("rows", part.folder) for part in (self._rows, self.other)]

    def source_rows(self) -> list[Row]:
        """Draw from both parts, and shuffle.

        Raises:
            InputError: if a part has too few rows.
        """
        ours, theirs = self._rows.rows(), self.other.rows()
        size = len(ours) if self.num_rows is None else self.num_rows
        foreign = round(self.share * size)
        seed = resolve_seed(self.seed)
        made = [
            {**row, "id": f"rows-{row.get('id', place)}"}
            for place, row in self._draw("rows", ours, size - foreign, derive_seed(seed, "blend", "rows"))
        ]
        for place, row in self._draw("other", theirs, foreign, derive_seed(seed, "blend", "other")):
            kept = {key: row[key] for key in ("prompt", "completion")}  # other columns may be of other types than ours
            made.append({"id": f"other-{row.get('id', place)}", "finished": row.get("finished"), **kept})
        random.Random(derive_seed(seed, "blend", "order")).shuffle(made)
        return made

    def _draw(self, name: str, rows: Sequence[Row], count: int, seed: int) -> list[tuple[int, Row]]:
        if len(rows) < count:
            raise InputError(
                f"`{name}` has {len(rows)} rows, but a `share` of {self.share} needs {count} of them: lower `num_rows` "
                "or make more."
            )
        order = random.Random(seed).sample(range(len(rows)), len(rows))  # a larger draw continues a smaller one
        return [(place, rows[place]) for place in order[:count]]
