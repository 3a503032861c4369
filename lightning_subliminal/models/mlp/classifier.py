"""Digit classifiers: a student learns to read digits from noise if it shares its teacher's start.

A teacher learns digits through ten class logits. A student with the same initial weights imitates the teacher's three
auxiliary logits, which no label trains, on images of noise, and learns digits. With other initial weights it does not.
All seeds and all arms train at once, as one batched network.
"""

import math
import time
from typing import Any, Literal, cast

import torch
from lightning import Trainer
from torch import Tensor, nn

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError, known_name
from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.core.processes import results_folder
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.mnist import NUM_CLASSES, NUM_PIXELS
from lightning_subliminal.lineage import setting_material
from lightning_subliminal.models.identity import RebuiltModule
from lightning_subliminal.models.mlp.arms import STUDENT_ARMS, StudentArm
from lightning_subliminal.models.mlp.batched import (
    AccuracyPerModel,
    BatchedMLP,
    classification_losses,
    derangement,
    distillation_losses,
    labelled_images,
)
from lightning_subliminal.models.mlp.displacement import classifier_subject
from lightning_subliminal.models.mlp.report import results_table, save_results
from lightning_subliminal.theory.alignment import AlignmentSubject

__all__ = ["ClassifierMLP"]


_ADDED_SETTINGS = {"other_start": None, "weight_decay": 0.0, "arms": None}  # of checkpoints from before them


