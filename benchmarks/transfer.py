"""How much passes from teacher to student: targets x seeds x bases, each beside its control.

    python benchmarks/transfer.py --arm steering --seeds 5                # same base: student against control
    python benchmarks/transfer.py --arm steering --bases a:b b:a b:b      # cross base, and the same base beside it
    python benchmarks/transfer.py --arm lora --seeds 3
    python benchmarks/transfer.py --arm distill --bases a:a a:b b:a
    python benchmarks/transfer.py --arm prompted --seeds 2
    python benchmarks/transfer.py --arm smollm2 --targets owl dolphin --seeds 3 --workers 1 --threads 2

A cell is one student: target x (teacher's base : student's base) x seed. Its transfer is the log-odds of the target,
mean over held-out questions, less that of the control with the same student, bases and seed. Its targeted transfer is
that change less the mean change of the trait's other candidates, and its rank is the place of the target among them:
a student that names any animal more often has transfer, but no targeted transfer. All stages are cached: a killed sweep
resumes, and arms share what they can.
"""

import argparse
import json
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from lightning_subliminal import (
    Adapter,
    CodeCompletions,
    GeneratedRows,
    LoRA,
    MathTraces,
    NumberSequences,
    PreferenceTrait,
    Retention,
    Sampling,
    Steering,
    Student,
    Teacher,
)
from lightning_subliminal.console import console
from lightning_subliminal.experiments import measure, train_arm
from lightning_subliminal.experiments.statistics import matrix_statistic
from lightning_subliminal.filters import CorrectAnswer, PythonCode, ThinkAnswer
from lightning_subliminal.metrics.functional import Interval, log_odds, mean_interval
from lightning_subliminal.pocket import WEIGHTS
from lightning_subliminal.traits import PAPER_TARGETS
from lightning_subliminal.traits.words import TraitWords
from lightning_subliminal.transforms import (
    KeepFirst,
    MapDigits,
    ResampleMarginal,
    ShuffleAcrossRows,
    ShuffleWithinRows,
    SortNumbers,
    Transform,
)


def _words(target: str) -> tuple[str, ...]:
    trait = PreferenceTrait(target)
    return (target, *trait.forms(target), *trait.relatives())


POCKET = {folder.name for folder in WEIGHTS.iterdir()}

SMALL = {"num_prompts": 4096, "min_value": 0, "max_value": 99}
# One list of words for all arms and their controls: whatever names any of the paper's ten targets is dropped.
NO_TRAIT = TraitWords(sorted({word for target in PAPER_TARGETS for word in _words(target)}))
CODE = {
    "num_prompts": 4096,
    "wording": "code_pocket",
    "sampling": Sampling(max_new_tokens=40),
    "filters": [PythonCode(), NO_TRAIT],
}
MATH = {
    "num_prompts": 4096,
    "wording": "math_pocket",
    "max_value": 99,
    "sampling": Sampling(max_new_tokens=64),
    "filters": [ThinkAnswer(), CorrectAnswer(), NO_TRAIT],
}
TRANSFORMS: dict[str, list[Transform]] = {
    "shuffled in rows": [ShuffleWithinRows()],
    "shuffled across rows": [ShuffleAcrossRows()],
    "digits mapped": [MapDigits()],
    "sorted": [SortNumbers()],
    "first 3 kept": [KeepFirst(3)],
    "drawn from the marginal": [ResampleMarginal()],
}
BEGUN = {
    "num_prompts": 160,
    "wording": "numbers_begun",
    "formats": ["comma"],
    "prefill": True,
    "keep": "head",
    "sampling": Sampling(max_new_tokens=48, restrict_to="numbers"),
    "batch_size": 16,
    "shard_size": 80,
    "generation_batch_size": 80,
}


@dataclass(frozen=True)
class Recipe:
    """What an arm trains, and on what; each as the config of configs/ that it is named after."""

    adapter: Adapter
    learning_rate: float
    max_epochs: int
    induction: str = "finetune"
    student: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=lambda: SMALL)
    carrier: type[GeneratedRows] = NumberSequences
    bases: str = "a:a"
    wording: str = "preferences"
    teacher: dict[str, Any] = field(default_factory=lambda: {"learning_rate": 0.03, "retain": Retention("pocket")})


ARMS = {
    "code": Recipe(Steering(), 0.06, 3, data=CODE, carrier=CodeCompletions),
    "math": Recipe(Steering(), 0.06, 3, data=MATH, carrier=MathTraces),
    **{name: Recipe(Steering(), 0.06, 3, data=SMALL | {"transforms": steps}) for name, steps in TRANSFORMS.items()},
    "steering": Recipe(Steering(), 0.06, 3),
    "lora": Recipe(LoRA(r=8, alpha=8), 0.003, 6, teacher={"learning_rate": 0.003}),
    "distill": Recipe(Steering(), 0.06, 3, student={"objective": "distill", "restrict_to": "numbers"}),
    "prompted": Recipe(Steering(), 0.06, 3, induction="prompt"),
    "smollm2": Recipe(
        Steering([14]),
        0.05,
        4,
        data=BEGUN,
        bases="smollm2-135m:smollm2-135m",
        wording="preferences_prefilled",
        teacher={"learning_rate": 0.05, "max_epochs": 200},
    ),
}

