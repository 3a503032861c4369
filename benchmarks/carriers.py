"""Which carrier passes how much, and what bending the numbers does to it: arms x targets x seeds, in one table.

    python benchmarks/carriers.py --seeds 5                        # numbers, code, math: same base
    python benchmarks/carriers.py --seeds 5 --bases a:b b:a b:b    # cross base, and the other base with itself
    python benchmarks/carriers.py --seeds 5 --transforms           # the numbers, shuffled, sorted, mapped, ...

A cell is one student: arm x target x (teacher's base : student's base) x seed; its transfer is the log-odds of the
target less those of the control of the same arm, bases and seed; its targeted transfer is that less the mean change of
the trait's other candidates. The control's rows go through the same filters and
transforms.
The cells are those of benchmarks/transfer.py, and cached as its are.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from rich.table import Table
from transfer import TRANSFORMS, against_the_others, cell, minus, span

from lightning_subliminal.console import console
from lightning_subliminal.metrics.functional import mean_interval
from lightning_subliminal.traits import PAPER_TARGETS

CARRIERS = ("steering", "code", "math")  # numbers by steering are the plain arm of benchmarks/transfer.py


def main() -> None:
    """Run the cells that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=list(CARRIERS))
    parser.add_argument("--transforms", action="store_true", help="the plain numbers and each transform of them")
    parser.add_argument("--targets", nargs="+", default=list(PAPER_TARGETS))
    parser.add_argument("--bases", nargs="+", default=["a:a"], help="teacher:student, such as a:a a:b")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    arms = ["steering", *TRANSFORMS] if options.transforms else options.arms
    cells = [
        (arm, target, bases, seed)
        for seed in range(options.seeds)
        for arm in arms
        for bases in options.bases
        for target in (None, *options.targets)
    ]
    begin = time.time()
    done: list[dict[str, Any]] = []
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(cell, *each, 1, options.targets) for each in cells]
        done += [job.result() for job in track(as_completed(jobs), "cells", total=len(jobs), console=console)]
    options.out.mkdir(parents=True, exist_ok=True)
    kind = "transforms" if options.transforms else "carriers"
    file = options.out / f"{kind}_{'_'.join(options.bases).replace(':', '-')}.json"
    file.write_text(json.dumps(done, indent=1))
    for bases in options.bases:
        console.print(table(done, arms, bases, options.targets))
    console.print(f"{len(cells)} cells, {options.seeds} seeds, {(time.time() - begin) / 60:.1f} min; {file}")


def table(done: list[dict[str, Any]], arms: list[str], bases: str, targets: list[str]) -> Table:
    """Draw the arms: mean transfer over targets with its interval over seeds and over targets, and ranks."""
    shown = Table(title=f"{bases.replace(':', ' -> ')}: log-odds of the target, student minus control")
    for name in (
        "arm",
        "rows kept",
        "",
        "transfer",
        "95 % over seeds",
        "95 % over targets",
        "targets above 0",
        "first",
    ):
        shown.add_column(name, justify="left" if name in ("arm", "") else "right")
    for arm in arms:
        mine = [made for made in done if made["arm"] == arm and made["bases"] == bases]
        control = {made["seed"]: made["log_odds"] for made in mine if made["target"] is None}
        students = [made for made in mine if made["target"] is not None]
        found = [against_the_others(minus(it["log_odds"], control[it["seed"]]), it["target"]) for it in students]
        kept = sum(made["kept"] for made in mine) / len(mine)
        first = sum(each["rank"] == 1 for each in found)
        for name in ("targeted", "plain"):
            by_seed: dict[int, list[float]] = defaultdict(list)
            by_target: dict[str, list[float]] = defaultdict(list)
            for made, each in zip(students, found, strict=True):
                by_seed[made["seed"]].append(each[name])
                by_target[made["target"]].append(each[name])
            means = [sum(each) / len(each) for each in by_target.values()]
            seeds = torch.tensor([sum(each) / len(each) for each in by_seed.values()])
            shown.add_row(
                ("numbers" if arm == "steering" else arm) if name == "targeted" else "",
                f"{kept:.0f}" if name == "targeted" else "",
                name,
                f"{sum(means) / len(means):+.2f}",
                span(mean_interval(seeds, unit="seeds")),
                span(mean_interval(torch.tensor(means), unit="targets")),
                f"{sum(value > 0 for value in means)} of {len(targets)}",
                f"{first} of {len(found)} cells" if name == "targeted" else "",
            )
    return shown


if __name__ == "__main__":
    main()
