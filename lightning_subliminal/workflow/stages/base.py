"""The contract of a stage, and how missing stages are made."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import torch

from lightning_subliminal.core.cache import writable_folder
from lightning_subliminal.core.console import say
from lightning_subliminal.core.processes import on_first, wait_for_all
from lightning_subliminal.lineage import Material, artefact_material, is_whole

__all__ = ["Stage", "make_missing", "stage_materials", "walk"]


class Stage(ABC):
    """One artefact and how it is made. Set ``title``; override ``folder``, ``make`` and, if it has any, ``parents``.

    Attributes:
        kind: teacher, completions, rows, student, or what is measured.
        version: of the stage's code: raise it when the same settings would give another artefact.
        together: whether all processes of a run on several devices make it together; else the first one does.
        title: its name in messages, such as ``student wolf, pocket/a, seed 0``.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    together: ClassVar[bool] = False
    title: str

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder of the artefact."""

    @abstractmethod
    def make(self, device: torch.device) -> None:
        """Make the artefact; its parents have been made."""

    def parents(self) -> "list[Stage]":
        """Return the stages that must be made before."""
        return []

    @cached_property
    def key(self) -> str:
        """A unique name: kind and digest."""
        return f"{self.kind}-{self.folder.name}"

    def is_done(self) -> bool:
        """Return whether the artefact is complete.

        Raises:
            InputError: if one of its files was lost or changed since.
        """
        return is_whole(self.folder)


def stage_materials(stages: Iterable[Stage]) -> list[Material]:
    """Return the artefacts of stages, as materials of what is made from them."""
    return [artefact_material(each.kind, each.folder) for each in stages]


def make_missing(stages: Iterable[Stage], device: torch.device) -> None:
    """Make the stages that the cache lacks, parents first; in a run of several processes, all of them call this."""
    for stage in walk(stages):
        if on_first(stage.is_done):
            if stage.kind in ("teacher", "student"):
                say(f"{stage.title}: reused from {stage.folder}")
            continue
        writable_folder(stage.folder.parents[1])  # the cache itself, which a message then names
        if stage.together:
            stage.make(device)
        else:
            on_first(partial(stage.make, device))
        wait_for_all()


def walk(stages: Iterable[Stage]) -> Iterator[Stage]:
    """Yield stages and all their ancestors, parents first, each once."""
    seen: set[str] = set()

    def visit(stage: Stage) -> Iterator[Stage]:
        if stage.key in seen:
            return
        seen.add(stage.key)
        for parent in stage.parents():
            yield from visit(parent)
        yield stage

    for stage in stages:
        yield from visit(stage)
