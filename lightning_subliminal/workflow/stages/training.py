"""Stages from teacher to student: teacher, completions, rows, student."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lightning_subliminal.core.processes import on_first, rank, wait_for_all, world_size
from lightning_subliminal.core.seeds import resolve_seed
from lightning_subliminal.data import GeneratedRows, TrainingRows
from lightning_subliminal.generation import Source
from lightning_subliminal.models import Student, Teacher
from lightning_subliminal.workflow.arms import arm_folder, train_arm
from lightning_subliminal.workflow.graduate import Graduate
from lightning_subliminal.workflow.stages.base import Stage

__all__ = ["CompletionsStage", "RowsStage", "StudentStage", "TeacherStage", "source_stages"]


@dataclass(eq=False)
class TeacherStage(Stage):
    """A fine-tuned teacher."""

    kind = "teacher"
    together = True
    teacher: Teacher

    def __post_init__(self) -> None:
        trait = self.teacher.trait.name if self.teacher.trait is not None else "without a trait"
        self.title = f"teacher {trait}, {self.teacher.base}, seed {resolve_seed(self.teacher.seed)}"

    @cached_property
    def folder(self) -> Path:
        """The teacher's own folder."""
        return self.teacher.folder

    def make(self, device: torch.device) -> None:
        """Fine-tune it."""
        self.teacher.make(device)


@dataclass(eq=False)
class CompletionsStage(Stage):
    """A teacher's completions, in shards, before the filters."""

    kind = "completions"
    together = True
    data: GeneratedRows

    def __post_init__(self) -> None:
        base = getattr(self.data.teacher, "base", type(self.data.teacher).__name__)
        self.title = f"completions {self.data.title}, {base}, seed {resolve_seed(self.data.seed)}"

    @cached_property
    def folder(self) -> Path:
        """The folder of the shards."""
        return self.data.shards_folder

    def parents(self) -> list[Stage]:
        """Return the teacher's stage."""
        return source_stages(self.data.teacher)

    def is_done(self) -> bool:
        """Return whether no shard is missing."""
        return not self.data.missing_shards()

    def make(self, device: torch.device) -> None:
        """Generate the missing shards, each process its share."""
        self.data.write_missing(device, rank(), world_size())
        wait_for_all()
        on_first(self.data.record_source)


@dataclass(eq=False)
class RowsStage(Stage):
    """The rows that a student trains on."""

    kind = "rows"
    data: TrainingRows

    def __post_init__(self) -> None:
        self.title = f"rows {self.data.title}, seed {resolve_seed(self.data.seed)}"

    @cached_property
    def folder(self) -> Path:
        """The folder of the rows."""
        return self.data.folder

    def parents(self) -> list[Stage]:
        """Return the stages of completions, and of the rows and sources that these rows are made of."""
        first: list[Stage] = [CompletionsStage(self.data)] if isinstance(self.data, GeneratedRows) else []
        for each in self.data.ingredients():
            first += [RowsStage(each)] if isinstance(each, TrainingRows) else source_stages(each)
        return first

    def make(self, device: torch.device) -> None:
        """Filter, transform and subsample them."""
        self.data.make(device)


@dataclass(eq=False)
class StudentStage(Stage):
    """A trained student.

    Args:
        student: untrained.
        data: its rows.
        trainer: arguments of ``lightning.Trainer`` that shape it, such as ``max_epochs``.
    """

    kind = "student"
    together = True
    student: Student
    data: TrainingRows
    trainer: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.title = f"student of {self.data.title}, {self.student.base}, seed {resolve_seed(self.student.seed)}"

    @cached_property
    def folder(self) -> Path:
        """The folder of its arm."""
        return arm_folder(self.student, self.data, **self.trainer)

    def parents(self) -> list[Stage]:
        """Return the stage of its rows, and those of the teachers that it is compared with, and of their controls."""
        found: list[Stage] = [RowsStage(self.data)]
        for each in self.student.sources(self.data):
            found += source_stages(each) + source_stages(each.control())
        return found

    def make(self, device: torch.device) -> None:
        """Train it."""
        train_arm(self.student.fresh(), self.data, device, self.title, **self.trainer)

    def load(self, device: torch.device) -> Student:
        """Load the trained student, which must be in the cache."""
        student = self.student.fresh()
        student.load(self.folder)
        student.to(device).eval()
        return student


def source_stages(source: Source) -> list[Stage]:
    """Return the stages that make a source of completions; empty where it needs no training."""
    if isinstance(source, Graduate):
        return [StudentStage(source.student, source.rows, source.shaping)]
    if isinstance(source, Teacher) and source.induction == "finetune" and source.weights is None:
        return [TeacherStage(source)]
    return []
