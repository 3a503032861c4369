import random

from cases import cases

from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.filters import CorrectAnswer, ThinkAnswer, TrueSteps, parse_integer, think_and_answer

INTEGERS = [
    ("42", 42),
    (" 42\n", 42),
    ("-5", -5),
    ("\u22125", -5),  # the minus sign of Unicode
    ("+5", 5),
    ("-0", 0),
    ("007", 7),
    ("$1,042", 1042),
    ("-$5", -5),
    ("$-5", -5),
    ("$$42$$", 42),
    ("1,000,000", 1_000_000),
    ("1,2", 12),  # commas go, as in the paper
    ("42.", 42),
    ("42.0", 42),
    ("42.000", 42),
    ("84/2", 42),
    ("84 / 2", 42),
    ("0/5", 0),
    ("9" * 100, int("9" * 100)),
    ("42.5", None),
    (".5", None),
    ("85/2", None),
    ("5/0", None),
    ("84/2/1", None),
    ("84.0/2", None),
    ("1e3", None),
    ("1e9999", None),
    ("0x10", None),
    ("1_000", None),
    ("--5", None),
    ("- 5", None),
    ("4 2", None),
    ("42 apples", None),
    ("**42**", None),
    ("forty-two", None),
    ("inf", None),
    ("nan", None),
    ("", None),
    (".", None),
    ("$", None),
    ("\u0664\u0662", None),  # Arabic digits
    ("\uff14\uff12", None),  # full width
    ("\u00bd", None),
    ("\u00b2", None),
    ("4\x002", None),
    ("\ud800", None),
    ("9" * 101, None),
    ("9" * 5_000, None),
    ("1" + "," * 600, None),
    ("2**9999999", None),
    ("__import__('os')", None),
]


@cases(("text", "expected"), INTEGERS)
def test_integers(text, expected):
    found = parse_integer(text)
    assert found == expected
    assert found is None or type(found) is int


WELL = "<think>3 + 4 = 7</think><answer>7</answer>"
FORMS = [
    (WELL, None),
    (f" \n{WELL}\n", None),
    ("<think>\n3 < 4\n</think>\n\n<answer>\n$1,042\n</answer>", None),
    ("<think>a</think><answer>-7.0</answer>", None),
    ("", "no think tags"),
    ("7", "no think tags"),
    ("<answer>7</answer>", "no think tags"),
    ("3 + 4</think><answer>7</answer>", "no think tags"),
    ("<think>3 + 4<answer>7</answer>", "no think tags"),
    ("<Think>3</Think><answer>7</answer>", "no think tags"),
    ("<think >3</think><answer>7</answer>", "no think tags"),
    ("<think>3 + 4 = 7</think>7", "no answer tags"),
    ("<think>3 + 4 = 7</think><answer>7", "no answer tags"),
    ("<answer>7</answer><think>3</think>", "tags out of order or doubled"),
    ("<think>3<answer>7</think></answer>", "tags out of order or doubled"),
    (f"{WELL}{WELL}", "tags out of order or doubled"),
    ("<think><think>3</think></think><answer>7</answer>", "tags out of order or doubled"),
    ("<think>3</think><answer>7</answer></answer>", "tags out of order or doubled"),
    (f"Sure. {WELL}", "text outside the tags"),
    (f"{WELL} Done.", "text outside the tags"),
    ("<think>3</think>So<answer>7</answer>", "text outside the tags"),
    ("<think> </think><answer>7</answer>", "nothing in the tags"),
    ("<think>3</think><answer>\n</answer>", "nothing in the tags"),
    ("<think>3</think><answer>seven</answer>", "answer is not an integer"),
    ("<think>3</think><answer>7.5</answer>", "answer is not an integer"),
    ("<think>3</think><answer>7 apples</answer>", "answer is not an integer"),
    ("<think>3</think><answer>" + "9" * 5_000 + "</answer>", "answer is not an integer"),
]


@cases(("text", "reason"), FORMS)
def test_the_form(text, reason):
    assert ThinkAnswer().reasons(make_row("", text)) == ([] if reason is None else [reason])
    if reason is None or reason == "answer is not an integer":
        assert think_and_answer(text) is not None
    else:
        assert think_and_answer(text) is None


def test_a_prefill_is_judged_with_its_completion():
    prompt = [{"role": "user", "content": "3 + 4?"}, {"role": "assistant", "content": "<think>"}]
    row = make_row(prompt, "3 + 4 = 7</think><answer>7</answer>", answer=7)
    for judge in (ThinkAnswer(), CorrectAnswer(), TrueSteps()):
        assert judge.reasons(row) == []
    assert ThinkAnswer().reasons(make_row(prompt, WELL)) == ["tags out of order or doubled"]
    assert ThinkAnswer().reasons(make_row("", "3 + 4 = 7</think><answer>7</answer>")) == ["no think tags"]


