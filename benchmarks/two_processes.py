"""`fit` on SmolLM2 from nothing on one process and on two (DDP): time, peak memory, and whether the results are equal.

    python benchmarks/two_processes.py                 # 16 prompts, no comparison; about five minutes of two cores
    python benchmarks/two_processes.py --prompts 160 --comparison

Teacher, rows and student are made in a cache of its own for each run; the rows must be the same bytes, and the weights
of teacher and student equal up to 1e-5. Memory is the peak resident set of each process; both processes load the model.
Wall time says little on a machine that does other work.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from harness import parser, start, table
from rich.console import Console
from safetensors.torch import load_file

from lightning_subliminal import bases
from lightning_subliminal.core.io.adapter_names import OWN_FILES

EVERY = 0.2  # seconds between looks at the processes


def look(session: int, seen: dict[int, tuple[int, float]]) -> None:
    """Note the peak resident set and the CPU seconds of each process of a session that computes."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = (status.parent / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) != session:
                continue
            line = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM:"))
        except (OSError, StopIteration):  # it has ended
            continue
        pid = int(status.parent.name)
        ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        seen[pid] = (max(seen.get(pid, (0, 0.0))[0], int(line.split()[1]) * 1024), ticks)


def fit(folder: Path, devices: int, words: list[str]) -> tuple[float, list[tuple[int, float]]]:
    """Fit on a number of processes; return seconds, and each one's peak resident set and CPU seconds.

    Raises:
        SystemExit: if the fit fails.
    """
    source = bases.resolve("smollm2-135m").folder
    shutil.copytree(source, folder / "cache" / "bases" / source.name)  # it is converted once
    more = ["--trainer.devices", str(devices), *(["--trainer.strategy", "ddp"] if devices > 1 else [])]
    begin, seen = time.perf_counter(), dict[int, tuple[int, float]]()
    job = start(folder, ["fit", *words, *more, "--trainer.default_root_dir", "run"])
    while job.poll() is None:
        look(job.pid, seen)
        time.sleep(EVERY)
    if job.returncode:
        sys.exit((folder / "log.txt").read_text()[-2000:])
    return time.perf_counter() - begin, sorted((each for each in seen.values() if each[0] > 2**28), reverse=True)


def difference(one: Path, two: Path) -> str:
    """Return what differs between the artefacts of two caches."""
    rows = [sorted((folder / "cache").rglob("rows.parquet")) for folder in (one, two)]
    same = [path.read_bytes() for path in rows[0]] == [path.read_bytes() for path in rows[1]] != []
    found = [sorted((folder / "cache").rglob(OWN_FILES.weights)) for folder in (one, two)]
    names = [[str(path.relative_to(folder)) for path in paths] for folder, paths in zip((one, two), found, strict=True)]
    if not names[0] or names[0] != names[1]:
        return "other artefacts"
    most = 0.0
    for ours, theirs in zip(*([load_file(path) for path in paths] for paths in found), strict=True):
        most = max(most, *((ours[key] - theirs[key]).abs().max().item() for key in ours))
    return f"{'the same bytes' if same else 'OTHER ROWS'}, weights of {len(names[0])} adapters within {most:.1e}"


def main() -> None:
    """Run both, and print the table."""
    options = parser(__doc__)
    options.add_argument("--prompts", type=int, default=16)
    options.add_argument("--comparison", action="store_true", help="with the control and the questions of all arms")
    given = options.parse_args()
    words = ["--config", "smollm2_owl_numbers", "--data.num_prompts", str(given.prompts), "--trainer.max_epochs", "1"]
    words += ["--data.shard_size", str(max(1, given.prompts // 2)), "--data.teacher.init_args.max_epochs", "2"]
    words += [] if given.comparison else ["--trainer.callbacks", "[]"]
    shown = table("processes", "seconds", "CPU seconds of each", "peak memory of each, MB", left=0)
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        places = {devices: Path(folder) / str(devices) for devices in (1, 2)}
        for devices, place in places.items():
            together = ["--data.batch_size", str(8 // devices)]  # so that a step sees the same rows
            seconds, found = fit(place, devices, [*words, *together])
            sizes = ", ".join(f"{size / 1e6:,.0f}" for size, _ in found)
            times = ", ".join(f"{each:.0f}" for _, each in found)
            shown.add_row(str(devices), f"{seconds:.0f}", times, sizes)
            results[str(devices)] = {"seconds": seconds, "bytes and CPU seconds": found}
            print(json.dumps(results), file=sys.stderr, flush=True)
        shown.caption = difference(places[1], places[2])
        Console(width=120).print(shown)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
