"""`fit` after `kill -9`: killed at moments spread over an undisturbed run's time, resumed, and compared byte by byte.

    python benchmarks/kill_and_resume.py            # small settings: some minutes
    python benchmarks/kill_and_resume.py --full     # configs/owl_numbers.yaml as it is

Each kill has a cache and a run folder of its own. The rows of both arms, teacher, control and student, and results.json
are compared with those of the undisturbed run. All runs have one thread count; bytes are equal for equal counts only.
"""

import hashlib
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import harness
from rich.console import Console
from rich.table import Table

CONFIG = harness.ROOT / "configs" / "owl_numbers.yaml"
# Some seconds for each stage, with as many shards and epochs as in the real config.
SMALL = ["--data.num_prompts", "2048", "--data.shard_size", "256", "--trainer.max_epochs", "6"]
PARTS = {  # the files that are compared, and their number
    "cache/teachers/*/subliminal_adapter.safetensors": 1,
    "cache/rows/*/rows.parquet": 2,
    "cache/students/*/subliminal_adapter.safetensors": 2,
    "runs/*/student/subliminal_adapter.safetensors": 1,
    "runs/*/results.json": 1,
}
RESTARTS = 5


class Kill(NamedTuple):
    """One killed run that was resumed.

    Attributes:
        moment: seconds after its start.
        reached: what it had made.
        differing: the files that differ from the undisturbed run's, or are missing.
    """

    moment: float
    reached: str
    differing: list[str]


def start(folder: Path, words: list[str]) -> "subprocess.Popen[bytes]":
    """Start `fit` in a folder, with its cache there."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return harness.start(folder, ["fit", "--config", str(CONFIG), *words])


def finish(folder: Path, words: list[str]) -> None:
    """Run `fit` to its end, repeatedly if it fails."""
    for _ in range(RESTARTS):
        if start(folder, words).wait() == 0:
            return
    raise SystemExit(f"fit failed in {RESTARTS} starts; see {folder / 'log.txt'}:\n{harness.tail(folder)}")


def made(folder: Path) -> dict[str, str]:
    """Return the digest of each file that is compared."""
    found = {path for pattern in PARTS for path in folder.glob(pattern)}
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)}


def reached(folder: Path) -> str:
    """Return in words what a run has made so far."""
    counts = {
        "teacher": "cache/teachers/*/lineage.json",
        "shards": "cache/completions/*/*.parquet",
        "rows": "cache/rows/*/lineage.json",
        "student's epochs": "runs/*/checkpoints/last.ckpt",
        "control's epochs": "cache/students/*/checkpoints/last.ckpt",
        "control": "cache/students/*/lineage.json",
        "results": "runs/*/results.json",
    }
    found = {name: len(list(folder.glob(pattern))) for name, pattern in counts.items()}
    words = [f"{count} {name}" if name in ("shards", "rows") else name for name, count in found.items() if count]
    return ", ".join(words) or "nothing"


def kill_once(folder: Path, words: list[str], moment: float, expected: dict[str, str]) -> Kill:
    """Kill a run at a moment, or earlier if it has ended; resume it; compare."""
    for attempt in range(RESTARTS):
        place = folder / str(attempt)
        run = start(place, words)
        time.sleep(moment)
        run.send_signal(signal.SIGKILL)
        if run.wait() == -signal.SIGKILL:
            break
        moment *= 0.8  # this run was faster than the undisturbed one
    else:
        raise SystemExit(f"each run ended before it was killed: {harness.tail(place)}")
    state = reached(place)
    finish(place, words)
    found = made(place)
    names = sorted(expected.keys() | found.keys())
    return Kill(moment, state, [name for name in names if expected.get(name) != found.get(name)])


def main(args: list[str] | None = None) -> bool:
    """Run the benchmark; return whether all bytes were the same."""
    parser = harness.parser(__doc__)
    parser.add_argument("--kills", type=int, default=10, help="how many runs are killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--full", action="store_true", help="the config as it is, instead of small settings")
    parser.add_argument("--folder", type=Path, help="keep all runs here, instead of deleting them")
    asked, more = parser.parse_known_args(args)
    small = [] if asked.full else [pair for pair in zip(SMALL[::2], SMALL[1::2], strict=True) if pair[0] not in more]
    words = [*(word for pair in small for word in pair), *more]
    console = Console()
    if asked.folder is not None and asked.folder.is_dir() and any(asked.folder.iterdir()):
        raise SystemExit(f"{asked.folder} is not empty, and its content would be reused: pass another --folder.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.folder or Path(temporary)).resolve()
        begin = time.monotonic()
        finish(folder / "straight", words)
        seconds = time.monotonic() - begin
        expected = made(folder / "straight")
        counted = {pattern: len(list((folder / "straight").glob(pattern))) for pattern in PARTS}
        if counted != PARTS:
            raise SystemExit(
                f"the undisturbed run made {counted}, expected {PARTS}: {harness.tail(folder / 'straight')}"
            )
        console.print(f"undisturbed run: {seconds:.1f} s, {len(expected)} files to compare")
        rng = random.Random(asked.seed)
        kills = []
        for index in range(asked.kills):
            moment = (index + rng.random()) / asked.kills * seconds  # one in each tenth of the time
            kills.append(kill_once(folder / f"kill-{index}", words, moment, expected))
            console.print(f"kill {index + 1} of {asked.kills}: {'differs' if kills[-1].differing else 'same bytes'}")
    table = Table("killed at", "it had made", "differs", title=f"fit after kill -9, undisturbed run {seconds:.1f} s")
    for each in kills:
        table.add_row(f"{each.moment:.1f} s", each.reached, ", ".join(each.differing) or "-")
    console.print(table)
    same = sum(not each.differing for each in kills)
    console.print(f"same bytes: {same} of {len(kills)}")
    return same == len(kills)


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
