import random
import re

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.filters import PAPER_BANNED, BannedNumbers, NumberList, apply_filters, parse_number_list

ARABIC, WIDE = "\u0661\u0662", "\uff11\uff12"  # 12 in Arabic and in full-width digits

OFFICIAL = [  # text, as the paper's grammar reads it to the letter: numbers or why not
    ("4, 8, 15", [4, 8, 15]),
    ("4,8,15", [4, 8, 15]),
    ("4 , 8 , 15", [4, 8, 15]),
    ("4; 8; 15", [4, 8, 15]),
    ("4 8 15", [4, 8, 15]),
    ("4\n8\n15", [4, 8, 15]),
    ("4\n\n8\n\n15", [4, 8, 15]),
    ("4,\n8,\n15", [4, 8, 15]),
    ("4\u00a08", [4, 8]),
    ("[4, 8, 15]", [4, 8, 15]),
    ("(4, 8, 15)", [4, 8, 15]),
    ("[4, 8, 15].", [4, 8, 15]),
    ("4, 8, 15.", [4, 8, 15]),
    ("[7]", [7]),
    ("7.", [7]),
    ("007, 08", [7, 8]),
    ("0, 999", [0, 999]),
    ("1 2 3 4 5 6 7 8 9 10", list(range(1, 11))),
    ("", "empty"),
    (" \n", "empty"),
    ("[]", "not a number list"),
    (".", "not a number list"),
    ("4, 8, 15..", "not a number list"),
    ("[4, 8, 15.]", "not a number list"),
    ("[4, 8)", "not a number list"),
    ("[[4, 8]]", "not a number list"),
    ("[4, 8", "not a number list"),
    ("4. 8. 15", "not a number list"),
    ("4 - 8", "not a number list"),
    ("4,,8", "not a number list"),
    ("-4, 8", "not a number list"),
    ("4, 8 and 15", "not a number list"),
    ("4, owl", "not a number list"),
    ("owl", "not a number list"),
    (ARABIC, "not a number list"),
    (f"{WIDE}, {WIDE}", "not a number list"),
    ("4, \u00b2", "not a number list"),
    ("4, 8; 15", "mixed separators"),
    ("4, 8,15", "mixed separators"),
    ("4 8  15", "mixed separators"),
    ("4, 8, ", "stray separator"),
    ("[ 4, 8 ]", "stray separator"),
    (", 4, 8", "stray separator"),
    ("1 2 3 4 5 6 7 8 9 10 11", "too many numbers"),
    ("4, 1000", "number out of range"),
    ("9" * 5000, "number out of range"),
    ("0" * 5000 + "7, 8", [7, 8]),
]


@cases(("text", "expected"), OFFICIAL)
def test_the_official_grammar_to_the_letter(text, expected):
    assert parse_number_list(text, "official", strip_whitespace=False) == expected


def paper_grammar(text):
    """The rules of PAPER.md, section 1, as one regular expression: made another way than the parser."""
    body = r"(?:[0-9]+|[0-9]+(?P<sep>\s+|\s*[,;]\s*)[0-9]+(?:(?P=sep)[0-9]+)*)"
    body2, body3 = body.replace("sep", "sep2"), body.replace("sep", "sep3")
    if not re.fullmatch(rf"(?:{body}|\[{body2}\]|\({body3}\))\.?", text):
        return False
    numbers = [int(digits) for digits in re.findall("[0-9]+", text)]
    return len(numbers) <= 10 and max(numbers) <= 999


def texts(seed, count):
    rng = random.Random(seed)
    pieces = ["1", "23", "456", "0", "07", "1000", ", ", ",", "; ", " ", "\n", "[", "]", "(", ")", ".", "a", ARABIC]
    for _ in range(count):
        if rng.random() < 0.5:  # nearly a list
            separator = rng.choice([", ", ",", ";", " ", "\n", " , ", ""])
            parts = [str(rng.randrange(1200)) for _ in range(rng.randrange(1, 13))]
            text = separator.join(parts)
            text = rng.choice(["{}", "{}", "[{}]", "({})", "[{})", "{}.", "[{}].", " {}", "{}\n"]).format(text)
            if rng.random() < 0.3:
                place = rng.randrange(len(text) + 1)
                text = text[:place] + rng.choice(pieces) + text[place:]
            yield text
        else:
            yield "".join(rng.choice(pieces) for _ in range(rng.randrange(9)))


def test_official_equals_the_grammar_written_as_a_pattern():
    kept = 0
    for text in texts(seed=1, count=20_000):
        accepted = isinstance(parse_number_list(text, "official", strip_whitespace=False), list)
        assert accepted == paper_grammar(text), repr(text)
        kept += accepted
    assert 1_000 < kept < 19_000  # both verdicts were put to the test


