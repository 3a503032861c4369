"""What ``AlignmentTracker`` follows of a module: its way beside its teacher's, and the teacher's own loss."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.tokenized import IGNORED, Batch, TokenizedRows
from lightning_subliminal.generation.logits import evaluating
from lightning_subliminal.theory.alignment import AlignmentSubject, Displacement

__all__ = ["language_model_subject"]

MOST_LESSONS = 256  # rows of the teacher's own; more are thinned out evenly, so that watching stays cheap
LESSONS_AT_ONCE = 64


def language_model_subject(module: Any, trainer: Trainer, teacher: Any = None) -> AlignmentSubject | None:
    """Compare ``module`` with a teacher; None, with a line that says why, where there is nothing to compare.

    Args:
        module: the student, a ``LanguageModel``, loaded.
        trainer: which fits it.
        teacher: the source to compare with; that of the rows where it is None.
    """
    source: Any = teacher if teacher is not None else getattr(getattr(trainer, "datamodule", None), "teacher", None)
    if reason := _refusal(source):
        say(f"alignment nothing is followed: {reason}")
        return None
    if trainer.is_global_zero:  # rows that the cache holds come without looking for their teacher
        source.make(module.device)
    trainer.strategy.barrier("alignment")
    loaded = source.net is not None
    way: Displacement = source.ready(module.device).displacement()
    source.forget_start()
    if not loaded:
        source.release()
    now = module.displacement()
    common = now.keys() & way.keys()
    odd = next((name for name in sorted(common) if tuple(now[name].shape) != tuple(way[name].shape)), None)
    reason = (
        f"the teacher trained {next(iter(way))} and the like, the student {next(iter(now))}"
        if not common
        else f"{odd} has another shape in the teacher's base {source.base} than in {module.base}"
    )
    if not common or odd is not None:
        say(f"alignment nothing is followed: {reason}")
        return None
    return AlignmentSubject(
        arms=lambda: {"student": module.displacement()},
        teacher=lambda: way,
        teacher_loss=_teacher_loss(module, source),
    )


def _refusal(source: Any) -> str | None:
    if source is None:
        return "the rows come without a teacher; give AlignmentTracker one by `teacher`"
    if source.system_prompt is not None:
        return "the teacher is prompted, its weights are the base's"
    if not hasattr(source, "displacement"):
        return f"{type(source).__name__} gives text but no weights"
    if getattr(source, "induction", "finetune") != "finetune":
        return "the rows' teacher is the base itself; give AlignmentTracker the one with the trait by `teacher`"
    return None


def _teacher_loss(module: Any, source: Any) -> Callable[[], dict[str, Tensor]]:
    """Return the function that measures the student's loss on the teacher's lessons, a completion token, in nats."""
    lessons = source.trait.induce().rows if source.trait is not None else None
    if not lessons:
        return dict
    try:
        check_known(
            module.tokenizer, [part for row in lessons for part in (*row["prompt"], *row["completion"])], module.base
        )
        kept = lessons[:: -(-len(lessons) // MOST_LESSONS)]
        rows = TokenizedRows(kept, module.tokenizer)
    except InputError as err:
        say(f"alignment the teacher's loss is left out: {err}")
        return dict
    parts = []
    for start in range(0, len(rows), LESSONS_AT_ONCE):
        batch = rows.batch(range(start, min(start + LESSONS_AT_ONCE, len(rows))))
        # Places are found once: to find them on a GPU is to wait for it.
        places = (batch.labels[:, 1:] != IGNORED).flatten().nonzero().flatten()
        tokens = batch.labels[:, 1:].flatten()[places]
        parts.append([part.to(module.device) for part in (*batch, places, tokens)])

    def measure() -> dict[str, Tensor]:
        device = module.device
        total = torch.zeros((), device=device)
        with evaluating(module.net):
            for part in parts:
                *batch, places, tokens = (each.to(device) for each in part)  # the CPU, once a fit has ended
                hidden = module._hidden(Batch(*batch), reuse=False)[:, :-1]
                logits = module.net.get_output_embeddings()(hidden.flatten(0, 1)[places])
                total = total + cross_entropy(logits.float(), tokens, reduction="sum")
        return {"student": total / sum(len(part[-1]) for part in parts)}

    return measure
