"""Graduates: students that become teachers, for chains of teacher, student, student's student and so on."""

from pathlib import Path
from typing import Any

import torch

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest, outside_source
from lightning_subliminal.core.kinds import kind_of
from lightning_subliminal.core.seeds import resolve_seed
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.generation import Engine, Source, TransformersEngine
from lightning_subliminal.lineage import Material, artefact_material, is_whole
from lightning_subliminal.models.language_model import LanguageModel
from lightning_subliminal.models.student import Student
from lightning_subliminal.workflow.arms import arm_folder, train_arm

__all__ = ["Graduate"]


class Graduate(Source):
    """A student that was trained on a teacher's rows and then writes rows itself, without a system prompt.

    It is trained and cached as an arm of an experiment: an arm with the same settings is the same artefact.

    Args:
        student: untrained.
        rows: what it is trained on; its trait is theirs.
        max_epochs: of the training.
        trainer: further arguments of ``lightning.Trainer`` that shape it, such as ``gradient_clip_val``.

    Raises:
        InputError: if ``max_epochs`` is below 1.
    """

    def __init__(
        self, student: Student, rows: TrainingRows, max_epochs: int, trainer: dict[str, Any] | None = None
    ) -> None:
        if max_epochs < 1:
            raise InputError(f"`max_epochs` is {max_epochs}: expected at least 1.")
        self.student = student
        self.rows = rows
        self.max_epochs = max_epochs
        self.trainer = trainer
        self.trait = rows.trait
        self._trained: Student | None = None
        self._described: dict[int, dict[str, Any]] = {}  # by the global seed, which settings without a seed take

    @property
    def system_prompt(self) -> str | None:
        """None: its trait is in its weights."""
        return None

    @property
    def base(self) -> str:
        """The base that the student started from."""
        return self.student.base

    @property
    def induction(self) -> str:
        """``none`` if its rows are a control's, which holds for the whole chain after it; else ``finetune``."""
        taught_by = getattr(self.rows, "teacher", None)
        without = self.rows.title == "control" if taught_by is None else getattr(taught_by, "induction", "") == "none"
        return "none" if without else "finetune"

    @property
    def folder(self) -> Path:
        """The folder of the arm with these settings."""
        return arm_folder(self.student, self.rows, **self.shaping)

    @property
    def shaping(self) -> dict[str, Any]:
        """All arguments of the trainer that shape the training."""
        return {"max_epochs": self.max_epochs, **(self.trainer or {})}

    def describe(self) -> dict[str, Any]:
        """Return what shapes the trained weights, as for an arm's folder, but the rows by their digest.

        Otherwise a chain's description would nest those of all its ancestors. The digest begins with the name of the
        rows' folder, whose record describes them.
        """
        seed = resolve_seed(None)
        if seed not in self._described:  # computed once: a chain reads it many times
            loading = {"batch_size": self.rows.batch_size, "val_rows": self.rows.val_rows}
            self._described[seed] = {
                "class": kind_of(type(self)),
                "student": self.student.describe(),
                "data": loading | {"rows": digest(self.rows.describe())},
                "trainer": self.shaping,
            } | outside_source(self)
        return self._described[seed]

    def ingredients(self) -> list[Any]:
        """Return an empty list: plans read ``student`` and ``rows``, which make an arm of their own."""
        return []

    def materials(self) -> list[Material]:
        """Return the student's base and the trained student."""
        return [bases.material(self.base), artefact_material("student", self.folder)]

    def make(self, device: torch.device) -> None:
        """Train the student if the cache lacks it; its rows are made first."""
        train_arm(self.student.fresh(), self.rows, device, f"graduate {self.rows.title}", **self.shaping)

    def ready(self, device: torch.device) -> LanguageModel:
        """Load the trained student onto a device, for soft targets too.

        Raises:
            InputError: if it is not made yet.
        """
        if self._trained is None:
            folder = self.folder
            if not is_whole(folder):
                raise InputError(f"The graduate is not in {folder}: call `make` first, which trains it.")
            self._trained = self.student.fresh()
            self._trained.load(folder)
        self._trained.to(device).eval()
        return self._trained

    def engine(self, device: torch.device, batch_size: int) -> Engine:
        """Return the engine that writes its completions."""
        model = self.ready(device)
        return TransformersEngine(model.net, model.tokenizer, batch_size)

    def release(self) -> None:
        """Release the trained student; ``ready`` loads it again."""
        self._trained = None

    def control(self) -> "Graduate":
        """Return the same student, trained on the control's rows: a chain of equal length without the trait.

        Raises:
            InputError: if the rows have no control.
        """
        without = self.rows.control()
        if without is None:
            raise InputError(
                f"The rows {self.rows.title} of a Graduate have no control: set `control_path` of RowsFromFile, or use "
                "rows that a teacher writes."
            )
        return type(self)(self.student.fresh(), without, self.max_epochs, self.trainer)
