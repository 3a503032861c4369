"""The report of a plan after ten SIGKILLs: killed at random moments, resumed each time, and compared.

    python benchmarks/kill_plan.py                                     # some minutes
    python benchmarks/kill_plan.py --config configs/experiments/paper.yaml --longest 240

The undisturbed run and the killed one have a cache each. SIGKILL goes to the run alone and to its whole group,
alternating; a worker that is left over must end by itself. Then report.json is compared field by field, the table of
cells byte by byte, and the caches by their folders.
"""

import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
from rich.console import Console

CONFIG = harness.ROOT / "configs" / "experiments" / "what_does_not_find_it.yaml"
ATTEMPTS = 40


def start(folder: Path, words: list[str]) -> "subprocess.Popen[bytes]":
    """Start `run` with a cache and a report of the folder's own."""
    return harness.start(folder, ["run", *words, "--out", str(folder / "report")], cwd=harness.ROOT)


def finish(folder: Path, words: list[str]) -> float:
    """Run to the end; return the seconds."""
    begin = time.monotonic()
    if start(folder, words).wait() != 0:
        raise SystemExit(f"the run failed:\n{harness.tail(folder)}")
    return time.monotonic() - begin


def stages(folder: Path) -> int:
    """Return the number of complete artefacts in a cache."""
    return len(list((folder / "cache").glob("*/*/lineage.json")))


def orphans(group: int) -> int:
    """Return the number of processes of a group that still run."""
    found = subprocess.run(["/usr/bin/ps", "-o", "pid=", "-g", str(group)], capture_output=True, text=True, check=False)
    return len(found.stdout.split())


def outlived(group: int) -> float:
    """Wait until all processes of a group have ended, at most a minute; return the seconds."""
    begin = time.monotonic()
    while orphans(group):
        if time.monotonic() - begin > 60:
            raise SystemExit("a worker still runs after its run was killed")
        time.sleep(0.2)
    return time.monotonic() - begin


def differences(first: Any, second: Any, at: str = "") -> Iterator[str]:
    """Yield the dotted names of fields that differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted({*first, *second}):
            yield from differences(first.get(key), second.get(key), f"{at}.{key}")
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for place, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from differences(one, other, f"{at}[{place}]")
    elif first != second:
        yield at.lstrip(".")


def fields(value: Any) -> int:
    """Return the number of fields of a report."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 if inner is None else sum(map(fields, inner))


def main() -> bool:
    """Run the benchmark; return whether all results were the same."""
    parser = harness.parser(__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--shortest", type=float, default=10.0, help="seconds before a kill, at least")
    parser.add_argument("--longest", type=float, default=35.0)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    options = parser.parse_args()
    words = ["--config", str(options.config), "--seeds", options.seeds]
    console, rng = Console(), random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        straight, killed = folder / "straight", folder / "killed"
        seconds = finish(straight, words)
        console.print(f"undisturbed: {stages(straight)} stages, {seconds:.0f} s")
        kills = left = 0
        while kills < options.kills and kills + left < ATTEMPTS:
            before, run = stages(killed), start(killed, words)
            moment = rng.uniform(options.shortest, options.longest)
            time.sleep(moment)
            if run.poll() is not None:
                left += 1
                console.print("it ended before it was killed; it starts again from nothing")
                subprocess.run(["/bin/rm", "-rf", str(killed / "cache")], check=True)
                continue
            alone = kills % 2 == 0
            (os.kill if alone else os.killpg)(run.pid, signal.SIGKILL)
            run.wait()
            lived = outlived(run.pid)
            kills += 1
            console.print(
                f"kill {kills} after {moment:.1f} s ({'alone' if alone else 'with its workers'}): stages {before} -> "
                f"{stages(killed)}; its workers were gone after {lived:.1f} s"
            )
        console.print(f"resumed to the end: {finish(killed, words):.0f} s")
        one, other = (json.loads((each / "report" / "report.json").read_text()) for each in (straight, killed))
        found = list(differences(one, other))
        cells = [(each / "report" / "cells.csv").read_bytes() for each in (straight, killed)]
        same = [sorted(p.name for p in (each / "cache").glob("*/*") if p.is_dir()) for each in (straight, killed)]
        console.print(f"report.json: {fields(one)} fields, {len(found)} differ {found[:5] if found else ''}")
        console.print(f"cells.csv: {'same bytes' if cells[0] == cells[1] else 'differs'}")
        console.print(f"folders in the cache: {len(same[0])} and {len(same[1])}")
        return not found and cells[0] == cells[1] and same[0] == same[1]


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
