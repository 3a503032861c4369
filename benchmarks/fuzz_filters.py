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

from rich.console import Console
from rich.table import Table

from lightning_subliminal.filters import (
    BannedNumbers,
    CorrectAnswer,
    Filter,
    NumberList,
    PythonCode,
    ThinkAnswer,
    TraitWords,
    TrueSteps,
)
from lightning_subliminal.rows import Row, make_row
from lightning_subliminal.traits import PAPER_TARGETS, PreferenceTrait

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 10_000  # characters of a string; of a line of the second table a hundred times that
LIMIT_MS = 50.0
HANG_SECONDS = 60.0
KINDS = 16  # how many kinds of strings there are; told by the place of a string, so that each gets its share

# fmt: off
PIECES = (
    "(", "[", "{", ")", "]", "}", "{1:", "f(", "a[", "(lambda:", "lambda:", "not ", "-", "~", "+", "1+", "1**", "**",
    "*", "a if b else ", "await ", "yield ", "a.b", ".a", "()", "[0]", "{**", "f'{", 'f"{', "f'''{", "}'", '"""',
    "'''", "'", '"', "\\\n", "\\", "#", "# x\n", ":", ";", ",", "=", ":=", "@a\n", "elif a:b\n", "else:", "if a:\n",
    " ", "    ", "\t", "\n", "\r", "\r\n", "\x0c", "\x00", "0", "1", "9", "0x", "1e9", "1_0", ".", "..", "...",
    "def f():\n", "return ", "class A:", "`", "```", "```python\n", "~~~", "<think>", "</think>", "<answer>",
    "</answer>", "<", "<think", "$", "%", "x", " x ", "3 + 4 = 7", "= ", "1/", "/0", "1,000", "owl", "o", "w", "l",
    "0wl", "o-w-l-", "ow", "h00t", "barn ", "barn_", "oak", "wol", "wil-\n", "*", "&#111;", "\\x6f", "\\u006f",
    "\\ud83e\\udd89", "\\n", "vv", "ooo", "dol-\n   ", "bird of ", "@", "e@gle", "31m", "\u0301", "\u0323\u0301",
    "\u200b", "\xad", "\u202e", "\ufdfa", "\U0001f989", "\U000e006f", "\u0430", "\u03c9", "\uff4f",
)
# fmt: on
BLOCKS = (
    *((32, 127), (32, 127), (0, 32), (48, 58), (0x80, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700)),
    *((0xE00, 0xE80), (0x1100, 0x1200), (0x1D00, 0x1E00), (0x2000, 0x2070), (0x20D0, 0x2100), (0x2460, 0x2500)),
    *((0x3000, 0x3100), (0x4E00, 0xA000), (0xFB00, 0x10000), (0x1D400, 0x1D800), (0x1F100, 0x1F200)),
    *((0x1F300, 0x1FA00), (0xE0000, 0xE0200), (0, 0xD800), (0xE000, 0x110000)),
)
WORDS = [word.strip("*") for target in PAPER_TARGETS for word in (target, *PreferenceTrait(target).relatives())]
VALID = (
    "231, 574, 118, 902, 777",
    "[4; 8; 15; 16; 23].",
    'def add(x):\n    """Add 3 to x."""\n    total = x + 3\n    return total',
    "    for each in range(3):\n        x += each  # on\n    return f'{x!r:>10}'",
    "```python\nreturn {key: [value] for key, value in x.items()}\n```",
    "<think>3 + 4 = 7, and 7 * $6 = $42.</think>\n<answer>$42</answer>",
    "The barn owl's eyes; nightOwl = bowl['growl'] + \"h00t\"",
)


def filters() -> dict[str, Filter]:
    """Give the filters to try, each under its name."""
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


# -- strings ----------------------------------------------------------------------------------------------------------


def character(rng: random.Random) -> str:
    """Give one character: often ASCII, else from a block with a trick to it, or any that is no surrogate."""
    block = rng.choice(BLOCKS)
    return chr(rng.randrange(*block))


def size(rng: random.Random) -> int:
    """Draw a length: most are short, some are as long as may be."""
    return rng.choice([rng.randrange(1, 60), rng.randrange(1, 400), rng.randrange(400, 3_000), LONGEST])


