"""Alignment of a student with its teacher during training: cosine of displacements, and the teacher's own loss."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from lightning_subliminal.callbacks.alignment_chart import draw_alignment
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import csv_text
from lightning_subliminal.core.processes import results_folder
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.generation import Source
from lightning_subliminal.theory.alignment import AlignmentSubject, Displacement, alignment

__all__ = ["AlignmentTracker"]

WHOLE = "whole"
QUANTITIES = ("cosine", "student_norm", "teacher_norm", "projection")
COLUMNS = ("step", "arm", "layer", "model", *QUANTITIES, "teacher_loss")


class AlignmentTracker(Callback):
    """Measures, while a student trains, how far it moves in its teacher's direction (paper, section on the theorem).

    The theorem is about one small step of gradient descent from the teacher's own start; this tracks a whole run of any
    optimizer, without altering it. It writes ``alignment.csv`` and ``alignment.png`` to the logger's folder, or to
    ``trainer.default_root_dir``. A logger also gets ``alignment/cosine``, ``alignment/cosine/layer 0``,
    ``alignment/student_norm`` and ``alignment/teacher_loss``, for several arms as ``alignment/ARM/...``, averaged over
    models, at its own ``log_every_n_steps``.

    Works with Student, ClassifierMLP, and each LightningModule with a method ``alignment_subject(trainer)`` that
    returns an ``AlignmentSubject``, or None after printing the reason.

    Args:
        every_n_steps: optimizer steps between measurements.
        loss_every_n_steps: least number of optimizer steps between measurements of the teacher's loss, which take a
            forward pass.
        teacher: the teacher to compare with; that of the rows if None. Set it for treatment and control alike: a
            control's own teacher has no displacement.

    Raises:
        InputError: if a number of steps is less than 1.
    """

    def __init__(self, every_n_steps: int = 10, loss_every_n_steps: int = 50, teacher: Source | None = None) -> None:
        super().__init__()
        for name, steps in (("every_n_steps", every_n_steps), ("loss_every_n_steps", loss_every_n_steps)):
            if steps < 1:
                raise InputError(f"`{name}` is {steps}: expected at least 1.")
        self.every_n_steps = every_n_steps
        self.loss_every_n_steps = loss_every_n_steps
        self.teacher = teacher
        self._subject: AlignmentSubject | None = None
        self._path: Displacement | None = None  # the teacher's
        self._forget()

    def _forget(self) -> None:
        self._first: int | None = None  # the optimizer step of the first measurement
        self._last = self._last_loss = -1
        self._rows: list[dict[str, Any]] = []  # of each step, arm and layer: each quantity's values, one per model

    def state_dict(self) -> dict[str, Any]:
        """Return the measurements as lists of numbers, which ``weights_only`` accepts."""
        return {"first": self._first, "last": self._last, "last_loss": self._last_loss, "rows": list(self._rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the measurements of a stopped run."""
        self._first, self._last = state_dict["first"], state_dict["last"]
        self._last_loss, self._rows = state_dict["last_loss"], list(state_dict["rows"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit; a checkpoint's state comes after this."""
        if stage == "fit":
            self._forget()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Get what to compare from the module.

        Raises:
            InputError: if the module has no ``alignment_subject``, or holds only a part of the weights.
        """
        ask: Any = getattr(pl_module, "alignment_subject", None)
        if ask is None:
            raise InputError(
                f"AlignmentTracker can't track {type(pl_module).__name__}: give it a method "
                "`alignment_subject(trainer)` that returns an AlignmentSubject, or leave the callback out."
            )
        if isinstance(trainer.strategy, (FSDPStrategy, ModelParallelStrategy)):
            raise InputError(
                "AlignmentTracker needs whole weights, and this strategy splits them: set `trainer.strategy: ddp`, or "
                "leave the callback out."
            )
        with isolate_rng():  # loading a teacher must not change the run's random numbers
            self._subject = ask(trainer) if self.teacher is None else ask(trainer, self.teacher)
        self._path = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Measure before the first step that moves the tracked weights."""
        if self._first is None and self._subject is not None and self._subject.following():
            self._first = trainer.global_step
            self._log(trainer, pl_module, self._measure(self._subject, trainer.global_step, with_loss=True))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure if it is due; a batch that only accumulates gradients is not a step."""
        step = trainer.global_step
        if self._subject is None or self._first is None or step == self._last:
            return
        if (step - self._first) % self.every_n_steps == 0:
            with_loss = step - self._last_loss >= self.loss_every_n_steps
            self._log(trainer, pl_module, self._measure(self._subject, step, with_loss))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the end of the run."""
        measured = self._measure_end(trainer)
        for logger in trainer.loggers if measured else []:  # modules can't log in this hook
            logger.log_metrics({name: float(value) for name, value in measured.items()}, step=trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table and the picture."""
        self._measure_end(trainer)  # a finished run that is fitted again skips training
        self._write(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the measurements of a run that failed or was interrupted."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        folder = results_folder(trainer)  # a collective call
        batched = self._subject is not None and self._subject.model_dims > 0
        self._subject = self._path = None
        if not self._rows or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        text = _table(self._rows, batched)
        atomically(folder / "alignment.csv", lambda path: path.write_text(text, encoding="utf-8", newline=""))
        draw_alignment(self._rows, folder / "alignment.png")
        say(f"alignment kept in {folder}: alignment.csv, alignment.png")

    def _measure_end(self, trainer: Trainer) -> dict[str, Tensor]:
        step = trainer.global_step
        if self._subject is None or self._first is None or self._last == self._last_loss == step:
            return {}
        self._rows = [row for row in self._rows if row["step"] != step]  # its measurement without the loss
        return self._measure(self._subject, step, with_loss=True)

    @torch.no_grad()
    def _measure(self, subject: AlignmentSubject, step: int, with_loss: bool) -> dict[str, Tensor]:
        """Measure, and return what to log, as tensors on their device."""
        arms = subject.arms()
        if self._path is None:
            self._path = subject.teacher()
        losses = subject.teacher_loss() if with_loss else {}
        keys: list[tuple[str, str, str]] = []
        values: list[Tensor] = []
        for arm, displacement in arms.items():
            whole = alignment(displacement, self._path, subject.model_dims)
            if arm in losses:
                like = whole.cosine
                keys.append((arm, WHOLE, "teacher_loss"))
                values.append(torch.as_tensor(losses[arm]).to(like).expand_as(like))
            for layer, found in {WHOLE: whole, **whole.layers}.items():
                for quantity in QUANTITIES:
                    keys.append((arm, layer, quantity))
                    values.append(getattr(found, quantity))
        table = torch.stack(values).reshape(len(values), -1)  # (quantities, models)
        self._keep(step, keys, table.tolist())  # the only synchronisation with a GPU
        self._last = step
        self._last_loss = step if with_loss else self._last_loss
        logged = zip(keys, table.mean(1).float().unbind(), strict=True)
        return {_name(key, len(arms)): value for key, value in logged if _is_logged(key)}

    def _keep(self, step: int, keys: list[tuple[str, str, str]], values: list[list[float]]) -> None:
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for (arm, layer, quantity), each in zip(keys, values, strict=True):
            rows.setdefault((arm, layer), {"step": step, "arm": arm, "layer": layer})[quantity] = each
        self._rows += rows.values()

    def _log(self, trainer: Trainer, pl_module: LightningModule, measured: dict[str, Tensor]) -> None:
        if trainer.loggers:
            for name, value in measured.items():
                pl_module.log(name, value, on_step=True, on_epoch=False, batch_size=1)


def _is_logged(key: tuple[str, str, str]) -> bool:
    _, layer, quantity = key
    return quantity == "cosine" or (layer == WHOLE and quantity in ("student_norm", "teacher_loss"))


def _name(key: tuple[str, str, str], arms: int) -> str:
    arm, layer, quantity = key
    return "/".join(["alignment", *([arm] if arms > 1 else []), quantity, *([layer] if layer != WHOLE else [])])


def _table(rows: list[dict[str, Any]], batched: bool) -> str:
    """Return the rows as CSV, one line per model; missing values are empty."""
    made = []
    for row in rows:
        for model in range(len(row["cosine"])):
            values = [repr(row[each][model]) if each in row else "" for each in (*QUANTITIES, "teacher_loss")]
            made.append([row["step"], row["arm"], row["layer"], model if batched else "", *values])
    return csv_text(COLUMNS, made)
