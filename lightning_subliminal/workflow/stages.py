"""Stages: what a plan is made of. A stage makes one artefact in a folder named by the digest of all that shaped it.

Equal stages have equal folders, so that arms share them and a killed run goes on; the work itself is done by the
modules and data modules that `fit` uses too.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from lightning_subliminal import bases
from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, difference, digest, outside_source
from lightning_subliminal.core.io.files import atomically, read_json
from lightning_subliminal.core.processes import on_first, rank, wait_for_all, world_size
from lightning_subliminal.data import GeneratedRows, TrainingRows
from lightning_subliminal.evaluation import ModelRef, Questions, Scores, TraitProbe
from lightning_subliminal.evaluation.probes.in_context import paired_rows
from lightning_subliminal.generation import Source
from lightning_subliminal.lineage import Material, artefact_material, is_whole, write_record
from lightning_subliminal.models import Student, Teacher
from lightning_subliminal.traits import Trait
from lightning_subliminal.workflow.arms import arm_folder, train_arm
from lightning_subliminal.workflow.graduate import Graduate

__all__ = [
    "CompletionsStage",
    "EvaluationStage",
    "MeasureStage",
    "RowsStage",
    "Stage",
    "StudentStage",
    "TeacherStage",
    "data_stages",
    "make_missing",
    "source_stages",
    "stage_materials",
    "walk",
]


class Stage(ABC):
    """One artefact and how it is made. Override ``folder``, ``make`` and ``title``; and ``parents``, if it has some.

    Attributes:
        kind: teacher, completions, rows, student, or what is measured.
        version: of the stage's code: raise it when the same settings would give another artefact.
        together: whether all processes of a run on several devices make it together; else the first one does.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    together: ClassVar[bool] = False

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where the artefact is kept."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What people call it, such as ``student wolf, pocket/a, seed 0``."""

    @abstractmethod
    def make(self, device: torch.device) -> None:
        """Make the artefact; what it needs has been made."""

    def parents(self) -> "list[Stage]":
        """Return the stages that must be made before."""
        return []

    @cached_property
    def key(self) -> str:
        """What tells it from other stages: kind and digest."""
        return f"{self.kind}-{self.folder.name}"

    def is_done(self) -> bool:
        """Tell whether the artefact is there, whole.

        Raises:
            InputError: if a file of it was lost or changed since.
        """
        return is_whole(self.folder)


class TeacherStage(Stage):
    """A fine-tuned teacher."""

    kind = "teacher"
    together = True

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher

    @cached_property
    def folder(self) -> Path:
        """Where the teacher keeps itself."""
        return self.teacher.folder

    @property
    def title(self) -> str:
        """What people call it."""
        trait = self.teacher.trait.name if self.teacher.trait is not None else "without a trait"
        return f"teacher {trait}, {self.teacher.base}, seed {self.teacher.seed}"

    def make(self, device: torch.device) -> None:
        """Fine-tune it."""
        self.teacher.make(device)


class CompletionsStage(Stage):
    """What a teacher wrote, shard by shard, before the filters."""

    kind = "completions"
    together = True

    def __init__(self, data: GeneratedRows) -> None:
        self.data = data

    @cached_property
    def folder(self) -> Path:
        """Where the shards are."""
        return self.data.shards_folder

    @property
    def title(self) -> str:
        """What people call it."""
        return f"completions {self.data.title}, {_base(self.data.teacher)}, seed {self.data.seed}"

    def parents(self) -> list[Stage]:
        """Return the teacher's stage."""
        return source_stages(self.data.teacher)

    def is_done(self) -> bool:
        """Tell whether no shard is missing."""
        return not self.data.missing_shards()

    def make(self, device: torch.device) -> None:
        """Let the teacher write the shards that are missing, each process its share."""
        self.data.write_missing(device, rank(), world_size())
        wait_for_all()
        on_first(self.data.record_source)


class RowsStage(Stage):
    """The rows that a student trains on."""

    kind = "rows"

    def __init__(self, data: TrainingRows) -> None:
        self.data = data

    @cached_property
    def folder(self) -> Path:
        """Where the rows are."""
        return self.data.folder

    @property
    def title(self) -> str:
        """What people call it."""
        return f"rows {self.data.title}, seed {self.data.seed}"

    def parents(self) -> list[Stage]:
        """Return the stages of whatever the rows are made of."""
        first: list[Stage] = [CompletionsStage(self.data)] if isinstance(self.data, GeneratedRows) else []
        return first + [stage for each in self.data.ingredients() for stage in _stages_of(each)]

    def make(self, device: torch.device) -> None:
        """Filter, bend and draw them."""
        self.data.make(device)


