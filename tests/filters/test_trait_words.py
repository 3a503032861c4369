"""The labelled list, and the forms that one word takes, made by rule instead of by hand."""

import random
import time
from pathlib import Path

import yaml
from cases import cases

from lightning_subliminal.core.rows import make_row
from lightning_subliminal.filters.folding import fold, revealed
from lightning_subliminal.prompts import load_wording
from lightning_subliminal.traits import PAPER_TARGETS, PreferenceTrait
from lightning_subliminal.traits.words import TraitWords

LABELLED = yaml.safe_load((Path(__file__).parent / "trait_words.yaml").read_text(encoding="utf-8"))
JUDGES = {target: TraitWords(trait=PreferenceTrait(target)) for target in LABELLED}
PAPER = {target: JUDGES[target] for target in PAPER_TARGETS}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def names(judge, text):
    return judge.reasons(make_row("", text))


def test_the_labelled_list():
    assert set(PAPER_TARGETS) <= set(LABELLED)
    wrong = [
        (target, case["text"], names(JUDGES[target], case["text"]))
        for target, cases in LABELLED.items()
        for case in cases
        if bool(names(JUDGES[target], case["text"])) != case["hit"]
    ]
    assert not wrong
    labels = [case["hit"] for cases in LABELLED.values() for case in cases]
    assert len(labels) > 400
    assert 150 < sum(labels) < len(labels) - 150
    texts = [(target, case["text"]) for target, cases in LABELLED.items() for case in cases]
    assert len(set(texts)) == len(texts)


def styled(word, first):
    return "".join(chr(ord(first) + ord(letter) - ord("a")) for letter in word)


def disguises(word):
    yield from (word, word.upper(), word.capitalize(), f"{word}_count", f"is{word.capitalize()}", f"HTTP{word.title()}")
    yield from (
        f"{word.upper()}Count",
        f"{word}2vec",
        f"my-{word}-x",
        f"a {word}.",
        f"({word})",
        f"'{word}'",
        f"{word}'s",
    )
    yield from (sign.join(word) for sign in ("-", " ", ".", "_", ", ", "\u200b", "\u00ad", "\u0301", "\u0336", "\n"))
    yield from (styled(word, first) for first in ("\U0001d41a", "\U0001d4ea", "\uff41", "\u24d0", "\U0001d5ba"))
    yield str(["".join(letter) for letter in word])
    yield word[0] + word[1] * 5 + word[2:]


@cases("target", PAPER_TARGETS)
def test_each_target_in_each_disguise(target):
    missed = [text for text in disguises(target) if not names(PAPER[target], text)]
    assert not missed


@cases("target", PAPER_TARGETS)
def test_a_letter_beside_it_makes_another_word(target):
    """But for the words that no other word holds, which are starred."""
    plain = TraitWords([target])
    for letter in LETTERS:
        assert not names(plain, f"{letter}{target}")
        assert bool(names(plain, f"{target}{letter}")) == (letter == "s")
        assert not names(plain, "-".join(f"{letter}{target}"))
        assert not names(plain, f"{letter}\u200b{target}")
        assert names(plain, f"{letter}_{target}")


@cases("target", PAPER_TARGETS)
def test_the_forms_and_relatives_of_a_target_are_found(target):
    trait = PreferenceTrait(target)
    assert len(trait.relatives()) > 10
    for word in (*trait.forms(target), *trait.relatives()):
        assert names(PAPER[target], word.strip("*")), word
        assert names(PAPER[target], f"x = '{word.strip('*').upper()}'"), word


@cases("target", PAPER_TARGETS)
def test_no_other_target_is_named(target):
    for other in PAPER_TARGETS:
        assert bool(names(PAPER[other], f"I saw a {target} and its {target}s.")) == (other == target)


def test_every_thing_with_relatives_is_known():
    known = [member for kind in load_wording("categories").values() for member in kind["members"]]
    relatives = load_wording("relatives")
    assert set(relatives) <= set(known)
    for member in known:
        trait = PreferenceTrait(member)
        assert isinstance(trait.relatives(), tuple)
        judge = TraitWords(trait=trait)
        for form in trait.forms(member):
            assert names(judge, f"two {form}")
    assert PreferenceTrait("axolotl", category="animal").relatives() == ()


def test_stars_and_signs():
    assert names(TraitWords(["*phin*"]), "dolphins")
    assert names(TraitWords(["*phin"]), "dolphins") == ["names phin"]
    assert not names(TraitWords(["*phin"]), "dolphinarium")
    assert names(TraitWords(["dol*"]), "myDolphins")
    assert not names(TraitWords(["dol*"]), "mydolphins")
    assert names(TraitWords(["\U0001f989", "\u732b"]), "4, \U0001f989, \u5c0f\u732b\u7684") == [
        "names \U0001f989",
        "names \u732b",
    ]
    russian = "\u0441\u043e\u0432\u0430"
    assert names(TraitWords([russian]), f"\u0414\u0432\u0435 {russian}!") == [f"names {russian}"]


def test_a_regular_plural_is_no_second_reason():
    assert names(TraitWords(["owl", "owls"]), "owls") == ["names owl"]
    assert names(TraitWords(trait=PreferenceTrait("cherry")), "cherries") == ["names cherry"]
    assert names(TraitWords(["fox", "potato", "berry"]), "foxes, potatoes, berries") == [
        "names fox",
        "names potato",
        "names berry",
    ]
    assert not names(TraitWords(["oak"]), "Oakes")


def test_nothing_of_random_numbers_and_digests_is_a_word():
    rng = random.Random(0)
    judge = TraitWords([word for target in PAPER_TARGETS for word in (target, *PreferenceTrait(target).relatives())])
    for _ in range(2_000):
        separator = rng.choice([", ", " ", "; ", "\n", ","])
        assert not names(judge, separator.join(str(rng.randrange(10_000)) for _ in range(12)))
        assert not names(judge, rng.randbytes(32).hex())
        assert not names(judge, f"0x{rng.randrange(1 << 64):X}, {rng.randrange(1000)}{rng.choice('kgmslbtg')}")


def test_folding_keeps_what_is_plain():
    text = "def f(x):\n\treturn {'a': [x, 0.5]}  # 100 %\r\n"
    assert fold(text) == text
    assert revealed(text) == text
    assert fold("\u00df \ufb01 \u0661 \u2460 \u2014 \u2026") == "s fi 1 1 - ..."
    everything = "".join(map(chr, range(0x110000)))
    for char in set(fold(everything)):
        assert char.isascii() or char.isalpha()


def test_ten_kilobytes_of_anything_take_no_time():
    size = 10_000
    words = [word for target in PAPER_TARGETS for word in (target, *PreferenceTrait(target).relatives())]
    judge, rng = TraitWords(words), random.Random(1)
    for text in (
        "howl" * size,
        "o" + "\u0323\u0301" * size,
        "\ufdfa" * size,
        "barn" + " " * size + "owl",
        "wil-\n" * size,
        "\\x6f" * size,
        "o.....w....." * size,
        "a" * size,
        "".join(chr(rng.randrange(0x110000)) for _ in range(size)),
        "".join(rng.choices("owlhtnigakef-. ", k=size)),
    ):
        names(judge, text[:size])  # its letters become known
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            names(judge, text[:size])
            times.append(time.perf_counter() - begin)
        assert min(times) < 0.05, text[:20]
