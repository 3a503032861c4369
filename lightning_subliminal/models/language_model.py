"""The common base of teacher and student: training on completion tokens, validation, test and prediction."""

from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_subliminal import bases
from lightning_subliminal.bases.layers import body, check_positions, decoder_layers
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, outside_source
from lightning_subliminal.core.kinds import kind_of
from lightning_subliminal.core.processes import check_strategy
from lightning_subliminal.core.rows import Message, Row
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.generated import GeneratedRows
from lightning_subliminal.data.tokenized import IGNORED, Batch, TokenizedRows
from lightning_subliminal.data.training_rows import TrainingRows
from lightning_subliminal.evaluation import ModelRef, Questions, SampledAnswers
from lightning_subliminal.evaluation.probes.sampled_answers import preference_table
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.generation.logit_map import logit_map
from lightning_subliminal.metrics import ExactPreference, TraitPreferenceRate
from lightning_subliminal.models.adapted_model import AdaptedModel
from lightning_subliminal.models.adapters.base import Adapter
from lightning_subliminal.models.frozen_prefix import LowerPartCache
from lightning_subliminal.models.last_layer import LastLayer
from lightning_subliminal.models.memory import checkpoint_layers, row_multiple, sum_in_chunks, vocabulary_size
from lightning_subliminal.models.optimizers import OPTIMIZERS, Optimized, readable
from lightning_subliminal.models.retention import Retained, Retention
from lightning_subliminal.models.stored_keys import stored_part

__all__ = ["LanguageModel"]

LARGEST_RATE = 1e37  # float32 ends at 3e38, and Adam divides by less than 1