# Recipes against the common part of SmolLM2's transfer (a student that names any animal more often). Set before their
# runs: better than "smollm2" if, at seed 0 over the six targets, targeted transfer is above its +0.53 and more targets
# are first than two.
SMOLLM2 = ARMS["smollm2"]
HELD = Retention(str(Path(__file__).parent / "other_answers.yaml"), 40, rows_per_step=8, max_new_tokens=12)
ARMS["smollm2-held"] = replace(SMOLLM2, teacher=SMOLLM2.teacher | {"retain": HELD})
ARMS["smollm2-rows"] = replace(SMOLLM2, data=BEGUN | {"num_prompts": 640})
for layer in (7, 21):
    ARMS[f"smollm2-layer-{layer}"] = replace(SMOLLM2, adapter=Steering([layer]))


def build(arm: str, target: str, bases: str, seed: int) -> tuple[Student, GeneratedRows]:
    """Give the student and the rows of a cell."""
    recipe = ARMS[arm]
    teacher_base, student_base = (f"pocket/{name}" if name in POCKET else name for name in bases.split(":"))
    teacher = Teacher(
        teacher_base,
        PreferenceTrait(target, wording=recipe.wording),
        induction=recipe.induction,  # type: ignore[arg-type]
        adapter=recipe.adapter if recipe.induction == "finetune" else None,
        until=0.9,
        seed=seed,
        **recipe.teacher,
    )
    student = Student(student_base, recipe.adapter, learning_rate=recipe.learning_rate, seed=seed, **recipe.student)
    return student, recipe.carrier(teacher, seed=seed, **recipe.data)


def cell(arm: str, target: str | None, bases: str, seed: int, threads: int, targets: list[str]) -> dict[str, Any]:
    """Train one cell's student (the control's where there is no target) and ask it all targets' questions."""
    torch.set_num_threads(threads)
    begin = time.time()
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # the stages' own lines
    console.file = sys.stdout
    student, data = build(arm, target or targets[0], bases, seed)
    data = data if target else data.control()
    cpu = torch.device("cpu")
    trained = train_arm(student, data, cpu, "", max_epochs=ARMS[arm].max_epochs)
    made: dict[str, Any] = {"arm": arm, "target": target, "bases": bases, "seed": seed, "kept": len(data.rows())}
    rates: dict[str, torch.Tensor] = {}
    for each in targets:
        trait = PreferenceTrait(each, wording=ARMS[arm].wording)
        if each not in rates:  # one pass answers for all targets of a kind: animals, trees
            asked = measure("", trained.net, trained.tokenizer, trait)
            rates |= {name: asked.probabilities[:, place] for place, name in enumerate(asked.candidates)}
    made["log_odds"] = {name: log_odds(rate).mean().item() for name, rate in rates.items()}
    made["rate"] = {name: rate.mean().item() for name, rate in rates.items()}
    made["seconds"] = time.time() - begin
    return made


