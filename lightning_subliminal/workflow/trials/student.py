"""Trials of a trait: a student and its control are trained, or a base reads their rows, and answer its questions."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from lightning_subliminal.analysis.cells import CHANGE
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.data import Blend, GeneratedRows, TrainingRows
from lightning_subliminal.data.tokenized import TokenizedRows
from lightning_subliminal.evaluation import Contrast, Questions, Scores, TraitProbe
from lightning_subliminal.evaluation.guards import warnings_of
from lightning_subliminal.evaluation.probes.in_context import QuestionsAfterRows
from lightning_subliminal.metrics.functional import log_odds
from lightning_subliminal.traits import Trait
from lightning_subliminal.workflow.stages import EvaluationStage, MeasureStage, RowsStage, Stage, StudentStage
from lightning_subliminal.workflow.trials.base import Numbers, Setting, Trial

__all__ = ["InContextTrial", "StudentTrial", "TaskStage"]

ROLES = ("student", "control")


@dataclass(eq=False)
class TaskStage(MeasureStage):
    """A student's loss on rows it has not seen, in nats per completion token."""

    kind = "task"
    subject: StudentStage
    rows: TrainingRows

    def __post_init__(self) -> None:
        self.title, self.cache_dir = f"loss of {self.subject.title}", self.rows.cache_dir

    def parents(self) -> list[Stage]:
        """Return the stages of student and rows."""
        return [self.subject, RowsStage(self.rows)]

    def shaped(self) -> Any:
        """Return student and rows."""
        return {"subject": self.subject.key, "rows": self.rows.folder.name}

    @torch.no_grad()
    def measure(self, device: torch.device) -> dict[str, Any]:
        """Return the loss, each token weighing alike."""
        student = self.subject.load(device)
        data = TokenizedRows(self.rows.rows(), student.tokenizer)
        total, count = 0.0, 0
        for start in range(0, len(data), 256):
            batch = data.batch(range(start, min(start + 256, len(data))))
            logits, tokens = student.completion_logits(type(batch)(*(each.to(device) for each in batch)), reuse=False)
            total += cross_entropy(logits.double(), tokens, reduction="sum").item()
            count += len(tokens)
        return {"nats": total / count, "tokens": count}


