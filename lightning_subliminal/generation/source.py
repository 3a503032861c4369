"""Who completes the prompts of a data set: a teacher, or any other source of text with or without a trait."""

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
        trait: what it passes on, and what evaluation asks for, also beside a control.
    """

    trait: "Trait | None"

    @property
    @abstractmethod
    def system_prompt(self) -> str | None:
        """What it is told before each prompt; never part of a training row."""

    @abstractmethod
    def make(self, device: torch.device) -> None:
        """Make what it needs and the cache lacks, such as trained weights; called on one process."""

    @abstractmethod
    def engine(self, device: torch.device, batch_size: int) -> Engine:
        """Return the engine that generates its completions."""

    def release(self) -> None:  # noqa: B027 - most sources have nothing to let go of
        """Let go of what ``engine`` brought onto the device, where that is much."""

    @abstractmethod
    def control(self) -> "Source":
        """Return the same source without the trait: the control arm's."""

    @abstractmethod
    def describe(self) -> Any:
        """Return all that shapes its completions, as JSON-able data."""

    def materials(self) -> list[Material]:
        """Return what its completions come from, for their lineage; ``make`` has run. By default its settings alone."""
        return [setting_material("teacher", self)]
