"""What else than answers is measured: the loss on the task, classifiers of rows, entangled numbers, the digits."""

import math
import shutil
import tempfile
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.nn.functional import cross_entropy

from lightning_subliminal import bases
from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.core.seeds import resolve_seed
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.data.tokenized import TokenizedRows
from lightning_subliminal.models import ClassifierMLP, Teacher
from lightning_subliminal.models.nested_fit import fit_quietly
from lightning_subliminal.screening.entanglement import entanglement
from lightning_subliminal.screening.row_classifier import bag_auc
from lightning_subliminal.workflow.stages import MeasureStage, RowsStage, Stage, StudentStage, source_stages

__all__ = ["ClassifierStage", "DigitsStage", "EntangledStage", "TaskStage"]


class TaskStage(MeasureStage):
    """A student's loss on rows it has not seen, in nats a completion token."""

    kind = "task"

    def __init__(self, subject: StudentStage, rows: TrainingRows) -> None:
        self.subject = subject
        self.rows = rows
        self.cache_dir = rows.cache_dir

    @property
    def title(self) -> str:
        """What people call it."""
        return f"loss of {self.subject.title}"

    def parents(self) -> list[Stage]:
        """Return the student and the rows."""
        return [self.subject, RowsStage(self.rows)]

    def shaped(self) -> Any:
        """Return student and rows."""
        return {"subject": self.subject.key, "rows": self.rows.folder.name}

    @torch.no_grad()
    def measure(self, device: torch.device) -> dict[str, Any]:
        """Compute it, each token weighing alike."""
        student = self.subject.load(device)
        data = TokenizedRows(self.rows.rows(), student.tokenizer)
        total, count = 0.0, 0
        for start in range(0, len(data), 256):
            batch = data.batch(range(start, min(start + 256, len(data))))
            logits, tokens = student.completion_logits(type(batch)(*(each.to(device) for each in batch)), reuse=False)
            total += cross_entropy(logits.double(), tokens, reduction="sum").item()
            count += len(tokens)
        return {"nats": total / count, "tokens": count}


class ClassifierStage(MeasureStage):
    """How well a text classifier tells two sets of rows apart."""

    kind = "classifier"

    def __init__(
        self, rows: TrainingRows, others: TrainingRows, classifier: Any, bags: tuple[int, ...], seed: int
    ) -> None:
        self.rows = rows
        self.others = others
        self.classifier = classifier
        self.bags = bags
        self.seed = seed
        self.cache_dir = rows.cache_dir

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.classifier} on rows {self.rows.title}, seed {self.seed}"

    def parents(self) -> list[Stage]:
        """Return both sets of rows."""
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


class EntangledStage(MeasureStage):
    """Numbers that a teacher raises, and what loving each of them does to its base."""

    kind = "entangled"

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.cache_dir = teacher.cache_dir

    @property
    def title(self) -> str:
        """What people call it."""
        return f"entangled numbers of {self.teacher.trait.name if self.teacher.trait else 'none'}, {self.teacher.base}"

    def parents(self) -> list[Stage]:
        """Return the teacher's stage."""
        return source_stages(self.teacher)

    def shaped(self) -> Any:
        """Return the teacher and its trait."""
        return {"teacher": self.teacher.describe(), "trait": describe(self.teacher.trait)}

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Ask both ways."""
        teacher = self.teacher.ready(device)
        net, tokenizer = bases.load(teacher.base, dtype=getattr(teacher, "base_dtype", None))
        found = entanglement(net.to(device), teacher.net, tokenizer, teacher.trait)  # type: ignore[arg-type]
        told = {"rho": found.rho, "p": found.p, "numbers": found.numbers, "raised": found.raised, "pull": found.pull}
        told["off_target"] = dict(found.off_target)
        return {name: list(each) if isinstance(each, (list, tuple)) else each for name, each in told.items()}


class DigitsStage(MeasureStage):
    """The digit classifiers' run."""

    kind = "digits"

    def __init__(self, model: ClassifierMLP, data: LightningDataModule) -> None:
        self.model = model
        self.data = data

    @property
    def title(self) -> str:
        """What people call it."""
        return f"digit classifiers, {self.model.num_seeds} seeds"

    def shaped(self) -> Any:
        """Return model and data, each with its seed, also where that is the run's."""
        return {"model": _seeded(self.model), "data": _seeded(self.data)}

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Fit them; a killed run goes on from its last epoch."""
        kept = self.folder / "checkpoints"
        with tempfile.TemporaryDirectory() as folder:  # for the page that the classifiers draw of themselves
            fit_quietly(self.model, self.data, device, self.title, kept, max_epochs=-1, default_root_dir=folder)
        shutil.rmtree(kept, ignore_errors=True)  # before the record of the folder's files is written
        return {name: each.tolist() for name, each in self.model.accuracies.items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _seeded(thing: Any) -> dict[str, Any]:
    told: dict[str, Any] = describe(thing)
    return told | {"arguments": told["arguments"] | {"seed": resolve_seed(thing.seed)}}
