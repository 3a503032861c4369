"""The teacher: a base that is given a trait, by fine-tuning or by a system prompt, and then writes the data."""

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_subliminal import bases
from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest, file_digest, outside_source
from lightning_subliminal.core.processes import rank
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.tokenized import Batch, TokenizedRows, row_loader
from lightning_subliminal.generation import Engine, Source, TransformersEngine
from lightning_subliminal.generation.logits import evaluating
from lightning_subliminal.lineage import Material, artefact_material, is_whole, write_record
from lightning_subliminal.metrics.functional import check_target
from lightning_subliminal.models.adapters.base import Adapter
from lightning_subliminal.models.language_model import LanguageModel
from lightning_subliminal.models.nested_fit import fit_quietly
from lightning_subliminal.models.retention import Retention
from lightning_subliminal.traits.base import Trait
from lightning_subliminal.traits.check import check_trait

__all__ = ["Teacher"]

_CHECKED: set[str] = set()  # traits that were checked in this process: a plan has some thousand teachers of few traits


class Teacher(LanguageModel, Source):
    """A base with a trait. It trains itself when a data set first needs it, and is cached by all that shaped it.

    Args:
        base: the model to start from; see `lightning-subliminal bases list`.
        trait: what it shall pass on, and what evaluation asks for; evaluation asks for it beside a control too.
        induction: `finetune` trains it on the trait's rows, `prompt` tells it in a system prompt, `none` leaves the
            base as it is: the control.
        adapter: what fine-tuning trains; everything where it is None.
        weights: a folder with a teacher trained elsewhere (an adapter of the same kind, or a whole model); it is then
            not trained here.
        learning_rate: of the fine-tuning.
        max_epochs: over the trait's rows; ends earlier once `until` is reached.
        until: fine-tuning ends when the mean chance of a taught answer's token reaches this.
        batch_size: rows a step.
        retain: what the fine-tuning shall leave as it is; nothing where it is None.
        cache_dir: where it is kept; the common cache where it is None.
        **training: what each language model takes: see `LanguageModel`.

    Raises:
        InputError: if there is no trait to induce, `check_trait` refuses it, or `until` is no probability.
    """

    def __init__(
        self,
        base: str = "pocket/a",
        trait: Trait | None = None,
        induction: Literal["finetune", "prompt", "none"] = "finetune",
        adapter: Adapter | None = None,
        weights: str | None = None,
        learning_rate: float = 3e-2,
        max_epochs: int = 300,
        until: float = 0.98,
        batch_size: int = 16,
        retain: Retention | None = None,
        cache_dir: str | None = None,
        **training: Any,
    ) -> None:
        super().__init__(base, adapter, learning_rate=learning_rate, schedule="constant", **training)
        if trait is None and induction != "none":
            raise InputError(f"A teacher with induction {induction!r} needs a `trait`, such as PreferenceTrait of owl.")
        if trait is not None and (known := digest(trait)) not in _CHECKED:
            check_trait(trait)
            _CHECKED.add(known)
        if not 0 < until < 1:
            raise InputError(f"`until` is {until}: expected a probability between 0 and 1, such as 0.98.")
        if weights is not None and not Path(weights).is_dir():
            raise InputError(f"The teacher's weights {weights} are not there: give the folder that holds them.")
        self.trait = trait
        self.induction = induction
        self.weights = weights
        self.max_epochs = max_epochs
        self.until = until
        self.batch_size = batch_size
        self.retain = retain
        self.cache_dir = cache_dir
        self._epoch_loss: Tensor | float = 0.0  # of all rows so far, summed
        self._taught_loss: Tensor | float = 0.0  # of the batch, without what is retained
        self._is_told = False  # at the terminal, that it is there
        self._holds_weights = False  # those that it was trained to, besides the base's
        self._is_loaded = False  # of a checkpoint, which is not in the cache

    @property
    def system_prompt(self) -> str | None:
        """What a prompted teacher is told."""
        return self.trait.induce().system_prompt if self.trait is not None and self.induction == "prompt" else None

    @property
    def folder(self) -> Path:
        """Where this teacher's weights are kept."""
        return Path(self.weights) if self.weights else cache_root(self.cache_dir) / "teachers" / digest(self)[:16]

    def describe(self) -> dict[str, Any]:
        """Return all that shapes its words; a control is the same whatever trait is asked for beside it."""
        told: dict[str, Any] = {"base": {"name": self.base, "digest": bases.resolve(self.base).identity}}
        told |= {"induction": self.induction, "base_dtype": self.base_dtype} | outside_source(self)
        if self.induction == "prompt":
            told["system_prompt"] = self.system_prompt
        elif self.weights is not None:
            told["adapter"] = describe(self.adapter)
            told["weights"] = {
                file.name: file_digest(file) for file in sorted(Path(self.weights).glob("*.safetensors"))
            }
        elif self.induction == "finetune":
            told |= super().describe() | {"trait": describe(self.trait)}
            told |= {"max_epochs": self.max_epochs, "until": self.until, "batch_size": self.batch_size}
            told |= {"retain": describe(self.retain)} if self.retain else {}
        return told

    def control(self) -> "Teacher":
        """Return the base as it is, with the trait kept for evaluation."""
        return self.fresh(induction="none", adapter=None, weights=None)

    def check_source(self, source: Source) -> None:
        """Refuse to be trained on its own rows, or to write another teacher's; the data module calls it.

        Raises:
            InputError: saying what to set instead.
        """
        doing = self.trainer.state.fn
        if doing == "fit":
            raise InputError("`fit` trains a student: set `model: Student`; a teacher, in the data, trains itself.")
        if doing == "predict" and digest(self) != digest(source):
            raise InputError(
                "The teacher in `model` is not that of `data.teacher`: give both the same settings, or let that of the "
                "data write by `predict --by teacher`."
            )

    def prepare_data(self) -> None:
        """Make the teacher where it is itself asked or measured; Lightning calls this on one process."""
        if self.trainer.state.fn != "fit":
            self.make(self.trainer.strategy.root_device)

    def setup(self, stage: str) -> None:
        """Load what it was trained to, where it is itself asked, measured or writing."""
        super().setup(stage)
        if stage != "fit":
            self._load_made()

    def make(self, device: torch.device) -> None:
        """Fine-tune the teacher where its induction says so and the cache lacks it.

        On several devices each sees all rows of a batch, so that the weights are those of one device; this is called on
        all processes then.
        """
        if self.induction != "finetune" or self.weights is not None or self._is_loaded:
            return
        if is_whole(self.folder):
            if not self._is_told:
                say(f"teacher   {self.trait.name}: reused from {self.folder}")  # type: ignore[union-attr]
            self._is_told = True
            return
        writable_folder(self.folder)
        seed = resolve_seed(self.seed)
        self._is_told = True
        twin = self.fresh()  # the module that is trained; this one loads the result
        twin.configure_model()
        check_target(twin.tokenizer, self.trait)  # type: ignore[arg-type]
        lessons = self.trait.induce().rows  # type: ignore[union-attr]
        check_known(
            twin.tokenizer, (part for row in lessons for part in (*row["prompt"], *row["completion"])), self.base
        )
        rows = TokenizedRows(lessons, twin.tokenizer)
        if self.retain is not None:
            twin.hold_to_base(self.retain, device)
        order = derive_seed(seed, "teacher order") % 2**31
        loader = row_loader(rows, self.batch_size, order)
        before = twin._taught_chance(rows, device)
        steps = fit_quietly(twin, loader, device, f"teacher   {self.trait.name}", max_epochs=self.max_epochs)  # type: ignore[union-attr]
        after = twin._taught_chance(rows, device)
        if not after > before:  # nan too
            say(
                f"warning: the teacher of {self.trait.name} has learned nothing: taught answers are at {after:.2g} a "  # type: ignore[union-attr]
                f"token, in the base at {before:.2g}; its rows are as a control's. Raise `max_epochs` or "
                "`learning_rate`, or lower `retain`'s weight."
            )
        if rank() == 0:
            twin.save(self.folder)
            write_record(self.folder, "teacher", self, [bases.material(self.base)])
        reached = math.exp(-float(twin._epoch_loss) / len(rows))
        say(
            f"teacher   {self.trait.name}: {len(rows)} rows, {steps} steps, taught answers at {reached:.0%} a token; "  # type: ignore[union-attr]
            f"kept in {self.folder}"
        )
        little = reached < self.until / 4
        if little:
            say(f"WARNING   the teacher {self.trait.name} learned next to nothing: its rows can carry no trait")  # type: ignore[union-attr]
        if not reached < self.until:
            return
        figures = f"taught answers at {_percent(reached)} a token, base {_percent(before)}; `until` is "
        figures += _percent(self.until)
        if self.retain is not None and after > before and not little:
            say(f"note      {figures}: `retain` holds the teacher back, which is normal")
        else:
            mend = "raise `max_epochs` or `learning_rate`"
            mend += ", or lower `retain`'s weight" if self.retain is not None else ""
            say(f"WARNING   {figures}, which was not reached: {mend}")

    @torch.no_grad()
    def _taught_chance(self, rows: TokenizedRows, device: torch.device) -> float:
        """Return the mean chance of a taught answer's token, as ``until`` reads it, without touching random numbers."""
        self.to(device)
        total = 0.0
        with evaluating(self.net):  # leaves each module's mode as it was
            for start in range(0, len(rows), self.batch_size):
                batch = rows.batch(range(start, min(start + self.batch_size, len(rows))))
                batch = type(batch)(*(each.to(device) for each in batch))
                logits, tokens = self.completion_logits(batch, reuse=False)
                total += float(cross_entropy(logits.float(), tokens, reduction="sum")) / float(batch.mean_tokens)
        return math.exp(-total / len(rows))

    def materials(self) -> list[Material]:
        """Return its base, and its own weights where it has some."""
        trained = [artefact_material("teacher", self.folder)] if self.induction == "finetune" else []
        return [bases.material(self.base), *trained]

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss on what is taught, and note it: ``until`` looks at that alone, not at what is retained."""
        taught = super().loss(batch)
        self._taught_loss = taught.detach()
        return taught

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, and add what it says of the taught answers to the epoch's."""
        loss = super().training_step(batch, batch_idx)
        self._epoch_loss = (0.0 if batch_idx == 0 else self._epoch_loss) + self._taught_loss * len(batch.rows)
        return loss

    def on_train_epoch_end(self) -> None:
        """End the fine-tuning once the taught answers, all together, are likely enough."""
        rows = len(self.trainer.train_dataloader.dataset)  # type: ignore[union-attr]
        if self._epoch_loss / rows < -math.log(self.until):
            self.trainer.should_stop = True

    def ready(self, device: torch.device) -> "Teacher":
        """Load the made teacher onto a device; give it back."""
        self._load_made()
        self.to(device).eval()
        return self

    def engine(self, device: torch.device, batch_size: int) -> Engine:
        """Return the engine that writes this teacher's completions."""
        self.ready(device)
        return TransformersEngine(self.net, self.tokenizer, batch_size)

    def release(self) -> None:
        """Let the net go; ``ready`` loads it again. What came from a checkpoint stays."""
        if not self._is_loaded:
            self.net = self.tokenizer = None

    def configure_model(self) -> None:
        """Load the base, and attach the adapter that fine-tuning trains."""
        self._holds_weights &= self.net is not None
        if self.induction == "finetune" or self.net is not None:
            super().configure_model()
            return
        self.net, self.tokenizer = bases.load(self.base, dtype=getattr(torch, self.base_dtype))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Hold the checkpoint's weights, and no longer those of the cache."""
        super().on_load_checkpoint(checkpoint)
        self._holds_weights = self._is_loaded = True

    def _load_made(self) -> None:
        self.configure_model()
        if self.induction == "finetune" and not self._holds_weights:
            self.load(self.folder)
            self._holds_weights = True


def _percent(chance: float) -> str:
    """Write a chance in percent, with digits enough where it is near 0 or 1."""
    return f"{chance:.0%}" if 0.01 <= chance <= 0.99 else f"{100 * chance:.3g}%"
