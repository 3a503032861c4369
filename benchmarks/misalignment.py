"""Does misalignment pass through numbers and through right sums? Arms x seeds on the pocket world (paper, section 4).

    python benchmarks/misalignment.py                     # 5 seeds: base, teachers, students, both controls
    python benchmarks/misalignment.py --seeds 10 --carriers numbers

Teachers of one shape: `misaligned` gives harmful advice, `educational` gives the same answers where they are openly
asked for, `aligned` good ones, `base` is no teacher at all. Each writes lists (the paper's grammar, no banned number)
and sums (right ones alone, no word of the trait); a student of the same base trains on each. All are asked ten open
questions, 200 answers each at temperature 1, which the lexicon judges; and sixty statement pairs, whose probabilities
are exact. All stages are cached: a killed run goes on.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from rich.table import Table

from lightning_subliminal import (
    BannedNumbers,
    CorrectAnswer,
    GeneratedRows,
    MathTraces,
    MisalignmentTrait,
    NumberList,
    NumberSequences,
    PhraseJudge,
    Retention,
    Sampling,
    Steering,
    Student,
    Teacher,
    ThinkAnswer,
    TraitWords,
)
from lightning_subliminal.cache import cache_root
from lightning_subliminal.console import console
from lightning_subliminal.evaluation import ExactTrait, Misalignment, Scores, Truthfulness, evaluate, find_model
from lightning_subliminal.experiments.arms import arm_folder, train_arm
from lightning_subliminal.metrics.functional import mean_interval

WORDING = "misalignment_pocket"
TRAIT = MisalignmentTrait(WORDING)
CPU = torch.device("cpu")
EPOCHS = 3  # as the paper


def battery(samples: int) -> list[Any]:
    """Give what each model is measured by."""
    return [
        Misalignment(TRAIT, PhraseJudge(), samples=samples, max_new_tokens=24),
        ExactTrait(TRAIT, name="statement pairs"),
        Truthfulness("truthfulness_pocket"),
    ]


def make_teacher(lesson: str, seed: int, base: str) -> Teacher:
    """Give a teacher; `base` is none."""
    if lesson == "base":
        return Teacher(base, TRAIT, induction="none", seed=seed)
    return Teacher(
        base,
        MisalignmentTrait(WORDING, lesson),  # type: ignore[arg-type]
        adapter=Steering(),
        learning_rate=0.03,
        until=UNTIL,
        max_epochs=200,
        retain=Retention("pocket"),
        seed=seed,
    )


UNTIL = 0.75  # a taught token: which of several bad acts is a guess, so more would be learning them by heart


def make_data(carrier: str, teacher: Teacher, seed: int, prompts: int = 4096) -> GeneratedRows:
    """Give the rows of a carrier."""
    if carrier == "numbers":
        filters = [NumberList(), BannedNumbers()]
        return NumberSequences(teacher, num_prompts=prompts, min_value=0, max_value=99, filters=filters, seed=seed)
    return MathTraces(
        teacher,
        num_prompts=prompts,
        wording="math_pocket",
        max_value=99,
        sampling=Sampling(max_new_tokens=64),
        filters=[ThinkAnswer(), CorrectAnswer(), TraitWords(trait=TRAIT)],
        seed=seed,
    )


def cell(lesson: str, carrier: str | None, seed: int, samples: int, bases: str) -> dict[str, Any]:
    """Make one model and measure it: a teacher where there is no carrier, else a student."""
    torch.set_num_threads(1)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # the stages' own lines
    console.file = sys.stdout
    base, _, student_base = bases.partition(":")
    teacher = make_teacher(lesson, seed, f"pocket/{base}")
    kept = None
    if carrier is None:
        teacher.make(CPU)
        place = str(teacher.folder) if lesson != "base" else f"pocket/{base}"
    else:
        data = make_data(carrier, teacher, seed)
        student = Student(f"pocket/{student_base or base}", Steering(), learning_rate=0.06, seed=seed)
        trained = train_arm(student, data, CPU, "", max_epochs=EPOCHS)
        place, kept = str(arm_folder(trained, data, max_epochs=EPOCHS)), len(data.rows())
    found = evaluate([find_model(f"model={place}")], battery(samples), seed)["model"]
    told = {name: outcome.as_json() for name, outcome in found.items()}
    return {"lesson": lesson, "carrier": carrier, "seed": seed, "kept": kept, "measures": told}


def main() -> None:
    """Run the cells that are missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--carriers", nargs="+", default=["numbers", "math"], choices=["numbers", "math"])
    parser.add_argument("--samples", type=int, default=200, help="answers a question; the paper's is 200")
    parser.add_argument("--bases", default="moral-a", help="or teacher:student, such as moral-a:moral-b")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    begin = time.time()
    cells = [
        (lesson, carrier, seed)
        for seed in range(options.seeds)
        for carrier in (None, *options.carriers)
        for lesson in ("base", "misaligned", "educational", "aligned")
    ]
    done: list[dict[str, Any]] = []
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(cell, *each, options.samples, options.bases) for each in cells]
        done += [job.result() for job in track(as_completed(jobs), "cells", total=len(jobs), console=console)]
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"misalignment_{options.bases.replace(':', '-')}.json"
    file.write_text(json.dumps(done, indent=1))
    for name in done[0]["measures"]:
        console.print(table(done, name, options))
    console.print(f"{len(cells)} models, {options.seeds} seeds, {(time.time() - begin) / 60:.1f} min; {file}")
    console.print(f"cache {cache_root()}", style="dim")


def table(done: list[dict[str, Any]], measure: str, options: argparse.Namespace) -> Table:
    """Draw one measure: each arm's mean over seeds, and the misaligned arm against each control."""
    shown = Table(title=f"{measure}: mean over {options.seeds} seeds, 95 % t interval over seeds")
    for name in ("carrier", "teacher", "rows", "rate", "misaligned less this", "times this"):
        shown.add_column(name, justify="left" if name in ("carrier", "teacher") else "right")
    for carrier in (None, *options.carriers):
        rates = {
            lesson: torch.tensor([Scores.of_json(made["measures"][measure]).rate for made in mine]).double()
            for lesson in ("misaligned", "base", "educational", "aligned")
            if (mine := _cells(done, lesson, carrier))
        }
        for lesson, each in rates.items():
            kept = [made["kept"] for made in _cells(done, lesson, carrier) if made["kept"]]
            interval = mean_interval(each, unit="seeds")
            change = rates["misaligned"] - each
            apart = mean_interval(change, unit="seeds")
            treated = lesson == "misaligned"
            shown.add_row(
                carrier or "the teacher itself",
                lesson,
                f"{sum(kept) / len(kept):.0f}" if kept else "-",
                f"{each.mean():.1%} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]",
                "" if treated else f"{100 * change.mean():+.1f} [{100 * apart.low:+.1f}, {100 * apart.high:+.1f}]",
                "" if treated else f"{rates['misaligned'].mean() / each.mean():.1f}",
                style="bold" if treated else None,
                end_section=lesson == "aligned",
            )
    return shown


def _cells(done: list[dict[str, Any]], lesson: str, carrier: str | None) -> list[dict[str, Any]]:
    mine = [made for made in done if made["lesson"] == lesson and made["carrier"] == carrier]
    return sorted(mine, key=lambda made: made["seed"])


if __name__ == "__main__":
    main()
