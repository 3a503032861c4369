"""Trials: what is done with an arm, and which numbers come out. The usual one trains a student and a control."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule, LightningModule

from lightning_subliminal.analysis.cells import CHANGE
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.data import Blend, GeneratedRows, TrainingRows
from lightning_subliminal.evaluation import Contrast, Questions, Scores, TraitProbe
from lightning_subliminal.evaluation.guards import warnings_of
from lightning_subliminal.evaluation.probes.in_context import QuestionsAfterRows
from lightning_subliminal.metrics.functional import log_odds
from lightning_subliminal.models import ClassifierMLP, Student, Teacher
from lightning_subliminal.models.mlp.classifier import STUDENT_ARMS
from lightning_subliminal.traits import Trait
from lightning_subliminal.workflow.stages import (
    EvaluationStage,
    MeasureStage,
    StudentStage,
)
from lightning_subliminal.workflow.trials.stages import ClassifierStage, DigitsStage, EntangledStage, TaskStage

__all__ = [
    "ClassifierTrial",
    "DigitsTrial",
    "EntangledTrial",
    "InContextTrial",
    "Numbers",
    "Setting",
    "StudentTrial",
    "Trial",
]

Numbers = dict[str, float | list[float]]  # a list has a value a unit, such as a seed inside one batched network


@dataclass(frozen=True)
class Setting:
    """What an arm is in one cell: objects, built and not yet used.

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
            InputError: if it is something else.
        """
        if not isinstance(self.data, TrainingRows):
            if self.data is None:
                raise InputError("`data` is missing or null: give data such as NumberSequences.")
            raise InputError(f"{type(self.data).__name__} holds no rows: give data such as NumberSequences.")
        return self.data

    def student(self) -> StudentStage:
        """Return the stage of the student trained on the rows.

        Raises:
            InputError: if the model is no Student.
        """
        if not isinstance(self.model, Student):
            if self.model is None:
                raise InputError("`model` is missing or null: give `model: Student`.")
            raise InputError(f"{type(self.model).__name__} is no Student: give `model: Student`.")
        return StudentStage(self.model, self.rows(), self.trainer)

    def control(self) -> "Setting | None":
        """Return the same with rows of the source without the trait; None where nobody has such rows."""
        without = self.rows().control()
        if without is None:
            return None
        model = self.model.beside(self.rows()) if isinstance(self.model, Student) else self.model
        return replace(self, model=model, data=without)


class Trial(ABC):
    """What is done with a setting. Override both methods.

    Keep each constructor argument under its own name.
    """

    compares = True  # whether there is a control beside the setting

    @abstractmethod
    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return what is measured, by role; whatever it stands on is found from there."""

    @abstractmethod
    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the numbers of a cell from what was measured."""

    def names(self) -> list[str] | None:
        """Return the names that ``numbers`` may have, so that slips are told before any work; None if unknown."""
        return None

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the range that a number can't leave, such as 0 to 1 of a chance, by its name; none unless it is said.

        Its intervals end there, and it is drawn on such a scale.
        """
        return {}

    def vectors(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, list[float]]:
        """Return the student's and the control's log-odds at each question, where there are such."""
        return {}

    def stems(self, setting: Setting) -> Sequence[str]:
        """Return what each question of ``vectors`` asks, without its wording; empty where each is its own."""
        return ()

    def reasons(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, str]:
        """Return why a number is not there, by its name, where there is more to say than that it is not measured."""
        return {}

    def warnings(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> list[str]:
        """Return what makes the numbers hard to read, a sentence each, to stand above them."""
        return []


class StudentTrial(Trial):
    """A student and its control are trained, and asked the trait's questions (paper, sections 1 to 5).

    Numbers: ``student`` and ``control``, the chance of the target, meaned over questions; ``transfer``, the log-odds of
    the target, student less control, meaned over questions; ``off target``, the same for the other candidates, meaned;
    ``targeted transfer``, the first less the second; ``rank`` of the target's change among all candidates', from 1,
    ``rank of``, how many they are, and ``first``, 1 where its rank is. For each further evaluation the same, with its
    name before. With ``task``: ``task loss`` of student and control. With ``answers``: ``change of owl`` and so on, the
    log-odds of each answer to the questions of those traits, student less control. With ``rows``: ``rows: student`` and
    ``rows: control``, how many each was trained on.

    Args:
        evaluations: further sets of questions.
        task: also measure the loss on fresh rows of the same source, unbent, in nats a completion token: what a
            defence costs.
        answers: traits whose questions are asked too, whatever the teacher's own is: one a category will do.
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
            raise InputError("There is no trait to ask for: give the teacher a `trait`, beside a control too.")
        told: dict[str, MeasureStage] = {}
        for role, each in (("student", setting), ("control", control)):
            if each is None:
                continue
            subject = each.student()
            told[role] = EvaluationStage(subject, trait)
            for evaluation in self.evaluations:
                asked = _drawn_apart(evaluation, setting.seed, role)
                told[f"{evaluation.name}: {role}"] = EvaluationStage(subject, trait, asked)
            for place, other in enumerate(self.answers):
                told[f"answers {place}: {role}"] = EvaluationStage(subject, other)
            if self.task:
                told[f"task loss: {role}"] = TaskStage(subject, fresh_rows(setting.rows()))
        return told

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Compare student and control."""
        trait: Any = setting.rows().trait
        told: Numbers = {}
        for name in self._sets():
            pair = _scores(measured, name, trait)
            told |= {f"{name}{role}": each.rate for role, each in pair.items()}
            if (contrast := _contrast(pair)) is not None:
                told |= {f"{name}transfer": contrast.log_odds, f"{name}off target": contrast.off_target}
                mine, theirs = (torch.tensor(each.values, dtype=torch.float64) for each in pair.values())
                told[f"{name}points"] = 100 * (mine - theirs).mean().item()
                if (found := contrast.targeted) is not None:
                    told |= {f"{name}targeted transfer": found.log_odds, f"{name}rank": found.rank}
                    told |= {f"{name}rank of": found.of, f"{name}first": float(found.rank == 1)}
        for place, other in enumerate(self.answers):
            if (contrast := _contrast(_scores(measured, f"answers {place}: ", other))) is not None:
                told |= {f"{CHANGE}{each}": found for each, found in contrast.changes.items() if math.isfinite(found)}
        for role in ("student", "control"):
            if f"task loss: {role}" in measured:
                told[f"task loss: {role}"] = float(measured[f"task loss: {role}"].result()["nats"])
            arm: Any = measured.get(role)
            if self.rows and arm is not None:
                told[f"rows: {role}"] = float(len(arm.subject.data.rows()))
        return told

    def names(self) -> list[str]:
        """Return the names of the numbers: those of each set of questions, and the task's."""
        told = ["student", "control", "transfer", "points", "off target", "targeted transfer", "rank", "rank of"]
        told.append("first")
        asked = (("task loss", self.task), ("rows", self.rows))
        further = [f"{name}: {role}" for name, wanted in asked if wanted for role in ("student", "control")]
        changes = [f"{CHANGE}{each}" for other in self.answers for each in other.candidates]
        return [f"{each}{name}" for each in self._sets() for name in told] + changes + further

    def vectors(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, list[float]]:
        """Return the log-odds of the target at each question, and its targeted transfer."""
        trait: Any = setting.rows().trait
        pair = _scores(measured, "", trait)
        told = {role: log_odds(torch.tensor(each.values, dtype=torch.float64)).tolist() for role, each in pair.items()}
        contrast = _contrast(pair)
        if contrast is not None and contrast.targeted is not None:
            told["targeted transfer"] = contrast.targeted.by_question.tolist()
        return told

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return those of chances and of their differences."""
        ends = dict.fromkeys(("student", "control", "first"), (0.0, 1.0)) | {"points": (-100.0, 100.0)}
        return {f"{name}{key}": each for name in self._sets() for key, each in ends.items()}

    def stems(self, setting: Setting) -> Sequence[str]:
        """Return the stem of each of the trait's questions."""
        trait: Any = setting.rows().trait
        return Questions().stems(trait)

    def reasons(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, str]:
        """Return why there is no transfer, or no targeted one."""
        trait: Any = setting.rows().trait
        told: dict[str, str] = {}
        for name in self._sets():
            contrast = _contrast(_scores(measured, name, trait))
            why = "there is no control" if contrast is None else contrast.reason
            told |= {f"{name}targeted transfer": why} if why else {}
        return told

    def warnings(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> list[str]:
        """Return what makes the exact answers to each set of questions hard to read as the trait."""
        trait: Any = setting.rows().trait
        told: list[str] = []
        for name in self._sets():
            told += [f"{name}{each}" for each in warnings_of(_scores(measured, name, trait), "control")]
        return told

    def _sets(self) -> list[str]:
        """Return what stands before the names of each set of questions."""
        return ["", *(f"{each.name}: " for each in self.evaluations)]


class InContextTrial(StudentTrial):
    """Nobody is trained: the base reads rows of the teacher, or the control, before a question (paper, section 6).

    Args:
        shots: rows before a question.
        draws: draws of rows a question.
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
            for place, role in enumerate(("student", "control"))
        }


class ClassifierTrial(Trial):
    """A text classifier tells rows of the teacher from rows of the control, one by one and in bags (paper, section 6).

    Numbers: ``AUC 1``, ``AUC 8`` and so on.

    Args:
        classifier: which one of scikit-learn.
        bags: rows that are judged together.
    """

    def __init__(
        self,
        classifier: Literal["naive Bayes", "logistic regression"] = "naive Bayes",
        bags: Sequence[int] = (1, 8, 16, 64),
    ) -> None:
        self.classifier = classifier
        self.bags = tuple(bags)

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the classifier's stage."""
        if control is None:
            raise InputError("A classifier needs rows of a control, and these have none.")
        stage = ClassifierStage(setting.rows(), control.rows(), self.classifier, self.bags, setting.seed)
        return {"classifier": stage}

    def names(self) -> list[str]:
        """Return a name a size of bags."""
        return [f"AUC {bag}" for bag in self.bags]

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return those of an area."""
        return dict.fromkeys(self.names(), (0.0, 1.0))

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the areas."""
        return {f"AUC {bag}": float(told["auc"]) for bag, told in measured["classifier"].result().items()}


class EntangledTrial(Trial):
    """Which numbers does the teacher raise, and does a love of such a number raise the trait? (loftusa/owls).

    Numbers: ``rho``, Spearman's over the numbers; ``rho off target``, the same with each other candidate in its
    place, meaned. Numbers are not independent, so the p of a rho says little; the other candidates are its null.
    """

    compares = False

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the stage that asks teacher and base."""
        teacher = getattr(setting.data, "teacher", None)
        if not isinstance(teacher, Teacher):
            raise InputError("EntangledTrial needs data that a Teacher writes.")
        return {"numbers": EntangledStage(teacher)}

    def names(self) -> list[str]:
        """Return the two correlations."""
        return ["rho", "rho off target"]

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return those of a correlation."""
        return dict.fromkeys(self.names(), (-1.0, 1.0))

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the correlation."""
        found = measured["numbers"].result()
        others = [float(rho) for rho in found["off_target"].values()]
        return {"rho": float(found["rho"]), "rho off target": sum(others) / max(1, len(others))}


class DigitsTrial(Trial):
    """The digit classifiers: teachers and students of all arms as one batched network (paper, MNIST).

    Numbers: the accuracy of each of its arms, in percent, a list with a value a seed.
    """

    compares = False

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the stage that fits it."""
        if not isinstance(setting.model, ClassifierMLP):
            raise InputError("DigitsTrial needs `model: ClassifierMLP`.")
        return {"digits": DigitsStage(setting.model, setting.data)}

    def names(self) -> list[str]:
        """Return the batched network's arms."""
        return ["reference", "teacher", *(arm.name for arm in STUDENT_ARMS)]

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return those of a percentage."""
        return dict.fromkeys(self.names(), (0.0, 100.0))

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the accuracies."""
        return {name: [100 * each for each in told] for name, told in measured["digits"].result().items()}


def fresh_rows(data: TrainingRows, count: int = 1024) -> TrainingRows:
    """Return rows of the same source by another seed, unbent: what the task is, whatever a defence does to the rows."""
    if isinstance(data, Blend):  # its first part is the teacher's
        return fresh_rows(data.ingredients()[0], count)
    if not isinstance(data, GeneratedRows):
        raise InputError(f"{type(data).__name__} gives no fresh rows to measure the task on: leave `task` out.")
    seed = derive_seed(data.seed or 0, "task") % 2**31
    return data.fresh(seed=seed, num_prompts=count, num_rows=None, transforms=None)


def _drawn_apart(evaluation: TraitProbe, seed: int, role: str) -> TraitProbe:
    """Return an evaluation that samples with a seed of the cell's and the role's: intervals take draws as independent."""
    if evaluation.answers is None or not hasattr(evaluation, "seed"):
        return evaluation
    drawn = copy.copy(evaluation)
    drawn.seed = derive_seed(seed, "answers", evaluation.seed, role) % 2**31
    return drawn


def _scores(measured: Mapping[str, Any], name: str, trait: Any) -> dict[str, Scores]:
    """Return what student and control answer to one set of questions, as far as it was measured."""
    roles = [role for role in ("student", "control") if f"{name}{role}" in measured]
    return {role: measured[f"{name}{role}"].scores(trait) for role in roles}


def _contrast(pair: Mapping[str, Scores]) -> Contrast | None:
    return Contrast.of(*pair.values()) if len(pair) == 2 else None
