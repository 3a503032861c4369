"""An arm is one condition of an experiment: a student, the rows it is trained on, and what it then answers."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_subliminal import bases
from lightning_subliminal.cache import cache_root, writable_folder
from lightning_subliminal.console import say
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.describe import digest
from lightning_subliminal.evaluation import Questions, TraitProbe
from lightning_subliminal.lineage import Material, artefact_material, is_whole, write_record
from lightning_subliminal.metrics.functional import (
    Interval,
    question_interval,
    question_probabilities,
)
from lightning_subliminal.models.fitting import fit_quietly
from lightning_subliminal.models.student import Student
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from transformers import PreTrainedTokenizerBase

__all__ = ["Arm", "arm_folder", "arm_materials", "arm_settings", "measure", "shaping", "train_arm"]


@dataclass(frozen=True)
class Arm:
    """What one model answers to a trait's questions.

    Attributes:
        name: base, teacher, control or student.
        probabilities: of each candidate at each question, (questions, candidates); computed, not sampled.
        candidates: in the order of the columns.
        further: what it answers to further sets of questions, by their names; there `probabilities` may be shares of
            sampled answers.
        stems: what each question asks, without its wording; an interval counts questions of one stem as one. Each
            question has its own where there are none.
    """

    name: str
    probabilities: Tensor
    candidates: tuple[str, ...]
    further: "dict[str, Arm]" = field(default_factory=dict)
    stems: tuple[str, ...] = ()

    def rate(self, candidate: str) -> float:
        """Give the chance of a candidate, its mean over questions."""
        return self.probabilities[:, self.candidates.index(candidate)].mean().item()

    def interval(self, candidate: str) -> Interval:
        """Return the 95 % interval of ``rate`` over questions, those of one stem counted as one; within 0 and 1."""
        return self.over_questions(self.probabilities[:, self.candidates.index(candidate)]).within(0.0, 1.0)

    def over_questions(self, values: Tensor) -> Interval:
        """Return the 95 % interval of the mean of one value a question, (questions,), clustered by stem."""
        return question_interval(values, self.stems)

    @property
    def no_candidate(self) -> float:
        """Give the chance of an answer that begins with none of the candidates."""
        return max(0.0, 1 - self.probabilities.sum(1).mean().item())


def measure(
    name: str,
    net: nn.Module,
    tokenizer: "PreTrainedTokenizerBase",
    trait: Trait,
    system_prompt: str | None = None,
    evaluations: Mapping[str, TraitProbe] | None = None,
) -> Arm:
    """Ask a model a trait's questions, and those of further sets."""
    probabilities = question_probabilities(net, tokenizer, trait, system_prompt)
    further = {
        label: Arm(
            name,
            each.chances(net, tokenizer, trait, system_prompt),
            trait.candidates,
            stems=tuple(each.stems(trait)),
        )
        for label, each in (evaluations or {}).items()
    }
    return Arm(name, probabilities, trait.candidates, further, tuple(Questions().stems(trait)))


def arm_folder(student: Student, data: TrainingRows, **trainer: Any) -> Path:
    """Give where an arm's student is kept: named by all that shapes it."""
    return cache_root(data.cache_dir) / "students" / digest(arm_settings(student, data, trainer))[:16]


def arm_settings(student: Student, data: TrainingRows, trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Give all that shapes an arm's student."""
    loading = {"batch_size": data.batch_size, "val_rows": data.val_rows, "rows": data.describe()}
    return {"student": student.describe(), "data": loading, "trainer": dict(trainer)}


def arm_materials(student: Student, data: TrainingRows) -> list[Material]:
    """Give what an arm's student was made from: base, rows, and the models that it was compared with as it learned."""
    sources: list[Any] = [student.divergence] if student.divergence is not None else []
    if (student.objective != "sft" or student.train_on != "all") and hasattr(data, "teacher"):
        sources.append(data.teacher)
    compared = [made for each in sources for made in each.materials()]
    return [bases.material(student.base), artefact_material("rows", data.folder), *compared]


def train_arm(student: Student, data: TrainingRows, device: torch.device, label: str, **trainer: Any) -> Student:
    """Train a student on one device, or load it where the cache has it; a killed run goes on from its last epoch.

    Args:
        student: an untrained student.
        data: its rows; made on the way where the cache lacks them.
        device: where to train.
        label: what to call it at the terminal.
        trainer: arguments of ``lightning.Trainer`` that shape the result, such as ``max_epochs``.

    Returns:
        The student, trained, on the device.
    """
    folder = arm_folder(student, data, **trainer)
    if is_whole(folder):
        student.load(folder)
        student.to(device).eval()
        say(f"{label}: reused from {folder}")
        return student
    checkpoints = writable_folder(folder) / "checkpoints"
    steps = fit_quietly(student, data, device, label, checkpoints, **trainer)
    student.save(folder)
    shutil.rmtree(checkpoints, ignore_errors=True)
    write_record(folder, "student", arm_settings(student, data, trainer), arm_materials(student, data))
    say(f"{label}: trained for {steps} steps, kept in {folder}")
    student.to(device).eval()
    return student


def shaping(trainer: "Trainer") -> dict[str, Any]:
    """Give the arguments of a trainer that shape what it trains, so that a control is trained alike."""
    given: dict[str, Any] = {"max_epochs": trainer.max_epochs, "precision": trainer.precision}
    given["accumulate_grad_batches"] = trainer.accumulate_grad_batches
    if trainer.max_steps != -1:
        given["max_steps"] = trainer.max_steps
    if trainer.gradient_clip_val is not None:
        given["gradient_clip_val"] = trainer.gradient_clip_val
    if trainer.gradient_clip_algorithm is not None:
        given["gradient_clip_algorithm"] = trainer.gradient_clip_algorithm.value
    if trainer.limit_train_batches != 1.0 or isinstance(trainer.limit_train_batches, int):  # 1.0: all; 1: one batch
        given["limit_train_batches"] = trainer.limit_train_batches
    return given
