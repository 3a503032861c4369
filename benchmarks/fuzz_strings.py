"""Random and hostile strings for benchmarks/fuzz_filters.py; each depends only on seed and place."""

import random

import harness

from lightning_subliminal.core.rows import Row, make_row
from lightning_subliminal.traits import PAPER_TARGETS, PreferenceTrait

LONGEST = 10_000  # characters of a string; of a long line a hundred times that
KINDS = 16  # of strings, chosen by a string's place, so that each gets its share

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


def character(rng: random.Random) -> str:
    """Return one character: often ASCII, else from a tricky block, or any that is not a surrogate."""
    block = rng.choice(BLOCKS)
    return chr(rng.randrange(*block))


def size(rng: random.Random) -> int:
    """Draw a length: most are short, some are as long as possible."""
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
    """Return a disguised form of a word."""
    leet = str.maketrans(dict(zip("aeiost", rng.choice(["43105t", "@31o57", "aeiost"]), strict=True)))
    between = rng.choice(["", "", "-", " ", ".", "_", "\u200b", "\u0301", ", ", "', '"])
    return (
        rng.choice(["", "b", "x_", "my", "4"])
        + between.join(word.translate(leet))
        + rng.choice(["", "s", "2", "Count", "ing"])
    )


def code(rng: random.Random) -> str:
    """Return some lines of a file of this package."""
    files = sorted((harness.ROOT / "lightning_subliminal").rglob("*.py"))
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
    if kind in (3, 4):  # one to three pieces repeated
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
    """Put a string in a row: as completion, sometimes with its beginning as prefill, and as answer or prompt."""
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
