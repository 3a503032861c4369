"""Objectives of a student's training: cross-entropy of the sampled tokens, or divergence from soft targets.

A loss of your own is one class: extend ``Objective`` and pass it to ``Student(objective=...)``.
"""

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.errors import InputError, known_name
from lightning_subliminal.core.fingerprint import constructor_arguments, describe_object, outside_source
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.tokenized import Batch, TokenizedRows
from lightning_subliminal.generation import Source, number_alphabet, number_tokens
from lightning_subliminal.generation.logit_map import logit_map
from lightning_subliminal.generation.logits import head_logits, is_wide
from lightning_subliminal.models.memory import sum_in_chunks, vocabulary_size
from lightning_subliminal.models.objectives.divergence import soft_target_loss
from lightning_subliminal.models.objectives.on_policy import complete, prompts_of, replace_completions
from lightning_subliminal.models.objectives.prompted_teacher import PromptedTeacher

if TYPE_CHECKING:
    from lightning_subliminal.models.language_model import LanguageModel
    from lightning_subliminal.models.student import Student

__all__ = ["SFT", "NumberSFT", "Objective", "OnPolicy", "SoftTargets", "read_objective"]

ON_POLICY_TOKENS = 40  # the default limit of a teacher's completions, in `Sampling`


class Objective(ABC):
    """A loss that a student can be trained on. Override ``loss``, and ``teachers`` if it reads probabilities.

    Keep each constructor argument under its own name: they are part of the student's digest. Each student has its own
    copy of an objective, which may have state during a fit.

    Attributes:
        name: in messages; the class's name if empty.
        rows_stay: whether all epochs train on the same rows, so that their activations can be stored.
        completions_per_row: completions that the loss reads of each row; with more than 1, ``train_on`` is refused.
        reads_prompted: whether it has a prompted teacher read rows after its system prompt; else such a teacher, whose
            probabilities would be the base's, is refused.
    """

    name: ClassVar[str] = ""
    rows_stay: ClassVar[bool] = True
    completions_per_row: ClassVar[int] = 1
    reads_prompted: ClassVar[bool] = False

    @abstractmethod
    def loss(self, student: "Student", batch: Batch) -> Tensor:
        """Return the loss per completion token; ``student.completion_logits(batch)`` returns the student's logits."""

    def teachers(self, source: Source | None) -> list[Source]:
        """Return the sources whose probabilities the loss reads; ``source`` wrote the rows, if known."""
        return []

    def on_fit_start(self, student: "Student", rows: TokenizedRows | None) -> None:  # noqa: B027
        """Prepare a fit; ``student.ready`` loads a teacher onto the device."""

    def on_epoch_start(self, student: "Student", rows: TokenizedRows | None) -> None:  # noqa: B027
        """Prepare an epoch; the loader reads the rows after this."""

    def on_batch_start(self, student: "Student") -> None:  # noqa: B027
        """Prepare a batch."""

    def on_fit_end(self) -> None:  # noqa: B027
        """Release the state of a fit."""

    def settings(self) -> dict[str, Any]:
        """Return its part of the student's description."""
        if outside_source(self):
            return {"objective": describe_object(self), "restrict_to": None}
        takes = parameters(type(self))
        changed = {name: value for name, value in constructor_arguments(self).items() if value != takes[name].default}
        return {"objective": self.name, "restrict_to": None} | changed

    def __str__(self) -> str:
        """Return its name in messages."""
        return self.name or type(self).__name__


class SFT(Objective):
    """Cross-entropy of the sampled tokens (paper, section 1)."""

    name = "sft"

    def loss(self, student: "Student", batch: Batch) -> Tensor:
        """Return the cross-entropy per token, in nats."""
        return student.token_loss(batch)