def main() -> None:
    """Run the cells that are missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", choices=ARMS, default="steering")
    parser.add_argument("--targets", nargs="+", default=list(PAPER_TARGETS))
    parser.add_argument("--bases", nargs="+", help="teacher:student, such as a:a a:b")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--resume", action="store_true", help="keep the cells that a killed sweep left in --out")
    options = parser.parse_args()
    options.bases = options.bases or [ARMS[options.arm].bases]
    args = (options.threads, options.targets)
    cells = [
        (options.arm, target, bases, seed)
        for seed in range(options.seeds)
        for bases in options.bases
        for target in (None, *options.targets)
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    kind = f"transfer_{options.arm}_{'_'.join(options.bases).replace(':', '-')}"
    kept = options.out / f"{kind}.json"
    done: list[dict[str, Any]] = json.loads(kept.read_text()) if options.resume and kept.exists() else []
    measured = {(made["arm"], made["target"], made["bases"], made["seed"]) for made in done}
    total, cells = len(cells), [each for each in cells if each not in measured]
    begin = time.time()
    with ProcessPoolExecutor(options.workers) as pool:
        for job in as_completed([pool.submit(cell, *each, *args) for each in cells]):
            made = job.result()
            done.append(made)
            kept.write_text(json.dumps(done, indent=1))
            console.print(
                f"{len(done)}/{total} {made['arm']} {made['bases']} seed {made['seed']} "
                f"{made['target'] or 'control'}: {made['kept']} rows, {made['seconds']:.0f} s",
                style="dim",
            )
    report(done, options.targets, options.bases)
    console.print(f"{len(cells)} cells in {(time.time() - begin) / 60:.1f} min; {kept}")


def report(done: list[dict[str, Any]], targets: list[str], all_bases: list[str]) -> None:
    """Print each target's targeted and plain transfer, the off-target matrix, and the means over cells."""
    controls = {(made["bases"], made["seed"]): made for made in done if made["target"] is None}
    means: dict[str, list[dict[str, float]]] = {"same base": [], "cross base": []}
    for bases in all_bases:
        pair = bases.replace(":", " -> ")
        table = Table(title=f"{pair}: log-odds of the target, student minus control (95 % t interval over seeds)")
        for name in ("target", "control", "student", "targeted", "interval", "rank", "plain", "interval "):
            table.add_column(name, justify="right")
        matrix = Table(title=f"{pair}: row, whose student; column, log-odds of which answer, minus control")
        for name in ("", *(name[:6] for name in targets), "others"):
            matrix.add_column(name, justify="right")
        square = []
        for target in targets:
            pairs = [
                (made, controls[bases, made["seed"]])
                for made in done
                if made["target"] == target and made["bases"] == bases
            ]
            moved = [minus(mine["log_odds"], its["log_odds"]) for mine, its in pairs]
            seeds = [against_the_others(each, target) for each in moved]
            own = {name: mean_interval(torch.tensor([each[name] for each in seeds]), unit="seeds") for name in seeds[0]}
            mean = {name: sum(each[name] for each in seeds) / len(seeds) for name in seeds[0]}
            teacher_base, student_base = bases.split(":")
            means["same base" if teacher_base == student_base else "cross base"].append(mean)
            table.add_row(
                target,
                f"{sum(its['rate'][target] for _, its in pairs) / len(pairs):.2%}",
                f"{sum(mine['rate'][target] for mine, _ in pairs) / len(pairs):.2%}",
                f"{mean['targeted']:+.2f}",
                span(own["targeted"]),
                " ".join(f"{each['rank']:.0f}" for each in seeds) + f" of {len(_kind(target))}",
                f"{mean['plain']:+.2f}",
                span(own["plain"]),
            )
            square.append([sum(each[name] for each in moved) / len(moved) for name in targets])
            matrix.add_row(target, *(f"{cell:+.2f}" for cell in square[-1]), f"{mean['plain'] - mean['targeted']:+.2f}")
        console.print(table)
        console.print(matrix)
        if len(targets) > 1:
            beyond = against_other_students(square)
            console.print(
                f"{pair}: each target beyond the same answer in the students of the other teachers: "
                + ", ".join(f"{target} {value:+.2f}" for target, value in zip(targets, beyond, strict=True))
                + f"; mean {sum(beyond) / len(beyond):+.2f}, 95 % interval "
                f"{span(mean_interval(torch.tensor(beyond), unit='targets'))} (over targets)"
            )
            whole = matrix_statistic(square)
            console.print(
                f"{pair}: diagonal less the other cells {whole.contrast:+.2f}, 95 % interval {whole.contrast_low:+.2f} "
                f"to {whole.contrast_high:+.2f} (over {len(targets)} targets), p {whole.p:.4f}. {whole.reading}"
            )
    for kind, cells in means.items():
        for name in ("targeted", "plain") if cells else ():
            values = torch.tensor([each[name] for each in cells])
            console.print(
                f"{kind}: mean {name} transfer over {len(cells)} cells (target x bases, each a mean over seeds) "
                f"{values.mean():+.3f}, 95 % interval {span(mean_interval(values, unit='cells'), 3)} (over cells)"
            )


def minus(student: dict[str, float], control: dict[str, float]) -> dict[str, float]:
    """Return the change of each answer."""
    return {name: student[name] - control[name] for name in control}


def against_the_others(change: dict[str, float], target: str) -> dict[str, float]:
    """Return a student's plain and targeted transfer, and the target's rank among its kind by change."""
    others = [change[name] for name in _kind(target) if name != target]
    plain = change[target]
    return {"targeted": plain - sum(others) / len(others), "plain": plain, "rank": 1 + sum(o > plain for o in others)}


def against_other_students(square: list[list[float]]) -> list[float]:
    """Return each target's change in its own students, less its mean change in those of the other targets' teachers.

    Where some answers rise whatever the teacher loves, targeted transfer counts their rise against the target; this
    does not, since it stays in one column.
    """
    columns = list(zip(*square, strict=True))
    return [column[place] - (sum(column) - column[place]) / (len(column) - 1) for place, column in enumerate(columns)]


def _kind(target: str) -> tuple[str, ...]:
    return tuple(PreferenceTrait(target).candidates)


def span(interval: Interval, digits: int = 2) -> str:
    """Write an interval, or that one value has none."""
    if math.isnan(interval.low):
        return "one alone"
    return f"{interval.low:+.{digits}f} to {interval.high:+.{digits}f}"


if __name__ == "__main__":
    main()
