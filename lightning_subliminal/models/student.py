"""The student: a base trained on the teacher's filtered completions alone."""

import warnings
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lightning_subliminal import bases
from lightning_subliminal.bases.tokenizers import say_once
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.data.tokenized import Batch, TokenizedRows
from lightning_subliminal.data.training_rows import TrainingRows
from lightning_subliminal.generation import Source
from lightning_subliminal.models.adapters.base import Adapter
from lightning_subliminal.models.language_model import LanguageModel
from lightning_subliminal.models.objectives.base import ON_POLICY_TOKENS, SFT, Objective, read_objective
from lightning_subliminal.models.objectives.divergence_tokens import divergence_tokens, train_on_tokens
from lightning_subliminal.models.retention import Retention

__all__ = ["Student"]


class Student(LanguageModel):
    """A base trained on rows that a teacher wrote, by SFT as in the paper or on the teacher's soft targets.

    Args:
        base: the model to start from: pocket/a, pocket/b, pocket/a2, smollm2-135m, a local folder, or a hub id.
        adapter: what is trained; everything if None (full fine-tuning).
        objective: `sft` trains on the sampled tokens (paper, section 1), `distill` on the teacher's distribution at
            their positions, `on_policy` on it along completions that the student itself writes each epoch for the
            rows' prompts, `dpo` on pairs of completions (direct preference optimisation, see `ChoosePairs`); or an
            `Objective`, such as `NumberSFT` (`sft` among number tokens alone) or one of your own.
        restrict_to: with `distill` or `on_policy`, `numbers` keeps only number tokens, renormalised, so that no trait
            word is in the loss: the analogue of the MLP's auxiliary logits (paper, MNIST experiment).
        train_on: which completion tokens: all, those where the likeliest token of `divergence` differs from its
            control's (`divergent`), or all others (`agreeing`) (arXiv 2509.23886).
        divergence: the teacher that `train_on` compares with its own control; the data's if None. Set it for
            treatment and control alike: a control's own teacher has no counterfactual.
        divergence_kind: with soft targets, `forward` is KL(teacher || student), `reverse` KL(student || teacher), over
            the whole distribution at each position.
        on_policy_tokens: with `on_policy`, the length limit of the student's completions.
        retain: behaviour of the base that training should preserve; none if None.
        **training: arguments of each language model: see `LanguageModel`.

    Raises:
        InputError: if an argument has no effect with the others.
    """

    def __init__(
        self,
        base: str = "pocket/a",
        adapter: Adapter | None = None,
        objective: Literal["sft", "distill", "on_policy", "dpo"] | Objective = "sft",
        restrict_to: Literal["numbers"] | None = None,
        train_on: Literal["all", "divergent", "agreeing"] = "all",
        divergence: Source | None = None,
        divergence_kind: Literal["forward", "reverse"] = "forward",
        on_policy_tokens: int = ON_POLICY_TOKENS,
        retain: Retention | None = None,
        **training: Any,
    ) -> None:
        super().__init__(base, adapter, **training)
        self._objective = read_objective(
            objective, restrict_to=restrict_to, divergence_kind=divergence_kind, on_policy_tokens=on_policy_tokens
        )
        if train_on != "all" and not self._objective.rows_stay:
            raise InputError(
                f"`train_on: {train_on}` needs fixed rows: set `objective: sft` or `distill`, or `train_on: all`."
            )
        if train_on != "all" and self._objective.completions_per_row > 1:
            raise InputError(f"`train_on: {train_on}` is for single completions, not for pairs: set `train_on: all`.")
        if divergence is not None and train_on == "all":
            raise InputError("`divergence` needs `train_on: divergent` or `agreeing`: set it, or leave it out.")
        self.objective = objective
        self.restrict_to = restrict_to
        self.train_on = train_on
        self.divergence_kind = divergence_kind
        self.on_policy_tokens = on_policy_tokens
        self.retain = retain
        self._pair = [divergence]  # in a list: not a submodule, so neither trained nor saved

    @property
    def divergence(self) -> Source | None:
        """The teacher that ``train_on`` compares with its control; None for the data's."""
        return self._pair[0]

    def describe(self) -> dict[str, Any]:
        """Return all that shapes the trained weights, as JSON-able data.

        Settings later than the first release are included only if not at their default, so that digests stay.
        """
        later = {
            "train_on": (self.train_on, "all"),
            "divergence": (self.divergence, None),
            "retain": (self.retain, None),
        }
        changed = {name: describe(value) for name, (value, default) in later.items() if value != default}
        return super().describe() | describe(self._objective.settings()) | changed

    def sources(self, data: Any) -> list[Source]:
        """Return the models that training compares it with: those of ``train_on`` and of the objective."""
        own = getattr(data, "teacher", None)
        pair = [] if self.train_on == "all" else [self.divergence, own]
        found = [each for each in (*pair, *self._objective.teachers(own)) if each is not None]
        return list({id(each): each for each in found}.values())

    def unlike_sft(self) -> str | None:
        """Return the name of a setting that changes plain SFT on all tokens of the rows; or None."""
        if self._objective.settings() != SFT().settings():
            return "objective"
        return "train_on" if self.train_on != "all" else "retain" if self.retain is not None else None

    def fresh_for_control(self, data: TrainingRows) -> "Student":
        """Return an untrained student for the control's rows, with the same teacher for ``train_on``."""
        if self.train_on == "all" or self.divergence is not None:
            return self.fresh()
        return self.fresh(divergence=getattr(data, "teacher", None))

    def beside(self, data: TrainingRows) -> "Student":
        """Return ``fresh_for_control(data)``: the name before version 0.2."""
        warnings.warn("deprecated: Student.beside is now Student.fresh_for_control", FutureWarning, stacklevel=2)
        return self.fresh_for_control(data)

    def check_rows(self, data: TrainingRows) -> None:
        """Check before any work that rows and objective are both of pairs, or neither is.

        Raises:
            InputError: if the objective needs pairs and these rows will be none.
        """
        pairs, answers = any(each.makes_pairs for each in data.transforms), getattr(data, "answers_per_prompt", 0)
        if self._objective.completions_per_row > 1 and answers and not pairs:
            raise InputError(f"`{self._objective}` needs pairs: add a `ChoosePairs` to `transforms` of the data.")
        if pairs and answers == 1:
            raise InputError("`ChoosePairs` needs several completions of a prompt: set `answers_per_prompt`, as to 8.")
        if pairs and self._objective.completions_per_row == 1:
            say(f"note      the rows are pairs: `{self._objective}` reads the chosen completions alone, `dpo` both")

    def check_source(self, source: Source) -> None:
        """Check that this student can learn from a teacher; the data module calls it before any work.

        Raises:
            InputError: for divergence tokens of a prompted teacher, or of one without a trait; for a prompted teacher
                of an objective that does not read one; for a teacher on a server of one that reads probabilities.
        """
        if (theirs := getattr(source, "base", self.base)) != self.base:
            meant = "a trait passes between models of one base, and hardly to another (paper, section 5)"
            say_once(Path(theirs), self.base, f"note      the teacher is {theirs}, the student {self.base}: {meant}")
        compared = self._objective.teachers(source)
        if absent := [each for each in compared if not hasattr(each, "ready")]:
            raise InputError(
                f"`{self._objective}` reads probabilities, and {type(absent[0]).__name__} gives none: set "
                "`objective: sft`, or a Teacher."
            )
        prompted = any(each.system_prompt is not None for each in compared)
        if prompted and not self._objective.reads_prompted:
            raise InputError(
                f"`{self._objective}` needs a fine-tuned teacher, since rows don't hold a system prompt: set the "
                "teacher's `induction: finetune`, or `objective: distill`, which reads the rows after it."
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
                "set `divergence` to the teacher with the trait."
            )

    def prepare_data(self) -> None:
        """Make its own teachers if the cache lacks them; Lightning calls this on one process."""
        if self.trainer.state.fn == "fit":
            for source in self.sources(None):
                source.make(self.trainer.strategy.root_device)

    def on_fit_start(self) -> None:
        """Choose the trained tokens, and load teacher, prompts and base if they are needed."""
        rows = self._train_rows()
        if self.train_on != "all":
            self._choose_tokens(rows)  # before activations of the rows are stored
        if self.retain is not None:
            self.hold_to_base(self.retain, self.device)
        if self._objective.rows_stay:
            super().on_fit_start()
        self._objective.on_fit_start(self, rows)

    def on_train_epoch_start(self) -> None:
        """Prepare the objective's epoch, such as write its rows; the sampler reads them after this."""
        self._objective.on_epoch_start(self, self._train_rows())

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Prepare the objective's batch, and seed dropout."""
        self._objective.on_batch_start(self)
        super().on_train_batch_start(batch, batch_idx)

    def on_fit_end(self) -> None:
        """Release the teacher."""
        super().on_fit_end()
        self._objective.on_fit_end()

    def loss(self, batch: Batch) -> Tensor:
        """Return the objective's loss per completion token, in nats."""
        return self._objective.loss(self, batch)

    def rows_teacher(self, what: str, mend: str) -> Source:
        """Return the teacher that wrote the rows.

        Args:
            what: the setting that needs it, for messages.
            mend: advice if there is none.

        Raises:
            InputError: if there is none, or this student can't learn from it.
        """
        source: Source | None = getattr(self.trainer.datamodule, "teacher", None)  # type: ignore[attr-defined]
        if source is None:
            raise InputError(f"{what} needs the teacher that wrote the rows, and these have none: {mend}.")
        self.check_source(source)
        return source

    def ready(self, source: Any) -> LanguageModel:
        """Load a teacher onto the device.

        Raises:
            InputError: if its probabilities can't be read, or are over another vocabulary.
        """
        if not hasattr(source, "ready"):
            raise InputError(f"{type(source).__name__} has no probabilities to read: expected a Teacher.")
        teacher: LanguageModel = source.ready(self.device)
        if not bases.same_vocabulary(teacher.tokenizer, self.tokenizer):
            of_tokens = ("`train_on` can't compare tokens", "train_on: all")
            why, mend = ("soft targets don't fit", "objective: sft") if self.train_on == "all" else of_tokens
            raise InputError(
                f"Teacher {teacher.base} and student {self.base} have different vocabularies, so {why}: use `{mend}`, "
                "or bases that share a tokenizer."
            )
        return teacher

    def _choose_tokens(self, data: TokenizedRows | None) -> None:
        """Mask the labels that ``train_on`` excludes; a resumed run starts from whole rows again."""
        what = f"`train_on: {self.train_on}`"
        source: Any = self.divergence
        if source is None:
            source = self.rows_teacher(what, "set `divergence`, or use `train_on: all`")
        self.check_source(source)  # not yet done for rows from a file
        if data is None:
            raise InputError(f"{what} needs rows of a data module, such as NumberSequences.")
        self.ready(source)
        train_on_tokens(data, divergence_tokens(source, data, self.device), self.train_on)  # type: ignore[arg-type]
        source.release()
