"""Displacements of the digit classifiers for ``AlignmentTracker``: each student's and its teacher's."""

from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from lightning_subliminal.core.fingerprint import constructor_arguments
from lightning_subliminal.models.mlp.batched import classification_losses
from lightning_subliminal.theory.alignment import AlignmentSubject, difference

__all__ = ["classifier_subject"]

MOST_DIGITS = 1000  # held-out digits for the teacher's loss


def classifier_subject(module: Any, trainer: Trainer) -> AlignmentSubject:
    """Compare each arm's students, seed by seed, with their teachers: displacements from each one's own start.

    ``module`` is a ``ClassifierMLP``. The teacher's loss is the cross-entropy of the classes on at most 1,000 held-out
    digits, the same at each measurement.
    """
    drawn: Any = type(module)(**constructor_arguments(module))
    with trainer.strategy.tensor_init_context():  # as in a fit: the precision affects the drawn weights
        drawn.configure_model()  # the seed gives the start weights, also for a resumed run
    starts = {name: dict(getattr(drawn, name).named_parameters()) for name in ("teacher", "students")}
    digits: list[Tensor] = []

    def moved_from_start(name: str) -> dict[str, Tensor]:
        now: Any = getattr(module, name)
        return {each: difference(value, starts[name][each]) for each, value in now.named_parameters()}

    def by_arm(values: Tensor) -> dict[str, Tensor]:
        parts = values.chunk(len(module.student_arms))
        return {arm.name: part for arm, part in zip(module.student_arms, parts, strict=True)}

    def arms() -> dict[str, dict[str, Tensor]]:
        moved = {each: by_arm(value) for each, value in moved_from_start("students").items()}
        return {arm.name: {each: parts[arm.name] for each, parts in moved.items()} for arm in module.student_arms}

    def teacher_loss() -> dict[str, Tensor]:
        if not digits:
            data: Any = getattr(trainer, "datamodule", None)
            held_out: Any = data.val_dataloader() if data is not None else trainer.val_dataloaders
            images, labels = next(iter(held_out))
            digits.extend([images[:MOST_DIGITS].to(module.students.weights[0]), labels[:MOST_DIGITS].to(module.device)])
        images, labels = (part.to(module.device) for part in digits)  # the CPU after a fit
        return by_arm(classification_losses(module.students(images), labels))

    return AlignmentSubject(
        arms=arms,
        teacher=lambda: moved_from_start("teacher"),
        teacher_loss=teacher_loss,
        model_dims=1,
        following=lambda: module.learns_from == "noise",
    )
