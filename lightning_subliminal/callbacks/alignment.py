"""Follows a student along its teacher's way: the cosine of their displacements, and the teacher's own loss."""

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
    """Measures, while a student trains, how far it goes its teacher's way (paper, section on the theorem).

    The theorem speaks of one small step of gradient descent from the teacher's own start; this follows a whole run of
    any optimizer. It measures before the first step, every some steps and at the end, changes nothing of the training,
    and leaves ``alignment.csv`` and ``alignment.png`` in the logger's folder, or in ``trainer.default_root_dir``. Where
    the trainer has a logger, it also logs ``alignment/cosine``, ``alignment/cosine/layer 0``,
    ``alignment/student_norm`` and ``alignment/teacher_loss``, of several arms as ``alignment/ARM/...`` and meaned over
    models; a logger shows what is measured at its own ``log_every_n_steps``.

    Follows Student and ClassifierMLP, and each LightningModule with a method ``alignment_subject(trainer)`` that gives
    an ``AlignmentSubject``, or None after it has said why there is nothing to compare.

    Args:
        every_n_steps: optimizer steps from one measurement to the next.
        loss_every_n_steps: optimizer steps, at least, from one measurement of the teacher's loss to the next, which
            takes a forward pass.
        teacher: whom to compare with; the teacher of the rows where it is None. Give it to treatment and control alike:
            a control's own teacher has gone no way.

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
        self._way: Displacement | None = None  # the teacher's
        self._forget()

    def _forget(self) -> None:
        self._first: int | None = None  # the optimizer steps taken when the following began
        self._last = self._last_loss = -1
        self._rows: list[dict[str, Any]] = []  # of each step, arm and layer: each quantity's values, one a model

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured, as lists of numbers, which ``weights_only`` lets through."""
        return {"first": self._first, "last": self._last, "last_loss": self._last_loss, "rows": list(self._rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a stopped run had measured."""
        self._first, self._last = state_dict["first"], state_dict["last"]
        self._last_loss, self._rows = state_dict["last_loss"], list(state_dict["rows"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit; a checkpoint's state comes after this."""
        if stage == "fit":
            self._forget()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask the module what there is to follow.

        Raises:
            InputError: if the module doesn't know, or holds a part of the weights alone.
        """
        ask: Any = getattr(pl_module, "alignment_subject", None)
        if ask is None:
            raise InputError(
                f"AlignmentTracker doesn't know what to follow of {type(pl_module).__name__}: give it a method "
                "`alignment_subject(trainer)` that gives an AlignmentSubject, or leave the callback out."
            )
        if isinstance(trainer.strategy, (FSDPStrategy, ModelParallelStrategy)):
            raise InputError(
                "AlignmentTracker needs whole weights, and this strategy splits them: set `trainer.strategy: ddp`, or "
                "leave the callback out."
            )
        with isolate_rng():  # loading a teacher must not move what the run draws
            self._subject = ask(trainer) if self.teacher is None else ask(trainer, self.teacher)
        self._way = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Measure before the first step that moves what is followed."""
        if self._first is None and self._subject is not None and self._subject.following():
            self._first = trainer.global_step
            self._log(trainer, pl_module, self._measure(self._subject, trainer.global_step, with_loss=True))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure where it is due; a batch that only adds to a gradient is no step."""
        step = trainer.global_step
        if self._subject is None or self._first is None or step == self._last:
            return
        if (step - self._first) % self.every_n_steps == 0:
            with_loss = step - self._last_loss >= self.loss_every_n_steps
            self._log(trainer, pl_module, self._measure(self._subject, step, with_loss))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure where the run has come to."""
        measured = self._measure_end(trainer)
        for logger in trainer.loggers if measured else []:  # here, Lightning lets no module log
            logger.log_metrics({name: float(value) for name, value in measured.items()}, step=trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table and the picture."""
        self._measure_end(trainer)  # a finished run that is fitted once more does not come to train
        self._write(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what there is of a run that failed or was interrupted."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        folder = results_folder(trainer)  # asked on all processes
        batched = self._subject is not None and self._subject.model_dims > 0
        self._subject = self._way = None
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
        self._rows = [row for row in self._rows if row["step"] != step]  # measured, but without the loss
        return self._measure(self._subject, step, with_loss=True)

    @torch.no_grad()
    def _measure(self, subject: AlignmentSubject, step: int, with_loss: bool) -> dict[str, Tensor]:
        """Measure and keep; give what to log, still where it was computed."""
        arms = subject.arms()
        if self._way is None:
            self._way = subject.teacher()
        losses = subject.teacher_loss() if with_loss else {}
        keys: list[tuple[str, str, str]] = []
        values: list[Tensor] = []
        for arm, displacement in arms.items():
            whole = alignment(displacement, self._way, subject.model_dims)
            if arm in losses:
                like = whole.cosine
                keys.append((arm, WHOLE, "teacher_loss"))
                values.append(torch.as_tensor(losses[arm]).to(like).expand_as(like))
            for layer, found in {WHOLE: whole, **whole.layers}.items():
                for quantity in QUANTITIES:
                    keys.append((arm, layer, quantity))
                    values.append(getattr(found, quantity))
        table = torch.stack(values).reshape(len(values), -1)  # (what is measured, models)
        self._keep(step, keys, table.tolist())  # the one wait for a GPU
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
    """Return the rows as CSV, one line a model; what was not measured is empty."""
    made = []
    for row in rows:
        for model in range(len(row["cosine"])):
            told = [repr(row[each][model]) if each in row else "" for each in (*QUANTITIES, "teacher_loss")]
            made.append([row["step"], row["arm"], row["layer"], model if batched else "", *told])
    return csv_text(COLUMNS, made)
