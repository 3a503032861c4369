"""Fuzzing of the filters: random and hostile strings must not make one raise, hang, crash or take long.

    python benchmarks/fuzz_filters.py --strings 100000 --seed 0      # about 11 minutes on one core
    python benchmarks/fuzz_filters.py --strings 1 --first 1234       # one string again

Each string depends only on seed and place. Filters run in a process of their own, so that a crash or a hang is counted
and the run continues. A call on at most 10 kB that took over 50 ms is timed three more times, and its shortest time
counts, to exclude other processes. Lines of 1 MB follow, which are not timed.
"""

import gc
import json
import mmap
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import harness
from fuzz_strings import LONGEST, WORDS, long_line, make, make_row_of
from rich.console import Console
from rich.table import Table

from lightning_subliminal.core.rows import Row
from lightning_subliminal.filters import (
    BannedNumbers,
    CorrectAnswer,
    Filter,
    NumberList,
    PythonCode,
    ThinkAnswer,
    TrueSteps,
)
from lightning_subliminal.traits import PAPER_TARGETS, PreferenceTrait, TraitWords

LIMIT_MS = 50.0
HANG_SECONDS = 60.0


def filters() -> dict[str, Filter]:
    """Return the filters by name."""
    return {
        "NumberList": NumberList(),
        "NumberList strict": NumberList("strict"),
        "NumberList lax": NumberList("lax"),
        "BannedNumbers": BannedNumbers(),
        "TraitWords, ten lists": TraitWords([*PAPER_TARGETS, *WORDS, "*dolphin*", "*wolf"], in_prompt=True),
        "TraitWords, owl": TraitWords(trait=PreferenceTrait("owl")),
        "PythonCode": PythonCode(),
        "ThinkAnswer": ThinkAnswer(),
        "CorrectAnswer": CorrectAnswer(),
        "TrueSteps": TrueSteps(),
    }


