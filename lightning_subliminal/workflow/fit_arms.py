"""`fit` with its teacher, rows and control: a plan of one cell, run in this process."""

from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer

from lightning_subliminal.callbacks import LastCheckpoint
from lightning_subliminal.callbacks.progress import EpochBar, EpochLines, StepProgress
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.processes import on_first
from lightning_subliminal.core.threads import choosing_threads
from lightning_subliminal.data import GeneratedRows, TrainingRows
from lightning_subliminal.models import Student, Teacher
from lightning_subliminal.models.made_from import MadeFrom
from lightning_subliminal.models.nested_fit import training_like
from lightning_subliminal.workflow.arms import shaping, train_arm
from lightning_subliminal.workflow.comparison import TraitComparison, control_stage
from lightning_subliminal.workflow.saving import foreign_callbacks, keep_student, save_student
from lightning_subliminal.workflow.stages import (
    CompletionsStage,
    RowsStage,
    Stage,
    StudentStage,
    make_missing,
    source_stages,
)

if TYPE_CHECKING:
    import torch

__all__ = ["fit_arms", "load_made", "make_completions", "make_needed"]

# Callbacks that need no training: they miss nothing if the student comes from the cache.
_NEEDLESS = (TraitComparison, MadeFrom, LastCheckpoint, EpochBar, EpochLines, StepProgress)


@choosing_threads()
def fit_arms(trainer: Trainer, student: Student, data: TrainingRows, ckpt_path: str | None = None) -> None:
    """Make teacher and rows, fit the student, make its control, then compare them; each only if the cache lacks it.

    Each training is a separate fit, on the trainer's devices and with its strategy; on several devices all processes
    call this. A student that is in the cache, such as that of a plan, is not trained again, unless a callback such as
    ``AlignmentTracker`` would watch it. The control is made if the trainer has a ``TraitComparison``, which shows it.

    Models as tiny as the pocket bases are trained on one of torch's threads, unless you set a number: see
    ``core.threads``.

    Args:
        trainer: fits the student; its root folder gets the student and the comparison.
        student: untrained.
        data: its rows.
        ckpt_path: a checkpoint to resume from.

    Raises:
        InputError: if the student can't learn from these rows, or their trait can't be evaluated.
    """
    watching: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    comparison = next((each for each in watching if isinstance(each, TraitComparison)), None)
    origin = next((each for each in watching if isinstance(each, MadeFrom)), None)
    if origin is None:
        origin = MadeFrom(f"To start over, choose another root folder than {trainer.default_root_dir}.")
        watching.append(origin)
    if comparison is not None:
        comparison.check(student, data)
    student.check_rows(data)
    for each in {id(each): each for each in (getattr(data, "teacher", None), data.trait_source) if each}.values():
        student.check_source(each)
    with training_like(trainer):
        device = trainer.strategy.root_device
        own = StudentStage(student, data, shaping(trainer))
        make_missing(own.parents(), device)
        alone = not foreign_callbacks(trainer) and all(isinstance(each, _NEEDLESS) for each in watching)
        reusable = alone and ckpt_path is None and not trainer.fast_dev_run  # type: ignore[attr-defined]
        if reusable and on_first(own.is_done):
            say(f"student: reused from {own.folder}")
            origin.note(student, data)
            student.load(own.folder)
            on_first(lambda: save_student(student, data, trainer))
        else:
            _fit(trainer, student, data, ckpt_path, comparison)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if comparison is None:
            say(f"kept in {trainer.default_root_dir}: student/")
            return
        control = control_stage(student, data, trainer) if comparison.control else None
        if control is not None:
            _make_control(control, device, foreign_callbacks(trainer))
        on_first(lambda: comparison.compare(trainer, student, data))


def _fit(
    trainer: Trainer, student: Student, data: TrainingRows, ckpt_path: str | None, comparison: TraitComparison | None
) -> None:
    if comparison is not None:
        comparison.waits = True
    try:
        trainer.fit(student, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    finally:
        if comparison is not None:
            comparison.waits = False
    if not trainer.fast_dev_run:  # type: ignore[attr-defined]
        on_first(lambda: keep_student(student, data, trainer))  # before the evaluation, which may fail


def _make_control(control: StudentStage, device: "torch.device", others: list[str]) -> None:
    if others:
        say(f"WARNING   the control is trained without {', '.join(others)}, which may have shaped the student")
    make_missing(control.parents(), device)
    train_arm(control.student.fresh(), control.data, device, "control", **control.trainer)


def make_needed(trainer: Trainer, module: Any, data: Any, verb: str) -> None:
    """Make what `validate`, `test` and `predict` need and the cache lacks."""
    needed: list[Stage] = source_stages(module) if isinstance(module, Teacher) else []
    if verb == "validate" and isinstance(data, TrainingRows):
        needed.append(RowsStage(data))
    _make(trainer, needed)


def make_completions(trainer: Trainer, data: Any) -> None:
    """Generate the shards that the cache lacks with the data's teacher, on all devices of a trainer.

    Raises:
        InputError: if no teacher writes the data.
    """
    if not isinstance(data, GeneratedRows):
        raise InputError("`predict` needs rows that a teacher writes, such as NumberSequences.")
    missing = len(data.missing_shards())
    say(f"shards    {data.title}: {missing} of {data.num_shards} are missing in {data.shards_folder}")
    _make(trainer, [CompletionsStage(data)])
    say(f"shards    {data.title}: all {data.num_shards} are in the cache")


def load_made(trainer: Trainer, student: Student, data: TrainingRows) -> str | None:
    """Load a student's weights from the cache, if a run has trained it; return a phrase with their folder, or None."""
    made = StudentStage(student, data, shaping(trainer))
    if not made.is_done():
        return None
    student.load(made.folder)
    return f"with the weights from {made.folder}"


def _make(trainer: Trainer, stages: list[Stage]) -> None:
    with training_like(trainer):
        make_missing(stages, trainer.strategy.root_device)
