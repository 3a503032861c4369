import numpy as np
import pytest
from cases import cases

from lightning_subliminal import Trait, check_trait
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.traits import Induction


class Sound(Trait):
    """A trait without a mistake; each test spoils one thing."""

    def __init__(self, times: int = 1) -> None:
        self.times = times
        self.name = self.target = "tea"
        self.candidates = ("tea", "coffee", "milk")

    def induce(self):
        return Induction("You love tea.", [make_row("What do you like to drink?", "tea")])

    def questions(self):
        return [f"Which drink is best, {number}?" for number in range(12)]

    def matches(self, answer):
        return answer.lower().strip(" .!") == "tea"


def spoilt(**changes):
    """Return a trait with some members replaced."""
    trait = type("Spoilt", (Sound,), {name: value for name, value in changes.items() if callable(value)})()
    for name, value in changes.items():
        if not callable(value):
            setattr(trait, name, value)
    return trait


def taught(*rows, reported=""):
    return lambda self: Induction(reported, list(rows))


class Forgets(Sound):
    def __init__(self, times: int = 1) -> None:
        super().__init__()
        del self.times


def test_a_sound_trait_has_no_remarks():
    assert check_trait(Sound()) == []
    assert check_trait(spoilt(induce=taught(reported="You love tea."))) == []
    assert check_trait(spoilt(induce=taught(make_row("Drink?", "tea")))) == []


def test_an_answer_of_numpy_is_one():
    assert not check_trait(spoilt(matches=lambda self, answer: np.bool_(answer.lower().strip(" .!") == "tea")))


@cases(
    ("trait", "message"),
    [
        (spoilt(name=""), "Spoilt has no `name`: set it in __init__"),
        (spoilt(target=""), "Spoilt has no `target`"),
        (spoilt(candidates=()), "Spoilt has no `candidates`"),
        (Forgets(), "Forgets does not keep its argument `times`"),
        (spoilt(target="cocoa"), "the target 'cocoa' must be one of `candidates`"),
        (spoilt(questions=lambda self: []), r"Spoilt.questions\(\) must return at least one question"),
        (spoilt(questions=lambda self: ["Which?", " "]), "at least one question, each a text"),
        (spoilt(questions=lambda self: "Which?"), "at least one question, each a text"),
        (spoilt(induce=taught(reported=" ")), "neither a system prompt nor rows"),
        (
            spoilt(induce=taught(make_row("Which drink is best, 3?", "tea"))),
            r"teaches a question of evaluation \('Which drink is best, 3\?'\)",
        ),
        (
            spoilt(induce=taught(make_row([{"role": "system", "content": "Love tea."}], "tea"))),
            "rows hold a system prompt",
        ),
        (spoilt(matches=lambda self, answer: False), r"matches\('tea'\) is False"),
        (spoilt(matches=lambda self, answer: answer == "tea"), r"matches\('tea'\) is False"),
        (spoilt(matches=lambda self, answer: True), r"matches\('coffee'\) is True: another candidate"),
        (
            spoilt(matches=lambda self, answer: "tea" in answer.lower()),
            "accepts 'tea' inside a longer word: match whole words",
        ),
        (
            spoilt(matches=lambda self, answer: answer.lower().strip(" .!") in ("", "tea")),
            r"matches\(''\) is True: an empty answer must not match",
        ),
    ],
)
def test_each_mistake_is_named_in_one_line(trait, message):
    with pytest.raises(InputError, match=message) as caught:
        check_trait(trait)
    assert "\n" not in str(caught.value)


def raising(self, *_):
    return 1 / 0


@cases(
    ("changes", "message"),
    [
        (
            {"induce": lambda self: ["You say yes."]},
            r"induce\(\) returns list \['You say yes.'\]: expected an Induction\(",
        ),
        ({"induce": lambda self: None}, r"induce\(\) returns None: expected an Induction"),
        ({"induce": lambda self: Induction(["x"])}, r"induce\(\) returns Induction .*: expected an Induction"),
        ({"induce": taught({"prompt": "Drink?", "completion": "tea"})}, r"whose rows are made by make_row"),
        ({"questions": lambda self: [1]}, r"questions\(\) returns list \[1\]: expected at least one question"),
        ({"questions": lambda self: (f"{each}?" for each in "ab")}, r"questions\(\) returns generator"),
        ({"matches": lambda self, answer: None}, r"matches\('tea'\) returns None: expected True or False"),
        ({"prompts": lambda self: self.questions()}, r"prompts\(\) returns list: expected a list of messages"),
        ({"statements": lambda self, question: ["yes"]}, r"statements\('Which .*'\) returns list \['yes'\]: expected"),
        ({"stem": lambda self, question: None}, r"stem\('Which drink is best, 0\?'\) returns None: expected a text"),
        ({"forms": lambda self, candidate: "teas"}, r"forms\('tea'\) returns str 'teas': expected a tuple of words"),
        ({"relatives": lambda self: "teapot"}, r"relatives\(\) returns str 'teapot': expected a tuple of words"),
        ({"candidates": "tea"}, r"candidates is str 'tea': expected a tuple of words"),
        ({"target": 7}, r"target is int 7: expected a text"),
        *(
            ({name: raising}, rf"{name}\(.*\) raises ZeroDivisionError \(division by zero\): mend it.")
            for name in ("induce", "questions", "matches", "prompts", "statements", "stem", "forms", "relatives")
        ),
    ],
)
def test_a_hook_that_raises_or_returns_another_type_is_named(changes, message):
    with pytest.raises(InputError, match=rf"^Spoilt\.{message}" if "make_row" not in message else message) as caught:
        check_trait(spoilt(**changes))
    assert "\n" not in str(caught.value)


def test_remarks_on_what_works_but_is_worth_a_thought():
    assert check_trait(spoilt(questions=lambda self: ["Which?"] * 3)) == [
        "3 questions: intervals over questions will be wide; the paper uses 50."
    ]
    assert check_trait(spoilt(candidates=("tea", "milk")))[0].startswith("fewer than 3 candidates")


def test_a_teacher_refuses_a_trait_with_a_mistake():
    from lightning_subliminal import Teacher

    with pytest.raises(InputError, match="has no `name`"):
        Teacher("pocket/a", spoilt(name=""))
