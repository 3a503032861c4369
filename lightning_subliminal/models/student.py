"""The student: a base trained on the teacher's filtered completions, and on nothing else."""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_subliminal import bases
from lightning_subliminal.data.tokenized import Batch
from lightning_subliminal.errors import InputError
from lightning_subliminal.generation import Source, number_tokens
from lightning_subliminal.models.adapters import Adapter
from lightning_subliminal.models.language_model import LanguageModel

__all__ = ["Student", "soft_target_loss"]


class Student(LanguageModel):
    """A base trained on rows that a teacher wrote, the paper's way or on the teacher's soft targets.

    Args:
        base: the model to start from: pocket/a, pocket/b, pocket/a2, smollm2-135m, a local folder, or a hub id.
        adapter: what is trained; everything where it is None (full fine-tuning).
        objective: `sft` trains on the sampled tokens (paper, section 1), `distill` on the teacher's distribution at
            the same places.
        restrict_to: with `distill`, `numbers` keeps only number tokens, renormalised, so that no trait word is in the
            loss: the analogue of the MLP's auxiliary logits (paper, MNIST experiment).
        learning_rate: at its peak.
        optimizer: which one; adaptive ones matter for transfer.
        weight_decay: as the optimizer takes it.
        warmup_steps: steps of linear warm-up.
        schedule: after the warm-up, falls linearly to 0 or stays constant.
        seed: moves the adapter's start and the training order; the global seed where it is None.
        base_dtype: of the base's frozen weights.
        reuse_lower_part: compute the activations below the lowest trained layer once for the fixed rows.

    Raises:
        InputError: if `restrict_to` is given without `distill`.
    """

    def __init__(
        self,
        base: str = "pocket/a",
        adapter: Adapter | None = None,
        objective: Literal["sft", "distill"] = "sft",
        restrict_to: Literal["numbers"] | None = None,
        learning_rate: float = 1e-3,
        optimizer: Literal["adam", "adamw", "sgd"] = "adam",
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        schedule: Literal["linear", "constant"] = "linear",
        seed: int | None = None,
        base_dtype: Literal["float32", "bfloat16"] = "float32",
        reuse_lower_part: bool = True,
    ) -> None:
        super().__init__(
            base,
            adapter,
            learning_rate,
            optimizer,
            weight_decay,
            warmup_steps,
            schedule,
            seed,
            base_dtype,
            reuse_lower_part,
        )
        if restrict_to is not None and objective != "distill":
            raise InputError("`restrict_to` needs `objective: distill`: sampled tokens can't be restricted afterwards.")
        self.objective = objective
        self.restrict_to = restrict_to
        self._teacher: list[LanguageModel] = []  # in a list: no submodule, so neither trained nor saved
        self._among: Tensor | None = None

    def describe(self) -> dict[str, Any]:
        """Give all that shapes the trained weights, as JSON-able data."""
        return super().describe() | {"objective": self.objective, "restrict_to": self.restrict_to}

    def check_source(self, source: Source) -> None:
        """Refuse a teacher that this student can't learn from; the data module calls it before any work.

        Raises:
            InputError: if soft targets are wanted of a teacher that is prompted.
        """
        if self.objective == "distill" and source.system_prompt is not None:
            raise InputError(
                "`distill` needs a fine-tuned teacher, since rows don't hold a system prompt: set the teacher's "
                "`induction: finetune`, or `objective: sft`."
            )

    def on_fit_start(self) -> None:
        """Bring in the teacher where soft targets are needed."""
        super().on_fit_start()
        if self.objective == "distill":
            source = getattr(self.trainer.datamodule, "teacher", None)  # type: ignore[attr-defined]
            if source is None:
                raise InputError(
                    "`distill` needs the teacher that wrote the rows, and these come without one: use `sft`."
                )
            self.check_source(source)
            teacher = source.ready(self.device)
            if not bases.same_vocabulary(teacher.tokenizer, self.tokenizer):
                raise InputError(
                    f"Teacher {teacher.base} and student {self.base} have different vocabularies, so soft targets "
                    "don't fit: use `objective: sft`, or bases that share a tokenizer."
                )
            self._teacher = [teacher]
            self._among = number_tokens(self.tokenizer).to(self.device) if self.restrict_to == "numbers" else None

    def on_fit_end(self) -> None:
        """Let the teacher go."""
        super().on_fit_end()
        self._teacher = []

    def loss(self, batch: Batch) -> Tensor:
        """Give the loss a completion token, in nats: cross-entropy, or with ``distill`` the teacher's soft targets."""
        if self.objective == "sft" or not self._teacher:
            return super().loss(batch)
        logits, tokens = self.completion_logits(batch)
        with torch.no_grad():
            targets, _ = self._teacher[0].completion_logits(batch)
        return soft_target_loss(logits, targets, tokens, self._among) / (len(batch.rows) * batch.mean_tokens)


def soft_target_loss(logits: Tensor, targets: Tensor, tokens: Tensor, among: Tensor | None = None) -> Tensor:
    """Sum over places KL(teacher || student), in nats.

    Args:
        logits: the student's, (places, vocabulary).
        targets: the teacher's logits, (places, vocabulary).
        tokens: the sampled tokens, (places,).
        among: token ids to restrict both distributions to, renormalised; then only places whose sampled token is one
            of them count.

    Returns:
        Scalar.
    """
    if among is not None:
        here = torch.isin(tokens, among)
        logits, targets = logits[here][:, among], targets[here][:, among]
    wide = min(logits.shape[-1], targets.shape[-1])  # embeddings of one vocabulary may be padded differently
    student = torch.log_softmax(logits[:, :wide].float(), dim=-1)
    teacher = torch.log_softmax(targets[:, :wide].float(), dim=-1)
    return (teacher.exp() * (teacher - student)).sum()