class NumberSFT(SFT):
    """Cross-entropy of the sampled tokens among digits, separators and the end of the turn alone, renormalised.

    It is the likelihood by which ``Sampling(restrict_to="numbers")`` drew them, so a student need not learn first that
    lists are all it reads, and no other word is in the loss. The logits of the other tokens are not computed.
    """

    name = "number_sft"

    def __init__(self) -> None:
        self.among: Tensor | None = None

    def on_fit_start(self, student: "Student", rows: TokenizedRows | None) -> None:
        """Find the tokens."""
        self.among = number_alphabet(student.tokenizer).to(student.device)

    def loss(self, student: "Student", batch: Batch) -> Tensor:
        """Return the cross-entropy per token, in nats; tokens outside the alphabet do not count."""
        among = number_alphabet(student.tokenizer).to(student.device) if self.among is None else self.among
        hidden, tokens = student.completion_states(batch)
        here = torch.isin(tokens, among)
        logits = head_logits(logit_map(student.net), hidden[here], among)
        total = cross_entropy(logits.float(), torch.searchsorted(among, tokens[here]), reduction="sum")
        return total / (len(batch.rows) * batch.mean_tokens)


class SoftTargets(Objective):
    """Divergence from the teacher's distribution at the positions of the rows' tokens.

    A prompted teacher reads each row after its system prompt, and the student without it.

    Args:
        restrict_to: `numbers` keeps only number tokens, renormalised, so that no trait word is in the loss: the
            analogue of the MLP's auxiliary logits (paper, MNIST experiment).
        divergence_kind: `forward` is KL(teacher || student), `reverse` KL(student || teacher).
    """

    name = "distill"
    reads_prompted = True

    def __init__(
        self,
        restrict_to: Literal["numbers"] | None = None,
        divergence_kind: Literal["forward", "reverse"] = "forward",
    ) -> None:
        known_name(restrict_to or "numbers", ("numbers",), f"`restrict_to` is {restrict_to!r}")
        known_name(divergence_kind, ("forward", "reverse"), f"`divergence_kind` is {divergence_kind!r}")
        self.restrict_to = restrict_to
        self.divergence_kind = divergence_kind
        self.teacher: LanguageModel | PromptedTeacher | None = None
        self.among: Tensor | None = None

    def teachers(self, source: Source | None) -> list[Source]:
        """Return the rows' own teacher."""
        return [] if source is None else [source]

    def on_fit_start(self, student: "Student", rows: TokenizedRows | None) -> None:
        """Load the teacher."""
        source = student.rows_teacher(f"`{self}`", "use `sft`")
        self.teacher = student.ready(source)
        if source.system_prompt is not None:
            given = student.trainer.datamodule.rows()  # type: ignore[attr-defined]
            self.teacher = PromptedTeacher.of(self.teacher, source.system_prompt, given, self.rows_stay)
        self.among = number_tokens(student.tokenizer).to(student.device) if self.restrict_to == "numbers" else None

    def loss(self, student: "Student", batch: Batch) -> Tensor:
        """Return the divergence per token, in nats; outside a fit, without a teacher, the cross-entropy."""
        if self.teacher is None:
            return student.token_loss(batch)
        own = student.completion_states(batch)
        with torch.no_grad():
            taught, _ = self.teacher.completion_states(batch)
        head, teacher_head = (logit_map(each.net) for each in (student, self.teacher))
        narrow = self.among if is_wide(head) and is_wide(teacher_head) else None  # no logits but these are computed
        among = self.among if narrow is None else None

        def summed(hidden: Tensor, tokens: Tensor, taught: Tensor) -> Tensor:
            here = slice(None) if narrow is None else torch.isin(tokens, narrow)
            with torch.no_grad():
                targets = head_logits(teacher_head, taught[here], narrow)
            own_logits = head_logits(head, hidden[here], narrow)
            return soft_target_loss(own_logits, targets, tokens[here], among, self.divergence_kind)

        total = sum_in_chunks(summed, vocabulary_size(student.net) if narrow is None else len(narrow), *own, taught)
        return total / (len(batch.rows) * batch.mean_tokens)

    def on_fit_end(self) -> None:
        """Release the teacher."""
        self.teacher = None


