"""A trial of theory: transfer predicted from the rows alone, and transfer after training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.metrics.functional import log_odds
from lightning_subliminal.models import Student
from lightning_subliminal.theory import predicted_transfer
from lightning_subliminal.traits import Trait
from lightning_subliminal.workflow.stages import MeasureStage, RowsStage, Stage
from lightning_subliminal.workflow.trials.base import Numbers, Setting
from lightning_subliminal.workflow.trials.student import StudentTrial

__all__ = ["PredictionStage", "PredictionTrial"]


@dataclass(eq=False)
class PredictionStage(MeasureStage):
    """The change that rows would make to a trait of an untrained student, to first order.

    Args:
        student: untrained; its base and adapter count.
        rows: the rows.
        trait: whose log-odds.
    """

    kind = "prediction"
    student: Student
    rows: TrainingRows
    trait: Trait

    def __post_init__(self) -> None:
        check_predictable(self.student)
        self.title = f"prediction of {self.trait.name} from {self.rows.title}, {self.student.base}"
        self.cache_dir = self.rows.cache_dir

    def parents(self) -> list[Stage]:
        """Return the rows' stage."""
        return [RowsStage(self.rows)]

    def shaped(self) -> Any:
        """Return the student's start, the rows and the trait."""
        known = ("version", "class", "source", "base", "adapter", "seed", "base_dtype")
        start = {name: value for name, value in self.student.describe().items() if name in known}
        return {"start": start, "rows": self.rows.folder.name, "trait": describe(self.trait)}

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Return the mean score of the rows."""
        student = self.student.fresh()
        student.configure_model()
        student.to(device)
        rows: Any = self.rows
        found = predicted_transfer(student.net, student.tokenizer, rows.rows(), self.trait, max_length=rows.max_length)
        interval = found.interval()
        return {
            "mean": found.mean,
            "low": interval.low if math.isfinite(interval.low) else None,  # one row has no interval
            "high": interval.high if math.isfinite(interval.high) else None,
            "rows": len(found.scores),
            "gradient_norm": found.gradient_norm,
        }


class PredictionTrial(StudentTrial):
    """Train a student and its control, and predict the effect of the training from the rows alone.

    Numbers, besides those of StudentTrial: ``predicted``, the first-order change of the log-odds by the student's rows
    less that by the control's, each for gradient descent with the run's steps and learning rates (a heuristic for Adam,
    whose steps do not grow with the gradient); ``log-odds`` of the trained student.
    """

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the evaluations, and the predictions of student and control."""
        if control is None:
            raise InputError("A prediction is compared with that of a control's rows, and these have none.")
        found = super().stages(setting, control)
        trait: Any = setting.rows().trait
        for role, each in (("student", setting), ("control", control)):
            found[f"predicted: {role}"] = PredictionStage(each.student().student, each.rows(), trait)
        return found

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Compare student and control, predicted and trained."""
        found = super().numbers(setting, measured)
        student, control = (_first_order(setting, measured[f"predicted: {role}"]) for role in ("student", "control"))
        answers: Any = measured["student"]
        trait: Any = setting.rows().trait
        found["predicted"] = student - control
        found["log-odds"] = log_odds(answers.chances(trait.target)).mean().item()
        return found

    def names(self) -> list[str]:
        """Return the names of the numbers."""
        return [*super().names(), "predicted", "log-odds"]


def check_predictable(student: Student) -> None:
    """Check that a student is trained on all tokens of the rows, which the prediction assumes.

    Raises:
        InputError: naming the setting.
    """
    named = next((name for name in ("optimizer", "schedule") if not isinstance(getattr(student, name), str)), None)
    if name := student.unlike_sft() or named:
        usual = {"objective": "sft", "train_on": "all", "retain": "null"}.get(name, "a short name")
        raise InputError(
            f"A prediction assumes training on all tokens of the rows, and the student's `{name}` changes that: "
            f"leave it at {usual}."
        )


def _first_order(setting: Setting, prediction: MeasureStage) -> float:
    """Return the change by gradient descent: the mean over rows times the sum of the run's learning rates."""
    found = prediction.result()
    data: Any = setting.rows()
    batches = max(1, math.ceil((found["rows"] - data.val_rows) / data.batch_size))
    steps = setting.trainer.get("max_epochs", 1) * math.ceil(
        batches / setting.trainer.get("accumulate_grad_batches", 1)
    )
    most = setting.trainer.get("max_steps", -1)
    steps = steps if most < 0 else min(steps, most)
    model: Any = setting.model
    rates = model.learning_rate * sum(model.rate_factor(step, steps) for step in range(steps))
    return float(found["mean"]) * rates
