"""The estimate of `fit --estimate` beside the measured peak memory of a student's training, and of a teacher's writing.

    python benchmarks/estimate.py                       # SmolLM2: full, LoRA, steering, rows; five minutes of one core
    python benchmarks/estimate.py --base pocket/a --malloc default --only LoRA rows
    python benchmarks/estimate.py --paper               # the GPU configs on paper, by their models' published shapes

Each is a process of its own. Measured is the peak of the resident set from the first step to the last, less the
resident set after the imports and the same, short, with `pocket/a`, which loads all libraries. The trained rows are
lists of numbers of one length, from a file; those that are written are asked of the unchanged base, 96 in 64 slots.
"""

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

import yaml
from harness import QUIET, ROOT, parser, table
from lightning.pytorch import Callback, Trainer
from rich.console import Console
from rich.table import Table
from shapes import SHAPES, save_config

from lightning_subliminal import (
    Adapter,
    LoRA,
    NumberSequences,
    RowsFromFile,
    Sampling,
    Steering,
    Student,
    Teacher,
    bases,
)
from lightning_subliminal.bases.by_config import by_config, config_folder
from lightning_subliminal.core.config.building import build
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.prompts.numbers import NumberPrompts
from lightning_subliminal.workflow.estimate.fit import estimate_fit
from lightning_subliminal.workflow.estimate.hardware import Hardware

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
KINDS: dict[str, Callable[[], Adapter | None]] = {
    "full": lambda: None,
    "LoRA": lambda: LoRA(r=8),
    "steering": lambda: Steering(),
}
SAMPLINGS: dict[str, Literal["numbers"] | None] = {"rows": None, "rows of numbers": "numbers"}
ROWS, BATCH = 16, 8  # two steps: the first makes the optimizer's states
# By default glibc keeps freed blocks below a threshold that grows with them, up to 32 MB; with a fixed one the resident
# set is what is in use. Small objects in the remains of aligned blocks keep these apart: fewer do without the tcache.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
MALLOCS = {"fixed": MALLOC, "default": {}, "no tcache": {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}}