class StudentTrial(Trial):
    """Train a student and its control, and put the trait's questions to both (paper, sections 1 to 5).

    Numbers: ``student`` and ``control``, the chance of the target, averaged over questions; ``transfer``, the log-odds
    of the target, student less control, averaged over questions; ``off target``, the same averaged over the other
    candidates; ``targeted transfer``, the first less the second; ``rank`` of the target's change among all candidates',
    from 1, ``rank of``, how many they are, and ``first``, 1 where its rank is. For each further evaluation the same,
    prefixed by its name. With ``task``: ``task loss`` of student and control. With ``answers``: ``change of owl`` and
    so on, the log-odds of each answer to the questions of those traits, student less control. With ``rows``:
    ``rows: student`` and ``rows: control``, how many each was trained on.

    Args:
        evaluations: further sets of questions.
        task: also measure the loss on fresh rows of the same source, without transforms, in nats per completion token:
            what a defence costs.
        answers: further traits whose questions are put; one per category is enough.
        rows: also count the rows.
    """

    def __init__(
        self,
        evaluations: list[TraitProbe] | None = None,
        task: bool = False,
        answers: list[Trait] | None = None,
        rows: bool = False,
    ) -> None:
        self.evaluations = evaluations or []
        self.task = task
        self.answers = answers or []
        self.rows = rows

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the evaluations of student and control."""
        trait = setting.rows().trait
        if trait is None:
            raise InputError("There is no trait to evaluate: set the teacher's `trait`, for a control teacher too.")
        found: dict[str, MeasureStage] = {}
        for role, each in zip(ROLES, (setting, control), strict=True):
            if each is None:
                continue
            subject = each.student()
            found[role] = EvaluationStage(subject, trait)
            for evaluation in self.evaluations:
                asked = _drawn_apart(evaluation, setting.seed, role)
                found[f"{evaluation.name}: {role}"] = EvaluationStage(subject, trait, asked)
            for place, other in enumerate(self.answers):
                found[f"answers {place}: {role}"] = EvaluationStage(subject, other)
            if self.task:
                found[f"task loss: {role}"] = TaskStage(subject, fresh_rows(setting.rows()))
        return found

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Compare student and control."""
        found: Numbers = {}
        for name, pair in self._scores(setting, measured).items():
            found |= {f"{name}{role}": each.rate for role, each in pair.items()}
            if (contrast := _contrast(pair)) is not None:
                found |= {f"{name}transfer": contrast.log_odds, f"{name}off target": contrast.off_target}
                mine, theirs = (torch.tensor(each.values, dtype=torch.float64) for each in pair.values())
                found[f"{name}points"] = 100 * (mine - theirs).mean().item()
                if (target := contrast.targeted) is not None:
                    found |= {f"{name}targeted transfer": target.log_odds, f"{name}rank": target.rank}
                    found |= {f"{name}rank of": target.of, f"{name}first": float(target.rank == 1)}
        for place, other in enumerate(self.answers):
            if (contrast := _contrast(_pair(measured, f"answers {place}: ", other))) is not None:
                changes = contrast.changes.items()
                found |= {f"{CHANGE}{each}": change for each, change in changes if math.isfinite(change)}
        for role in ROLES:
            if f"task loss: {role}" in measured:
                found[f"task loss: {role}"] = float(measured[f"task loss: {role}"].result()["nats"])
            arm: Any = measured.get(role)
            if self.rows and arm is not None:
                found[f"rows: {role}"] = float(len(arm.subject.data.rows()))
        return found

    def names(self) -> list[str]:
        """Return the names of the numbers: those of each set of questions, of the task, the rows and the answers."""
        each_set = [*ROLES, "transfer", "points", "off target", "targeted transfer", "rank", "rank of", "first"]
        asked = (("task loss", self.task), ("rows", self.rows))
        further = [f"{name}: {role}" for name, wanted in asked if wanted for role in ROLES]
        changes = [f"{CHANGE}{each}" for other in self.answers for each in other.candidates]
        return [f"{prefix}{name}" for prefix in self._sets() for name in each_set] + changes + further

    def vectors(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, list[float]]:
        """Return the log-odds of the target at each question, and its targeted transfer."""
        pair = self._scores(setting, measured)[""]
        found = {role: log_odds(torch.tensor(each.values, dtype=torch.float64)).tolist() for role, each in pair.items()}
        contrast = _contrast(pair)
        if contrast is not None and contrast.targeted is not None:
            found["targeted transfer"] = contrast.targeted.by_question.tolist()
        return found

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the ranges of chances and of their differences."""
        ends = dict.fromkeys((*ROLES, "first"), (0.0, 1.0)) | {"points": (-100.0, 100.0)}
        return {f"{name}{key}": each for name in self._sets() for key, each in ends.items()}

    def stems(self, setting: Setting) -> Sequence[str]:
        """Return the stem of each of the trait's questions."""
        trait: Any = setting.rows().trait
        return Questions().stems(trait)

    def reasons(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, str]:
        """Return why there is no transfer, or no targeted one."""
        found: dict[str, str] = {}
        for name, pair in self._scores(setting, measured).items():
            contrast = _contrast(pair)
            why = "there is no control" if contrast is None else contrast.reason
            found |= {f"{name}targeted transfer": why} if why else {}
        return found

    def warnings(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> list[str]:
        """Return what makes the exact answers to each set of questions hard to read as the trait."""
        sets = self._scores(setting, measured).items()
        return [f"{name}{each}" for name, pair in sets for each in warnings_of(pair, "control")]

    def _sets(self) -> list[str]:
        """Return the prefix of the names of each set of questions."""
        return ["", *(f"{each.name}: " for each in self.evaluations)]

    def _scores(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, dict[str, Scores]]:
        """Return the scores of student and control, by the prefix of each set of questions."""
        return {name: _pair(measured, name, setting.rows().trait) for name in self._sets()}


class InContextTrial(StudentTrial):
    """Train nothing: the base reads rows of the teacher, or the control, before a question (paper, section 6).

    Args:
        shots: rows before a question.
        draws: draws of rows per question.
    """

    def __init__(self, shots: int = 4, draws: int = 8) -> None:
        super().__init__()
        self.shots = shots
        self.draws = draws

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the base's evaluations after rows of the teacher, and after those of the control."""
        trait: Any = setting.rows().trait
        if control is None:
            raise InputError("Questions after rows need rows of a control, and these have none.")
        student = setting.student().student
        asked = QuestionsAfterRows(shots=self.shots, draws=self.draws, seed=setting.seed)
        rows = (setting.rows(), control.rows())
        return {
            role: EvaluationStage(student.base, trait, asked, rows, place, student.base_dtype)
            for place, role in enumerate(ROLES)
        }


def fresh_rows(data: TrainingRows, count: int = 1024) -> TrainingRows:
    """Return rows of the same source by another seed, without transforms: the task, unchanged by a defence."""
    if isinstance(data, Blend):  # its first part is the teacher's
        return fresh_rows(data.ingredients()[0], count)
    if not isinstance(data, GeneratedRows):
        raise InputError(f"{type(data).__name__} has no fresh rows to measure the task on: leave `task` out.")
    seed = derive_seed(data.seed or 0, "task") % 2**31
    return data.fresh(seed=seed, num_prompts=count, num_rows=None, transforms=None)


def _drawn_apart(evaluation: TraitProbe, seed: int, role: str) -> TraitProbe:
    """Return an evaluation that samples with a seed per cell and role: intervals assume independent draws."""
    if evaluation.answers is None or not hasattr(evaluation, "seed"):
        return evaluation
    drawn = copy.copy(evaluation)
    drawn.seed = derive_seed(seed, "answers", evaluation.seed, role) % 2**31
    return drawn


def _pair(measured: Mapping[str, Any], name: str, trait: Any) -> dict[str, Scores]:
    """Return the scores of student and control on one set of questions, as far as they were measured."""
    return {role: measured[f"{name}{role}"].scores(trait) for role in ROLES if f"{name}{role}" in measured}


def _contrast(pair: Mapping[str, Scores]) -> Contrast | None:
    return Contrast.of(*pair.values()) if len(pair) == 2 else None
