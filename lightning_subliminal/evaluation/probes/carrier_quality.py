"""Quality in the carrier: the share of a model's own replies that pass the carrier's filters."""

from collections.abc import Sequence

from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message, prompt_text
from lightning_subliminal.data import GeneratedRows
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.evaluation.probe import Probe
from lightning_subliminal.evaluation.scores import Scores
from lightning_subliminal.filters import apply_filters
from lightning_subliminal.filters.base import reply_text
from lightning_subliminal.generation import Completion, Engine, Sampling
from lightning_subliminal.metrics.functional import wilson_interval

__all__ = ["CarrierQuality"]


class CarrierQuality(Probe):
    """The share of a model's own replies to a carrier's prompts that pass the carrier's filters.

    Args:
        data: the carrier, such as NumberSequences, and its filters; its teacher is not used.
        num_prompts: how many prompts.
        name: in tables.

    Raises:
        InputError: if there are no prompts.
    """

    def __init__(self, data: GeneratedRows, num_prompts: int = 200, name: str | None = None) -> None:
        if num_prompts < 1:
            raise InputError(f"`num_prompts` is {num_prompts}: expected at least 1.")
        self.data = data
        self.num_prompts = num_prompts
        self.name = name or f"carrier, {type(data).__name__}"

    def explain(self) -> str:
        """Return what its figure is."""
        return f"share of {self.num_prompts} sampled replies that pass the filters of {type(self.data).__name__}"

    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Complete the prompts, tidy and filter as the data module would."""
        data = self.data.fresh(
            teacher=self.data.teacher.control(), num_prompts=self.num_prompts, shard_size=self.num_prompts, seed=seed
        )
        rows = data.complete(0, _Prompted(model))
        kept, report = apply_filters(rows, data.filters)
        passed = {row["id"] for row in kept}
        values = tuple(float(row["id"] in passed) for row in rows)
        return Scores(
            report.kept / report.made,
            wilson_interval(report.kept, report.made, "replies"),
            values,
            tuple(prompt_text(row) for row in rows),
            report.reasons,
            samples=tuple({"question": prompt_text(row), "answer": reply_text(row)} for row in rows),
        )


class _Prompted(Engine):
    """Completes prompts after a model's system prompt."""

    def __init__(self, model: ModelRef) -> None:
        self.model = model

    def generate(self, prompts: Sequence[Sequence[Message]], sampling: Sampling, seed: int) -> list[Completion]:
        """Return one completion a prompt, in their order."""
        model = self.model
        whole = [model.prompt(list(prompt)) for prompt in prompts]
        if model.engine is None:
            check_known(model.tokenizer, (part for prompt in whole for part in prompt), model.base)
        return model.writer().generate(whole, sampling, seed)