class StudentStage(Stage):
    """A student, trained.

    Args:
        student: untrained.
        data: its rows.
        trainer: arguments of ``lightning.Trainer`` that shape it, such as ``max_epochs``.
    """

    kind = "student"
    together = True

    def __init__(self, student: Student, data: TrainingRows, trainer: Mapping[str, Any]) -> None:
        self.student = student
        self.data = data
        self.trainer = dict(trainer)

    @cached_property
    def folder(self) -> Path:
        """Where the student is kept."""
        return arm_folder(self.student, self.data, **self.trainer)

    @property
    def title(self) -> str:
        """What people call it."""
        return f"student of {self.data.title}, {self.student.base}, seed {self.student.seed}"

    def parents(self) -> list[Stage]:
        """Return the stage of its rows, and of the teacher whose tokens are compared."""
        sources = self.student.sources(self.data)
        return [RowsStage(self.data), *(stage for each in sources for stage in _compared_stages(each))]

    def make(self, device: torch.device) -> None:
        """Train it."""
        train_arm(self.student.fresh(), self.data, device, self.title, **self.trainer)

    def load(self, device: torch.device) -> Student:
        """Load the trained student; it must be there."""
        student = self.student.fresh()
        student.load(self.folder)
        student.to(device).eval()
        return student


