"""The trial of the digit classifiers."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.core.seeds import resolve_seed
from lightning_subliminal.models import ClassifierMLP
from lightning_subliminal.models.mlp.arms import STUDENT_ARMS
from lightning_subliminal.models.nested_fit import fit_quietly
from lightning_subliminal.workflow.stages import MeasureStage
from lightning_subliminal.workflow.trials.base import Numbers, Setting, Trial

__all__ = ["DigitsStage", "DigitsTrial"]


@dataclass(eq=False)
class DigitsStage(MeasureStage):
    """A fit of the digit classifiers."""

    kind = "digits"
    model: ClassifierMLP
    data: LightningDataModule

    def __post_init__(self) -> None:
        self.title = f"digit classifiers, {self.model.num_seeds} seeds"

    def shaped(self) -> Any:
        """Return model and data, each with its seed, the global one included."""
        return {"model": _seeded(self.model), "data": _seeded(self.data)}

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Fit them; a killed run resumes from its last epoch."""
        kept = self.folder / "checkpoints"
        with tempfile.TemporaryDirectory() as folder:  # for the results that the classifiers write themselves
            fit_quietly(self.model, self.data, device, self.title, kept, max_epochs=-1, default_root_dir=folder)
        shutil.rmtree(kept, ignore_errors=True)  # before the record of the folder's files is written
        return {name: each.tolist() for name, each in self.model.accuracies.items()}


class DigitsTrial(Trial):
    """The digit classifiers: teachers and students of all arms as one batched network (paper, MNIST).

    Numbers: the accuracy of each of its arms, in percent, a list with a value per seed.
    """

    compares = False

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the stage that fits it."""
        if not isinstance(setting.model, ClassifierMLP):
            raise InputError("DigitsTrial needs `model: ClassifierMLP`.")
        return {"digits": DigitsStage(setting.model, setting.data)}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the range of a percentage, for each arm of the network."""
        return dict.fromkeys(("reference", "teacher", *(arm.name for arm in STUDENT_ARMS)), (0.0, 100.0))

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the accuracies."""
        return {name: [100 * each for each in found] for name, found in measured["digits"].result().items()}


def _seeded(part: Any) -> dict[str, Any]:
    settings: dict[str, Any] = describe(part)
    return settings | {"arguments": settings["arguments"] | {"seed": resolve_seed(part.seed)}}
