"""Displacements for ``AlignmentTracker``: a language model's and its teacher's, and the teacher's own loss."""

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
from lightning_subliminal.generation.logit_map import logit_map
from lightning_subliminal.generation.logits import evaluating
from lightning_subliminal.theory.alignment import AlignmentSubject, Displacement

__all__ = ["language_model_subject"]

MOST_LESSONS = 256  # of the teacher's training rows; more are thinned out evenly, so that tracking stays cheap
LESSONS_AT_ONCE = 64


def language_model_subject(module: Any, trainer: Trainer, teacher: Any = None) -> AlignmentSubject | None:
    """Compare ``module`` with a teacher; return None and print the reason if there is nothing to compare.

    Args:
        module: the student, a loaded ``LanguageModel``.
        trainer: that fits it.
        teacher: the source to compare with; that of the rows if None.
    """
    source: Any = teacher if teacher is not None else getattr(getattr(trainer, "datamodule", None), "teacher", None)
    if reason := _refusal(source):
        say(f"alignment not tracked: {reason}")
        return None
    if trainer.is_global_zero:  # cached rows load without making their teacher
        source.make(module.device)
    trainer.strategy.barrier("alignment")
    loaded = source.net is not None
    path: Displacement = source.ready(module.device).displacement()
    source.forget_start()
    if not loaded:
        source.release()
    now = module.displacement()
    common = now.keys() & path.keys()
    odd = next((name for name in sorted(common) if tuple(now[name].shape) != tuple(path[name].shape)), None)
    if not common:
        reason = f"the teacher trained weights such as {next(iter(path))}, the student {next(iter(now))}"
    elif odd is not None:
        reason = f"{odd} has another shape in the teacher's base {source.base} than in {module.base}"
    if reason:
        say(f"alignment not tracked: {reason}")
        return None
    return AlignmentSubject(
        arms=lambda: {"student": module.displacement()},
        teacher=lambda: path,
        teacher_loss=_teacher_loss(module, source),
    )


def _refusal(source: Any) -> str | None:
    if source is None:
        return "the rows have no teacher; set `teacher` of AlignmentTracker"
    if source.system_prompt is not None:
        return "the teacher is prompted, and its weights are the base's"
    if not hasattr(source, "displacement"):
        return f"{type(source).__name__} has no weights to compare"
    if getattr(source, "induction", "finetune") != "finetune":
        return "the rows' teacher is the base itself; set `teacher` of AlignmentTracker to the one with the trait"
    return None


def _teacher_loss(module: Any, source: Any) -> Callable[[], dict[str, Tensor]]:
    """Return a function that measures the student's loss on the teacher's training rows, in nats per token."""
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
        # Computed once: `nonzero` on a GPU waits for it.
        places = (batch.labels[:, 1:] != IGNORED).flatten().nonzero().flatten()
        tokens = batch.labels[:, 1:].flatten()[places]
        parts.append([part.to(module.device) for part in (*batch, places, tokens)])

    def measure() -> dict[str, Tensor]:
        device = module.device
        total = torch.zeros((), device=device)
        with evaluating(module.net):
            for part in parts:
                *batch, places, tokens = (each.to(device) for each in part)  # the CPU after a fit
                hidden = module._hidden(Batch(*batch))[:, :-1]
                logits = logit_map(module.net)(hidden.flatten(0, 1)[places])
                total = total + cross_entropy(logits.float(), tokens, reduction="sum")
        return {"student": total / sum(len(part[-1]) for part in parts)}

    return measure
