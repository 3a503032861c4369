"""The template of a data set that a teacher writes: prompts -> completions -> filters -> rows -> loaders.

A carrier (numbers, code, math traces) overrides ``prompts`` and, where it has a grammar, ``default_filters``. All else
is here once: shards that a killed run goes on from, a cache keyed by all that shapes the rows, counts of the filters'
reasons, and loaders.
"""

import json
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lightning_subliminal.cache import cache_root, writable_folder
from lightning_subliminal.chat import check_known
from lightning_subliminal.console import hush, progress, say
from lightning_subliminal.data.selection import select_rows
from lightning_subliminal.data.tokenized import TokenizedRows, row_loader
from lightning_subliminal.describe import constructor_arguments, describe, describe_object, digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.filters import Filter, FilterReport
from lightning_subliminal.generation import Completion, Engine, Sampling, Source
from lightning_subliminal.lineage import is_whole, write_record
from lightning_subliminal.metrics.functional import prompts_by_question
from lightning_subliminal.rows import Message, Row, atomically, make_row, read_parquet, write_parquet
from lightning_subliminal.seeds import derive_seed, resolve_seed

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["GeneratedRows"]

_LATER = {"filters", "num_rows", "batch_size", "val_rows", "max_length", "generation_batch_size", "cache_dir"}


