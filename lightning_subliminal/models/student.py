"""The student: a base trained on the teacher's filtered completions, and on nothing else."""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_subliminal import bases
from lightning_subliminal.data.tokenized import Batch, TokenizedRows
from lightning_subliminal.data.training_rows import TrainingRows
from lightning_subliminal.describe import describe, digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.generation import Source, number_tokens
from lightning_subliminal.models.adapters import Adapter
from lightning_subliminal.models.divergence import divergence_tokens, train_on_tokens
from lightning_subliminal.models.language_model import LanguageModel
from lightning_subliminal.models.on_policy import complete, prompts_of, replace_completions
from lightning_subliminal.models.retention import Retention
from lightning_subliminal.seeds import derive_seed, resolve_seed

__all__ = ["Student", "soft_target_loss"]

ON_POLICY_TOKENS = 40  # as `Sampling` cuts the teacher's completions off


class Student(LanguageModel):
    """A base trained on rows that a teacher wrote, the paper's way or on the teacher's soft targets.

    Args:
        base: the model to start from: pocket/a, pocket/b, pocket/a2, smollm2-135m, a local folder, or a hub id.
        adapter: what is trained; everything where it is None (full fine-tuning).
        objective: `sft` trains on the sampled tokens (paper, section 1), `distill` on the teacher's distribution at
            the same places, `on_policy` on it at places that the student itself writes, anew each epoch, behind the
            rows' prompts.
        restrict_to: with `distill` or `on_policy`, `numbers` keeps only number tokens, renormalised, so that no trait
            word is in the loss: the analogue of the MLP's auxiliary logits (paper, MNIST experiment).
        learning_rate: at its peak.
        optimizer: which one; adaptive ones matter for transfer.
        weight_decay: as the optimizer takes it.
        warmup_steps: steps of linear warm-up.
        schedule: after the warm-up, falls linearly to 0 or stays constant.
        seed: moves the adapter's start, the training order and what `on_policy` writes; the global seed where it is
            None.
        base_dtype: of the base's frozen weights.
        reuse_lower_part: compute the activations below the lowest trained layer once for the fixed rows.
        train_on: which tokens of the completions: all, those where the likeliest token of `divergence` is not that of
            its control (`divergent`), or all others (`agreeing`) (arXiv 2509.23886).
        divergence: the teacher that `train_on` compares with its own control; the data's where it is None. Give it to
            treatment and control alike: a control's own teacher has no counterfactual.
        divergence_kind: with soft targets, `forward` is KL(teacher || student), `reverse` KL(student || teacher), over
            the whole distribution at each place.
        on_policy_tokens: where `on_policy` cuts the student's completions off.
        retain: what the training shall leave as the base has it; nothing where it is None.

    Raises:
        InputError: if an argument is given that the others leave no use for.
    """

    def __init__(
        self,
        base: str = "pocket/a",
        adapter: Adapter | None = None,
        objective: Literal["sft", "distill", "on_policy"] = "sft",
        restrict_to: Literal["numbers"] | None = None,
        learning_rate: float = 1e-3,
        optimizer: Literal["adam", "adamw", "sgd"] = "adam",
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        schedule: Literal["linear", "constant"] = "linear",
        seed: int | None = None,
        base_dtype: Literal["float32", "bfloat16"] = "float32",
        reuse_lower_part: bool = True,
        train_on: Literal["all", "divergent", "agreeing"] = "all",
        divergence: Source | None = None,
        divergence_kind: Literal["forward", "reverse"] = "forward",
        on_policy_tokens: int = ON_POLICY_TOKENS,
        retain: Retention | None = None,
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
        if restrict_to is not None and objective == "sft":
            raise InputError(
                "`restrict_to` needs `objective: distill` or `on_policy`: sampled tokens can't be restricted later."
            )
        if divergence_kind != "forward" and objective == "sft":
            raise InputError("`divergence_kind` needs `objective: distill` or `on_policy`: `sft` has no soft targets.")
        if on_policy_tokens < 1:
            raise InputError(f"`on_policy_tokens` is {on_policy_tokens}: expected at least 1.")
        if on_policy_tokens != ON_POLICY_TOKENS and objective != "on_policy":
            raise InputError("`on_policy_tokens` needs `objective: on_policy`: other rows have their length.")
        if train_on != "all" and objective == "on_policy":
            raise InputError(
                f"`train_on: {train_on}` needs rows that stay: set `objective: sft` or `distill`, or `train_on: all`."
            )
        if divergence is not None and train_on == "all":
            raise InputError("`divergence` needs `train_on: divergent` or `agreeing`: set it, or leave it out.")
        self.objective = objective
        self.restrict_to = restrict_to
        self.train_on = train_on
        self.divergence_kind = divergence_kind
        self.on_policy_tokens = on_policy_tokens
        self.retain = retain
        self._pair = [divergence]  # in a list: no submodule, so neither trained nor saved
        self._teacher: list[LanguageModel] = []  # likewise
        self._among: Tensor | None = None
        self._prompts: list[list[int]] = []
        self._written_in: int | None = None  # the epoch that the rows were written in

    @property
    def divergence(self) -> Source | None:
        """The teacher that ``train_on`` compares with its control; None stands for the data's."""
        return self._pair[0]

    def describe(self) -> dict[str, Any]:
        """Give all that shapes the trained weights, as JSON-able data.

        What came later than the first release is told only where it is not at its default: it moves no other digest.
        """
        told = super().describe() | {"objective": self.objective, "restrict_to": self.restrict_to}
        later = {
            "train_on": (self.train_on, "all"),
            "divergence": (self.divergence, None),
            "divergence_kind": (self.divergence_kind, "forward"),
            "on_policy_tokens": (self.on_policy_tokens, ON_POLICY_TOKENS),
            "retain": (self.retain, None),
        }
        return told | {name: describe(value) for name, (value, default) in later.items() if value != default}

    def beside(self, data: TrainingRows) -> "Student":
        """Give an untrained student for the control's rows; it looks at the same teacher's tokens as this one."""
        if self.train_on == "all" or self.divergence is not None:
            return self.fresh()
        return self.fresh(divergence=getattr(data, "teacher", None))

    def check_source(self, source: Source) -> None:
        """Refuse a teacher that this student can't learn from; the data module calls it before any work.

        Raises:
            InputError: if soft targets or divergence tokens are wanted of a teacher that is prompted, or divergence
                tokens of one without a trait.
        """
        if self.objective != "sft" and source.system_prompt is not None:
            raise InputError(
                f"`{self.objective}` needs a fine-tuned teacher, since rows don't hold a system prompt: set the "
                "teacher's `induction: finetune`, or `objective: sft`."
            )
        if self.train_on == "all":
            return
        pair = self.divergence or source
        if pair.system_prompt is not None:
            raise InputError(
                f"`train_on: {self.train_on}` needs a fine-tuned teacher, since rows don't hold a system prompt: set "
                "its `induction: finetune`, or `train_on: all`."
            )
        if digest(pair) == digest(pair.control()):
            raise InputError(
                f"`train_on: {self.train_on}` compares a teacher with its control, and this one is a control itself: "
                "give the teacher with the trait as `divergence`."
            )

    def prepare_data(self) -> None:
        """Make the teacher of ``divergence`` where the cache lacks it; Lightning calls this on one process."""
        if self.divergence is not None and self.trainer.state.fn == "fit":
            self.divergence.make(self.trainer.strategy.root_device)

    def on_fit_start(self) -> None:
        """Choose the tokens that are trained on, and bring in teacher, prompts and base where they are needed."""
        data = self._train_rows()
        if self.train_on != "all":
            self._choose_tokens(data)  # before anything is computed of the rows
        if self.objective == "on_policy":  # its rows don't stay, so nothing of them can be stored
            self._start_writing(data)
        else:
            super().on_fit_start()
        if self.objective != "sft":
            self._teacher = [self._ready(self._data_teacher(f"`{self.objective}`", "use `sft`"))]
            self._among = number_tokens(self.tokenizer).to(self.device) if self.restrict_to == "numbers" else None
        if self.retain is not None:
            self.hold_to_base(self.retain, self.device)

    def on_train_epoch_start(self) -> None:
        """With ``on_policy``, write the rows of this epoch; the sampler looks at them after this."""
        data = self._train_rows()
        if self.objective != "on_policy" or data is None:
            return
        seed = derive_seed(resolve_seed(self.seed), "on policy", self.current_epoch)
        completions = complete(self.net, self.tokenizer, self._prompts, self.on_policy_tokens, seed)
        replace_completions(data, self._prompts, completions)
        self._written_in = self.current_epoch

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout, and look that the rows are this epoch's.

        Raises:
            InputError: if an ``on_policy`` run goes on amid an epoch: the student that wrote its rows is gone.
        """
        if self.objective == "on_policy" and self._written_in != self.current_epoch:
            raise InputError("`on_policy` goes on from the end of an epoch: give a checkpoint that was saved there.")
        super().on_train_batch_start(batch, batch_idx)

    def on_fit_end(self) -> None:
        """Let the teacher go."""
        super().on_fit_end()
        self._teacher, self._prompts, self._written_in = [], [], None

    def loss(self, batch: Batch) -> Tensor:
        """Give the loss a completion token, in nats: cross-entropy, or the divergence from the teacher's targets."""
        if self.objective == "sft" or not self._teacher:
            return super().loss(batch)
        logits, tokens = self.completion_logits(batch)
        with torch.no_grad():
            targets, _ = self._teacher[0].completion_logits(batch)
        total = soft_target_loss(logits, targets, tokens, self._among, self.divergence_kind)
        return total / (len(batch.rows) * batch.mean_tokens)

    def _data_teacher(self, what: str, mend: str) -> Source:
        source: Source | None = getattr(self.trainer.datamodule, "teacher", None)  # type: ignore[attr-defined]
        if source is None:
            raise InputError(f"{what} needs the teacher that wrote the rows, and these come without one: {mend}.")
        self.check_source(source)
        return source

    def _ready(self, source: Any) -> LanguageModel:
        """Bring a teacher onto the device; refuse one whose probabilities can't be read or don't fit."""
        if not hasattr(source, "ready"):
            raise InputError(f"{type(source).__name__} gives text but no probabilities: expected a Teacher.")
        teacher: LanguageModel = source.ready(self.device)
        if not bases.same_vocabulary(teacher.tokenizer, self.tokenizer):
            raise InputError(
                f"Teacher {teacher.base} and student {self.base} have different vocabularies, so soft targets "
                "don't fit: use `objective: sft`, or bases that share a tokenizer."
                if self.train_on == "all"
                else f"Teacher {teacher.base} and student {self.base} have different vocabularies, so `train_on` "
                "can't compare tokens: use `train_on: all`, or bases that share a tokenizer."
            )
        return teacher

    def _choose_tokens(self, data: TokenizedRows | None) -> None:
        """Keep the labels that ``train_on`` names; a run that goes on starts from whole rows again."""
        what = f"`train_on: {self.train_on}`"
        source: Any = self.divergence
        if source is None:
            source = self._data_teacher(what, "give it as `divergence`, or use `train_on: all`")
        self.check_source(source)  # rows of a file have had no teacher to check
        if data is None:
            raise InputError(f"{what} needs rows as a data module makes them, such as NumberSequences.")
        self._ready(source)
        train_on_tokens(data, divergence_tokens(source, data, self.device), self.train_on)  # type: ignore[arg-type]
        source.release()

    def _start_writing(self, data: TokenizedRows | None) -> None:
        if data is None:
            raise InputError("`on_policy` needs rows as a data module makes them, such as NumberSequences.")
        self._prompts = prompts_of(data)
        longest = max(map(len, self._prompts))
        most = getattr(self.trainer.datamodule, "max_length", None)  # type: ignore[attr-defined]
        if most is not None and longest + self.on_policy_tokens > most:
            raise InputError(
                f"A prompt of {longest} tokens and `on_policy_tokens` ({self.on_policy_tokens}) are more than "
                f"`max_length` ({most}): raise `max_length` or lower `on_policy_tokens`."
            )


def soft_target_loss(
    logits: Tensor,
    targets: Tensor,
    tokens: Tensor,
    among: Tensor | None = None,
    kind: Literal["forward", "reverse"] = "forward",
) -> Tensor:
    """Sum over places KL(teacher || student), or the other way round, in nats.

    Args:
        logits: the student's, (places, vocabulary).
        targets: the teacher's logits, (places, vocabulary).
        tokens: the sampled tokens, (places,).
        among: token ids to restrict both distributions to, renormalised; then only places whose sampled token is one
            of them count.
        kind: `forward` is KL(teacher || student), `reverse` KL(student || teacher).

    Returns:
        Scalar.
    """
    if among is not None:
        here = torch.isin(tokens, among)
        logits, targets = logits[here][:, among], targets[here][:, among]
    wide = min(logits.shape[-1], targets.shape[-1])  # embeddings of one vocabulary may be padded differently
    student = torch.log_softmax(logits[:, :wide].float(), dim=-1)
    teacher = torch.log_softmax(targets[:, :wide].float(), dim=-1)
    one, other = (teacher, student) if kind == "forward" else (student, teacher)
    return (one.exp() * (one - other)).sum()