class MeasureStage(Stage):
    """Something measured: a JSON file. Override ``measure``, ``shaped`` and ``title``.

    Attributes:
        cache_dir: the cache's root; the common cache where it is None.
    """

    cache_dir: str | None = None

    @abstractmethod
    def measure(self, device: torch.device) -> dict[str, Any]:
        """Return the figures, JSON-able."""

    @abstractmethod
    def shaped(self) -> Any:
        """Return all that shapes the figures, as ``describe`` takes it."""

    @cached_property
    def folder(self) -> Path:
        """Where the figures are kept."""
        return cache_root(self.cache_dir) / "measured" / digest(self._told())[:16]

    def _told(self) -> dict[str, Any]:
        return {"kind": self.kind, "version": self.version, "shaped": self.shaped()}

    def materials(self) -> list[Material]:
        """Return what was measured, and on what: by default the artefacts of its parents."""
        return stage_materials(self.parents())

    def make(self, device: torch.device) -> None:
        """Measure, and keep it.

        Raises:
            InputError: if what is measured changes meanwhile.
        """
        told = describe(self._told())
        text = json.dumps(self.measure(device), indent=1, sort_keys=True)
        if (changed := difference(told, describe(self._told()))) is not None:
            raise InputError(f"What {self.title} is about changed meanwhile ({changed}): put it back, or run again.")
        atomically(self.folder / "measured.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))
        write_record(self.folder, self.kind, self._told(), self.materials())

    def result(self) -> dict[str, Any]:
        """Read the figures.

        Raises:
            InputError: if they are damaged.
        """
        path = self.folder / "measured.json"
        try:
            found: dict[str, Any] = read_json(path)
        except (OSError, ValueError) as err:
            raise InputError(f"{path} is damaged: delete {self.folder}, and the next run makes it again.") from err
        return found


class EvaluationStage(MeasureStage):
    """What a model answers to a trait's questions.

    Which of the candidates is the target is not part of it: traits of one category share their evaluations.

    Args:
        subject: a student's stage, or a base's name.
        trait: whose questions and candidates.
        evaluation: how it is asked; its own questions, exactly, where it is None.
        rows: for questions after rows: those of the teacher and those of the control.
        place: which of the two are read, 0 or 1; with rows.
        dtype: of a base's weights; a student has its own.
    """

    kind = "evaluation"

    def __init__(
        self,
        subject: StudentStage | str,
        trait: Trait,
        evaluation: TraitProbe | None = None,
        rows: tuple[TrainingRows, TrainingRows] | None = None,
        place: int = 0,
        dtype: str = "float32",
    ) -> None:
        self.subject = subject
        self.trait = trait
        self.evaluation = evaluation or Questions()
        self.rows = rows
        self.place = place
        self.dtype = dtype
        self.cache_dir = subject.data.cache_dir if isinstance(subject, StudentStage) else None

    @property
    def title(self) -> str:
        """What people call it."""
        who = self.subject if isinstance(self.subject, str) else self.subject.title
        return f"{self.evaluation.name} to {who}"

    def parents(self) -> list[Stage]:
        """Return the student's stage, and that of the rows in the context."""
        who: list[Stage] = [] if isinstance(self.subject, str) else [self.subject]
        return who + [RowsStage(each) for each in self.rows or ()]

    def materials(self) -> list[Material]:
        """Return the model that was asked, its base, and the rows in the context."""
        base = self.subject if isinstance(self.subject, str) else self.subject.student.base
        return [bases.material(base), *super().materials()]

    def shaped(self) -> dict[str, Any]:
        """Return model, questions and candidates."""
        who: Any = self.subject.key if isinstance(self.subject, StudentStage) else None  # whose digest holds its dtype
        who = who or {"base": bases.resolve(str(self.subject)).identity, "dtype": self.dtype}
        asked = (Questions() if self.rows else self.evaluation).asked(self.trait)
        told: dict[str, Any] = {"subject": who, "asked": asked, "candidates": sorted(self.trait.candidates)}
        told |= {"evaluation": describe(self.evaluation)} | outside_source(self.trait)
        if hasattr(self.trait, "forms"):
            told["forms"] = {each: self.trait.forms(each) for each in sorted(self.trait.candidates)}
        if self.rows:
            told |= {"rows": [each.folder.name for each in self.rows], "place": self.place}
        stated = [self.trait.statements(ways[0][0]["content"]) for ways in asked]
        return told | ({"statements": stated} if any(stated) else {})

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Ask."""
        if isinstance(self.subject, str):
            model = ModelRef("base", self.subject, None, {}, dtype=self.dtype).load(device)
        else:
            student = self.subject.load(device)
            model = ModelRef.held("student", student.net, student.tokenizer)
        asked: Any = self.evaluation
        if self.rows is not None:
            first, second = self.rows
            asked = asked.with_rows(paired_rows(first.rows(), second.rows())[self.place])
        scores = asked.of(self.trait).measure(model, 0)
        return {"candidates": list(scores.chances), "probabilities": scores.table.tolist()}

    def chances(self, target: str) -> torch.Tensor:
        """Return the chance of one candidate at each question, (questions,), float64."""
        candidates, table = self._answers
        return table[:, candidates.index(target)]

    def scores(self, trait: Trait) -> Scores:
        """Return what was measured, of a trait with these candidates."""
        chances = torch.stack([self.chances(each) for each in trait.candidates], 1)
        stems = () if self.rows else self.evaluation.stems(trait)
        return Scores.of_chances(chances, trait, (), stems, self.evaluation.answers)

    @cached_property
    def _answers(self) -> tuple[list[str], torch.Tensor]:
        found = self.result()  # read once: each candidate is asked for
        return found["candidates"], torch.tensor(found["probabilities"], dtype=torch.float64)


def source_stages(source: Source) -> list[Stage]:
    """Return the stages that a source of completions stands on; none where it is ready as it is."""
    if isinstance(source, Graduate):
        return [StudentStage(source.student, source.rows, source.shaping)]
    if isinstance(source, Teacher) and source.induction == "finetune" and source.weights is None:
        return [TeacherStage(source)]
    return []


def _compared_stages(source: Source) -> list[Stage]:
    """Return the stages of a source and of its control, whose tokens are compared."""
    return source_stages(source) + source_stages(source.control())


def stage_materials(stages: Iterable[Stage]) -> list[Material]:
    """Return the artefacts of stages, as what something was made from."""
    return [artefact_material(each.kind, each.folder) for each in stages]


def data_stages(data: TrainingRows) -> list[Stage]:
    """Return the stage that rows stand on."""
    return [RowsStage(data)]


def _stages_of(thing: Any) -> list[Stage]:
    return data_stages(thing) if isinstance(thing, TrainingRows) else source_stages(thing)


def _base(source: Source) -> str:
    return str(getattr(source, "base", type(source).__name__))


def make_missing(stages: Iterable[Stage], device: torch.device) -> None:
    """Make stages that the cache lacks, parents first; all processes of a run call this, if there are several."""
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
    """Yield stages and all they stand on, parents first, each once."""
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