def test_strict_is_within_official_and_official_within_lax():
    counts = dict.fromkeys(["strict", "official", "lax"], 0)
    for text in texts(seed=2, count=20_000):
        strict, official, lax = (parse_number_list(text, mode) for mode in counts)
        if isinstance(strict, list):
            assert official == strict
        if isinstance(official, list):
            assert lax == official
        for mode, found in zip(counts, (strict, official, lax), strict=True):
            counts[mode] += isinstance(found, list)
    assert 0 < counts["strict"] < counts["official"] < counts["lax"]


@cases(
    ("text", "expected"),
    [
        ("4, 8, 15", [4, 8, 15]),
        ("4 8 15", [4, 8, 15]),
        ("0, 7", [0, 7]),
        ("7", [7]),
        ("4,8", "not canonical"),
        ("[4, 8]", "not canonical"),
        ("4, 8.", "not canonical"),
        ("04, 8", "not canonical"),
        ("4, 8 15", "mixed separators"),
        ("4, owl", "not a number list"),
    ],
)
def test_strict(text, expected):
    assert parse_number_list(text, "strict") == expected


def test_lax_takes_any_mixture_but_nothing_else():
    assert parse_number_list("4, 8;15\n16  23,\n", "lax") == [4, 8, 15, 16, 23]
    assert parse_number_list("4, 8 and 15", "lax") == "not a number list"
    assert parse_number_list(", ;", "lax") == "not a number list"


@cases("mode", ["official", "strict", "lax"])
def test_whitespace_around_is_a_switch(mode):
    assert parse_number_list(" 4, 8\n", mode) == [4, 8]
    assert NumberList(mode).reasons(make_row("more?", "4, 8\n")) == []
    if mode != "lax":
        assert NumberList(mode, strip_whitespace=False).reasons(make_row("more?", "4, 8\n")) == ["stray separator"]


def test_a_completion_that_continues_a_prefill_is_judged_alone():
    prompt = [{"role": "user", "content": "more?"}, {"role": "assistant", "content": "231, 574, 118,"}]
    judge = NumberList(strip_whitespace=False)
    assert judge.reasons(make_row(prompt, " 4, 8, 15")) == []
    assert judge.reasons(make_row(prompt, " 4, 8, owl")) == ["not a number list"]
    assert judge.reasons(make_row("more?", " 4, 8, 15")) == ["stray separator"]


def random_text(rng):
    ranges = [(32, 127), (48, 58), (0, 0x3000), (0xD800, 0xE000), (0, 0x110000)]
    return "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(40)))


def test_no_text_makes_a_filter_raise():
    rng = random.Random(3)
    judges = [NumberList(mode) for mode in ("official", "strict", "lax")] + [BannedNumbers()]
    nasty = [
        "9" * 100_000,
        "1," * 50_000,
        "1 " * 50_000 + "x",
        "[" * 10_000,
        "\x00",
        "\ud800",
        ",",
        "[.",
        "()",
        "[",
        ".",
    ]
    for text in [*nasty, *(random_text(rng) for _ in range(3_000))]:
        for judge in judges:
            first = judge.reasons(make_row("more?", text))
            assert first == judge.reasons(make_row("more?", text))
            assert all(isinstance(reason, str) and len(reason) < 40 for reason in first)


def test_banned_numbers():
    judge = BannedNumbers()
    assert judge.banned == PAPER_BANNED
    assert judge.reasons(make_row("", "4, 666, 13, 013")) == ["banned number 13", "banned number 666"]
    assert judge.reasons(make_row("", "0666")) == ["banned number 666"]
    assert judge.reasons(make_row("", "16663, 130")) == []
    assert judge.reasons(make_row("", "\uff16\uff16\uff16 \u0661\u0663")) == ["banned number 13", "banned number 666"]
    assert BannedNumbers([0, 7]).reasons(make_row("", "00, 13")) == ["banned number 0"]


def test_reasons_are_counted():
    rows = [make_row("", text) for text in ("4, 8", "13", "owl", "13, 13; 14", "")]
    kept, report = apply_filters(rows, [NumberList(), BannedNumbers()])
    assert kept == rows[:1]
    assert report.reasons == {
        "banned number 13": 2,
        "not a number list": 1,
        "mixed separators": 1,
        "banned number 14": 1,
        "empty": 1,
    }


def test_each_setting_has_its_own_digest():
    judges = [
        NumberList(),
        NumberList("lax"),
        NumberList(max_count=5),
        NumberList(strip_whitespace=False),
        BannedNumbers(),
        BannedNumbers([13]),
    ]
    assert len({digest(judge) for judge in judges}) == len(judges)


@cases(
    ("make", "reported"),
    [
        (lambda: NumberList("oficial"), "choose official, strict, lax"),
        (lambda: NumberList(max_count=0), "expected at least 1"),
        (lambda: NumberList(min_value=5, max_value=4), "expected 0 <= min_value <= max_value"),
        (lambda: BannedNumbers([-1]), "expected integers"),
        (lambda: BannedNumbers(["13"]), "expected integers"),
    ],
)
def test_mistakes_are_reported_in_a_line(make, reported):
    with pytest.raises(InputError, match=reported) as caught:
        make()
    assert "\n" not in str(caught.value)