def resident(peak: bool = False) -> int:
    """Return this process's resident set in bytes, or its peak."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


class Peak(Callback):
    """Forgets the peak resident set when training starts, and reads it when it ends."""

    seconds, peak = 0.0, 0

    def on_train_start(self, *_: object) -> None:
        """Forget the peak of loading."""
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        self.seconds = time.process_time()

    def on_train_end(self, *_: object) -> None:
        """Read the peak."""
        self.seconds, self.peak = time.process_time() - self.seconds, resident(peak=True)


def make(base: str, kind: str, path: str, checkpointing: bool) -> tuple[Student, RowsFromFile]:
    """Return an untrained student, and its rows."""
    student = Student(base, KINDS[kind](), learning_rate=1e-4, seed=0, gradient_checkpointing=checkpointing)
    return student, RowsFromFile(path, batch_size=BATCH, seed=0)


def rows_of(base: str, kind: str) -> NumberSequences:
    """Return rows that the unchanged base is to write."""
    sampling = Sampling(max_new_tokens=48, restrict_to=SAMPLINGS[kind])
    return NumberSequences(
        Teacher(base, induction="none"),
        min_value=0,
        max_value=99,
        formats=["comma", "space"],  # known to the pocket bases
        sampling=sampling,
        num_prompts=96,
        shard_size=96,
        generation_batch_size=64,
        seed=0,
    )


def write(base: str, kind: str) -> Peak:
    """Write the rows, and return the peak."""
    data, seen = rows_of(base, kind), Peak()
    engine = TransformersEngine(*bases.load(base), batch_size=data.generation_batch_size)
    seen.on_train_start()
    data.complete(0, engine)
    seen.on_train_end()
    return seen


def train(base: str, kind: str, path: str, checkpointing: bool) -> Peak:
    """Train for an epoch, and return the peak."""
    seen = Peak()
    trainer = Trainer(accelerator="cpu", devices=1, max_epochs=1, callbacks=[seen], **QUIET)
    student, data = make(base, kind, path, checkpointing)
    trainer.fit(student, datamodule=data)
    return seen


def one(base: str, kind: str, path: str, checkpointing: bool) -> dict[str, float]:
    """Train or write; return bytes above the baseline, and seconds."""
    work = (
        partial(write, kind=kind)
        if kind in SAMPLINGS
        else partial(train, kind=kind, path=path, checkpointing=checkpointing)
    )
    work("pocket/a")
    before = resident()
    seen = work(base)
    return {"bytes": seen.peak - before, "seconds": seen.seconds}


def expected(base: str, kind: str, path: str, checkpointing: bool) -> int:
    """Return the estimated bytes."""
    if kind in SAMPLINGS:
        return estimate_fit(Student(base), rows_of(base, kind), Hardware()).parts[1].peak
    student, data = make(base, kind, path, checkpointing)
    part = estimate_fit(student, data, Hardware()).parts[-1]
    peak = part.peak_checkpointed if checkpointing else part.peak
    if peak is None:
        raise SystemExit(f"{part.name} has no estimate")
    return peak


def write_rows(path: Path) -> None:
    """Write requests for numbers that the pocket bases know, each with a list of numbers."""
    rng, grammar = random.Random(0), NumberPrompts(max_value=99)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(ROWS):
            answer = ", ".join(str(rng.randint(10, 99)) for _ in range(10))
            row = {"prompt": grammar.draw(rng).text, "completion": answer}
            file.write(json.dumps(row) + "\n")


def paper(names: list[str]) -> Table:
    """Return the estimates of the configs ``*_owl_numbers`` for one A100, with the tokens of SmolLM2's tokenizer."""
    columns = ("model", "parameters", "trained, M", "weights, GB", "student, GB", "checkpointed, GB", "generation, GB")
    shown = table(*columns, "hours in all")
    for name in names or sorted(SHAPES.keys() - {"qwen2.5-0.5b"}):
        read = yaml.safe_load((ROOT / "configs" / f"{name}_owl_numbers.yaml").read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder, by_config():
            save_config(SHAPES[name], Path(folder))
            for file in TOKENIZER:
                shutil.copy(config_folder("smollm2-135m") / file, folder)
            read["model"]["init_args"]["base"] = read["data"]["init_args"]["teacher"]["init_args"]["base"] = folder
            student, data = build(read["model"]), build(read["data"])
            hardware = Hardware.of(read["trainer"], has_control=True)
            _, generation, trained = estimate_fit(student, data, hardware).parts
        sizes = (trained.memory["weights"], trained.peak, trained.peak_checkpointed or math.nan, generation.peak)
        cells = [
            f"{trained.parameters / 1e9:.2f} B",
            f"{trained.trained / 1e6:.1f}",
            *(f"{x / 1e9:.1f}" for x in sizes),
        ]
        print(name, *cells, file=sys.stderr, flush=True)
        shown.add_row(name, *cells, f"{2 * (generation.hours + trained.hours):.1f}")
    return shown


def main() -> None:
    """Estimate and measure each kind, and print the table."""
    options = parser(__doc__)
    options.add_argument("--base", default="smollm2-135m")
    options.add_argument("--paper", nargs="*", metavar="SHAPE", help="estimate the GPU configs instead, all or some")
    options.add_argument("--only", nargs="+", choices=[*KINDS, *SAMPLINGS], default=[*KINDS, *SAMPLINGS])
    options.add_argument("--malloc", choices=MALLOCS, default="fixed", help="glibc's settings")
    options.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        kind, path, checkpointing = given.one
        print(json.dumps(one(given.base, kind, path, checkpointing == "on")))
        return
    if given.paper is not None:
        Console(width=140).print(paper(given.paper))
        return
    shown = table("what", "checkpointing", "estimate, MB", "measured, MB", "estimate / measured", "CPU seconds")
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | MALLOCS[given.malloc]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write_rows(path)
        for kind, checkpointing in product(given.only, ("off", "on")):
            if kind in SAMPLINGS and checkpointing == "on":
                continue
            thought = expected(given.base, kind, str(path), checkpointing == "on")
            command = [sys.executable, __file__, "--base", given.base, "--one", kind, str(path), checkpointing]
            done = subprocess.run(command, capture_output=True, text=True, env=settings)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            found = json.loads(done.stdout.splitlines()[-1])
            sizes = [f"{thought / 1e6:,.0f}", f"{found['bytes'] / 1e6:,.0f}", f"{thought / found['bytes']:.2f}"]
            shown.add_row(kind, checkpointing, *sizes, f"{found['seconds']:.1f}")
            print(kind, checkpointing, *sizes, file=sys.stderr, flush=True)
    Console(width=120).print(shown)


if __name__ == "__main__":
    main()