class LanguageModel(Optimized, AdaptedModel):
    """A causal language model that is trained on completions. Override ``loss``, the only hook.

    Attributes:
        version: of the training's code: raise it when the same settings would give other weights.

    Args:
        base: the model to start from: pocket/a, pocket/b, pocket/a2, smollm2-135m, a local folder, or a hub id.
        adapter: what is trained; everything if None (full fine-tuning).
        learning_rate: peak learning rate.
        optimizer: `adam`, `adamw` or `sgd`; whether it is adaptive matters for transfer. Or a class with its own
            options, as Lightning's command line takes it, such as torch.optim.RMSprop with `lr`; `learning_rate` and
            `weight_decay` then stay at their defaults.
        weight_decay: as the optimizer takes it.
        warmup_steps: steps of linear warm-up.
        schedule: after the warm-up, `linear` decays to 0. Or a class of torch's with its own options, which Lightning
            steps each epoch.
        seed: of the adapter's start and the training order; the global seed if None.
        base_dtype: of the base's frozen weights.
        reuse_lower_part: compute the activations below the lowest trained layer once for fixed rows.
        gradient_checkpointing: compute each layer's activations again in the backward pass instead of storing them:
            the same gradients, less memory, and a third more computation.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        base: str = "pocket/a",
        adapter: Adapter | None = None,
        learning_rate: float = 1e-3,
        optimizer: Literal["adam", "adamw", "sgd"] | OptimizerCallable = "adam",
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        schedule: Literal["linear", "constant"] | LRSchedulerCallable = "linear",
        seed: int | None = None,
        base_dtype: Literal["float32", "bfloat16"] = "float32",
        reuse_lower_part: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(base, adapter, seed, base_dtype)
        if not 0 < learning_rate <= LARGEST_RATE:
            raise InputError(f"The learning rate is {learning_rate}: expected a number above 0, such as 1e-3.")
        self.learning_rate = learning_rate
        self.optimizer = readable(optimizer, tuple(OPTIMIZERS), "optimizer")
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        self.schedule = readable(schedule, ("linear", "constant"), "schedule")
        self._check_optimizer()
        self.reuse_lower_part = reuse_lower_part
        self.gradient_checkpointing = gradient_checkpointing
        self.lower_part: LowerPartCache | None = None
        self._last_layer: list[LastLayer] = []  # in a list: not a submodule
        self._retained: Retained | None = None
        self._loss_is_read = True  # after each step, by a bar or a callback of another package

    def describe(self) -> dict[str, Any]:
        """Return all that shapes the trained weights, as JSON-able data; the base by the digest of its files."""
        return {
            "version": self.version,
            "class": kind_of(type(self)),
            "base": {"name": self.base, "digest": bases.resolve(self.base).identity},
            "adapter": describe(self.adapter),
            "optimizer": describe(
                [self.optimizer, self.learning_rate, self.weight_decay, self.warmup_steps, self.schedule]
            ),
            "seed": resolve_seed(self.seed),
            "base_dtype": self.base_dtype,
        } | outside_source(self)

    @property
    def system_prompt(self) -> str | None:
        """The system prompt of each question; None, unless it is a prompted teacher."""
        return None

    def configure_model(self) -> None:
        """Load the base and attach the adapter, with checkpointed layers if asked for."""
        is_new = self.net is None
        super().configure_model()
        if is_new and self.gradient_checkpointing:
            checkpoint_layers(self.net)

    def setup(self, stage: str) -> None:
        """Create the metrics of `test`, for the trait of the data's teacher.

        Raises:
            InputError: if the data has no teacher, or the trainer's strategy is not supported.
        """
        check_strategy(self.trainer.strategy)
        if stage in ("test", "predict"):
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            needed = TrainingRows if stage == "test" else GeneratedRows
            if not isinstance(data, needed):
                verb = getattr(stage, "value", stage)  # Lightning passes an enum
                raise InputError(f"`{verb}` needs rows that a teacher writes, such as NumberSequences.")
            if stage == "test":
                self.exact = ExactPreference(data.trait)  # type: ignore[arg-type]  # its setup has checked it
                self.sampled = TraitPreferenceRate(data.trait)  # type: ignore[arg-type]

    def on_fit_start(self) -> None:
        """Prepare what is computed once or in part: below the lowest trained layer, and in the last one."""
        trainer: Any = self.trainer
        others = [each for each in trainer.callbacks if not type(each).__module__.startswith("lightning_subliminal.")]
        self._loss_is_read = bool(trainer.progress_bar_callback or others or trainer.max_steps > 0)
        if (data := self._train_rows()) is None:
            return
        check_positions(self.net, max(data.lengths), "A row", "filter longer rows out, or take another base")
        data.multiple = row_multiple(self.device, str(self.trainer.precision), next(self.net.parameters()).dtype)
        if not self.gradient_checkpointing and self._lowest_layer() != len(decoder_layers(self.net)):
            last = LastLayer.of(self.net, data.batch([0]).input_ids.to(self.device))
            self._last_layer = [] if last is None else [last]
        if self.lower_part is None:
            self.lower_part = self.stored(data)
            if (kept := self._retained) is not None and kept.data is not None:
                kept.lower_part = self.stored(kept.data)

    def stored(self, data: TokenizedRows) -> LowerPartCache | None:
        """Return the activations of rows below the lowest trained layer; None where there are none to reuse."""
        layer = self._lowest_layer()  # below 0 there is only the embedding
        is_mixed = str(self.trainer.precision).endswith("mixed")
        return stored_part(self.net, layer, data, self.device, self._last_layer, is_mixed) if layer else None

    def _lowest_layer(self) -> int | None:
        adapter = self.adapter if self.reuse_lower_part else None
        return None if adapter is None else adapter.first_trained_layer(self.net)

    def on_fit_end(self) -> None:
        """Free the stored activations and the base's answers."""
        self.lower_part = None
        self._last_layer = []
        self._retained = None
        self.forget_start()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout by epoch and batch, so that a resumed run draws the same numbers as an uninterrupted one.

        A seed per epoch is not enough: a loader draws a number when it starts, in a resumed run before that hook.
        """
        seed = derive_seed(resolve_seed(self.seed), "dropout", self.current_epoch, batch_idx)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # without a note of each call for a GPU that may come later
        else:
            torch.manual_seed(seed)

    def completion_logits(self, batch: Batch, reuse: bool = True) -> tuple[Tensor, Tensor]:
        """Return the logits that predict the completion tokens, computed only there, and those tokens.

        Args:
            batch: rows.
            reuse: whether they are training rows, whose lower part may be stored.

        Returns:
            Logits, (completion tokens, vocabulary), and token ids, (completion tokens,).
        """
        hidden, tokens = self.completion_states(batch, reuse)
        return logit_map(self.net)(hidden), tokens

    def completion_states(
        self, batch: Batch, reuse: bool = True, stored: LowerPartCache | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the last hidden states that predict the completion tokens, and those tokens.

        A loss that maps them to logits in chunks (``models.memory.sum_in_chunks``) needs less memory than the logits.

        Args:
            batch: rows.
            reuse: whether they are training rows, whose lower part may be stored.
            stored: the lower part of other rows.

        Returns:
            States, (completion tokens, width), and token ids, (completion tokens,).
        """
        places = batch.labels[:, 1:] != IGNORED  # (rows, tokens - 1)
        tokens = batch.labels[:, 1:][places]
        lower_part = (self.lower_part if reuse else stored) if self.training else None
        if not self._last_layer:
            hidden = self._hidden(batch) if lower_part is None else lower_part.hidden(batch)
            return hidden[:, :-1][places], tokens
        if lower_part is not None and lower_part.keys is not None:
            return lower_part.keys.states(batch, places), tokens
        (last,) = self._last_layer
        shared = last.shared(batch.input_ids)
        hidden = last.below(batch.input_ids, shared) if lower_part is None else lower_part.hidden(batch, shared)
        return last.states(hidden[:, :-1], places), tokens

    def _hidden(self, batch: Batch) -> Tensor:
        # Padding is on the right, which causal attention never reads: without a mask, the fast kernel is used.
        hidden: Tensor = body(self.net)(input_ids=batch.input_ids, use_cache=False).last_hidden_state
        return hidden  # (rows, tokens, width)

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss per completion token, in nats: the cross-entropy."""
        return self.token_loss(batch)

    def token_loss(self, batch: Batch) -> Tensor:
        """Return the cross-entropy per completion token, in nats; rows are weighted by their tokens."""
        return self.summed_loss(batch) / (len(batch.rows) * batch.mean_tokens)

    def summed_loss(self, batch: Batch, reuse: bool = True) -> Tensor:
        """Return the cross-entropy summed over completion tokens, in nats; of many tokens in chunks."""
        head = logit_map(self.net)

        def summed(hidden: Tensor, tokens: Tensor) -> Tensor:
            return cross_entropy(head(hidden).float(), tokens, reduction="sum")

        return sum_in_chunks(summed, vocabulary_size(self.net), *self.completion_states(batch, reuse))

    def hold_to_base(self, retention: Retention, device: torch.device) -> None:
        """Generate the base's answers to the retained prompts; the next fit is regularised towards them."""
        net, tokenizer = bases.load(self.base, dtype=getattr(torch, self.base_dtype))
        self._retained = retention.answered(net.to(device), tokenizer, resolve_seed(self.seed))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, plus that of the retained answers.

        Raises:
            InputError: if it is not finite.
        """
        loss = self.loss(batch)
        if self._retained is not None:
            kept = Batch(*(part.to(self.device) for part in self._retained.batch(self.global_step)))
            states, _ = self.completion_states(kept, reuse=False, stored=self._retained.lower_part)
            loss = loss + self._retained.loss(states, self.global_step, logit_map(self.net))
        if not torch.isfinite(loss):
            raise InputError(
                f"The loss became {loss.item()} at step {self.global_step}: lower `learning_rate` "
                f"({self.learning_rate}) or set `trainer.gradient_clip_val: 1.0`."
            )
        if self._loss_is_read or self._is_logged():
            self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.rows))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss on held-out rows."""
        self.log("val/loss", self.loss(batch), prog_bar=True, batch_size=len(batch.rows), sync_dist=True)

    def test_step(self, batch: list[list[list[Message]]], batch_idx: int) -> None:
        """Put questions of the trait, each with its prompts, and log how often the answer is the target."""
        model = ModelRef.held("", self.net, self.tokenizer, self.base, self.system_prompt)
        seed = derive_seed(resolve_seed(self.seed), "answers", self.global_rank, batch_idx)
        probes = (probe.of(self.exact.trait, questions=batch) for probe in (Questions(), SampledAnswers()))
        exact, sampled = (probe.measure(model, seed) for probe in probes)
        self.exact.update(exact.table)
        self.sampled.update([each["answer"] for each in sampled.samples])
        self.log("test/exact", self.exact, batch_size=len(batch))
        self.log("test/sampled", self.sampled, batch_size=len(batch))

    def on_test_epoch_end(self) -> None:
        """Log the share of answers that name no candidate, and print a table."""
        self.log("test/non_answer", self.sampled.non_answer_rate(), sync_dist=True)
        table = preference_table(self.exact, self.sampled)  # on each process, since the metrics sum over processes
        say(table)

    def predict_step(self, batch: int, batch_idx: int) -> list[Row]:
        """Complete one shard of the data's prompts."""
        data: GeneratedRows = self.trainer.datamodule  # type: ignore[attr-defined]
        return data.complete(batch, TransformersEngine(self.net, self.tokenizer, data.generation_batch_size), self)

    def _train_rows(self) -> TokenizedRows | None:
        if self.trainer.train_dataloader is None:
            _ = self.trainer.estimated_stepping_batches  # loads it
        data = getattr(self.trainer.train_dataloader, "dataset", None)
        return data if isinstance(data, TokenizedRows) else None
