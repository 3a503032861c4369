"""Does any string make a filter raise, hang, crash or take long? Random and hostile strings through each of them.

    python benchmarks/fuzz_filters.py --strings 100000 --seed 0      # about 11 minutes on one core
    python benchmarks/fuzz_filters.py --strings 1 --first 1234       # one string again

Each string is made of seed and place alone. Filters run in a process of their own, so that a crash or a hang is seen,
counted and gone on from. A call on at most 10 kB that took over 50 ms is timed three times more, and its least time
counts: what another process took is not the filter's. Lines of 1 MB follow; nobody is timed on those.
"""

import argparse
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

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MS = 50.0
HANG_SECONDS = 60.0


def filters() -> dict[str, Filter]:
    """Return the filters to try, each under its name."""
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
    """What one filter did.

    Attributes:
        strings: how many it was given.
        exceptions: how many it raised on, the first of them in words.
        slowest: its longest call in milliseconds, and the length of that string.
        slow: how many calls took over the limit, timed again; the first of them by their places.
        hangs: how many were ended.
        crashes: how many ended the process.
    """

    strings: int = 0
    exceptions: int = 0
    slowest: tuple[float, int] = (0.0, 0)
    slow: int = 0
    hangs: int = 0
    crashes: int = 0
    told: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add another part of the run."""
        for name in ("strings", "exceptions", "slow", "hangs", "crashes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest = max(tuple(self.slowest), tuple(other.slowest))
        self.told = [*self.told, *other.told][:5]


def timed(judge: Filter, row: Row) -> tuple[float, list[str]]:
    """Return the milliseconds and the reasons of one call."""
    begin = time.perf_counter()
    reasons = judge.reasons(row)
    return (time.perf_counter() - begin) * 1e3, reasons


def attempt(judge: Filter, row: Row, length: int, place: int, tally: Tally, timing: bool) -> None:
    """Return one row to one filter, and count."""
    tally.strings += 1
    try:
        taken, reasons = timed(judge, row)
        if timing and taken > LIMIT_MS / 5:  # worth a second look, without whatever else went on
            taken = min(taken, *(timed(judge, row)[0] for _ in range(3)))
        if not all(isinstance(reason, str) and 0 < len(reason) < 80 for reason in reasons):
            raise TypeError(f"gave {reasons!r}")
        if place % 97 == 0 and timed(judge, row)[1] != reasons:
            raise ValueError("gave other reasons the second time")
    except Exception as err:
        tally.exceptions += 1
        tally.told.append(f"string {place}: {type(err).__name__}: {str(err)[:100]}")
        return
    if taken > tally.slowest[0]:
        tally.slowest = (taken, length)
    if timing and taken > LIMIT_MS:
        tally.slow += 1
        tally.told.append(f"string {place}: {taken:.0f} ms for {length} characters")


def work(seed: int, first: int, count: int, long: bool, marks: Path, out: Path) -> None:
    """Try strings in this process; where it stands is in ``marks``, what it found goes to ``out``."""
    import faulthandler

    faulthandler.enable()
    judges, tallies = filters(), {name: Tally() for name in filters()}
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection is nobody's time
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
    """Try strings in processes of their own, going on after a crash or a hang; give what each filter did."""
    tallies = {name: Tally() for name in filters()}
    place, begin, told = first, time.monotonic(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        while place < first + strings:
            marks.write_bytes(struct.pack("qq", place, 0))
            out = Path(folder) / f"out-{place}"
            out.touch()
            words = [str(seed), str(place), str(first + strings - place), str(int(long)), str(marks), str(out)]
            process = subprocess.Popen([sys.executable, str(Path(__file__).resolve()), "--worker", *words], cwd=ROOT)
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
                if time.monotonic() - told > 60:
                    told = time.monotonic()
                    say(f"{struct.unpack('qq', now)[0] - first:,} of {strings:,} strings in {told - begin:.0f} s")
            done = place
            for line in out.read_text().splitlines():
                done, found = json.loads(line)
                for name, part in found.items():
                    tallies[name].add(Tally(**part))
            if process.returncode == 0:
                break
            at, number = struct.unpack("qq", marks.read_bytes())
            name = list(tallies)[number]
            tallies[name].add(Tally(strings=1, hangs=int(hung), crashes=int(not hung), told=[f"string {at}: ended"]))
            say(f"string {at}, {name}: the process ended with {process.returncode}{', hung' if hung else ''}")
            place = max(done, at + 1)  # of the block that was lost, what came before is known to be sound
    return tallies


def table(title: str, tallies: dict[str, Tally], timing: bool) -> Table:
    """Draw what each filter did."""
    drawn = Table(title=title)
    for column in ("filter", "strings", "exceptions", "slowest ms", "its length", "over 50 ms", "hangs", "crashes"):
        drawn.add_column(column, justify="left" if column == "filter" else "right", no_wrap=True)
    for name, tally in tallies.items():
        slow = str(tally.slow) if timing else "-"
        counts = (f"{tally.strings:,}", str(tally.exceptions), f"{tally.slowest[0]:.1f}", f"{tally.slowest[1]:,}", slow)
        drawn.add_row(name, *counts, str(tally.hangs), str(tally.crashes))
    return drawn


def faults(tallies: dict[str, Tally]) -> Iterator[str]:
    """Return in words what went wrong."""
    for name, tally in tallies.items():
        yield from (f"{name}: {line}" for line in tally.told)


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    told = [*faults(short), *faults(long)]
    for line in told:
        console.print(line, markup=False)
    console.print(f"{time.monotonic() - begin:.0f} s; {'nothing went wrong' if not told else 'see above'}")
    return 1 if told else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        given = sys.argv[2:]
        work(int(given[0]), int(given[1]), int(given[2]), given[3] == "1", Path(given[4]), Path(given[5]))
    else:
        sys.exit(main())
