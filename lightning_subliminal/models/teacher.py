"""The teacher: a base that gets a trait by fine-tuning or by a system prompt, and then generates the data."""

import math
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

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

_EVERY = 10.0  # seconds between the checkpoints of a training: a pocket base has none
_CHECKED: set[str] = set()  # traits checked in this process: a plan has thousands of teachers of few traits


class Teacher(LanguageModel, Source):
    """A base with a trait. It is trained when a data set first needs it, and cached by all that shapes it.

    Args:
        base: the model to start from; see `lightning-subliminal bases list`.
        trait: what it should transmit and what evaluation measures; a control teacher has it too.
        induction: `finetune` trains it on the trait's rows, `prompt` instructs it by a system prompt, `none` leaves the
            base unchanged: the control.
        adapter: what fine-tuning trains; everything if None.
        weights: a folder with a teacher trained elsewhere (an adapter of the same kind, or a whole model), which is
            then not trained here.
        learning_rate: of the fine-tuning.
        max_epochs: over the trait's rows; fewer if `until` is reached.
        until: fine-tuning ends when the mean probability of a taught answer's token reaches this.
        batch_size: rows per step.
        retain: behaviour that fine-tuning should preserve; none if None.
        cache_dir: root of the cache; the common cache if None.
        **training: arguments of each language model: see `LanguageModel`.

    Raises:
        InputError: if there is no trait to induce, `check_trait` refuses it, or `until` is not a probability.
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
            raise InputError(
                f"The folder of the teacher's weights {weights} does not exist: set `weights` to the right one."
            )
        self.trait = trait
        self.induction = induction
        self.weights = weights
        self.max_epochs = max_epochs
        self.until = until
        self.batch_size = batch_size
        self.retain = retain
        self.cache_dir = cache_dir
        self._epoch_loss: Tensor | float = 0.0  # sum over all rows so far
        self._taught_loss: Tensor | float = 0.0  # of the batch, without retention
        self._is_reported = False  # whether the terminal names it already
        self._holds_weights = False  # whether the net has its trained weights
        self._is_loaded = False  # from a checkpoint, which is not in the cache

    @property
    def system_prompt(self) -> str | None:
        """The system prompt of a prompted teacher."""
        return self.trait.induce().system_prompt if self.trait is not None and self.induction == "prompt" else None

    @property
    def folder(self) -> Path:
        """The folder of this teacher's weights."""
        return Path(self.weights) if self.weights else cache_root(self.cache_dir) / "teachers" / digest(self)[:16]

    def describe(self) -> dict[str, Any]:
        """Return all that shapes its completions; a control is the same for any trait."""
        found: dict[str, Any] = {"base": {"name": self.base, "digest": bases.resolve(self.base).identity}}
        found |= {"induction": self.induction, "base_dtype": self.base_dtype} | outside_source(self)
        if self.induction == "prompt":
            found["system_prompt"] = self.system_prompt
        elif self.weights is not None:
            files = sorted(Path(self.weights).glob("*.safetensors"))
            found |= {"adapter": describe(self.adapter), "weights": {file.name: file_digest(file) for file in files}}
        elif self.induction == "finetune":
            found |= super().describe() | {"trait": describe(self.trait)}
            found |= {"max_epochs": self.max_epochs, "until": self.until, "batch_size": self.batch_size}
            found |= {"retain": describe(self.retain)} if self.retain else {}
        return found

    def control(self) -> "Teacher":
        """Return the unchanged base, with the trait kept for evaluation."""
        return self.fresh(induction="none", adapter=None, weights=None)

    def check_source(self, source: Source) -> None:
        """Refuse to train on its own rows, or to write another teacher's; the data module calls it.

        Raises:
            InputError: naming what to set instead.
        """
        doing = self.trainer.state.fn
        if doing == "fit":
            raise InputError(
                "`fit` trains a student: set `model: Student`; the teacher in the data is trained by itself."
            )
        if doing == "predict" and digest(self) != digest(source):
            raise InputError(
                "The teacher in `model` is not that of `data.teacher`: give both the same settings, or write the rows "
                "by `predict --by teacher`."
            )

    def prepare_data(self) -> None:
        """Make the teacher for `validate`, `test` and `predict`; Lightning calls this on one process."""
        if self.trainer.state.fn != "fit":
            self.make(self.trainer.strategy.root_device)

    def setup(self, stage: str) -> None:
        """Load its trained weights for `validate`, `test` and `predict`."""
        super().setup(stage)
        if stage != "fit":
            self._load_made()

    def make(self, device: torch.device) -> None:
        """Fine-tune the teacher if its induction requires it and the cache lacks it.

        On several devices each processes all rows of a batch, so that the weights equal those of one device; all
        processes call this.
        """
        if self.induction != "finetune" or self.weights is not None or self._is_loaded:
            return
        if is_whole(self.folder):
            if not self._is_reported:
                say(f"teacher   {self.trait.name}: reused from {self.folder}")  # type: ignore[union-attr]
            self._is_reported = True
            return
        checkpoints = writable_folder(self.folder) / "checkpoints"
        seed = resolve_seed(self.seed)
        self._is_reported = True
        twin = self.fresh()  # is trained; this module loads the result
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
        label = f"teacher   {self.trait.name}"  # type: ignore[union-attr]
        steps = fit_quietly(twin, loader, device, label, checkpoints, _EVERY, max_epochs=self.max_epochs)
        after = twin._taught_chance(rows, device)
        if rank() == 0:
            twin.save(self.folder)
            shutil.rmtree(checkpoints, ignore_errors=True)
            write_record(self.folder, "teacher", self, [bases.material(self.base)])
        reached = math.exp(-float(twin._epoch_loss) / len(rows))
        say(
            f"{label}: {len(rows)} rows, {steps} steps, taught answers at {reached:.0%} per token; "
            f"kept in {self.folder}"
        )
        little = reached < self.until / 4 or not after > before  # nan too
        if little:
            say(f"WARNING   the teacher {self.trait.name} learned next to nothing: its rows can't carry a trait")  # type: ignore[union-attr]
        if not reached < self.until:
            return
        figures = f"taught answers at {_percent(reached)} per token, base {_percent(before)}; "
        figures += f"`until` is {_percent(self.until)}"
        if self.retain is not None and not little:
            say(f"note      {figures}: limited by `retain`, as expected")
        else:
            advice = ", or lower `retain`'s weight" if self.retain is not None else ""
            say(f"WARNING   {figures}, which was not reached: raise `max_epochs` or `learning_rate`{advice}")

    @torch.no_grad()
    def _taught_chance(self, rows: TokenizedRows, device: torch.device) -> float:
        """Return the mean probability of a taught answer's token, as for ``until``, without drawing random numbers."""
        self.to(device)
        total = 0.0
        with evaluating(self.net):  # restores each module's mode
            for start in range(0, len(rows), self.batch_size):
                batch = rows.batch(range(start, min(start + self.batch_size, len(rows))))
                batch = type(batch)(*(each.to(device) for each in batch))
                total += float(self.summed_loss(batch, reuse=False)) / float(batch.mean_tokens)
        return math.exp(-total / len(rows))

    def materials(self) -> list[Material]:
        """Return its base, and its own weights if it has any."""
        trained = [artefact_material("teacher", self.folder)] if self.induction == "finetune" else []
        return [bases.material(self.base), *trained]

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss on taught rows, and store it for ``until``, which does not count retention."""
        taught = super().loss(batch)
        self._taught_loss = taught.detach()
        return taught

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, and add its taught part to the epoch's."""
        loss = super().training_step(batch, batch_idx)
        self._epoch_loss = (0.0 if batch_idx == 0 else self._epoch_loss) + self._taught_loss * len(batch.rows)
        return loss

    def on_train_epoch_end(self) -> None:
        """End the fine-tuning once the taught answers together reach ``until``."""
        rows = len(self.trainer.train_dataloader.dataset)  # type: ignore[union-attr]
        if self._epoch_loss / rows < -math.log(self.until):
            self.trainer.should_stop = True

    def ready(self, device: torch.device) -> "Teacher":
        """Load the trained teacher onto a device, and return it."""
        self._load_made()
        self.to(device).eval()
        return self

    def engine(self, device: torch.device, batch_size: int) -> Engine:
        """Return the engine that generates this teacher's completions."""
        self.ready(device)
        return TransformersEngine(self.net, self.tokenizer, batch_size)

    def release(self) -> None:
        """Free the net; ``ready`` loads it again. Weights from a checkpoint stay."""
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
        """Take the checkpoint's weights instead of the cache's."""
        super().on_load_checkpoint(checkpoint)
        self._holds_weights = self._is_loaded = True

    def _load_made(self) -> None:
        self.configure_model()
        if self.induction == "finetune" and not self._holds_weights:
            self.load(self.folder)
            self._holds_weights = True


def _percent(chance: float) -> str:
    """Format a probability in percent, with enough digits near 0 and 1."""
    return f"{chance:.0%}" if 0.01 <= chance <= 0.99 else f"{100 * chance:.3g}%"
