"""The cost of AlignmentTracker: the same run with and without it, alternating, as a share of the time of a step.

    python benchmarks/alignment.py                       # all cases: some ten minutes on one core
    python benchmarks/alignment.py --cases steering --repeats 10

A run is timed from its first tracked step to its last, including the measurements at both ends and the teacher's
losses, but not loading the teacher and drawing the chart. "Inside" is the CPU time in the callback's own hooks over
that of the rest of the same run: it hardly depends on other load of the machine, but misses effects of the hooks on
caches. The pairs of runs include these, and the machine's noise; an interval is over pairs.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_subliminal import (
    AlignmentTracker,
    ClassifierMLP,
    Digits,
    LoRA,
    PreferenceTrait,
    Steering,
    Student,
    Teacher,
)
from lightning_subliminal.core.console import console, hush
from lightning_subliminal.data.tokenized import TokenizedRows, row_loader
from lightning_subliminal.metrics.functional import mean_interval
from lightning_subliminal.prompts.numbers import NumberPrompts

ADAPTERS = {"steering": Steering(), "lora": LoRA(r=8, alpha=8), "everything": None}  # as configs/owl_numbers*.yaml
RATES = {"steering": 0.03, "lora": 0.003, "everything": 1e-3}
CASES = (*ADAPTERS, "classifiers")


class Timed(AlignmentTracker):
    """Adds up the CPU time in its own hooks."""

    inside = 0.0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for name in ("on_train_batch_start", "on_train_batch_end", "on_train_end"):
            setattr(self, name, self._timed(getattr(self, name)))

    def _timed(self, hook: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any) -> None:
            begin = time.process_time()
            hook(*args)
            self.inside += time.process_time() - begin

        return run


class Stopwatch(Callback):
    """Times the steps from the epoch ``first``, including the work of other callbacks between them."""

    def __init__(self, first: int) -> None:
        self.first = first

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start, once."""
        if trainer.current_epoch == self.first:
            self.steps, self.begun = trainer.global_step, (time.process_time(), time.perf_counter())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop; it must be the last callback."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.process_time(), time.perf_counter()
        self.steps = trainer.global_step - self.steps
        self.cpu, self.wall = ((end - begin) / self.steps for begin, end in zip(self.begun, now, strict=True))


def number_rows(count: int) -> list[dict[str, Any]]:
    """Make rows of numbers without a teacher: the times do not depend on them."""
    import random

    from lightning_subliminal.core.rows import make_row

    rng, grammar = random.Random(0), NumberPrompts(max_value=99)
    return [
        make_row(grammar.draw(rng).text, ", ".join(str(rng.randint(0, 99)) for _ in range(rng.randint(3, 10))))
        for _ in range(count)
    ]


def run(case: str, tracker: AlignmentTracker | None, folder: Path, options: argparse.Namespace) -> Stopwatch:
    """Train once and return the times."""
    digits = case == "classifiers"
    watch = Stopwatch(1 if digits else 0)
    trainer = Trainer(
        accelerator=options.accelerator,
        devices=1,
        max_epochs=-1 if digits else options.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        default_root_dir=folder,
        callbacks=[*([tracker] if tracker else []), watch],
    )
    if digits:
        trainer.fit(ClassifierMLP(num_seeds=options.seeds, teacher_epochs=1, student_epochs=2, seed=0), Digits(seed=0))
        return watch
    student = Student("pocket/a", ADAPTERS[case], learning_rate=RATES[case], seed=0)
    student.configure_model()
    trainer.fit(student, row_loader(TokenizedRows(number_rows(4096), student.tokenizer), 64, 0))
    return watch


def measure(case: str, folder: Path, options: argparse.Namespace) -> list[str]:
    """Time pairs of runs; return the line of the table."""
    teacher = None
    if case != "classifiers":
        teacher = Teacher("pocket/a", PreferenceTrait("owl"), adapter=ADAPTERS[case], learning_rate=RATES[case],
                          until=0.5, seed=0)  # fmt: skip
        teacher.make(torch.device("cpu"))
    shares: dict[str, list[float]] = {"inside": [], "cpu": [], "wall": []}
    steps = []
    for repeat in range(options.repeats + 1):
        pair, inside = {}, 0.0
        for tracked in (True, False) if repeat % 2 else (False, True):  # alternating which is first
            tracker = Timed(options.every, options.loss_every, teacher) if tracked else None
            pair[tracked] = run(case, tracker, folder, options)
            inside = tracker.inside if tracker else inside
        if repeat == 0:
            continue  # the first pair warms up
        steps.append(pair[False].cpu)
        shares["inside"].append(inside / (pair[True].cpu * pair[True].steps - inside))
        for clock in ("cpu", "wall"):
            shares[clock].append(getattr(pair[True], clock) / getattr(pair[False], clock) - 1)
    line = [case, f"{pair[False].steps}", f"{1000 * sum(steps) / len(steps):.2f} ms"]
    for values in shares.values():
        interval = mean_interval(torch.tensor(values), "pairs")
        line.append(f"{sum(values) / len(values):+.1%} [{interval.low:+.1%}, {interval.high:+.1%}]")
    return line


def main() -> None:
    """Time all cases and print the table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3, help="of the classifiers")
    parser.add_argument("--epochs", type=int, default=3, help="of 64 steps, of the language models")
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--loss-every", type=int, default=50)
    parser.add_argument("--accelerator", default="cpu")
    options = parser.parse_args()
    hush()
    columns = ("case", "steps", "CPU time per step", "inside", "more CPU time", "more wall time")
    title = f"AlignmentTracker({options.every}, {options.loss_every}): {options.repeats} pairs of runs"
    table = harness.table(*columns, title=title)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LIGHTNING_SUBLIMINAL_CACHE"] = folder
        for case in options.cases:
            line = measure(case, Path(folder), options)
            table.add_row(*line)
            console.print(*line, soft_wrap=True)
    console.print(table)


if __name__ == "__main__":
    main()
