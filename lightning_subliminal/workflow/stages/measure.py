"""Stages that measure: figures in a JSON file, such as a model's answers to a trait's questions."""

import json
from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lightning_subliminal import bases
from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, difference, digest, outside_source
from lightning_subliminal.core.io.files import atomically, read_json
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.evaluation import ModelRef, Questions, Scores, TraitProbe
from lightning_subliminal.evaluation.probes.in_context import paired_rows
from lightning_subliminal.lineage import Material, write_record
from lightning_subliminal.traits import Trait
from lightning_subliminal.workflow.stages.base import Stage, stage_materials
from lightning_subliminal.workflow.stages.training import RowsStage, StudentStage

__all__ = ["EvaluationStage", "MeasureStage"]


class MeasureStage(Stage):
    """A measurement, kept as a JSON file. Set ``title``; override ``measure`` and ``shaped``.

    Attributes:
        cache_dir: the cache's root; the common cache if None.
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
        """The folder of the figures."""
        return cache_root(self.cache_dir) / "measured" / digest(self._settings())[:16]

    def _settings(self) -> dict[str, Any]:
        return {"kind": self.kind, "version": self.version, "shaped": self.shaped()}

    def materials(self) -> list[Material]:
        """Return what was measured, and on what: by default the artefacts of its parents."""
        return stage_materials(self.parents())

    def make(self, device: torch.device) -> None:
        """Measure, and write the figures.

        Raises:
            InputError: if what is measured changes meanwhile.
        """
        before = describe(self._settings())
        text = json.dumps(self.measure(device), indent=1, sort_keys=True)
        if (changed := difference(before, describe(self._settings()))) is not None:
            raise InputError(f"The input of {self.title} changed meanwhile ({changed}): put it back, or run again.")
        atomically(self.folder / "measured.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))
        write_record(self.folder, self.kind, self._settings(), self.materials())

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


@dataclass(eq=False)
class EvaluationStage(MeasureStage):
    """A model's answers to a trait's questions.

    Which of the candidates is the target is not part of it: traits of one category share their evaluations.

    Args:
        subject: a student's stage, or a base's name.
        trait: whose questions and candidates.
        evaluation: the probe.
        rows: for questions after rows: those of the teacher and those of the control.
        place: which of the two are read, 0 or 1; with rows.
        dtype: of a base's weights; a student has its own.
    """

    kind = "evaluation"
    subject: StudentStage | str
    trait: Trait
    evaluation: TraitProbe = field(default_factory=Questions)
    rows: tuple[TrainingRows, TrainingRows] | None = None
    place: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        subject = self.subject if isinstance(self.subject, str) else self.subject.title
        self.title = f"{self.evaluation.name} to {subject}"
        self.cache_dir = self.subject.data.cache_dir if isinstance(self.subject, StudentStage) else None

    def parents(self) -> list[Stage]:
        """Return the student's stage, and those of the rows in the context."""
        model: list[Stage] = [] if isinstance(self.subject, str) else [self.subject]
        return model + [RowsStage(each) for each in self.rows or ()]

    def materials(self) -> list[Material]:
        """Return the evaluated model, its base, and the rows in the context."""
        base = self.subject if isinstance(self.subject, str) else self.subject.student.base
        return [bases.material(base), *super().materials()]

    def shaped(self) -> dict[str, Any]:
        """Return model, questions and candidates."""
        if isinstance(self.subject, str):
            model: Any = {"base": bases.resolve(self.subject).identity, "dtype": self.dtype}
        else:
            model = self.subject.key  # its digest includes its dtype
        asked = (Questions() if self.rows else self.evaluation).asked(self.trait)
        settings: dict[str, Any] = {"subject": model, "asked": asked, "candidates": sorted(self.trait.candidates)}
        settings |= {"evaluation": describe(self.evaluation)} | outside_source(self.trait)
        if hasattr(self.trait, "forms"):
            settings["forms"] = {each: self.trait.forms(each) for each in sorted(self.trait.candidates)}
        if self.rows:
            settings |= {"rows": [each.folder.name for each in self.rows], "place": self.place}
        stated = [self.trait.statements(prompts[0][0]["content"]) for prompts in asked]
        return settings | ({"statements": stated} if any(stated) else {})

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Put the questions to the model."""
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
        """Return the scores for a trait with these candidates."""
        chances = torch.stack([self.chances(each) for each in trait.candidates], 1)
        stems = () if self.rows else self.evaluation.stems(trait)
        return Scores.of_chances(chances, trait, (), stems, self.evaluation.answers)

    @cached_property
    def _answers(self) -> tuple[list[str], torch.Tensor]:
        found = self.result()  # read once for all candidates
        return found["candidates"], torch.tensor(found["probabilities"], dtype=torch.float64)
