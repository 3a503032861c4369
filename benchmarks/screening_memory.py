"""Time and peak memory of `screen` by the number of rows, and throughput beside a plain forward pass.

    python benchmarks/screening_memory.py                           # 10,000 and 100,000 rows, three minutes
    python benchmarks/screening_memory.py --rows 10000 1000000      # a quarter of an hour of one core

The files repeat 4,096 rows of pocket/a, each with an id of its own; a million of them is a shift, since they are not a
million rows. Memory is the largest resident set of the command, seconds are those of the processor.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from harness import ROOT, parser, table
from rich.console import Console

from lightning_subliminal.core.rows import Row
from lightning_subliminal.plans.screen_reference import clean_data, load_space
from lightning_subliminal.theory.row_likelihoods import row_likelihoods
from lightning_subliminal.theory.row_scores import encode_rows

CPU = torch.device("cpu")


def throughput(console: Console) -> None:
    """Print CPU seconds of a score pass and of a forward pass, encoding counted in both; the best of three."""
    space, tokenizer = load_space("pocket/a", None, CPU)
    shown = table("carrier", "rows", "forward, s", "scores, s", "of it encoding, s", "throughput of the scores")
    for carrier in ("numbers", "code", "math"):
        data = clean_data("pocket/a", carrier, 4096, 5000)
        data.make(CPU)
        rows = list(data.rows())
        jobs: dict[str, Callable[[Sequence[Row]], object]] = {
            "forward": lambda rows: list(row_likelihoods(space.net, tokenizer, rows)),
            "scores": lambda rows: list(space.gradients(tokenizer, rows)),
            "encoding": lambda rows: encode_rows(tokenizer, rows, 2048),
        }
        best = dict.fromkeys(jobs, float("inf"))
        for _ in range(3):
            for name, job in jobs.items():
                begin = time.process_time()
                job(rows)
                best[name] = min(best[name], time.process_time() - begin)
        ratio = best["forward"] / best["scores"]
        shown.add_row(carrier, f"{len(rows):,}", *(f"{value:.2f}" for value in best.values()), f"{ratio:.0%}")
    console.print(shown)


def main() -> None:
    """Write files, screen each in a process of its own, and print the tables."""
    options = parser(__doc__)
    options.add_argument("--rows", nargs="*", type=int, default=[10_000, 100_000])
    given = options.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    data = clean_data("pocket/a", "numbers", 4096, 5000)
    data.make(CPU)
    pool = list(data.rows())
    throughput(console)
    shown = table("rows", "file, MB", "CPU seconds", "rows a second", "peak memory, MB", "exit code", left=0)
    for count in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.jsonl"
            with path.open("w", encoding="utf-8") as file:
                for place in range(count):
                    row = pool[place % len(pool)]
                    line = {"id": str(place), "prompt": row["prompt"], "completion": row["completion"]}
                    file.write(json.dumps(line) + "\n")
            command = [
                sys.executable,
                "-m",
                "lightning_subliminal",
                "screen",
                str(path),
                "--base",
                "pocket/a",
                "--json",
            ]
            nowhere = subprocess.DEVNULL
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            run = subprocess.Popen(command, env=environment, stdout=nowhere, stderr=nowhere)
            _, status, usage = os.wait4(run.pid, 0)
            took = usage.ru_utime + usage.ru_stime
            shown.add_row(
                f"{count:,}",
                f"{path.stat().st_size / 1e6:.0f}",
                f"{took:.0f}",
                f"{count / took:,.0f}",
                f"{usage.ru_maxrss / 1024:.0f}",
                str(os.waitstatus_to_exitcode(status)),
            )
    console.print(shown)


if __name__ == "__main__":
    main()