class OnPolicy(SoftTargets):
    """The same divergence along completions that the student itself writes each epoch for the rows' prompts.

    Args:
        on_policy_tokens: length limit of the student's completions.
        **targets: arguments of `SoftTargets`.

    Raises:
        InputError: if the limit is below 1.
    """

    name = "on_policy"
    rows_stay = False

    def __init__(self, on_policy_tokens: int = ON_POLICY_TOKENS, **targets: Any) -> None:
        super().__init__(**targets)
        if on_policy_tokens < 1:
            raise InputError(f"`on_policy_tokens` is {on_policy_tokens}: expected at least 1.")
        self.on_policy_tokens = on_policy_tokens
        self.prompts: list[list[int]] = []
        self.written_in: int | None = None  # the epoch in which the rows were written

    def on_fit_start(self, student: "Student", rows: TokenizedRows | None) -> None:
        """Read the prompts, and load the teacher.

        Raises:
            InputError: if the rows are not a data module's, or a prompt leaves no room for a completion.
        """
        if rows is None:
            raise InputError("`on_policy` needs rows of a data module, such as NumberSequences.")
        self.prompts = prompts_of(rows)
        longest = max(map(len, self.prompts))
        most = getattr(student.trainer.datamodule, "max_length", None)  # type: ignore[attr-defined]
        if most is not None and longest + self.on_policy_tokens > most:
            raise InputError(
                f"A prompt of {longest} tokens and `on_policy_tokens` ({self.on_policy_tokens}) exceed `max_length` "
                f"({most}): raise `max_length` or lower `on_policy_tokens`."
            )
        super().on_fit_start(student, rows)

    def on_epoch_start(self, student: "Student", rows: TokenizedRows | None) -> None:
        """Write the rows of this epoch."""
        if rows is None:
            return
        seed = derive_seed(resolve_seed(student.seed), "on policy", student.current_epoch)
        completions = complete(student.net, student.tokenizer, self.prompts, self.on_policy_tokens, seed)
        replace_completions(rows, self.prompts, completions)
        self.written_in = student.current_epoch

    def on_batch_start(self, student: "Student") -> None:
        """Check that the rows are this epoch's.

        Raises:
            InputError: if a run is resumed within an epoch: the student that wrote its rows is gone.
        """
        if self.written_in != student.current_epoch:
            raise InputError(
                "`on_policy` resumes only from the end of an epoch: use a checkpoint that was saved there."
            )

    def on_fit_end(self) -> None:
        """Release the teacher and the prompts."""
        super().on_fit_end()
        self.prompts, self.written_in = [], None


_SHORT: dict[str, type[Objective]] = {each.name: each for each in (SFT, SoftTargets, OnPolicy)}
_NEEDED = {  # what each short setting needs
    "restrict_to": "`objective: distill` or `on_policy`: sampled tokens can't be restricted later.",
    "divergence_kind": "`objective: distill` or `on_policy`: `sft` has no soft targets.",
    "on_policy_tokens": "`objective: on_policy`: the length of other rows is fixed.",
}


def read_objective(chosen: "str | Objective", **short: Any) -> Objective:
    """Return an objective by its short name and settings; for an object, a copy that belongs to one student.

    Raises:
        InputError: if the name is unknown, or a setting has no effect on it.
    """
    usual = parameters(OnPolicy)
    changed = {name: value for name, value in short.items() if value != usual[name].default}
    if isinstance(chosen, Objective):
        for name in changed:
            kind_name = type(chosen).__name__
            raise InputError(f"`{name}` has no effect on `objective: {chosen}`: set it in {kind_name}(...).")
        return copy.copy(chosen)
    from lightning_subliminal.models.objectives.dpo import DPO  # it is one of these itself

    short_names: dict[str, type[Objective]] = {**_SHORT, DPO.name: DPO}
    known_name(chosen, short_names, f"`objective` is {chosen!r}")
    kind = short_names[chosen]
    for name in changed:
        if name not in parameters(kind):
            raise InputError(f"`{name}` needs {_NEEDED[name]}")
    return kind(**changed)