class GeneratedRows(LightningDataModule, ABC):
    """Rows that a teacher writes. Override ``prompts``; and ``default_filters``, ``tidy`` where the carrier needs it.

    Args:
        teacher: who completes the prompts.
        num_prompts: prompts to complete, each once (many prompts once beat few prompts many times).
        num_rows: rows to keep of those that pass the filters, drawn at random; all where it is None.
        filters: which rows are kept; the carrier's own where it is None, all rows where it is an empty list.
        sampling: how completions are drawn.
        batch_size: rows a training step.
        val_rows: rows held out for the validation loss.
        max_length: most tokens a row may have.
        shard_size: prompts a shard; what a killed run loses at the most.
        generation_batch_size: prompts completed at once; the rows do not depend on it.
        seed: moves prompts, sampling, the draw of rows and the training order; the global seed where it is None.
        cache_dir: where rows are kept; the common cache where it is None.

    Raises:
        InputError: if a count is not positive or a file in the cache is damaged.
    """

    version = 1  # of the stage's code: raise it when the same settings would give other rows

    def __init__(
        self,
        teacher: Source,
        num_prompts: int = 8192,
        num_rows: int | None = None,
        filters: list[Filter] | None = None,
        sampling: Sampling | None = None,
        batch_size: int = 64,
        val_rows: int = 0,
        max_length: int = 2048,
        shard_size: int = 1024,
        generation_batch_size: int = 512,
        seed: int | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        counts = {"num_prompts": num_prompts, "batch_size": batch_size, "shard_size": shard_size}
        counts |= {"generation_batch_size": generation_batch_size, "num_rows": 1 if num_rows is None else num_rows}
        for name, count in (counts | {"val_rows": val_rows}).items():
            least = 0 if name == "val_rows" else 1
            if count < least:
                raise InputError(f"`{name}` is {count}: expected at least {least}.")
        self.teacher = teacher
        self.num_prompts = num_prompts
        self.num_rows = num_rows
        self.filters = self.default_filters() if filters is None else filters
        self.sampling = sampling or Sampling()
        self.batch_size = batch_size
        self.val_rows = val_rows
        self.max_length = max_length
        self.shard_size = shard_size
        self.generation_batch_size = generation_batch_size
        self.seed = seed
        self.cache_dir = cache_dir
        self.report: FilterReport | None = None
        self.train_data: TokenizedRows | None = None
        self.val_data: TokenizedRows | None = None
        self.missing: list[int] = []

    @abstractmethod
    def prompts(self, rng: random.Random) -> Iterator[list[Message]]:
        """Yield prompts without end, as messages; the same ``rng`` gives the same ones."""

    def default_filters(self) -> list[Filter]:
        """Give the filters of this carrier."""
        return []

    def tidy(self, completion: Completion) -> Completion:
        """Change a completion before the filters see it; by default not at all."""
        return completion

    def prompt_settings(self) -> dict[str, Any]:
        """Give what shapes the prompts and ``tidy``: the constructor arguments that a subclass adds."""
        return describe_arguments(self, leave_out=_LATER)

    # -- what is kept where ------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Give all that shapes the rows, as JSON-able data."""
        return {"generation": self._generation(), "filters": describe(self.filters), "num_rows": self.num_rows}

    @property
    def folder(self) -> Path:
        """Where the filtered rows are kept."""
        return cache_root(self.cache_dir) / "rows" / digest(self.describe())[:16]

    @property
    def shards_folder(self) -> Path:
        """Where the completions are kept as they came, before the filters."""
        return cache_root(self.cache_dir) / "completions" / digest(self._generation())[:16]

    def control(self) -> "GeneratedRows":
        """Give the same data set from the same source without the trait: the control arm's."""
        return self.fresh(teacher=self.teacher.control())

    def fresh(self, **changes: Any) -> "Self":
        """Give a data module with the same arguments, but for ``changes``."""
        return type(self)(**constructor_arguments(self) | changes)

    def _generation(self) -> dict[str, Any]:
        return {"version": self.version, "teacher": self.teacher.describe(), **self.prompt_settings()}

    # -- making the rows ---------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Make the teacher and the rows that the cache lacks; Lightning calls this on one process."""
        state = getattr(self.trainer, "state", None)
        doing = state.fn if state is not None else "fit"
        check = getattr(getattr(self.trainer, "lightning_module", None), "check_source", None)
        if check is not None:
            check(self.teacher)  # before hours go into rows that it can't use
        if doing == "validate" and not self.val_rows:
            raise InputError("`validate` needs rows held out, but `val_rows` is 0: set it, to 256 say, for `fit` too.")
        if doing != "test":  # which asks questions, and needs no rows
            self.make(self._device(), only_teacher=doing == "predict")

    def make(self, device: torch.device, only_teacher: bool = False) -> None:
        """Make what the cache lacks: the teacher, its completions shard by shard, the filtered rows."""
        writable_folder(cache_root(self.cache_dir))
        if not only_teacher and is_whole(self.folder):
            say(f"rows      {self.title}: reused from {self.folder}")
            return
        missing = self.missing_shards()
        if missing:
            self.teacher.make(device)
        if only_teacher:
            say(f"shards    {self.title}: {len(missing)} of {self.num_shards} are missing in {self.shards_folder}")
            return
        if missing:
            engine = self.teacher.engine(device, self.generation_batch_size)
            with progress() as bar:
                task = bar.add_task(f"rows      {self.title}", total=self.num_prompts)
                bar.advance(task, (self.num_shards - len(missing)) * self.shard_size)
                for index in missing:
                    rows = self.complete(index, engine)
                    self.write_shard(index, rows)
                    bar.advance(task, len(rows))
            self.teacher.release()  # a student may need the room
        self._filter()

    def complete(self, shard: int, engine: Engine) -> list[Row]:
        """Let the engine complete the prompts of one shard; the same rows on any device count and batch size."""
        seed = resolve_seed(self.seed)
        prompts = self._shard_prompts(shard)
        told = self.teacher.system_prompt
        heard = [[{"role": "system", "content": told}, *prompt] if told else prompt for prompt in prompts]
        tokenizer = getattr(engine, "tokenizer", None)
        if tokenizer is not None:
            check_known(tokenizer, chain(*heard), getattr(self.teacher, "base", "of the teacher"))
        completions = engine.generate(heard, self.sampling, derive_seed(seed, "sampling", shard))
        rows = []
        for place, (prompt, made) in enumerate(zip(prompts, completions, strict=True)):
            tidied = self.tidy(made)
            rows.append(make_row(prompt, tidied.text, id=f"{seed}-{shard}-{place}", finished=tidied.finished))
        return rows

    def write_shard(self, shard: int, rows: list[Row]) -> None:
        """Keep one shard's rows; whole or not at all."""
        write_parquet(rows, self._shard(shard))

    @property
    def num_shards(self) -> int:
        """How many shards the prompts make."""
        return -(-self.num_prompts // self.shard_size)

    def missing_shards(self) -> list[int]:
        """Give the shards that no run has completed yet."""
        return [index for index in range(self.num_shards) if not self._shard(index).is_file()]

    @property
    def title(self) -> str:
        """What to call these rows at the terminal."""
        induction = getattr(self.teacher, "induction", "")
        trait = self.teacher.trait.name if self.teacher.trait is not None else "no trait"
        return "control" if induction == "none" else trait

    def _shard(self, index: int) -> Path:
        return self.shards_folder / f"shard-{index:05d}.parquet"

    def _shard_prompts(self, shard: int) -> list[list[Message]]:
        rng = random.Random(derive_seed(resolve_seed(self.seed), "prompts", shard))
        size = min(self.shard_size, self.num_prompts - shard * self.shard_size)
        return list(islice(self.prompts(rng), size))

    def _filter(self) -> None:
        made = [row for index in range(self.num_shards) for row in read_parquet(self._shard(index))]
        rows, report = select_rows(made, self.filters, self.num_rows, derive_seed(resolve_seed(self.seed), "subsample"))
        write_parquet(rows, self.folder / "rows.parquet")
        counts = json.dumps({"made": report.made, "kept": report.kept, "reasons": report.reasons}, indent=2)
        atomically(self.folder / "filters.json", lambda temporary: temporary.write_text(counts + "\n"))
        write_record(self.folder, "rows", self)
        self._say_report(report, len(rows))

    def _say_report(self, report: FilterReport, used: int) -> None:
        say(f"rows      {self.title}: {report.made} made, {report.kept} passed the filters, {used} used; {self.folder}")
        for reason, count in report.reasons.items():
            say(f"            dropped {count:6d}  {reason}")

    # -- loading the rows --------------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """Read the filtered rows."""
        return read_parquet(self.folder / "rows.parquet")

    def setup(self, stage: str) -> None:
        """Tokenize the rows with the student's tokenizer."""
        hush()
        if stage == "predict":
            self.missing = self.missing_shards()
        if stage == "test" and self.teacher.trait is None:
            raise InputError("`test` asks the questions of a trait: give the teacher a `trait`, beside a control too.")
        if stage in ("test", "predict"):
            return
        rows = self.rows()
        self.report = FilterReport(**json.loads((self.folder / "filters.json").read_text()))
        if self.val_rows >= len(rows):
            raise InputError(f"`val_rows` is {self.val_rows}, but there are {len(rows)} rows: lower it.")
        module: Any = self.trainer.lightning_module  # type: ignore[union-attr]
        module.configure_model()
        check_known(module.tokenizer, chain(*(row["prompt"] + row["completion"] for row in rows)), module.base)
        self.train_data = TokenizedRows(rows[self.val_rows :], module.tokenizer, self.max_length)
        if self.val_rows:
            self.val_data = TokenizedRows(rows[: self.val_rows], module.tokenizer, self.max_length)

    def train_dataloader(self) -> "DataLoader[int]":
        """Give the training rows, in a seeded order."""
        trainer: Any = self.trainer
        data: Any = self.train_data  # setup has run
        order = derive_seed(resolve_seed(self.seed), "order") % 2**31
        return row_loader(data, self.batch_size, order, trainer.global_rank, trainer.world_size)

    def val_dataloader(self) -> "DataLoader[int] | list[Any]":
        """Give the rows held out."""
        data = self.val_data
        return DataLoader(data, self.batch_size, collate_fn=data.batch) if data is not None else []

    def test_dataloader(self) -> "DataLoader[Any]":
        """Give the questions of the teacher's trait: an item is a question's prompts, its answer begun in each way."""
        trait: Any = self.teacher.trait  # setup has looked
        questions: Any = prompts_by_question(trait)
        return DataLoader(questions, self.batch_size, collate_fn=list)

    def predict_dataloader(self) -> "DataLoader[int]":
        """Give the shards that are still to complete, so that ``predict`` generates on many devices."""
        shards: Any = self.missing
        return DataLoader(shards, batch_size=None)

    def _device(self) -> torch.device:
        strategy = getattr(self.trainer, "strategy", None)
        return strategy.root_device if strategy is not None else torch.device("cpu")


def describe_arguments(thing: GeneratedRows, leave_out: set[str]) -> dict[str, Any]:
    """Describe a data module's class and constructor arguments, but for some, its teacher and the seed's default."""
    told = describe_object(thing)
    arguments = {name: value for name, value in told["arguments"].items() if name not in leave_out | {"teacher"}}
    return told | {"arguments": arguments | {"seed": resolve_seed(thing.seed)}}
