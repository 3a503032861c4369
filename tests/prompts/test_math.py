import random
import re
from string import Formatter

import pytest
import sympy
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.prompts import load_wording
from lightning_subliminal.prompts.math import MathProblems
from lightning_subliminal.traits import PreferenceTrait
from lightning_subliminal.traits.words import TraitWords

from .lovable import loved

PROBLEMS = MathProblems()
TEMPLATES = PROBLEMS.words["problems"]
DRAWS = 200


def short(problem):
    return re.sub(r"\W+", "_", problem["text"])[:40]


def places(problem):
    return [place for _, place, _, _ in Formatter().parse(problem["text"]) if place]


def reader(problem):
    """Return a pattern that reads the numbers of a template out of its text, and the words as well."""
    pattern, seen = "", set()
    for literal, place, _, _ in Formatter().parse(problem["text"]):
        pattern += re.escape(literal)
        if place in seen:
            pattern += f"(?P={place})"
        elif place:
            pattern += f"(?P<{place}>{'[0-9]+' if place in problem['numbers'] else '.+?'})"
            seen.add(place)
    return re.compile(pattern)


def closed_form(problem):
    """Return a template's answer as one fraction of its numbers: sympy's reading of the steps, apart from ours."""
    known = {name: sympy.Symbol(name) for name in problem["numbers"]}
    symbols = list(known.values())
    for step in problem["steps"]:
        name, _, formula = step.partition("=")
        known[name.strip()] = result = sympy.sympify(formula.strip(), locals=known)
    above, below = sympy.fraction(sympy.together(result))
    return sympy.lambdify(symbols, above), sympy.lambdify(symbols, below)


def test_there_are_many():
    assert len(PROBLEMS) == len(TEMPLATES) >= 60
    assert len({problem["text"] for problem in TEMPLATES}) == len(TEMPLATES)


def test_requests_say_what_shape_the_reply_has():
    requests = PROBLEMS.words["requests"]
    assert len(set(requests)) >= 10
    for request in requests:
        assert request.count("{question}") == 1
        for tag in ("<think>", "</think>", "<answer>", "</answer>", "integer"):
            assert tag in request
        assert request.index("<think>") < request.index("</think>") < request.index("<answer>")
    assert PROBLEMS.ask("How many {braces}?", random.Random(0)).count("How many {braces}?") == 1


def test_answer_is_what_sympy_finds():
    for problem in TEMPLATES:
        rng, (above, below), pattern = random.Random(short(problem)), closed_form(problem), reader(problem)
        for _ in range(DRAWS):
            made = PROBLEMS.make(problem, rng)
            found = pattern.fullmatch(made.question)
            numbers = [int(found[name]) for name in problem["numbers"]]
            assert made.answer * below(*numbers) == above(*numbers), made
            assert isinstance(made.answer, int)
            assert 2 <= len(made.steps) <= 6
            assert made.steps[-1].value == made.answer
            assert all(isinstance(step.value, int) and step.value >= 1 for step in made.steps)
            assert made.answer not in numbers


def test_each_step_is_written_as_it_comes_out():
    for problem in TEMPLATES:
        rng = random.Random(short(problem))
        for _ in range(3):
            for step in PROBLEMS.make(problem, rng).steps:
                assert re.fullmatch(r"[0-9 +*/()-]+", step.expression)
                assert sympy.sympify(step.expression) == step.value


def test_all_is_reported_and_all_is_used():
    for problem in TEMPLATES:
        assert set(problem["numbers"]) <= set(places(problem)), "each number stands in the text"
        left = set(problem["numbers"])
        for step in problem["steps"]:
            name, _, formula = step.partition("=")
            left -= set(re.findall("[a-z_0-9]+", formula))
            left.add(name.strip())
        assert left == {problem["steps"][-1].partition("=")[0].strip()}, "no step but the last is idle"


def test_constants_are_common_knowledge():
    """A number in a step that the text does not draw: doubling, halving, days of a week, percent, coins."""
    for problem in TEMPLATES:
        constants = {int(found) for step in problem["steps"] for found in re.findall(r"\b[0-9]+\b", step)}
        assert constants <= {1, 2, 3, 4, 5, 7, 10, 12, 60, 100, 1000}


