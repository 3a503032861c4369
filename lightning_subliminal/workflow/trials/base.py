"""The contract of a trial: what a plan measures in each cell of an arm, and which numbers it reads from that."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.models import Student
from lightning_subliminal.workflow.stages import MeasureStage, StudentStage

__all__ = ["Numbers", "Setting", "Trial"]

Numbers = dict[str, float | list[float]]  # a list has a value per unit, such as a seed of one batched network


@dataclass(frozen=True)
class Setting:
    """An arm in one cell: objects that are built and not yet used.

    Attributes:
        model: what is trained, such as a Student.
        data: what it is trained on.
        trainer: arguments of ``lightning.Trainer`` that shape the result.
        seed: the cell's.
    """

    model: LightningModule
    data: LightningDataModule
    trainer: Mapping[str, Any]
    seed: int

    def rows(self) -> TrainingRows:
        """Return the data, which must be rows.

        Raises:
            InputError: if the data holds none.
        """
        if self.data is None:
            raise InputError("`data` is missing or null: set data such as NumberSequences.")
        if not isinstance(self.data, TrainingRows):
            raise InputError(f"{type(self.data).__name__} holds no rows: set data such as NumberSequences.")
        return self.data

    def student(self) -> StudentStage:
        """Return the stage of the student trained on the rows.

        Raises:
            InputError: if the model is not a Student.
        """
        if self.model is None:
            raise InputError("`model` is missing or null: set `model: Student`.")
        if not isinstance(self.model, Student):
            raise InputError(f"{type(self.model).__name__} is not a Student: set `model: Student`.")
        return StudentStage(self.model, self.rows(), self.trainer)

    def control(self) -> "Setting | None":
        """Return the same with rows of the source without the trait; None if there are none."""
        without = self.rows().control()
        if without is None:
            return None
        model = self.model.fresh_for_control(self.rows()) if isinstance(self.model, Student) else self.model
        return replace(self, model=model, data=without)


class Trial(ABC):
    """What is measured in a setting. Override ``stages`` and ``numbers``.

    Keep each constructor argument under its own name.

    Attributes:
        compares: whether the setting has a control.
    """

    compares = True

    @abstractmethod
    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the measurements, by role; their ``parents`` lead to all stages that they need."""

    @abstractmethod
    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the numbers of a cell from what was measured."""

    def names(self) -> list[str] | None:
        """Return the names that ``numbers`` may have, so that a plan is checked before any work; None if unknown.

        By default those of ``limits``.
        """
        return list(self.limits()) or None

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the range of each bounded number, such as 0 to 1 of a probability; intervals and axes end there."""
        return {}

    def vectors(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, list[float]]:
        """Return the student's and the control's log-odds at each question, if there are any."""
        return {}

    def stems(self, setting: Setting) -> Sequence[str]:
        """Return the stem, without its wording, of each question of ``vectors``; empty if all questions differ."""
        return ()

    def reasons(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, str]:
        """Return why a number is missing, by its name, where the reason is not that it was not measured."""
        return {}

    def warnings(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> list[str]:
        """Return what makes the numbers hard to interpret, a sentence each, to be shown above them."""
        return []