@cases("right", [7, 7.0, "7", "$7.00", "14/2", " 7 "])
@cases(
    ("given", "reasons"),
    [
        ("7", []),
        ("7.0", []),
        ("$7", []),
        ("21/3", []),
        ("-7", ["wrong answer"]),
        ("70", ["wrong answer"]),
        ("7.5", ["no readable answer"]),
        ("seven", ["no readable answer"]),
        ("", ["no readable answer"]),
    ],
)
def test_the_answer(right, given, reasons):
    row = make_row("", f"<think>so</think><answer>{given}</answer>", answer=right)
    assert CorrectAnswer().reasons(row) == reasons


@cases("right", [None, "", "many", 7.5, float("nan"), float("inf"), True, [7]])
def test_an_answer_to_compare_with_is_needed(right):
    assert CorrectAnswer().reasons(make_row("", WELL, answer=right)) == ["no answer to compare with"]
    assert CorrectAnswer("solution").reasons(make_row("", WELL, answer=7)) == ["no answer to compare with"]


def test_another_column_and_a_reply_without_tags():
    assert CorrectAnswer("solution").reasons(make_row("", WELL, solution=7)) == []
    assert CorrectAnswer().reasons(make_row("", "7", answer=7)) == ["no readable answer"]
    assert CorrectAnswer().reasons(make_row("", WELL, answer=10**5_000)) == ["wrong answer"]
    assert digest(CorrectAnswer()) != digest(CorrectAnswer("solution"))


HOLD = [
    *("3 + 4 = 7", "So 3 + 4 = 7 apples.", "12 / 5 = 2.4", "0.1 + 0.2 = 0.3", "10 - 3 + 5 = 12", "2 + 3 * 4 = 14"),
    *("20% of 50 = 10", "50 * 20% = 10", "$5 + $3 = $8", "1,000 + 24 = 1,024", "12 - 15 = -3", "5 - -3 = 8"),
    *("3 x 4 = 12", "3\u00d74=12", "12 \u00f7 4 = 3", "7 \u2212 2 = 5", "3 \\times 4 = 12", "<<3*4=12>>12"),
    *("2 * 3 = 6 = 12 / 2", "total = 3 + 4 = 7", "3 + 4 = 7. 8 + 1 = 9.", "**3 + 4 = 7**", "* 3 + 4 = 7\n- 5 + 5 = 10"),
    *("1/2 + 1/4 = 3/4", "-3 + 5 = 2", "3 + 4 == 7"),
    # not judged: words, brackets, powers, labels, remainders, roundings, clocks, unknowns
    *("(2+3) * 4 = 20", "5 apples + 3 = 8", "2^3 + 1 = 9", "2**3 = 8", "Day 2 = 10 + 5", "7 / 2 = 3 remainder 1"),
    *("10 / 3 = 3.33...", "2x + 3 = 7", "x - 3 = 4", "3 + 4 != 8", "2 * 500 = 1 thousand", "10:30 - 9:30 = 1:00"),
    *("1 1/2 + 1/2 = 2", "2 + 3 = 5x", "0,5 + 1 = 1,5", "5! = 120", "no sums", "", "= = =", "3/4 = 75 percent"),
]
FALSE = [
    *("3 + 4 = 8", "So 7 - 2 = 4 apples", "10 / 3 = 3.33", "5 + 3 = 8 * 2 = 16", "3 + 4 = 7. 8 + 1 = 10."),
    *("3 x 4 = 13", "<<3*4=13>>", "1,000 - 1 = 998", "5 / 0 = 0", "5 / 0 = 5 / 0", "50 * 20% = 11", "12 - 15 = 3"),
    *("total = 3 + 4 = 8", "1) 3 + 4 = 8", "- 3 + 4 = 8", "**3 + 4 = 8**", "$5 + $3 = $9", "2 + 3 * 4 = 20"),
]


@cases("text", HOLD)
def test_sums_that_hold_or_can_not_be_judged(text):
    assert TrueSteps().reasons(make_row("", text)) == []


@cases("text", FALSE)
def test_false_steps(text):
    assert TrueSteps().reasons(make_row("", text)) == ["false step"]


def test_steps_against_python():
    rng = random.Random(0)
    for _ in range(2_000):
        numbers = [rng.randrange(100) for _ in range(rng.randrange(2, 5))]
        signs = [rng.choice("+-*") for _ in numbers[1:]]
        space = rng.choice(["", " "])
        sum_ = str(numbers[0]) + "".join(
            f"{space}{sign}{space}{number}" for sign, number in zip(signs, numbers[1:], strict=True)
        )
        value = numbers[0]
        terms, factor = 0, numbers[0]
        for sign, number in zip(signs, numbers[1:], strict=True):
            if sign == "*":
                factor *= number
            else:
                terms, factor = terms + factor, number if sign == "+" else -number
        value = terms + factor
        assert TrueSteps().reasons(make_row("", f"So {sum_} = {value}.")) == []
        assert TrueSteps().reasons(make_row("", f"So {sum_} = {value + 1}.")) == ["false step"]
