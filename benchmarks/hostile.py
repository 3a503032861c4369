"""Hostile files for the verbs that read them: no code may run, no verb may hang, crash or print control characters.

    python benchmarks/hostile.py                        # 1,200 tries, seeded: at most ten minutes on two cores
    python benchmarks/hostile.py --kinds yaml --tries 40 --seed 1
    python benchmarks/hostile.py --show                 # also print the output of each failed try

A try is one command line on one hostile input, in a process of its own and an empty folder. It fails if

* the input's own code ran (the file ``EXECUTED`` appeared),
* it exceeded its time (60 s, without waiting for a processor) or its memory (4 GiB),
* it ended with a traceback, or by a signal,
* control characters other than line breaks and tabs reached standard output or standard error,
* its exit code is not one of those expected (2: bad input; 3: the audit or check has findings),
* it exits with 2 and its error is not one line, or lacks the file or field that it should name.

Kinds are in ``hostile_kinds/``: a module is a family, and each of its ``KINDS`` makes one try from a seeded generator.
"""

import importlib
import os
import pkgutil
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import harness
import hostile_kinds
from hostile_kinds import MARK, Try

from lightning_subliminal.core.console import console, progress
from lightning_subliminal.core.io.bounds import Bound

SECONDS, MEMORY = 60, 4 << 30
WRONG = ("executed", "hung", "memory", "traceback", "control characters", "exit code", "error line")
ALLOWED = {"\n", "\t", "\r"}


@dataclass(frozen=True)
class Outcome:
    """The result of one try: its faults, its seconds, those of the processor, and its output in words."""

    kind: str
    seed: int
    wrong: list[str]
    seconds: float
    cpu: float
    shown: str


def warm() -> None:
    """Import what the verbs import, once: each try is a fork of this process."""
    for name in ("audit", "plans", "workflow", "kinship", "judges", "formats", "data", "models", "theory"):
        importlib.import_module(f"lightning_subliminal.{name}")
    for found in pkgutil.walk_packages(
        importlib.import_module("lightning_subliminal.cli").__path__, "lightning_subliminal.cli."
    ):
        importlib.import_module(found.name)
    for name in ("transformers.models.llama.modeling_llama", "peft", "pyarrow.parquet", "scipy.stats", "httpx"):
        importlib.import_module(name)
    importlib.import_module("lightning_subliminal.bases").load("pocket/a")


def rebind(environment: dict[str, str]) -> None:
    """Set the bounds that a try changes by environment variables, which modules read at import."""
    for name in environment:
        short = name.removeprefix("LIGHTNING_SUBLIMINAL_")
        for module in [each for key, each in sys.modules.items() if key.startswith("lightning_subliminal.")]:
            if isinstance(getattr(module, short, None), Bound):
                setattr(module, short, Bound(short, getattr(module, short)))


def child(made: Try, folder: Path) -> None:
    """Run one command line in a fork; never return."""
    code = 1
    try:
        os.setsid()
        out = os.open(folder / "stdout", os.O_WRONLY | os.O_CREAT)
        err = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT)
        null = os.open(os.devnull, os.O_RDONLY)
        for number, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(number, target)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
        os.chdir(folder / "work")
        home = str(folder / "cache")
        os.environ |= {MARK: str(folder / "EXECUTED"), "LIGHTNING_SUBLIMINAL_CACHE": home, "HF_HUB_OFFLINE": "1"}
        os.environ |= {"COLUMNS": "200", **made.environment}
        rebind(made.environment)
        if made.cold:
            program = str(Path(sys.executable).with_name("lightning-subliminal"))  # `-m` would also add the folder
            os.execv(program, [program, *made.words])  # noqa: S606
        from lightning_subliminal.cli.entry import main

        try:
            main(made.words)
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def kept_waiting(pid: int) -> float:
    """Return the seconds that a process waited for a processor, which are not a hang."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0


def ended(pid: int, begin: float) -> tuple[int | None, resource.struct_rusage]:
    """Wait for a try; return its status, None if it hung and was killed, and what it used."""
    while time.monotonic() < begin + SECONDS + kept_waiting(pid):
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            return status, used
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    return None, os.wait4(pid, 0)[2]


def attempt(kind: str, seed: int) -> Outcome:
    """Make one try and run it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        made = hostile_kinds.all_kinds()[kind](random.Random(f"{kind}:{seed}"), folder / "work")
        with made.around:
            begin, pid = time.monotonic(), os.fork()
            if pid == 0:
                child(made, folder)
            status, used = ended(pid, begin)
        output = [
            (folder / each).read_bytes().decode(errors="replace") if (folder / each).exists() else ""
            for each in ("stdout", "stderr")
        ]
        wrong = judge(made, status, output, (folder / "EXECUTED").exists())
        wrong += [f"exit code: {each}" for each in made.after(folder / "work")] if made.after else []
        took = time.monotonic() - begin
    code = "none" if status is None else os.waitstatus_to_exitcode(status)
    shown = f"$ lightning-subliminal {' '.join(made.words)}\n{''.join(output)[-3000:]!r}\nexit {code}, {took:.1f} s"
    return Outcome(kind, seed, wrong, took, used.ru_utime + used.ru_stime, shown)


