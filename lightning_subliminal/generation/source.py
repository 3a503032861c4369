"""Sources of completions for a data set: a teacher, or any other model with or without a trait."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch

from lightning_subliminal.generation.engine import Engine
from lightning_subliminal.lineage import Material, setting_material

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = ["Source"]


class Source(ABC):
    """A model that writes completions, such as ``Teacher``.

    Attributes:
        trait: the trait that it passes on and that evaluations measure, for a control, too.
    """

    trait: "Trait | None"

    @property
    @abstractmethod
    def system_prompt(self) -> str | None:
        """The system prompt before each prompt; never part of a training row."""

    @abstractmethod
    def make(self, device: torch.device) -> None:
        """Make what the cache lacks, such as trained weights; called on one process."""

    @abstractmethod
    def engine(self, device: torch.device, batch_size: int) -> Engine:
        """Return the engine that generates its completions."""

    def release(self) -> None:  # noqa: B027 - most sources have nothing to release
        """Release memory of the device that ``engine`` took, if it is much."""

    @abstractmethod
    def control(self) -> "Source":
        """Return the same source without the trait, for the control arm."""

    @abstractmethod
    def describe(self) -> Any:
        """Return all that determines its completions, as JSON-able data."""

    def materials(self) -> list[Material]:
        """Return the materials of its completions, for lineage, after ``make``. By default its settings alone."""
        return [setting_material("teacher", self)]