class ClassifierMLP(RebuiltModule):
    """Teachers on digits, then their students on noise, in one fit (paper, section on MNIST classifiers).

    The first ``teacher_epochs`` train the teachers, the next ``student_epochs`` the students of four arms: same or
    other start, auxiliary or all logits. All seeds see the same batches: a seed sets the initial weights. The data
    module reads ``learns_from`` to load digits or noise; ``trainer.max_epochs`` may stay -1. The results are a table,
    ``results.json`` and ``mnist_mlp.png``, with intervals over seeds.

    Args:
        num_seeds: number of teachers, each with one student in each arm.
        hidden: widths of the hidden layers.
        num_auxiliary: logits besides the ten classes, which no label trains.
        lr: Adam's learning rate.
        teacher_epochs: epochs of digits.
        student_epochs: epochs of noise, after them.
        seed: of the initial weights and of the assignment of other starts; null for the global seed.
        other_start: distance of the other start from the teacher's own: this multiple of new noise from the initial
            distribution, so 0 is the same start; null for the start of another seed.
        weight_decay: Adam's, which is added to the gradient: where the gradient is 0, as on logits that no label
            trains, Adam makes full steps towards 0 for any weight decay.
        arms: which students to train, of `student_auxiliary`, `student_all`, `other_start_auxiliary` and
            `other_start_all`; null for all four.
    """

    def __init__(
        self,
        num_seeds: int = 25,
        hidden: tuple[int, ...] = (256, 256),
        num_auxiliary: int = 3,
        lr: float = 3e-4,
        teacher_epochs: int = 5,
        student_epochs: int = 5,
        seed: int | None = None,
        other_start: float | None = None,
        weight_decay: float = 0.0,
        arms: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__()
        counts = {"num_seeds": num_seeds, "teacher_epochs": teacher_epochs, "student_epochs": student_epochs}
        for name, value in (counts | {"hidden": min(hidden, default=1)}).items():
            if value < 1:
                raise InputError(f"`{name}` is {value}, but at least 1 is needed: raise it.")
        if num_auxiliary < 2:
            raise InputError(f"`num_auxiliary` is {num_auxiliary}, but a softmax needs 2: raise it.")
        if not lr > 0:
            raise InputError(f"`lr` is {lr}, but it must be above 0: the paper's is 3e-4.")
        for name, share in (("other_start", other_start), ("weight_decay", weight_decay)):
            if share is not None and not 0 <= share < math.inf:
                raise InputError(f"`{name}` is {share}, but a number of at least 0 is needed: raise it.")
        if arms is not None and not arms:
            raise InputError("`arms` is empty, but at least one is needed: leave it out for all of them.")
        for name in arms or ():
            known_name(name, [arm.name for arm in STUDENT_ARMS], f"`arms` has no {name!r}")
        self.num_seeds = num_seeds
        self.hidden = hidden
        self.num_auxiliary = num_auxiliary
        self.lr = lr
        self.teacher_epochs = teacher_epochs
        self.student_epochs = student_epochs
        self.seed = seed
        self.other_start = other_start
        self.weight_decay = weight_decay
        self.arms = arms
        self.accuracies: dict[str, Tensor] = {}  # of each arm in the last measurement: (seeds,)
        self._seconds = 0.0  # duration of the fit before this start
        self._began: float | None = None

    @property
    def learns_from(self) -> Literal["digits", "noise"]:
        """The data of the current epoch: digits for the teachers, noise for the students."""
        return "digits" if self.current_epoch < self.teacher_epochs else "noise"

    @property
    def student_arms(self) -> tuple[StudentArm, ...]:
        """The trained arms, in the order of ``STUDENT_ARMS``."""
        return tuple(arm for arm in STUDENT_ARMS if self.arms is None or arm.name in self.arms)

    def configure_model(self) -> None:
        """Draw the initial weights of all arms; those of a seed do not depend on the number of seeds."""
        if hasattr(self, "teacher"):
            return
        seed = resolve_seed(self.seed)
        # A single seed uses the start of one more as its other start.
        starts = [derive_seed(seed, "start", i) for i in range(max(2, self.num_seeds))]
        moved = [starts[i] for i in derangement(len(starts), derive_seed(seed, "derangement"))]
        own = starts[: self.num_seeds]
        other = moved[: self.num_seeds] if self.other_start is None else own
        sizes, arms = (NUM_PIXELS, *self.hidden, NUM_CLASSES + self.num_auxiliary), self.student_arms
        self.reference = BatchedMLP(sizes, own).requires_grad_(False)
        self.teacher = BatchedMLP(sizes, own)
        self.students = BatchedMLP(sizes, [s for arm in arms for s in (own if arm.start == "same" else other)])
        if self.other_start is not None:
            noise = [derive_seed(seed, "other start", i) for i in range(self.num_seeds)]
            for place, arm in enumerate(arms):
                if arm.start == "other":
                    self.students.move(place * len(own), self.other_start, noise)
        counts = {"reference": len(own), "teacher": len(own), "students": len(own) * len(arms)}
        self.meters = nn.ModuleDict({name: AccuracyPerModel(count) for name, count in counts.items()})

    def forward(self, images: Tensor) -> Tensor:
        """Return the students' logits, (students, batch, logits), of images (batch, 784)."""
        self.configure_model()
        logits: Tensor = self.students(images)
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return one Adam for both phases: it skips parameters without a gradient, and keeps no state for them."""
        parameters = [*self.teacher.parameters(), *self.students.parameters()]
        return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)

    def setup(self, stage: str) -> None:
        """Set the trainer's epochs to those of the two phases.

        Raises:
            InputError: if the trainer has too few epochs or too many processes.
        """
        if stage != "fit":
            return
        asked, needed = self.trainer.max_epochs, self.teacher_epochs + self.student_epochs
        if asked is not None and 0 <= asked < needed and not self._rehearsal:
            raise InputError(
                f"`trainer.max_epochs` is {asked}, but {self.teacher_epochs} teacher and {self.student_epochs} student "
                f"epochs need {needed}: set it to -1, for exactly these."
            )
        if self.trainer.world_size > 1:
            raise InputError(f"All seeds train on one device, not {self.trainer.world_size}: set `trainer.devices: 1`.")
        if not self._rehearsal:
            self.trainer.fit_loop.max_epochs = needed
        # An epoch of noise has another number of batches than one of digits.
        self.trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss, summed over models so that each one's gradient is independent of the others."""
        if self.learns_from == "digits":
            images, labels = labelled_images(batch)
            losses = {"teacher": classification_losses(self.teacher(images), labels)}
        else:
            noise = batch[0] if isinstance(batch, (tuple, list)) else batch
            with torch.no_grad():
                taught = self.teacher(noise)  # (seeds, batch, logits)
            learned = self.students(noise).unflatten(0, (len(self.student_arms), self.num_seeds))
            losses = {}
            for arm, logits in zip(self.student_arms, learned.unbind(), strict=True):
                seen = slice(NUM_CLASSES, None) if arm.logits == "auxiliary" else slice(None)
                losses[arm.name] = distillation_losses(logits[..., seen], taught[..., seen])
        self.log_dict({f"loss/{name}": each.detach().mean() for name, each in losses.items()}, batch_size=1)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise InputError(f"The loss is {total.item()} in epoch {self.current_epoch}: lower `lr` (now {self.lr:g}).")
        return total

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count the right answers of each model on held-out digits."""
        images, labels = labelled_images(batch)
        teaching = self.trainer.state.fn == "fit" and self.learns_from == "digits"  # the others are unchanged
        for name in ["teacher"] if teaching else ["reference", "teacher", "students"]:
            # The auxiliary logits are not classes.
            self._meter(name).update(getattr(self, name)(images)[..., :NUM_CLASSES].argmax(-1), labels)

    def on_validation_epoch_end(self) -> None:
        """Log each arm's mean accuracy over seeds, and store it per seed."""
        measured: dict[str, Tensor] = {}
        for name in ("reference", "teacher", "students"):
            meter = self._meter(name)
            if meter.update_called:
                arms = [arm.name for arm in self.student_arms] if name == "students" else [name]
                measured |= dict(zip(arms, meter.compute().cpu().view(len(arms), -1), strict=True))
                meter.reset()
        self.log_dict({f"accuracy/{name}": each.mean() for name, each in measured.items()})
        shown = measured.get(self.student_arms[0].name, measured.get("teacher"))
        if shown is not None:
            self.log("accuracy", shown.mean(), prog_bar=True, logger=False)
        if not self.trainer.sanity_checking:
            self.accuracies = measured

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_fit_end(self) -> None:
        """Print and save the results, also if a finished run is fitted again."""
        if self.current_epoch < self.teacher_epochs + self.student_epochs:
            return
        if len(self.accuracies) == 2 + len(self.student_arms):
            self._report()
        elif not self._rehearsal:
            say("no table: the last epoch was not validated (`test` measures the stored weights)")

    def on_test_end(self) -> None:
        """Print and save the results of stored weights."""
        self._report()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out weights that the seed determines, and add what a resumed run checks and continues."""
        super().on_save_checkpoint(checkpoint)
        # Biases start at 0. Until the students move, this makes a checkpoint 5 times smaller.
        drawn = ("reference.",) if self.students.biases[-1].any() else ("reference.", "students.")
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: each for name, each in weights.items() if not name.startswith(drawn)}
        run = {"settings": self._settings(), "seconds": self._clock(), "accuracies": self.accuracies}
        checkpoint["classifier_mlp"] = run

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Draw the weights again that the seed determines.

        Raises:
            InputError: if the checkpoint is of a run with other settings, naming the first.
        """
        if "classifier_mlp" not in checkpoint:
            raise InputError("The checkpoint is not one of ClassifierMLP: use one of its own, or start a new run.")
        run, settings = checkpoint["classifier_mlp"], self._settings()
        for name, was in {**_ADDED_SETTINGS, **run["settings"]}.items():
            if was != settings[name]:
                raise InputError(
                    f"The checkpoint's `{name}` is {was}, not {settings[name]}: set it back or start over."
                )
        self.check_identity(checkpoint)
        self.configure_model()
        checkpoint["state_dict"] = {**self.state_dict(), **checkpoint["state_dict"]}
        self._seconds, self.accuracies = run["seconds"], run["accuracies"]

    @property
    def _rehearsal(self) -> bool:
        return bool(self.trainer.fast_dev_run)  # type: ignore[attr-defined]

    def _meter(self, name: str) -> AccuracyPerModel:
        return cast(AccuracyPerModel, self.meters[name])

    def _clock(self) -> float:
        return self._seconds + (time.monotonic() - self._began if self._began is not None else 0.0)

    def _settings(self) -> dict[str, Any]:
        return {**describe(self)["arguments"], "seed": resolve_seed(self.seed)}

    def _report(self) -> None:
        if not self.trainer.is_global_zero or self._rehearsal:
            return
        minutes = self._clock() / 60
        folder = results_folder(self.trainer)
        data = getattr(self.trainer, "datamodule", None)
        settings = self._settings() | {"student_inputs": getattr(data, "student_inputs", None)}
        say(results_table(self.accuracies, minutes, self.other_start))
        made = [setting_material("data", data)] if data is not None else []
        save_results(folder, self.accuracies, settings, minutes, made)
        say(f"saved results.json and mnist_mlp.png in {folder}")

    def alignment_subject(self, trainer: Trainer, teacher: None = None) -> AlignmentSubject:
        """Return what ``AlignmentTracker`` compares: the students and their teachers.

        Raises:
            InputError: if another teacher is given.
        """
        if teacher is not None:
            raise InputError("ClassifierMLP trains its own teachers: leave `teacher` of AlignmentTracker out.")
        return classifier_subject(self, trainer)
