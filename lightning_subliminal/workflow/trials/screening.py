"""Trials of screening: can a classifier detect the teacher's rows, and which numbers are entangled with the trait?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.models import Teacher
from lightning_subliminal.screening.entanglement import entanglement
from lightning_subliminal.screening.row_classifier import bag_auc
from lightning_subliminal.workflow.stages import MeasureStage, RowsStage, Stage, source_stages
from lightning_subliminal.workflow.trials.base import Numbers, Setting, Trial

__all__ = ["ClassifierStage", "ClassifierTrial", "EntangledStage", "EntangledTrial"]


@dataclass(eq=False)
class ClassifierStage(MeasureStage):
    """How well a text classifier distinguishes two sets of rows."""

    kind = "classifier"
    rows: TrainingRows
    others: TrainingRows
    classifier: Any
    bags: tuple[int, ...]
    seed: int

    def __post_init__(self) -> None:
        self.title = f"{self.classifier} on rows {self.rows.title}, seed {self.seed}"
        self.cache_dir = self.rows.cache_dir

    def parents(self) -> list[Stage]:
        """Return the stages of both sets of rows."""
        return [RowsStage(self.rows), RowsStage(self.others)]

    def shaped(self) -> Any:
        """Return rows, classifier and seed."""
        rows = [self.rows.folder.name, self.others.folder.name]
        return {"rows": rows, "classifier": self.classifier, "bags": self.bags, "seed": self.seed}

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Train and test it on halves."""
        first, second = self.rows.rows(), self.others.rows()
        texts = [[completion_text(row) for row in rows] for rows in (first, second)]
        ids = ([row["id"] for row in first], [row["id"] for row in second])
        found = bag_auc(texts[0], texts[1], self.bags, self.seed, self.classifier, ids=ids)
        return {
            str(bag): {"auc": each.auc, "low": _number(each.low), "high": _number(each.high), "bags": each.bags}
            for bag, each in found.items()
        }


class ClassifierTrial(Trial):
    """A text classifier separates rows of the teacher from rows of the control, singly and in bags (paper, section 6).

    Numbers: ``AUC 1``, ``AUC 8`` and so on.

    Args:
        classifier: which one of scikit-learn.
        bags: rows that are classified together.
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

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the range of the area under the curve, for each bag size."""
        return {f"AUC {bag}": (0.0, 1.0) for bag in self.bags}

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the areas."""
        return {f"AUC {bag}": float(found["auc"]) for bag, found in measured["classifier"].result().items()}


@dataclass(eq=False)
class EntangledStage(MeasureStage):
    """Numbers that a teacher raises, and how a preference for each of them changes its base."""

    kind = "entangled"
    teacher: Teacher

    def __post_init__(self) -> None:
        trait = self.teacher.trait.name if self.teacher.trait else "none"
        self.title = f"entangled numbers of {trait}, {self.teacher.base}"
        self.cache_dir = self.teacher.cache_dir

    def parents(self) -> list[Stage]:
        """Return the teacher's stage."""
        return source_stages(self.teacher)

    def shaped(self) -> Any:
        """Return the teacher and its trait."""
        return {"teacher": self.teacher.describe(), "trait": describe(self.teacher.trait)}

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Measure both directions."""
        teacher = self.teacher.ready(device)
        net, tokenizer = bases.load(teacher.base, dtype=getattr(teacher, "base_dtype", None))
        found = entanglement(net.to(device), teacher.net, tokenizer, teacher.trait)  # type: ignore[arg-type]
        lists = {"numbers": list(found.numbers), "raised": list(found.raised), "pull": list(found.pull)}
        return {"rho": found.rho, "p": found.p, **lists, "off_target": dict(found.off_target)}


class EntangledTrial(Trial):
    """Which numbers does the teacher raise, and does a preference for such a number raise the trait? (loftusa/owls).

    Numbers: ``rho``, Spearman's over the numbers; ``rho off target``, the same averaged over the other candidates.
    Numbers are not independent, so the p of a rho is of little use; the other candidates are its null distribution.
    """

    compares = False

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the stage that measures teacher and base."""
        teacher = getattr(setting.data, "teacher", None)
        if not isinstance(teacher, Teacher):
            raise InputError("EntangledTrial needs data that a Teacher writes.")
        return {"numbers": EntangledStage(teacher)}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the range of the two correlations."""
        return dict.fromkeys(("rho", "rho off target"), (-1.0, 1.0))

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the correlations."""
        found = measured["numbers"].result()
        others = [float(rho) for rho in found["off_target"].values()]
        return {"rho": float(found["rho"]), "rho off target": sum(others) / max(1, len(others))}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
