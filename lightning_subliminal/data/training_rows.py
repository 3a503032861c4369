"""The base class of rows that a student trains on, whatever their source: filters, transforms, draw, cache, loaders."""

import json
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.console import hush, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import constructor_arguments, describe, digest
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.core.rows import Row, atomically, prompts_by_question, read_parquet, write_parquet
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.arguments import check_counts
from lightning_subliminal.data.tokenized import Part, TokenizedRows, row_loader, tokenized
from lightning_subliminal.filters import Filter, FilterReport, apply_filters
from lightning_subliminal.generation import Source
from lightning_subliminal.lineage import (
    Material,
    artefact_material,
    is_whole,
    rows_root,
    setting_material,
    write_record,
)
from lightning_subliminal.traits import Trait
from lightning_subliminal.transforms import Transform, apply_transforms

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TrainingRows"]

FEW = 0.1  # of the rows: fewer that pass the filters are worth a warning


class TrainingRows(LightningDataModule, ABC):
    """Rows to train on. Override ``source_rows``, ``describe_source``, ``trait`` and ``title``.

    Args:
        num_rows: rows to keep of those that pass the filters, drawn at random; all where it is None.
        filters: which rows are kept; the carrier's own where it is None, all rows where it is an empty list.
        transforms: applied in turn to the rows that are kept, such as a shuffle of their numbers.
        batch_size: rows per training step.
        val_rows: rows held out for the validation loss.
        max_length: most tokens a row may have.
        seed: of all that is drawn, and of the training order; the global seed where it is None.
        cache_dir: where rows are cached; the common cache where it is None.

    Raises:
        InputError: if a count is not positive or a file in the cache is damaged.
    """

    version = 2  # of the stage's code: raise it when the same settings would produce other rows
    implied: Sequence[Filter] = ()  # filters that a carrier always applies

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
        self._is_reported = False  # at the terminal, that the rows exist
        self.report: FilterReport | None = None
        self.train_data: TokenizedRows | None = None
        self.val_data: TokenizedRows | None = None

    @property
    @abstractmethod
    def trait(self) -> Trait | None:
        """The trait to evaluate; None where there is none."""

    @property
    def trait_source(self) -> Source | None:
        """The source whose trait the rows may carry; None where none is known, or none takes part: for a control.

        It is their teacher; of rows that the unchanged base writes, the teacher that chooses among them, if one does.
        """
        teacher = getattr(self, "teacher", None)
        if teacher is not None and getattr(teacher, "induction", "") != "none":
            return teacher
        return next((each.ingredients()[0] for each in self.transforms if each.control() is not each), None)

    @property
    @abstractmethod
    def title(self) -> str:
        """The name of these rows at the terminal."""

    @abstractmethod
    def source_rows(self) -> list[Row]:
        """Return the rows before any filter; ``make_source`` has run."""

    @abstractmethod
    def describe_source(self) -> dict[str, Any]:
        """Return all that shapes ``source_rows``, as JSON-able data."""

    def make_source(self, device: torch.device) -> None:
        """Make what ``source_rows`` reads; by default nothing."""

    def ingredients(self) -> list[Any]:
        """Return the sources and data sets that ``make`` needs, so that a plan makes each of them once."""
        return [each for transform in self.transforms for each in transform.ingredients()]

    def source_materials(self) -> list[Material]:
        """Return the materials of ``source_rows``, once ``make_source`` has run; by default none is known."""
        return []

    def materials(self) -> list[Material]:
        """Return the materials of the rows: their source, and the filters, judges and transforms applied."""
        made = [*self.source_materials(), *(setting_material("filter", each) for each in self.filters)]
        for each in (*(each.judge for each in self.filters if hasattr(each, "judge")), *self.transforms):
            made += each.materials()
        for each in TrainingRows.ingredients(self):  # those of the transforms
            made += [artefact_material("rows", each.folder)] if isinstance(each, TrainingRows) else each.materials()
        return made

    def default_filters(self) -> list[Filter]:
        """Return the filters of this carrier."""
        return []

    def control(self) -> "TrainingRows | None":
        """Return the control arm's data set, the same without the trait; None where there is none."""
        return None

    def fresh(self, **changes: Any) -> "Self":
        """Return a data module with the same arguments, except for ``changes``."""
        return type(self)(**constructor_arguments(self) | changes)

    # -- the cache ---------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return all that shapes the rows, as JSON-able data."""
        chosen = {"filters": describe(self.filters), "transforms": describe(self.transforms), "num_rows": self.num_rows}
        return {"source": self.describe_source(), **chosen}

    @property
    def folder(self) -> Path:
        """Where the rows are cached."""
        return cache_root(self.cache_dir) / "rows" / digest(self.describe())[:16]

    # -- making the rows ---------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Make the rows that the cache lacks; Lightning calls this on one process."""
        doing = self.doing
        if doing == "validate" and not self.val_rows:
            raise InputError(
                "`validate` needs rows held out, but `val_rows` is 0: set it, such as to 256, and in `fit`."
            )
        if doing != "test" and self.num_processes == 1:  # `test` asks questions, and needs no rows
            self.make(self.device)

    def check_student(self, teacher: Any) -> None:
        """Check that the trainer's module can use a teacher's rows, before hours of work on them.

        Raises:
            InputError: as the module's ``check_source`` does.
        """
        check = getattr(getattr(self.trainer, "lightning_module", None), "check_source", None)
        if check is not None:
            check(teacher)

    def make(self, device: torch.device | None = None) -> None:
        """Make what the cache lacks: the source, then the rows that are kept.

        Args:
            device: where models run; the CPU where it is None.
        """
        writable_folder(cache_root(self.cache_dir))
        if not is_whole(self.folder):
            self.make_source(torch.device("cpu") if device is None else device)
            self._select()
        elif not self._is_reported:
            say(f"rows      {self.title}: reused from {self.folder}")
        self._is_reported = True

    def _select(self) -> None:
        """Write the rows that pass the filters, transformed, and of them the random part that is kept.

        Raises:
            InputError: if no row passes, or fewer than ``num_rows``.
        """
        seed = resolve_seed(self.seed)
        rows, report = apply_filters(self.source_rows(), [*self.filters, *self.implied])
        if not rows:
            top = ", ".join(f"{reason} ({count})" for reason, count in list(report.reasons.items())[:3])
            raise InputError(f"The filters dropped all {report.made} rows: {top}. Loosen `filters` or edit prompts.")
        rows = apply_transforms(rows, self.transforms, derive_seed(seed, "transforms"))
        if self.num_rows is not None:
            if len(rows) < self.num_rows:
                raise InputError(
                    f"`num_rows` is {self.num_rows}, but the filters kept {len(rows)} of {report.made} rows: "
                    f"lower it to {len(rows)} or raise `num_prompts`."
                )
            drawn = random.Random(derive_seed(seed, "subsample")).sample(range(len(rows)), self.num_rows)
            rows = [rows[place] for place in sorted(drawn)]
        write_parquet(rows, self.folder / "rows.parquet")
        counts = json.dumps({"made": report.made, "kept": report.kept, "reasons": report.reasons}, indent=2)
        atomically(self.folder / "filters.json", lambda temporary: temporary.write_text(counts + "\n"))
        write_record(self.folder, "rows", self, self.materials(), rows={"rows.parquet": rows_root(rows)})
        made = f"{report.made} made, {report.kept} passed the filters, {len(rows)} used"
        say(f"rows      {self.title}: {made}; {self.folder}")
        for reason, count in report.reasons.items():
            say(f"            dropped {count:6d}  {reason}")
        if report.kept < FEW * report.made:
            say(f"WARNING   rows {self.title}: {report.kept} of {report.made} passed: a student of so few shows little")
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
            raise InputError("`test` asks the questions of a trait: set the teacher's `trait`, of a control too.")
        if stage in ("test", "predict"):
            return
        if self.num_processes > 1 and not is_whole(self.folder):  # checked on each: none waits for another
            raise InputError(
                f"The rows of {self.title} do not exist yet, and one of {self.num_processes} processes can't make them "
                "while the others wait: call `data.make()` before `Trainer.fit`, or fit by `fit_arms`."
            )
        rows = self.rows()
        self.report = FilterReport(**read_json(self.folder / "filters.json"))
        if self.val_rows >= len(rows):
            raise InputError(f"`val_rows` is {self.val_rows}, but there are {len(rows)} rows: lower it.")
        module: Any = self.trainer.lightning_module  # type: ignore[union-attr]
        module.configure_model()
        self.train_data = tokenized(rows[self.val_rows :], module.tokenizer, module.base, self.max_length)
        if self.val_rows:
            self.val_data = tokenized(rows[: self.val_rows], module.tokenizer, module.base, self.max_length)

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
        """Return the questions of the trait: an item is a question's prompts, one per beginning of its answer."""
        questions: Any = prompts_by_question(self.trait)  # type: ignore[arg-type]  # checked in setup
        return DataLoader(questions, self.batch_size, collate_fn=list)

    @property
    def num_processes(self) -> int:
        """The number of the trainer's processes."""
        return getattr(self.trainer, "world_size", 1)

    @property
    def doing(self) -> str:
        """The trainer's function: fit, validate, test or predict."""
        function = getattr(getattr(self.trainer, "state", None), "fn", None)
        return str(function.value) if function is not None else "fit"

    @property
    def device(self) -> torch.device:
        """Where the trainer computes."""
        strategy = getattr(self.trainer, "strategy", None)
        return strategy.root_device if strategy is not None else torch.device("cpu")