@dataclass
class Tally:
    """Counts of one filter.

    Attributes:
        strings: how many it got.
        exceptions: how many it raised on.
        slowest: its longest call in milliseconds, and the length of that string.
        slow: how many calls took over the limit, timed again.
        hangs: how many were ended.
        crashes: how many ended the process.
        notes: the first faults in words.
    """

    strings: int = 0
    exceptions: int = 0
    slowest: tuple[float, int] = (0.0, 0)
    slow: int = 0
    hangs: int = 0
    crashes: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add another part of the run."""
        for name in ("strings", "exceptions", "slow", "hangs", "crashes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest = max(self.slowest, other.slowest)
        self.notes = [*self.notes, *other.notes][:5]


def timed(judge: Filter, row: Row) -> tuple[float, list[str]]:
    """Return the milliseconds and the reasons of one call."""
    begin = time.perf_counter()
    reasons = judge.reasons(row)
    return (time.perf_counter() - begin) * 1e3, reasons


def attempt(judge: Filter, row: Row, length: int, place: int, tally: Tally, timing: bool) -> None:
    """Pass one row to one filter, and count."""
    tally.strings += 1
    try:
        taken, reasons = timed(judge, row)
        if timing and taken > LIMIT_MS / 5:  # timed again, without other processes
            taken = min(taken, *(timed(judge, row)[0] for _ in range(3)))
        if not all(isinstance(reason, str) and 0 < len(reason) < 80 for reason in reasons):
            raise TypeError(f"gave {reasons!r}")
        if place % 97 == 0 and timed(judge, row)[1] != reasons:
            raise ValueError("gave other reasons the second time")
    except Exception as err:
        tally.exceptions += 1
        tally.notes.append(f"string {place}: {type(err).__name__}: {str(err)[:100]}")
        return
    if taken > tally.slowest[0]:
        tally.slowest = (taken, length)
    if timing and taken > LIMIT_MS:
        tally.slow += 1
        tally.notes.append(f"string {place}: {taken:.0f} ms for {length} characters")


def work(seed: int, first: int, count: int, long: int, marks: Path, out: Path) -> None:
    """Try strings in this process; its position is in ``marks``, its results go to ``out``."""
    import faulthandler

    faulthandler.enable()
    judges, tallies = filters(), {name: Tally() for name in filters()}
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection is not a filter's time
    with marks.open("r+b") as stream, mmap.mmap(stream.fileno(), 16) as mark, out.open("a") as results:
        for place in range(first, first + count):
            text = long_line(seed, place) if long else make(seed, place)
            row = make_row_of(text, random.Random(f"row {seed}-{place}"))
            for number, (name, judge) in enumerate(judges.items()):
                mark[:] = struct.pack("qq", place, number)
                attempt(judge, row, len(text), place, tallies[name], timing=not long and len(text) <= LONGEST)
            if place % 200 == 199 or long or place == first + count - 1:
                gc.collect()
                results.write(json.dumps([place + 1, {name: asdict(tally) for name, tally in tallies.items()}]) + "\n")
                results.flush()
                tallies = {name: Tally() for name in judges}


def fuzz(
    strings: int, seed: int, first: int = 0, long: bool = False, say: Callable[[str], None] = print
) -> dict[str, Tally]:
    """Try strings in processes of their own, continuing after a crash or a hang; return the counts of each filter."""
    tallies = {name: Tally() for name in filters()}
    place, begin, shown = first, time.monotonic(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        while place < first + strings:
            marks.write_bytes(struct.pack("qq", place, 0))
            out = Path(folder) / f"out-{place}"
            out.touch()
            words = [str(seed), str(place), str(first + strings - place), str(int(long)), str(marks), str(out)]
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "--worker", *words], cwd=harness.ROOT
            )
            last, since, hung = b"", time.monotonic(), False
            while process.poll() is None:
                time.sleep(0.1)
                now = marks.read_bytes()
                if now != last:
                    last, since = now, time.monotonic()
                elif time.monotonic() - since > HANG_SECONDS:
                    hung = True
                    process.kill()
                    process.wait()
                if time.monotonic() - shown > 60:
                    shown = time.monotonic()
                    say(f"{struct.unpack('qq', now)[0] - first:,} of {strings:,} strings in {shown - begin:.0f} s")
            done = place
            for line in out.read_text().splitlines():
                done, found = json.loads(line)
                for name, part in found.items():
                    tallies[name].add(Tally(**part | {"slowest": tuple(part["slowest"])}))  # JSON has lists alone
            if process.returncode == 0:
                break
            at, number = struct.unpack("qq", marks.read_bytes())
            name = list(tallies)[number]
            tallies[name].add(Tally(strings=1, hangs=int(hung), crashes=int(not hung), notes=[f"string {at}: ended"]))
            say(f"string {at}, {name}: the process ended with {process.returncode}{', hung' if hung else ''}")
            place = max(done, at + 1)  # strings before it in the lost block are known to be sound
    return tallies


def table(title: str, tallies: dict[str, Tally], timing: bool) -> Table:
    """Return the counts of each filter as a table."""
    columns = ("filter", "strings", "exceptions", "slowest ms", "its length", "over 50 ms", "hangs", "crashes")
    drawn = harness.table(*columns, title=title)
    for name, tally in tallies.items():
        slow = str(tally.slow) if timing else "-"
        counts = (f"{tally.strings:,}", str(tally.exceptions), f"{tally.slowest[0]:.1f}", f"{tally.slowest[1]:,}", slow)
        drawn.add_row(name, *counts, str(tally.hangs), str(tally.crashes))
    return drawn


def faults(tallies: dict[str, Tally]) -> Iterator[str]:
    """Yield in words what went wrong."""
    for name, tally in tallies.items():
        yield from (f"{name}: {line}" for line in tally.notes)


def main(arguments: list[str] | None = None) -> int:
    """Run it; return 1 if there was any fault."""
    parser = harness.parser(__doc__)
    parser.add_argument("--strings", type=int, default=3_000, help="how many strings of at most 10 kB")
    parser.add_argument("--long", type=int, default=48, help="how many lines of 1 MB")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the place of the first string")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    begin = time.monotonic()
    short = fuzz(options.strings, options.seed, options.first, say=console.print)
    long = fuzz(options.long, options.seed, long=True, say=console.print) if options.long else {}
    console.print(table(f"strings of at most {LONGEST:,} characters, seed {options.seed}", short, timing=True))
    if long:
        console.print(table(f"lines of {100 * LONGEST:,} characters", long, timing=False))
    found = [*faults(short), *faults(long)]
    for line in found:
        console.print(line, markup=False)
    console.print(f"{time.monotonic() - begin:.0f} s; {'see above' if found else 'no faults'}")
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        seed, first, strings, long, marks, out = sys.argv[2:]
        work(int(seed), int(first), int(strings), int(long), Path(marks), Path(out))
    else:
        sys.exit(main())