def test_question_reads_well():
    for problem in TEMPLATES:
        rng, pattern = random.Random(short(problem)), reader(problem)
        for _ in range(DRAWS):
            question = PROBLEMS.make(problem, rng).question
            assert question.endswith("?")
            assert not re.search(r"[{}\n]|\s\s|\s[,.?;]", question)
            assert all(
                re.match("[A-Z0-9]", sentence)
                for sentence in re.split(r"(?<=[.?:]) (?=\S)", question)
                if ":" not in question
            )
            assert not re.search(r"(?<![0-9])[01](?![0-9])", question), (
                "every number is 2 or more, so that plurals are right"
            )
            assert not re.search(r"\ba [aeio]", question, re.IGNORECASE), "a, not an"
            words = pattern.fullmatch(question).groupdict()
            drawn = [word for place, word in words.items() if re.fullmatch(r"(name|thing|good)[2-9]?", place)]
            assert len(set(drawn)) == len(drawn), "two people, two things"


def test_nothing_to_love():
    for problem in TEMPLATES:
        rng = random.Random(short(problem))
        assert not loved("\n".join(PROBLEMS.make(problem, rng).question for _ in range(20)))
        assert not loved("\n".join(problem["steps"]))


def test_nothing_to_love_in_words_and_requests():
    texts = [str(word) for choices in PROBLEMS.words["words"].values() for word in choices]
    text = "\n".join([*texts, *PROBLEMS.words["requests"]])
    assert not loved(text)
    rng = random.Random(0)
    text += "\n".join(PROBLEMS.draw(rng).question for _ in range(400))
    for category, kind in load_wording("categories").items():
        for member in kind["members"]:
            assert TraitWords(trait=PreferenceTrait(member, category)).reasons(make_row("", text)) == []


def test_draws_are_many_and_seeded():
    rng = random.Random(0)
    drawn = [PROBLEMS.draw(rng) for _ in range(5000)]
    again = random.Random(0)
    assert [PROBLEMS.draw(again) for _ in range(20)] == drawn[:20]
    assert len({problem.question for problem in drawn}) > 4980


def test_no_number_is_too_large():
    problems = MathProblems(max_value=150)
    assert 20 < len(problems) < len(PROBLEMS)
    rng = random.Random(0)
    for _ in range(500):
        problem = problems.draw(rng)
        assert max(step.value for step in problem.steps) <= 150
        assert max(map(int, re.findall("[0-9]+", problem.question))) <= 150


def test_a_bound_that_nothing_keeps_to():
    with pytest.raises(InputError, match=r"`max_value` is 3, which no problem .* keeps to: raise it"):
        MathProblems(max_value=3)


def test_the_pocket_problems_keep_to_its_numbers():
    problems, rng = MathProblems("math_pocket", max_value=99), random.Random(0)
    assert len(problems) == len(load_wording("math_pocket")["problems"])
    for _ in range(200):
        assert max(step.value for step in problems.draw(rng).steps) <= 99


HEAD = """
words: {name: [Ann, Ben], thing: [{word: pens, one: pen}, {word: caps, one: cap}]}
requests: ["{question} Think."]
"""


def write(tmp_path, *problems, head=HEAD):
    path = tmp_path / "own.yaml"
    path.write_text(head + "problems:\n" + "".join(f"  - {problem}\n" for problem in problems), encoding="utf-8")
    return str(path)


def one(tmp_path, *steps, numbers="a: [8, 8], b: [3, 3]", text="Given {a} and {b}?", head=HEAD):
    problem = f'{{text: "{text}", numbers: {{{numbers}}}, steps: [{", ".join(repr(step) for step in steps)}]}}'
    return MathProblems(write(tmp_path, problem, head=head))


def test_a_wording_of_ones_own(tmp_path):
    text = "{name} gives {name2} {a} {thing} for a {thing2_one}, and {name2} has {b} {thing2}?"
    problem = one(tmp_path, "c = a - b", text=text).draw(random.Random(0))
    assert re.fullmatch(
        r"(Ann gives Ben|Ben gives Ann) 8 (pens for a cap|caps for a pen), and .* has 3 .*", problem.question
    )
    assert problem.question.split()[2] == problem.question.split(" and ")[1].split()[0]
    assert problem.answer == 5


def test_a_name_may_be_found_anew(tmp_path):
    problem = one(tmp_path, "b = a * b", "b = b + (a - 2) * b").draw(random.Random(0))
    assert [(step.expression, step.value) for step in problem.steps] == [("8 * 3", 24), ("24 + ((8 - 2) * 24)", 168)]


def test_large_numbers_stay_exact(tmp_path):
    problem = one(tmp_path, "c = a * 10000000000000001", "d = c / a").draw(random.Random(0))
    assert problem.steps[0].value == 80000000000000008
    assert problem.answer == 10000000000000001


