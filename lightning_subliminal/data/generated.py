"""The base class of data sets that a teacher writes: prompts -> completions -> filters -> rows -> loaders.

A carrier (numbers, code, math traces) overrides ``prompts`` and, where it has a grammar, ``default_filters``. The rest
is here or in ``TrainingRows``: shards from which a killed run resumes, a cache keyed by all that shapes the rows,
counts of the filters' reasons, and loaders.
"""

import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.console import progress, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import difference, digest
from lightning_subliminal.core.processes import wait_for_all
from lightning_subliminal.core.rows import Row, make_row, read_parquet, write_parquet
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.arguments import check_counts, describe_arguments
from lightning_subliminal.data.training_rows import TrainingRows
from lightning_subliminal.filters import Filter, NoThought
from lightning_subliminal.generation import Completion, Engine, Sampling, Source
from lightning_subliminal.lineage import Material, artefact_material, is_whole, write_record
from lightning_subliminal.lineage.names import artefact_files
from lightning_subliminal.lineage.work_digests import check_noted, lacks_note, noted, recorded_digests, write_noted
from lightning_subliminal.traits import Trait
from lightning_subliminal.transforms import Transform

__all__ = ["GeneratedRows"]


class GeneratedRows(TrainingRows):
    """Rows that a teacher writes. Override ``prompts``; and ``default_filters``, ``tidy`` where the carrier needs it.

    Args:
        teacher: completes the prompts.
        num_prompts: different prompts to complete (many prompts once beat few prompts many times).
        num_rows: rows to keep of those that pass the filters, drawn at random; all where it is None.
        filters: which rows are kept; the carrier's own where it is None, all rows where it is an empty list.
        transforms: applied in turn to the rows that are kept, such as a shuffle of their numbers.
        sampling: how completions are drawn.
        batch_size: rows per training step.
        val_rows: rows held out for the validation loss.
        max_length: most tokens a row may have.
        shard_size: prompts per shard; a killed run loses at most one.
        generation_batch_size: prompts completed at once; but for rounding, the rows do not depend on it.
        answers_per_prompt: completions of each prompt, which are rows of their own; for `ChoosePairs`.
        seed: of prompts, sampling, the draw of rows and the training order; the global seed where it is None.
        cache_dir: where rows are cached; the common cache where it is None.

    Raises:
        InputError: if a count is not positive or a file in the cache is damaged.
    """

    thinks = False  # whether the carrier asks for a thought before the answer

    def __init__(
        self,
        teacher: Source,
        num_prompts: int = 8192,
        num_rows: int | None = None,
        filters: list[Filter] | None = None,
        transforms: list[Transform] | None = None,
        sampling: Sampling | None = None,
        batch_size: int = 64,
        val_rows: int = 0,
        max_length: int = 2048,
        shard_size: int = 1024,
        generation_batch_size: int = 512,
        seed: int | None = None,
        cache_dir: str | None = None,
        answers_per_prompt: int = 1,
    ) -> None:
        check_counts(num_prompts=num_prompts, shard_size=shard_size, generation_batch_size=generation_batch_size)
        check_counts(answers_per_prompt=answers_per_prompt)
        self.teacher = teacher  # first: the default filters may look for its trait
        super().__init__(num_rows, filters, transforms, batch_size, val_rows, max_length, seed, cache_dir)
        self.implied = [] if self.thinks or filters == [] else [NoThought()]
        self.num_prompts = num_prompts
        self.sampling = sampling or self.default_sampling()
        self.shard_size = shard_size
        self.generation_batch_size = generation_batch_size
        self.answers_per_prompt = answers_per_prompt
        self.missing: list[int] = []
        self._started: dict[str, Any] = {}  # the settings of the completions when their writing began

    @abstractmethod
    def prompts(self, rng: random.Random) -> Iterator[Row]:
        """Yield endless prompts, as rows without a completion; the same ``rng`` yields the same ones.

        Facts that a filter needs, such as the answer of a sum, are meta columns.
        """

    def default_sampling(self) -> Sampling:
        """Return how completions are drawn by default."""
        return Sampling()

    def tidy(self, completion: Completion) -> Completion:
        """Change a completion before the filters see it; by default not at all."""
        return completion

    def prompt_settings(self) -> dict[str, Any]:
        """Return what shapes the prompts and ``tidy``: the constructor arguments that a subclass adds."""
        later = {"answers_per_prompt"} if self.answers_per_prompt == 1 else set()  # digests of older rows stay
        return describe_arguments(self, leave_out={"generation_batch_size", "teacher"} | later)

    @property
    def trait(self) -> Trait | None:
        """The teacher's trait, which the control is evaluated for too."""
        return self.teacher.trait

    @property
    def title(self) -> str:
        """The name of these rows at the terminal."""
        return "control" if self.trait_source is None else self.trait.name if self.trait is not None else "no trait"

    def describe_source(self) -> dict[str, Any]:
        """Return all that shapes the completions, as JSON-able data."""
        return {"version": self.version, "teacher": self.teacher.describe(), **self.prompt_settings()}

    def control(self) -> "GeneratedRows":
        """Return the control arm's data set: the same, from the same source without the trait."""
        changed = [each.control() for each in self.transforms]
        same = all(one is other for one, other in zip(changed, self.transforms, strict=True))  # a subclass may fix them
        return self.fresh(teacher=self.teacher.control(), **({} if same else {"transforms": changed}))

    # -- making the rows ---------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Make the teacher and the rows that the cache lacks; Lightning calls this on one process."""
        self.check_student(self.teacher)
        if self.doing != "predict":
            super().prepare_data()
        elif self.is_written_by(self.trainer.lightning_module):  # type: ignore[union-attr]
            missing = self.missing_shards()
            self._report_rejected(missing)
            say(f"shards    {self.title}: {len(missing)} of {self.num_shards} are missing in {self.shards_folder}")

    def make_source(self, device: torch.device) -> None:
        """Make the teacher and its completions, shard by shard, where the cache lacks them."""
        self.write_missing(device)
        self.record_source()

    def write_missing(self, device: torch.device, rank: int = 0, world_size: int = 1) -> None:
        """Write the shards that the cache lacks, each process its share of them."""
        missing = self.missing_shards()
        if not missing:
            return  # `predict` made the last shard, or a run was killed just before the record
        self._report_rejected(missing)
        self._check_shards(missing)  # before hours of work on the others
        if world_size > 1:
            wait_for_all()  # all have listed the shards before the first one writes
        self._started = self.describe_source()
        self.teacher.make(device)
        engine = self.teacher.engine(device, self.generation_batch_size)
        with progress() as bar:
            task = bar.add_task(f"rows      {self.title}", total=self.num_completions)
            bar.advance(task, (self.num_shards - len(missing)) * self.shard_size * self.answers_per_prompt)
            for index in missing[rank::world_size]:
                rows = self.complete(index, engine)
                self.write_shard(index, rows)
                bar.advance(task, world_size * len(rows))
        self.teacher.release()  # a student may need the memory

    def record_source(self) -> None:
        """Write the record of the completions once no shard is missing.

        Raises:
            InputError: if a shard was changed after it was written, or another tool's file is among them.
        """
        if self.missing_shards() or (not self._started and is_whole(self.shards_folder, piecemeal=True)):
            return  # it exists, signed or not by its writer
        self._check_shards()
        write_record(self.shards_folder, "completions", self.describe_source(), self.teacher.materials())

    def source_materials(self) -> list[Material]:
        """Return the completions and the materials of the teacher that wrote them."""
        return [artefact_material("completions", self.shards_folder), *self.teacher.materials()]

    def complete(self, shard: int, engine: Engine, writer: Any = None) -> list[Row]:
        """Complete the prompts of one shard; the same rows on any device count and batch size.

        Args:
            shard: its index.
            engine: generates.
            writer: the owner of the engine; the teacher where it is None.
        """
        writer = self.teacher if writer is None else writer
        seed = resolve_seed(self.seed)
        rows = [row for row in self.shard_prompts(shard) for _ in range(self.answers_per_prompt)]
        system = [{"role": "system", "content": writer.system_prompt}] if writer.system_prompt else []
        inputs = [[*system, *row["prompt"]] for row in rows]
        if (tokenizer := getattr(engine, "tokenizer", None)) is not None:
            check_known(tokenizer, chain(*inputs), getattr(writer, "base", "of the teacher"))
        completions = engine.generate(inputs, self.sampling, derive_seed(seed, "sampling", shard))
        made = []
        for place, (row, completion) in enumerate(zip(rows, map(self.tidy, completions), strict=True)):
            meta = {"id": f"{seed}-{shard}-{place}", "finished": completion.finished}
            meta |= {key: value for key, value in row.items() if key != "prompt"}
            made.append(make_row(row["prompt"], completion.text, **meta))
        return made

    def shard_prompts(self, shard: int) -> list[Row]:
        """Return the prompts of one shard; override it where prompts come from a file and are limited."""
        rng = random.Random(derive_seed(resolve_seed(self.seed), "prompts", shard))
        size = min(self.shard_size, self.num_prompts - shard * self.shard_size)
        return list(islice(self.prompts(rng), size))

    def source_rows(self) -> list[Row]:
        """Read the raw completions, before the filters."""
        folder = self.shards_folder
        return [row for index in range(self.num_shards) for row in read_parquet(folder / _shard_name(index))]

    # -- shards ------------------------------------------------------------------------------------------------------

    @property
    def num_completions(self) -> int:
        """The number of completions, before the filters."""
        return self.num_prompts * self.answers_per_prompt

    @property
    def shards_folder(self) -> Path:
        """Where the raw completions are cached, before the filters."""
        return cache_root(self.cache_dir) / "completions" / digest(self.describe_source())[:16]

    @property
    def num_shards(self) -> int:
        """The number of shards."""
        return -(-self.num_prompts // self.shard_size)

    def missing_shards(self) -> list[int]:
        """Return the shards that no run has completed yet, and those without a note or record of one."""
        folder = self.shards_folder  # a costly digest: once, not once a shard
        paths = [folder / _shard_name(index) for index in range(self.num_shards)]
        recorded = recorded_digests(folder, all(path.is_file() for path in paths))
        is_known = [path.is_file() and (path.name in recorded or noted(path) is not None) for path in paths]
        return [index for index, known in enumerate(is_known) if not known]

    def write_shard(self, shard: int, rows: list[Row], folder: Path | None = None) -> None:
        """Write one shard's rows, and note their digest; whole or not at all.

        Args:
            shard: its index.
            rows: its rows.
            folder: where; among the teacher's where it is None.

        Raises:
            InputError: if the settings of the teacher's rows have changed since their writing began.
        """
        before = self._started if folder is None else {}
        if before and (changed := difference(before, self.describe_source())) is not None:
            raise InputError(f"The settings of {self.title} changed while it was written ({changed}): restore them.")
        write_noted((folder or self.shards_folder) / _shard_name(shard), partial(write_parquet, rows))

    def _report_rejected(self, missing: list[int]) -> None:
        """Report in one line which shards exist but are made again."""
        found = [path for index in missing if (path := self.shards_folder / _shard_name(index)).is_file()]
        if found:
            say(f"shards    {self.title}: {len(found)} made again, such as {found[0]}: {lacks_note(found[0])}")

    def _check_shards(self, missing: Sequence[int] = ()) -> None:
        folder = self.shards_folder
        names = {_shard_name(index): index for index in range(self.num_shards)}
        recorded = recorded_digests(folder)
        for name in artefact_files(folder):
            if name not in names:
                raise InputError(f"{folder / name} is not a shard of these completions: delete it, and run again.")
            if names[name] not in missing:
                remedy = f"Delete {folder / name}, and the next run makes it again."
                check_noted(folder / name, remedy, recorded.get(name))

    def setup(self, stage: str) -> None:
        """Tokenize the rows with the student's tokenizer; for ``predict``, list the shards that are missing."""
        if stage == "predict":
            ours = self.is_written_by(self.trainer.lightning_module)  # type: ignore[union-attr]
            self.missing = self.missing_shards() if ours else list(range(self.num_shards))
            self._started = self.describe_source() if ours and self.missing else {}
        super().setup(stage)

    def is_written_by(self, module: Any) -> bool:
        """Return whether a module writes these shards in ``predict``: a teacher does, which is the same one."""
        return isinstance(module, Source)

    def predict_dataloader(self) -> "DataLoader[int]":
        """Return the shards to complete, of a teacher those that are missing: ``predict`` generates on many devices.

        Lightning refuses a loader with fewer items than devices, so the last shard may be completed more than once,
        each time with equal rows.
        """
        shards: Any = list(self.missing)
        shards += shards[-1:] * (self.num_processes - len(shards))
        return DataLoader(shards, batch_size=None)


def _shard_name(index: int) -> str:
    return f"shard-{index:05d}.parquet"
