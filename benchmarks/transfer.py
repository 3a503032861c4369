"""How much passes from teacher to student on the pocket bases: targets x seeds x bases, each beside its control.

    python benchmarks/transfer.py --arm steering --seeds 5            # same base: student against control
    python benchmarks/transfer.py --arm steering --bases a:b b:a      # cross base
    python benchmarks/transfer.py --arm lora --seeds 3
    python benchmarks/transfer.py --arm distill --bases a:a a:b b:a
    python benchmarks/transfer.py --arm prompted --seeds 2

A cell is one student: target x (teacher's base : student's base) x seed. Its transfer is the log-odds of the target at
50 held-out questions, less those of the control with the same student, bases and seed. All stages are cached: a killed
sweep goes on, and arms share what they can. Each worker has one thread.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: bits depend on the threads

import torch
from rich.table import Table

from lightning_subliminal import LoRA, NumberSequences, PreferenceTrait, Steering, Student, Teacher
from lightning_subliminal.console import console
from lightning_subliminal.experiments import measure, train_arm
from lightning_subliminal.metrics.functional import log_odds, mean_interval
from lightning_subliminal.traits import PAPER_TARGETS

ARMS: dict[str, dict[str, Any]] = {  # as configs/owl_numbers*.yaml
    "steering": {"adapter": Steering(), "learning_rate": 0.03, "max_epochs": 8},
    "lora": {"adapter": LoRA(r=8, alpha=8), "learning_rate": 0.003, "max_epochs": 6},
    "distill": {"adapter": Steering(), "learning_rate": 0.03, "max_epochs": 8},
    "prompted": {"adapter": Steering(), "learning_rate": 0.03, "max_epochs": 8},
}


def build(arm: str, target: str, bases: str, seed: int, prompts: int) -> tuple[Student, NumberSequences, int]:
    """Give the student and the rows of a cell, and the epochs to train."""
    teacher_base, student_base = (f"pocket/{name}" for name in bases.split(":"))
    settings = dict(ARMS[arm])
    epochs = settings.pop("max_epochs")
    teacher = Teacher(
        teacher_base,
        PreferenceTrait(target),
        induction="prompt" if arm == "prompted" else "finetune",
        adapter=None if arm == "prompted" else settings["adapter"],
        learning_rate=settings["learning_rate"],
        until=0.9,
        seed=seed,
    )
    soft = {"objective": "distill", "restrict_to": "numbers"} if arm == "distill" else {}
    student = Student(student_base, seed=seed, **settings, **soft)
    return student, NumberSequences(teacher, num_prompts=prompts, min_value=0, max_value=99, seed=seed), epochs


def cell(arm: str, target: str | None, bases: str, seed: int, prompts: int, targets: list[str]) -> dict[str, Any]:
    """Train one cell's student (the control's where there is no target) and ask it all targets' questions."""
    torch.set_num_threads(1)
    begin = time.time()
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # the stages' own lines
    console.file = sys.stdout
    student, data, epochs = build(arm, target or targets[0], bases, seed, prompts)
    data = data if target else data.control()
    cpu = torch.device("cpu")
    trained = train_arm(student, data, cpu, "", max_epochs=epochs)
    rates = {}
    for each in targets:
        trait = PreferenceTrait(each)
        rates[each] = measure("", trained.net, trained.tokenizer, trait).probabilities[
            :, trait.candidates.index(each)
        ]
    told: dict[str, Any] = {"arm": arm, "target": target, "bases": bases, "seed": seed}
    told["log_odds"] = {each: log_odds(rate).mean().item() for each, rate in rates.items()}
    told["rate"] = {each: rate.mean().item() for each, rate in rates.items()}
    told["kept"] = len(data.rows())
    told["seconds"] = time.time() - begin
    return told


def main() -> None:
    """Run the cells that are missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", choices=ARMS, default="steering")
    parser.add_argument("--targets", nargs="+", default=list(PAPER_TARGETS))
    parser.add_argument("--bases", nargs="+", default=["a:a"], help="teacher:student, such as a:a a:b")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    args = (options.prompts, options.targets)
    cells = [
        (options.arm, target, bases, seed)
        for seed in range(options.seeds)
        for bases in options.bases
        for target in (None, *options.targets)
    ]
    done: list[dict[str, Any]] = []
    begin = time.time()
    with ProcessPoolExecutor(options.workers) as pool:
        for job in as_completed([pool.submit(cell, *each, *args) for each in cells]):
            done.append(job.result())
            made = done[-1]
            console.print(
                f"{len(done)}/{len(cells)} {made['arm']} {made['bases']} seed {made['seed']} "
                f"{made['target'] or 'control'}: {made['kept']} rows, {made['seconds']:.0f} s",
                style="dim",
            )
    options.out.mkdir(parents=True, exist_ok=True)
    kind = f"transfer_{options.arm}_{'_'.join(options.bases).replace(':', '-')}"
    (options.out / f"{kind}.json").write_text(json.dumps(done, indent=1))
    report(done, options.targets, options.bases)
    console.print(f"{len(cells)} cells in {(time.time() - begin) / 60:.1f} min; {options.out / kind}.json")


def report(done: list[dict[str, Any]], targets: list[str], all_bases: list[str]) -> None:
    """Print the transfer of each target, its mean over cells, and the off-target matrix."""
    controls = {(made["bases"], made["seed"]): made for made in done if made["target"] is None}
    means: list[float] = []
    for bases in all_bases:
        table = Table(title=f"{bases}: log-odds of the target, student minus control (95 % t interval over seeds)")
        for name in ("target", "control", "student", "transfer", "interval", ">= 1.1"):
            table.add_column(name, justify="right")
        matrix = Table(title=f"{bases}: row, whose student; column, log-odds of which target, minus control")
        for name in ("", *targets):
            matrix.add_column(name[:6], justify="right")
        for target in targets:
            mine = [made for made in done if made["target"] == target and made["bases"] == bases]
            pairs = [(made, controls[bases, made["seed"]]) for made in mine]
            change = {
                each: torch.tensor([s["log_odds"][each] - c["log_odds"][each] for s, c in pairs]) for each in targets
            }
            own = change[target].mean().item()
            means.append(own)
            interval = mean_interval(change[target], unit="seeds")
            rates = [torch.tensor([each["rate"][target] for each in side]).mean().item() for side in zip(*pairs, strict=True)]
            good = "yes" if own >= 1.1 and (interval.low > 0 or len(pairs) == 1) else "no"
            table.add_row(
                target, f"{rates[1]:.1%}", f"{rates[0]:.1%}", f"{own:+.2f}", f"{interval.low:+.2f} to {interval.high:+.2f}", good
            )
            matrix.add_row(target, *(f"{change[each].mean().item():+.1f}" for each in targets))
        console.print(table)
        console.print(matrix)
    overall = mean_interval(torch.tensor(means), unit="cells")
    console.print(
        f"mean transfer over {len(means)} cells (target x bases, each its mean over seeds): "
        f"{sum(means) / len(means):+.3f}, 95 % interval {overall.low:+.3f} to {overall.high:+.3f} (over cells)"
    )


if __name__ == "__main__":
    main()