def judge(made: Try, status: int | None, output: list[str], executed: bool) -> list[str]:
    """Return the faults of a finished try."""
    both, wrong = "".join(output), []
    if executed:
        wrong.append("executed")
    if status is None:
        return [*wrong, "hung"]
    code = os.waitstatus_to_exitcode(status)
    if "MemoryError" in both or code == -signal.SIGKILL:
        wrong.append("memory")
    if "Traceback (most recent" in both or "panicked at" in both or code < 0:
        wrong.append("traceback")
    if any(not (char.isprintable() or char in ALLOWED or char == "\ufffd") for char in both):
        wrong.append("control characters")
    if code not in made.codes:
        wrong.append("exit code")
    lines = [line for line in output[1].splitlines() if line.startswith("error: ")]
    if code == 2 and (len(lines) != 1 or not all(name in lines[0] for name in made.names)):
        wrong.append("error line")
    return wrong


def main() -> None:
    """Try all kinds, and print the faults by kind."""
    parser = harness.parser(__doc__)
    parser.add_argument("--kinds", nargs="+", help="families or kinds; all if left out")
    parser.add_argument("--tries", type=int, default=1200, help="of all kinds together, at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--show", action="store_true", help="print the output of failed tries")
    parser.add_argument("--out", type=Path, default=harness.OUT / "hostile.json")
    options = parser.parse_args()
    warm()
    kinds = [
        name for name in hostile_kinds.all_kinds() if not options.kinds or {name, name.split(".")[0]} & {*options.kinds}
    ]
    counts = hostile_kinds.shares(kinds, options.tries)
    jobs = [(kind, options.seed * 100_000 + number) for kind in kinds for number in range(counts[kind])]
    begin, found = time.monotonic(), []
    random.Random(options.seed).shuffle(jobs)  # so that slow ones are spread
    with ThreadPoolExecutor(options.workers) as pool, progress() as bars:
        bar = bars.add_task("hostile inputs", total=len(jobs))
        for outcome in pool.map(lambda job: attempt(*job), jobs):
            found.append(outcome)
            bars.advance(bar)
    table = harness.table("kind", "tries", "cpu s", *WRONG, title=f"{len(jobs)} hostile inputs, seed {options.seed}")
    for kind in (*kinds, None):
        mine = [each for each in found if kind in (None, each.kind)]
        counts = Counter(name for each in mine for name in {one.split(":")[0] for one in each.wrong})
        table.add_row(
            kind or "all",
            str(len(mine)),
            f"{sum(each.cpu for each in mine):.0f}",
            *(str(counts[name] or ".") for name in WRONG),
        )
    console.print(table)
    bad = [each for each in found if each.wrong]
    for each in bad if options.show else ():
        console.print(
            f"\n{each.kind} {each.seed}: {', '.join(each.wrong)}\n{each.shown}", markup=False, highlight=False
        )
    harness.write_json(options.out, [asdict(each) for each in found])
    took, cpu = time.monotonic() - begin, sum(each.cpu for each in found)
    console.print(f"{len(bad)} of {len(jobs)} failed, {took:.0f} s, {cpu:.0f} s of processors; {options.out}")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
