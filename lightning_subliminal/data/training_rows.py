"""Rows that a student trains on, wherever they come from: filters, transforms, draw, cache and loaders, once."""

import json
from abc import ABC, abstractmethod
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.console import hush, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import constructor_arguments, describe, describe_object, digest
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.core.rows import Row, atomically, prompts_by_question, read_parquet, write_parquet
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.selection import select_rows
from lightning_subliminal.data.tokenized import Part, TokenizedRows, row_loader
from lightning_subliminal.filters import Filter, FilterReport
from lightning_subliminal.lineage import (
    Material,
    artefact_material,
    is_whole,
    rows_root,
    setting_material,
    write_record,
)
from lightning_subliminal.traits import Trait
from lightning_subliminal.transforms import Transform

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TrainingRows"]

_LATER = {"filters", "transforms", "num_rows", "batch_size", "val_rows", "max_length", "cache_dir"}


class TrainingRows(LightningDataModule, ABC):
    """Rows to train on. Override ``source_rows``, ``describe_source``, ``trait`` and ``title``.

    Args:
        num_rows: rows to keep of those that pass the filters, drawn at random; all where it is None.
        filters: which rows are kept; the carrier's own where it is None, all rows where it is an empty list.
        transforms: what is done to the rows that are kept, in turn, such as a shuffle of their numbers.
        batch_size: rows a training step.
        val_rows: rows held out for the validation loss.
        max_length: most tokens a row may have.
        seed: moves whatever is drawn, and the training order; the global seed where it is None.
        cache_dir: where rows are kept; the common cache where it is None.

    Raises:
        InputError: if a count is not positive or a file in the cache is damaged.
    """

    version = 2  # of the stage's code: raise it when the same settings would give other rows

    def __init__(
        self,
        num_rows: int | None = None,
        filters: list[Filter] | None = None,
        transforms: list[Transform] | None = None,
        batch_size: int = 64,
        val_rows: int = 0,
        max_length: int = 2048,
        seed: int | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        check_counts(num_rows=1 if num_rows is None else num_rows, batch_size=batch_size)
        if val_rows < 0:
            raise InputError(f"`val_rows` is {val_rows}: expected at least 0.")
        self.num_rows = num_rows
        self.filters = self.default_filters() if filters is None else filters
        self.transforms = transforms or []
        self.batch_size = batch_size
        self.val_rows = val_rows
        self.max_length = max_length
        self.seed = seed
        self.cache_dir = cache_dir
        self._is_told = False  # at the terminal, that the rows are there
        self.report: FilterReport | None = None
        self.train_data: TokenizedRows | None = None
        self.val_data: TokenizedRows | None = None

    @property
    @abstractmethod
    def trait(self) -> Trait | None:
        """The trait to ask for; None where there is none."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What to call these rows at the terminal."""

    @abstractmethod
    def source_rows(self) -> list[Row]:
        """Return the rows before any filter; ``make_source`` has run."""

    @abstractmethod
    def describe_source(self) -> dict[str, Any]:
        """Return all that shapes ``source_rows``, as JSON-able data."""

    def make_source(self, device: torch.device) -> None:
        """Make what ``source_rows`` reads; by default it is there."""

    def ingredients(self) -> list[Any]:
        """Return the sources and data sets that ``make`` needs, so that a plan makes each of them once."""
        return [each for transform in self.transforms for each in transform.ingredients()]

    def source_materials(self) -> list[Material]:
        """Return what ``source_rows`` come from, once ``make_source`` has run; by default nothing is known."""
        return []

    def materials(self) -> list[Material]:
        """Return what the rows come from: their source, and what has judged and bent them."""
        judges = [each.judge for each in self.filters if hasattr(each, "judge")]
        asked = [thing for each in self.transforms for thing in each.ingredients()]
        return [
            *self.source_materials(),
            *(setting_material("filter", each) for each in self.filters),
            *(made for each in judges for made in each.materials()),
            *(made for each in self.transforms for made in each.materials()),
            *(made for each in asked for made in _materials_of(each)),
        ]

    def default_filters(self) -> list[Filter]:
        """Return the filters of this carrier."""
        return []

    def control(self) -> "TrainingRows | None":
        """Return the same data set without the trait, the control arm's; None where nobody has one."""
        return None

    def fresh(self, **changes: Any) -> "Self":
        """Return a data module with the same arguments, but for ``changes``."""
        return type(self)(**constructor_arguments(self) | changes)

    # -- what is kept where ------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return all that shapes the rows, as JSON-able data."""
        chosen = {"filters": describe(self.filters), "transforms": describe(self.transforms), "num_rows": self.num_rows}
        return {"source": self.describe_source(), **chosen}

    @property
    def folder(self) -> Path:
        """Where the rows are kept."""
        return cache_root(self.cache_dir) / "rows" / digest(self.describe())[:16]

    # -- making the rows ---------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Make the rows that the cache lacks; Lightning calls this on one process."""
        doing = self.doing
        if doing == "validate" and not self.val_rows:
            raise InputError("`validate` needs rows held out, but `val_rows` is 0: set it, to 256 say, for `fit` too.")
        if doing != "test" and self.num_processes == 1:  # `test` asks questions, and needs no rows
            self.make(self.device)

    def make(self, device: torch.device | None = None) -> None:
        """Make what the cache lacks: the source, then the rows that are kept.

        Args:
            device: where models work; the CPU where it is None.
        """
        device = torch.device("cpu") if device is None else device
        writable_folder(cache_root(self.cache_dir))
        if is_whole(self.folder):
            if not self._is_told:
                say(f"rows      {self.title}: reused from {self.folder}")
            self._is_told = True
            return
        self.make_source(device)
        self._select()
        self._is_told = True

    def _select(self) -> None:
        seed = resolve_seed(self.seed)
        rows, report = select_rows(
            self.source_rows(),
            self.filters,
            self.num_rows,
            derive_seed(seed, "subsample"),
            self.transforms,
            derive_seed(seed, "transforms"),
        )
        write_parquet(rows, self.folder / "rows.parquet")
        counts = json.dumps({"made": report.made, "kept": report.kept, "reasons": report.reasons}, indent=2)
        atomically(self.folder / "filters.json", lambda temporary: temporary.write_text(counts + "\n"))
        write_record(self.folder, "rows", self, self.materials(), rows={"rows.parquet": rows_root(rows)})
        made = f"{report.made} made, {report.kept} passed the filters, {len(rows)} used"
        say(f"rows      {self.title}: {made}; {self.folder}")
        for reason, count in report.reasons.items():
            say(f"            dropped {count:6d}  {reason}")
        if self.transforms:
            say(f"            changed by {', '.join(type(each).__name__ for each in self.transforms)}")

    # -- loading the rows --------------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """Read the rows that are kept."""
        return read_parquet(self.folder / "rows.parquet")

    def setup(self, stage: str) -> None:
        """Tokenize the rows with the student's tokenizer."""
        hush()
        if stage == "test" and self.trait is None:
            raise InputError("`test` asks the questions of a trait: give the teacher a `trait`, beside a control too.")
        if stage in ("test", "predict"):
            return
        if self.num_processes > 1 and not is_whole(self.folder):  # looked at on all of them: none waits for another
            raise InputError(
                f"The rows of {self.title} are not made yet, and one of {self.num_processes} processes can't make them "
                "while the others wait: call `data.make()` before `Trainer.fit`, or fit by `fit_arms`."
            )
        rows = self.rows()
        self.report = FilterReport(**read_json(self.folder / "filters.json"))
        if self.val_rows >= len(rows):
            raise InputError(f"`val_rows` is {self.val_rows}, but there are {len(rows)} rows: lower it.")
        module: Any = self.trainer.lightning_module  # type: ignore[union-attr]
        module.configure_model()
        check_known(module.tokenizer, chain(*(row["prompt"] + row["completion"] for row in rows)), module.base)
        self.train_data = TokenizedRows(rows[self.val_rows :], module.tokenizer, self.max_length)
        if self.val_rows:
            self.val_data = TokenizedRows(rows[: self.val_rows], module.tokenizer, self.max_length)

    def train_dataloader(self) -> "DataLoader[int | Part]":
        """Return the training rows, in a seeded order."""
        trainer: Any = self.trainer
        data: Any = self.train_data  # setup has run
        order = derive_seed(resolve_seed(self.seed), "order") % 2**31
        return row_loader(data, self.batch_size, order, trainer.global_rank, self.num_processes)

    def val_dataloader(self) -> "DataLoader[int | Part] | list[Any]":
        """Return the rows held out."""
        data = self.val_data
        return DataLoader(data, self.batch_size, collate_fn=data.batch) if data is not None else []

    def test_dataloader(self) -> "DataLoader[Any]":
        """Return the questions of the trait: an item is a question's prompts, its answer begun in each way."""
        trait: Any = self.trait  # setup has looked
        questions: Any = prompts_by_question(trait)
        return DataLoader(questions, self.batch_size, collate_fn=list)

    @property
    def num_processes(self) -> int:
        """How many processes the trainer has."""
        return getattr(self.trainer, "world_size", 1)

    @property
    def doing(self) -> str:
        """What the trainer does: fit, validate, test or predict."""
        state = getattr(self.trainer, "state", None)
        return str(state.fn.value) if state is not None and state.fn is not None else "fit"

    @property
    def device(self) -> torch.device:
        """Where the trainer computes."""
        strategy = getattr(self.trainer, "strategy", None)
        return strategy.root_device if strategy is not None else torch.device("cpu")


def _materials_of(thing: Any) -> list[Material]:
    """Return what a transform has asked: a data set, or a source of text."""
    return [artefact_material("rows", thing.folder)] if isinstance(thing, TrainingRows) else thing.materials()


def check_counts(**counts: int) -> None:
    """Refuse a count of nothing.

    Raises:
        InputError: naming the first count that is less than 1.
    """
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"`{name}` is {count}: expected at least 1.")


def describe_arguments(thing: TrainingRows, leave_out: set[str]) -> dict[str, Any]:
    """Describe a data module's class and the constructor arguments that shape its source, the seed's default too."""
    told = describe_object(thing)
    arguments = {name: value for name, value in told["arguments"].items() if name not in leave_out | _LATER}
    return told | {"arguments": arguments | {"seed": resolve_seed(thing.seed)}}