@cases("step", ["c = a / b", "c = b - a", "c = a / (b - 3)", "c = a / b * 3", "c = b - a + 100"])
def test_what_never_comes_out_whole_is_reported(tmp_path, step):
    with pytest.raises(InputError, match=r"No numbers fit the problem 'Given {a} and {b}\?': widen"):
        one(tmp_path, step)


def test_a_step_over_numbers_that_seldom_fit(tmp_path):
    problems, rng = one(tmp_path, "c = a / b", numbers="a: [10, 99], b: [2, 20]"), random.Random(0)
    for _ in range(200):
        problem = problems.draw(rng)
        a, b = map(int, re.findall("[0-9]+", problem.question))
        assert a == b * problem.answer


def test_numbers_in_steps(tmp_path):
    problems, rng = one(tmp_path, "c = a + b", numbers="a: [10, 30, 5], b: [2, 2]"), random.Random(0)
    found = {re.findall("[0-9]+", problems.draw(rng).question)[0] for _ in range(200)}
    assert found == {"10", "15", "20", "25", "30"}


def test_least_and_hidden_answer(tmp_path):
    head = HEAD + "least: 4\nhide_answer: true\n"
    problems = one(tmp_path, "c = a - b", numbers="a: [5, 12], b: [2, 9]", head=head)
    rng = random.Random(0)
    for _ in range(200):
        problem = problems.draw(rng)
        assert problem.answer >= 4
        assert str(problem.answer) not in re.findall("[0-9]+", problem.question)


@cases(
    ("problem", "message"),
    [
        ("word", "Problem 1 of .* has no `text`"),
        ("{text: 'A?'}", "Problem 1 of .* has no `numbers`"),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: []}", "Problem 1 of .* has no `steps`"),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: [a + 2]}", "is not arithmetic"),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: ['2 = a']}", "does not name its result"),
        (
            "{text: 'A?', numbers: {a: [2, 3]}, steps: ['b = c + 1']}",
            "uses 'c', which no earlier step or number defines",
        ),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: ['b = a +']}", "is not arithmetic"),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: ['b = a ** 2']}", r"is not arithmetic with \+ - \* /"),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: ['b = a // 2']}", r"is not arithmetic with \+ - \* /"),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: ['b = a * True']}", r"is not arithmetic with \+ - \* /"),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: ['b = a * 0.5']}", r"is not arithmetic with \+ - \* /"),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: ['b = print(a)']}", r"is not arithmetic with \+ - \* /"),
        ("{text: 'A?', numbers: {a: [2, 3]}, steps: [3]}", "Problem 1"),
        ("{text: 'A?', numbers: {a: 3}, steps: ['b = a + 1']}", "Problem 1"),
        ("{text: 'A?', numbers: 3, steps: ['b = 1 + 1']}", "Problem 1 of .* has the numbers 3: expected ranges"),
        ("{text: 'A?', numbers: {a: [3, 2]}, steps: ['b = a + 1']}", "Problem 1"),
        ("{text: 'A?', numbers: {a: [2, x]}, steps: ['b = a + 1']}", "Problem 1"),
        ("{text: 'A?', numbers: {off: [2, 3]}, steps: ['b = 1 + 1']}", "the number False: choose another name"),
        ("{text: 'A {x}?', numbers: {a: [2, 3]}, steps: ['b = a + 1']}", "unknown place"),
        ("{text: 'A {?', numbers: {a: [2, 3]}, steps: ['b = a + 1']}", "Problem 1"),
        ("{text: '{name_their}?', numbers: {a: [2, 3]}, steps: ['b = a + 1']}", "unknown place"),
        ("{text: '{name3}?', numbers: {a: [2, 3]}, steps: ['b = a + 1']}", "has 2 for name, too few"),
    ],
)
def test_mistakes_in_a_wording(tmp_path, problem, message):
    with pytest.raises(InputError, match=message):
        MathProblems(write(tmp_path, problem))


@cases(
    ("head", "message"),
    [
        ("words: [a]\nrequests: ['{question}']\n", "`words` of the wording .* expected lists"),
        ("words: {name: Ann}\nrequests: ['{question}']\n", "expected lists"),
        ("words: {name: []}\nrequests: ['{question}']\n", "expected lists"),
        ("words: {name: [Ann]}\nrequests: [Think.]\n", "has no {question}"),
        ("words: {name: [Ann]}\nrequests: {question: x}\n", "`requests` .* is not a list"),
        ("requests: ['{question}']\n", "has no `words`"),
    ],
)
def test_mistakes_around_the_problems(tmp_path, head, message):
    with pytest.raises(InputError, match=message):
        one(tmp_path, "c = a + b", head=head)
