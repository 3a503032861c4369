"""What teacher and student share: a base, an adapter, and the loss on completion tokens alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI, LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_subliminal import bases
from lightning_subliminal.bases.registry import outside_name
from lightning_subliminal.bases.save import save_net
from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import constructor_arguments, describe, outside_source
from lightning_subliminal.core.io.adapter_names import PEFT_FILES
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
from lightning_subliminal.metrics import ExactPreference, TraitPreferenceRate
from lightning_subliminal.models.adapters.base import Adapter
from lightning_subliminal.models.adapters.layers import inner_model
from lightning_subliminal.models.displacement import language_model_subject
from lightning_subliminal.models.frozen_prefix.activation_cache import LowerPartCache
from lightning_subliminal.models.identity import RebuiltModule
from lightning_subliminal.models.optimizers import OPTIMIZERS, readable
from lightning_subliminal.models.retention import Retained, Retention
from lightning_subliminal.theory.alignment import AlignmentSubject, Displacement, difference

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LanguageModel"]

LARGEST_RATE = 1e37  # float32 ends at 3e38, and Adam divides by less than 1


class LanguageModel(RebuiltModule):
    """A causal language model that is trained on completions. Override ``loss``, the only hook.

    Attributes:
        version: of the training's code: raise it when the same settings would give other weights.

    Args:
        base: the model to start from: pocket/a, pocket/b, pocket/a2, smollm2-135m, a local folder, or a hub id.
        adapter: what is trained; everything where it is None (full fine-tuning).
        learning_rate: at its peak.
        optimizer: `adam`, `adamw` or `sgd`; adaptive ones matter for transfer (PAPER.md, validity). Or a class with
            options of its own, as Lightning's command line takes it, such as torch.optim.RMSprop with `lr`;
            `learning_rate` and `weight_decay` then stay at their defaults.
        weight_decay: as the optimizer takes it.
        warmup_steps: steps of linear warm-up.
        schedule: after the warm-up, falls linearly to 0 or stays constant. Or a class of torch's with options of its
            own, stepped as Lightning does: each epoch.
        seed: moves the adapter's start and the training order; the global seed where it is None.
        base_dtype: of the base's frozen weights.
        reuse_lower_part: compute the activations below the lowest trained layer once for the fixed rows.
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
    ) -> None:
        super().__init__()
        if not 0 < learning_rate <= LARGEST_RATE:
            raise InputError(f"The learning rate is {learning_rate}: expected a number above 0, such as 1e-3.")
        bases.resolve(base)  # a misspelt name is told before any work
        self.base = base
        self.adapter = adapter
        self.learning_rate = learning_rate
        self.optimizer = readable(optimizer, tuple(OPTIMIZERS), "optimizer")
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        self.schedule = readable(schedule, ("linear", "constant"), "schedule")
        self._check_optimizer()
        self.seed = seed
        self.base_dtype: str = base_dtype
        self.reuse_lower_part = reuse_lower_part
        self.net: Any = None
        self._files: str | None = None  # digest of the base's files, as they were when the net was loaded
        self.tokenizer: Any = None  # a PreTrainedTokenizerBase, as soon as configure_model has run
        self.lower_part: LowerPartCache | None = None
        self._retained: Retained | None = None
        self._start: dict[str, Tensor] = {}  # what `displacement` needs of the start
        self.strict_loading = False  # checkpoints hold the trained parameters alone

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

    def fresh(self, **changes: Any) -> "Self":
        """Return an untrained module with the same arguments, but for ``changes``."""
        return type(self)(**constructor_arguments(self) | changes)

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Call the net, as ``transformers`` does: ``model(input_ids=...)``."""
        self.configure_model()
        return self.net(*arguments, **named)

    def configure_model(self) -> None:
        """Load the base and attach the adapter; Lightning calls this more than once."""
        if self.net is not None:
            return
        self._files = bases.resolve(self.base).identity
        net, self.tokenizer = bases.load(self.base, dtype=getattr(torch, self.base_dtype))
        if self.adapter is not None:
            net = self.adapter.attach(net, derive_seed(resolve_seed(self.seed), "adapter"))
            self._start = self.adapter.start(net)
        self.net = net.train()

    @property
    def system_prompt(self) -> str | None:
        """What the model is told before each question; nothing, unless it is a prompted teacher."""
        return None

    def setup(self, stage: str) -> None:
        """Make the metrics of `test`, for the trait of the data's teacher.

        Raises:
            InputError: if the data has no teacher, or the trainer's strategy is not supported.
        """
        check_strategy(self.trainer.strategy)
        if stage in ("test", "predict"):
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            needed = TrainingRows if stage == "test" else GeneratedRows
            if not isinstance(data, needed):
                verb = getattr(stage, "value", stage)  # Lightning hands over an enum
                raise InputError(f"`{verb}` needs rows that a teacher writes, such as NumberSequences.")
            if stage == "test":
                self.exact = ExactPreference(data.trait)  # type: ignore[arg-type]  # its setup has looked
                self.sampled = TraitPreferenceRate(data.trait)  # type: ignore[arg-type]

    def on_fit_start(self) -> None:
        """Compute the activations below the lowest trained layer, where that is exact and fits."""
        data = self._train_rows()
        if self.reuse_lower_part and self.adapter is not None and data is not None and self.lower_part is None:
            layer = self.adapter.first_trained_layer(self.net)
            if layer:  # at 0 only the embedding lies below
                self.lower_part = LowerPartCache.of(self.net, layer, data, self.device)

    def on_fit_end(self) -> None:
        """Free the stored activations, and the base's answers."""
        self.lower_part = None
        self._retained = None
        self.forget_start()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout by epoch and batch, so that a resumed run draws what a straight one does.

        By the epoch alone would not do: a loader draws a number when it starts, in a resumed run before that hook.
        """
        torch.manual_seed(derive_seed(resolve_seed(self.seed), "dropout", self.current_epoch, batch_idx))

    def completion_logits(self, batch: Batch, reuse: bool = True) -> tuple[Tensor, Tensor]:
        """Return the logits that predict the completion tokens, computed only there, and those tokens.

        Args:
            batch: rows.
            reuse: whether they are training rows, whose lower part may be stored.

        Returns:
            Logits, (completion tokens, vocabulary), and token ids, (completion tokens,).
        """
        places = batch.labels[:, 1:] != IGNORED  # (rows, tokens - 1)
        hidden = self._hidden(batch, reuse)[:, :-1][places]
        return self.net.get_output_embeddings()(hidden), batch.labels[:, 1:][places]

    def _hidden(self, batch: Batch, reuse: bool) -> Tensor:
        # Padding is on the right, which causal attention never looks at: no mask, hence the fast kernel.
        if reuse and self.lower_part is not None and self.training:
            return self.lower_part.hidden(batch)
        inner = self.net.get_base_model() if hasattr(self.net, "get_base_model") else self.net
        hidden: Tensor = inner.base_model(input_ids=batch.input_ids, use_cache=False).last_hidden_state
        return hidden  # (rows, tokens, width)

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss a completion token, in nats: the cross-entropy."""
        return self.token_loss(batch)

    def token_loss(self, batch: Batch) -> Tensor:
        """Return the cross-entropy a completion token, in nats, each row of the batch weighing by its tokens."""
        logits, tokens = self.completion_logits(batch)
        return cross_entropy(logits.float(), tokens, reduction="sum") / (len(batch.rows) * batch.mean_tokens)

    def hold_to_base(self, retention: Retention, device: torch.device) -> None:
        """Let the base answer the retained prompts; each training step of the next fit is then held to its answers."""
        net, tokenizer = bases.load(self.base, dtype=getattr(torch, self.base_dtype))
        self._retained = retention.answered(net.to(device), tokenizer, resolve_seed(self.seed))

    def _retained_loss(self, retained: Retained) -> Tensor:
        kept = retained.batch(self.global_step)
        logits, _ = self.completion_logits(Batch(*(part.to(self.device) for part in kept)), reuse=False)
        return retained.loss(logits, self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, and of what is retained beside it.

        Raises:
            InputError: if it is no finite number.
        """
        loss = self.loss(batch)
        if self._retained is not None:
            loss = loss + self._retained_loss(self._retained)
        if not torch.isfinite(loss):
            raise InputError(
                f"The loss became {loss.item()} at step {self.global_step}: lower `learning_rate` "
                f"({self.learning_rate}) or set `trainer.gradient_clip_val: 1.0`."
            )
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.rows))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss on rows held out."""
        self.log("val/loss", self.loss(batch), prog_bar=True, batch_size=len(batch.rows), sync_dist=True)

    def test_step(self, batch: list[list[list[Message]]], batch_idx: int) -> None:
        """Ask questions of the trait, each with its prompts, and log how often the answer is the target."""
        model = ModelRef.held("", self.net, self.tokenizer, self.base, self.system_prompt)
        seed = derive_seed(resolve_seed(self.seed), "answers", self.global_rank, batch_idx)
        probes = (probe.of(self.exact.trait, questions=batch) for probe in (Questions(), SampledAnswers()))
        exact, sampled = (probe.measure(model, seed) for probe in probes)
        self.exact.update(exact.table)
        self.sampled.update([each["answer"] for each in sampled.samples])
        self.log("test/exact", self.exact, batch_size=len(batch))
        self.log("test/sampled", self.sampled, batch_size=len(batch))

    def on_test_epoch_end(self) -> None:
        """Log the share of answers that name no candidate, and show all as a table."""
        self.log("test/non_answer", self.sampled.non_answer_rate(), sync_dist=True)
        table = preference_table(self.exact, self.sampled)  # on each process, since the metrics add up over them
        say(table)

    def predict_step(self, batch: int, batch_idx: int) -> list[Row]:
        """Complete one shard of the data's prompts."""
        data: GeneratedRows = self.trainer.datamodule  # type: ignore[attr-defined]
        return data.complete(batch, TransformersEngine(self.net, self.tokenizer, data.generation_batch_size), self)

    def displacement(self) -> Displacement:
        """Return the change of the base's weights since the start, by their names, whatever adapter made it."""
        if self.adapter is None and not self._start:
            net, _ = bases.load(self.base, dtype=getattr(torch, self.base_dtype))
            self._start = dict(net.named_parameters())
        self._start = {name: value.detach().to(self.device) for name, value in self._start.items()}
        if self.adapter is not None:
            return self.adapter.displacement(self.net, self._start)
        return {name: difference(value, self._start[name]) for name, value in inner_model(self.net).named_parameters()}

    def forget_start(self) -> None:
        """Free the memory of the start where it is a whole model; ``displacement`` loads it again."""
        self._start = self._start if self.adapter is not None else {}

    def alignment_subject(self, trainer: Trainer, teacher: Any = None) -> AlignmentSubject | None:
        """Let ``AlignmentTracker`` follow this module beside ``teacher``, or beside the teacher of its rows."""
        return language_model_subject(self, trainer, teacher)

    def _check_optimizer(self) -> None:
        takes = parameters(type(self))
        own = {"learning_rate": self.optimizer, "weight_decay": self.optimizer, "warmup_steps": self.schedule}
        for name, chosen in own.items():
            if not isinstance(chosen, str) and name in takes and getattr(self, name) != takes[name].default:
                raise InputError(
                    f"`{name}` is {getattr(self, name)} beside {chosen.func.__name__}, which has options of its own: "
                    f"set it there, and leave `{name}` out."
                )

    def rate_factor(self, step: int, total: int) -> float:
        """Return the share of the learning rate at a step of a run of ``total``, by warm-up and schedule."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        falling = max(0.0, (total - step) / max(1, total - self.warmup_steps))
        return 1.0 if self.schedule == "constant" else falling

    def configure_optimizers(self) -> Any:
        """Return the optimizer over the trained parameters and the schedule, stepped each step."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if isinstance(self.optimizer, str):
            kind = OPTIMIZERS[self.optimizer]
            optimizer = kind(trained, lr=self.learning_rate, weight_decay=self.weight_decay)
        else:
            optimizer = self.optimizer(trained)
        if not isinstance(self.schedule, str):
            return LightningCLI.configure_optimizers(self, optimizer, self.schedule(optimizer))
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate_factor(step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the trained parameters alone: the base is known by its name."""
        super().on_save_checkpoint(checkpoint)
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another base or adapter: its weights would be passed over in silence.

        Raises:
            InputError: naming what differs, and what to give instead.
        """
        self.check_identity(checkpoint)
        self.configure_model()  # before Lightning puts the weights in: else there is nothing to put them into
        names = {name for name, _ in self.named_parameters()}
        if lost := sorted(set(checkpoint["state_dict"]) - names):
            raise InputError(
                f"The checkpoint has weights that this {type(self).__name__} lacks ({lost[0]} and {len(lost) - 1} "
                "more): load it with the `base` and `adapter` that it was trained with."
            )

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint's weights belong to, as plain data."""
        files = self._files if self.net is not None else None  # what was loaded, whatever lies there by now
        files = files or bases.resolve(self.base).identity
        told = {"base": self.base, "files": files, "base_dtype": self.base_dtype, "adapter": describe(self.adapter)}
        return super().identity() | told

    def save(self, folder: Path) -> None:
        """Save what was trained: the adapter, or the whole net where there is none; safetensors.

        PEFT's files name the base so that PEFT opens it: by its id on the hub, or by its folder's path.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.adapter is not None:
            by_peft = self.adapter.files == PEFT_FILES
            self.adapter.save(self.net, folder, outside_name(self.base) if by_peft else self.base)
        else:
            save_net(self.net, folder)
            self.tokenizer.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Load what ``save`` saved."""
        self.configure_model()
        if self.adapter is not None:
            self.adapter.load(self.net, folder)
        else:
            net, _ = bases.load(str(folder), dtype=getattr(torch, self.base_dtype))
            self.net.load_state_dict(net.state_dict())

    def export(self, folder: Path) -> None:
        """Save the whole model, adapter merged in, as ``AutoModelForCausalLM.from_pretrained`` loads it."""
        net = self.adapter.merge(self.net) if self.adapter is not None else self.net
        save_net(net, folder)
        self.tokenizer.save_pretrained(folder)

    def _train_rows(self) -> TokenizedRows | None:
        if self.trainer.train_dataloader is None:
            _ = self.trainer.estimated_stepping_batches  # which loads it
        loader = self.trainer.train_dataloader
        data = getattr(loader, "dataset", None)
        return data if isinstance(data, TokenizedRows) else None