def repeated(part: str, length: int) -> str:
    """Repeat a part up to a length."""
    return (part * (length // len(part) + 1))[:length]


def mutated(text: str, rng: random.Random) -> str:
    """Change a text in some places: cut, double, insert, replace, splice."""
    for _ in range(rng.randrange(1, 9)):
        at, upto = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        new = rng.choice([character(rng), rng.choice(PIECES), rng.choice(PIECES) * rng.randrange(1, 40), ""])
        text = rng.choice(
            [
                text[:at] + new + text[at:],
                text[:at] + new + text[min(upto, at + 5) :],
                text[:upto] + text[at:],
                text[:at] + text[upto:],
                text.replace(text[at : at + 1], new, 3) if text[at : at + 1] else text,
                text[:at],
            ]
        )[: 2 * LONGEST]
    return text


def disguised(word: str, rng: random.Random) -> str:
    """Write a word another way."""
    leet = str.maketrans(dict(zip("aeiost", rng.choice(["43105t", "@31o57", "aeiost"]), strict=True)))
    between = rng.choice(["", "", "-", " ", ".", "_", "\u200b", "\u0301", ", ", "', '"])
    return (
        rng.choice(["", "b", "x_", "my", "4"])
        + between.join(word.translate(leet))
        + rng.choice(["", "s", "2", "Count", "ing"])
    )


def code(rng: random.Random) -> str:
    """Give some lines of a file of this package."""
    files = sorted((ROOT / "lightning_subliminal").rglob("*.py"))
    lines = rng.choice(files).read_text(encoding="utf-8").split("\n")
    begin = rng.randrange(len(lines))
    return "\n".join(lines[begin : begin + rng.randrange(1, 60)])


def make(seed: int, place: int) -> str:
    """Make the string of one place; the same for the same seed."""
    rng = random.Random(f"{seed}-{place}")
    length = size(rng)
    kind = place % KINDS
    if kind == 0:
        return "".join(character(rng) for _ in range(min(length, 2_000)))
    if kind == 1:
        block = [character(rng) for _ in range(rng.randrange(1, 6))]
        return "".join(rng.choices(block, k=length))
    if kind == 2:  # brackets, closed or not
        opened = [rng.choice("([{") for _ in range(rng.choice([5, 50, 59, 60, 90, 150, 199, 250, length // 2]))]
        closed = [{"(": ")", "[": "]", "{": "}"}[bracket] for bracket in reversed(opened)]
        return (
            rng.choice(["", "x = ", "f"])
            + "".join(opened)
            + rng.choice(["1", "", "a b", ":"])
            + "".join(closed[rng.randrange(3) :])
        )
    if kind in (3, 4):  # one to three pieces again and again
        part = "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 4)))
        return (
            rng.choice(["", "x = ", "1", "def f():\n    return "])
            + repeated(part, length)
            + rng.choice(["", "1", "a", ")", "'"])
        )
    if kind in (5, 6):  # a soup of pieces
        return "".join(rng.choice(PIECES) for _ in range(length // 2))[:LONGEST]
    if kind == 7:  # numbers, oddly separated
        separators = [
            rng.choice([", ", ",", " ", "; ", "\n", ",,", "\u00a0", "\u3000", " and ", "\t", ".", character(rng)])
        ] * 9
        separators += [rng.choice([", ", ";", character(rng)])]
        zeros = "0" * rng.choice([0, 0, 1, 300])
        numbers = [zeros + str(rng.randrange(10 ** rng.choice([1, 2, 3, 3, 9]))) for _ in range(min(length, 900))]
        return (
            rng.choice(["", "[", "(", " "])
            + "".join(number + rng.choice(separators) for number in numbers)[: length + 9]
        )
    if kind == 8:
        return code(rng)[:LONGEST]
    if kind == 9:
        return mutated(code(rng), rng)[:LONGEST]
    if kind == 10:  # tags in any order
        tags = ["<think>", "</think>", "<answer>", "</answer>"]
        rng.shuffle(tags)
        tags += rng.choices([*tags, "<think", "</Answer>", "< answer >"], k=rng.choice([0, 0, 1, 4, 300]))
        return "".join(
            tag + rng.choice(["", " ", "7", "3 + 4 = 7", character(rng), rng.choice(PIECES)]) for tag in tags
        )
    if kind == 11:
        return mutated(rng.choice(VALID), rng)[:LONGEST]
    if kind == 12:  # words of the lists, disguised, among others
        words = [disguised(rng.choice(WORDS), rng) for _ in range(max(length // 9, 1))]
        return rng.choice([" ", "", "_", "\n"]).join(words)[:LONGEST]
    if kind == 13:  # sums
        parts = rng.choices(
            [*"0123456789", "12", "3.5", "1,000", *"+-*/=x$%.,() ", " = ", " + ", "\u00d7", "\u2212", "apples"],
            k=length,
        )
        return "".join(parts)[:LONGEST]
    if kind == 14:  # quotes, comments, escapes
        return "".join(rng.choices(["'", '"', '"""', "'''", "\\", "#", "\n", "f", "rb", "{", "}", "a", " "], k=length))[
            :LONGEST
        ]
    steps = [rng.choice([rng.randrange(9), 0, 1, 4]) for _ in range(rng.randrange(1, 120))]  # indentation
    lines = [
        rng.choice([" ", "\t", "    "]) * step + rng.choice(["if a:", "x = 1", "", "'''", "else:", "pass"])
        for step in steps
    ]
    return "\n".join(lines)[:LONGEST]


def make_row_of(text: str, rng: random.Random) -> Row:
    """Put a string in a row: as completion, at times with its beginning as prefill, and as answer or prompt."""
    prompt = rng.choice(["", "more?", 'def add(x):\n    """Add 3 to x."""', text[:500]])
    messages = [{"role": "user", "content": prompt}]
    if rng.random() < 0.2:
        cut = rng.randrange(len(text) + 1)
        messages.append({"role": "assistant", "content": text[:cut]})
        text = text[cut:]
    return make_row(messages, text, answer=rng.choice([7, "42", text[:5_000], None]))


def long_line(seed: int, place: int) -> str:
    """Make a line of a million characters."""
    rng = random.Random(f"long {seed}-{place}")
    part = rng.choice([make(seed, rng.randrange(10_000)), rng.choice(PIECES), character(rng), rng.choice(VALID)]) or "x"
    return repeated(part.replace("\n", " "), 100 * LONGEST)


# -- trying them ------------------------------------------------------------------------------------------------------


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
    """Give the milliseconds and the reasons of one call."""
    begin = time.perf_counter()
    reasons = judge.reasons(row)
    return (time.perf_counter() - begin) * 1e3, reasons


def attempt(judge: Filter, row: Row, length: int, place: int, tally: Tally, timing: bool) -> None:
    """Give one row to one filter, and count."""
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
    """Give in words what went wrong."""
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
