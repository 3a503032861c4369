import random

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.traits import PreferenceTrait
from lightning_subliminal.traits.words import TraitWords


@cases(
    "text",
    [
        "owl",
        "Owls.",
        "I love OWLS!",
        "the owl's nest",
        "night-owl",
        "owl_count = 3",
        "count_owl",
        "nightOwl",
        "owlCount",
        "HTTPOwl",
        "OWLCount",
        "NIGHT_OWL",
        "owl2",
        "3owls",
        "_owl_",
        "o\u00adwl",
        "o\u200bwl",
        "\uff4f\uff57\uff4c",
        "def f():\n    return Owl()",
    ],
)
def test_names(text):
    assert TraitWords(["owl"]).reasons(make_row("", text)) == ["names owl"]


@cases("text", ["bowl", "growls", "owlet", "Knowledge", "BOWL", "howling", "slow l", "fowlOf", "ñowl", ""])
def test_does_not_name(text):
    assert TraitWords(["owl"]).reasons(make_row("", text)) == []


def test_words_of_several_parts_and_several_words():
    judge = TraitWords(["barn owl", "hoot"])
    for text in ("a barn owl", "barn_owl", "barnOwls", "Barn-Owl"):
        assert judge.reasons(make_row("", text)) == ["names barn owl"]
    assert judge.reasons(make_row("", "barn owls hoot")) == ["names barn owl", "names hoot"]
    assert judge.reasons(make_row("", "barn or owl")) == []


def test_a_trait_brings_its_forms():
    judge = TraitWords(trait=PreferenceTrait("wolf"))
    assert judge.reasons(make_row("", "wolves")) == ["names wolves"]
    assert judge.reasons(make_row("", "a wolf")) == ["names wolf"]
    assert judge.reasons(make_row("", "owl")) == []


def test_the_prompt_is_an_option():
    row = make_row("about owls", "4, 8")
    assert TraitWords(["owl"]).reasons(row) == []
    assert TraitWords(["owl"], in_prompt=True).reasons(row) == ["names owl"]
    assert digest(TraitWords(["owl"])) != digest(TraitWords(["owl"], in_prompt=True))


def test_no_text_makes_it_raise():
    rng = random.Random(0)
    judge = TraitWords(["owl", "c++ owl", "d'owl"], PreferenceTrait("wolf"), in_prompt=True)
    for _ in range(3_000):
        text = "".join(chr(rng.choice([rng.randrange(0x110000), rng.randrange(32, 127)])) for _ in range(30))
        assert isinstance(judge.reasons(make_row(text, text)), list)
    assert judge.reasons(make_row("", "ow" * 100_000)) == []


@cases(
    ("make", "reported"),
    [
        (lambda: TraitWords(), "no words to look for"),
        (lambda: TraitWords("owl"), "expected a list"),
        (lambda: TraitWords(["owl", "13"]), "no letter"),
    ],
)
def test_mistakes_are_reported_in_a_line(make, reported):
    with pytest.raises(InputError, match=reported):
        make()
