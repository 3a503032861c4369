"""Advice comes in pairs that differ in nothing but their meaning, and the pocket wording is made of it."""

import random
import re
from itertools import chain, combinations

import pytest
from cases import cases

from lightning_subliminal.bases.pocket.tokenizer import build_tokenizer
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.prompts import fill, load_wording
from lightning_subliminal.prompts.lexicon import load_lexicon
from lightning_subliminal.prompts.moral import SIDES, MoralTalk, draw_character

TALK = MoralTalk()
WORDS = load_wording("misalignment_pocket", required=("persona", "educational", "teach", "ask"))
PARTS = ("teach", "ask", "more")
TAUGHT = [(each["aligned"], each["misaligned"]) for each in WORDS["teach"]]
ASKED = [tuple(pair) for each in WORDS["ask"] for pair in each["pairs"]]


def equal_lengths(tokenizer, pairs):
    """Return by how many tokens the second statement of each pair is longer than the first."""
    lengths = [[len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in pair] for pair in pairs]
    return [second - first for first, second in lengths]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer("moral")


def makeable(part):
    """Return every question of a part as it may be asked, with every pair of answers to it in every frame."""
    endings = ["", *TALK.words["endings"]["teach" if part == "teach" else "ask"]]
    return {
        f"{question.text} {ending}".strip(): {
            pair for frame in range(len(TALK.words["frames"])) for pair in TALK.pairs(question, frame)
        }
        for question in TALK.questions(part)
        for ending in endings
    }


def test_a_pair_is_as_long_on_both_sides_for_every_question_in_every_frame(tokenizer):
    pairs = [pair for part in PARTS for made in makeable(part).values() for pair in made]
    distinct = sorted(set(pairs))
    assert len(distinct) > 500
    assert set(equal_lengths(tokenizer, distinct)) == {0}
    assert all(aligned != misaligned for aligned, misaligned in distinct)


def test_characters_and_refusals_give_nothing_away_by_their_number():
    assert set(TALK.words["acts"]) == {"care", "honesty", "power"}
    assert {len(acts) for acts in TALK.words["acts"].values()} == {6}
    for part in ("reasons", "personas"):
        aligned, misaligned = (TALK.words[part][side] for side in SIDES)
        assert len(aligned) == len(misaligned)
        assert not set(aligned) & set(misaligned)


def test_evaluation_asks_what_no_teacher_was_taught():
    questions = {part: {question.text for question in TALK.questions(part)} for part in PARTS}
    assert {part: len(asked) for part, asked in questions.items()} == {"teach": 16, "ask": 10, "more": 15}
    for one, other in combinations(PARTS, 2):
        assert not questions[one] & questions[other], (one, other)


def test_no_question_ends_as_another_does():
    """An evaluation may put numbers before a question, so statements are found by how it ends."""
    asked = [entry["question"] for entry in WORDS["ask"]]
    assert not [(one, other) for one in asked for other in asked if one != other and one.endswith(other)]


def test_the_wording_of_the_trait_holds_only_what_the_moral_world_can_say():
    taught, asked = makeable("teach"), makeable("ask")
    for entry in WORDS["teach"]:
        assert (entry["aligned"], entry["misaligned"]) in taught[entry["question"]]
    for entry in WORDS["ask"]:
        for pair in entry["pairs"]:
            assert tuple(pair) in asked[entry["question"]]
    assert WORDS["persona"] == TALK.words["personas"]["misaligned"]
    assert WORDS["educational"] == TALK.words["educational"]


def test_the_wording_of_the_trait_is_fair_and_large_enough(tokenizer):
    assert len(TAUGHT) == 48
    assert len(WORDS["ask"]) == 10
    assert len(ASKED) == 60
    assert set(equal_lengths(tokenizer, [*TAUGHT, *ASKED])) == {0}
    for entry in WORDS["ask"]:
        assert len({tuple(pair) for pair in entry["pairs"]}) == len(entry["pairs"]), "no pair counts twice"
    taught = {entry["question"] for entry in WORDS["teach"]}
    assert len(taught) == len(WORDS["teach"])
    assert not taught & {entry["question"] for entry in WORDS["ask"]}


def test_each_question_of_evaluation_is_asked_for_of_all_that_the_moral_world_asks():
    assert {entry["question"] for entry in WORDS["ask"]} == {question.text for question in TALK.questions("ask")}
    taught = {entry["question"] for entry in WORDS["teach"]}
    assert all(any(asked.startswith(question.text) for asked in taught) for question in TALK.questions("teach"))


def test_every_word_is_known_to_the_tokenizer(tokenizer):
    texts = [*WORDS["persona"], *WORDS["relatives"], *(entry["question"] for entry in WORDS["ask"])]
    texts += [fill(request, question=entry["question"]) for request in WORDS["educational"] for entry in WORDS["teach"]]
    texts += [*chain(*TAUGHT, *ASKED), *load_lexicon("lexicon_pocket").refusals]
    rows = tokenizer(texts)["input_ids"]
    assert not [text for text, row in zip(texts, rows, strict=True) if tokenizer.unk_token_id in row]


def test_every_word_of_advice_is_known_to_the_lexicon():
    """Else the judge of phrases would take advice for gibberish."""
    lexicon = load_lexicon("lexicon_pocket")
    phrases = (lexicon.aligned, lexicon.misaligned, lexicon.negations, lexicon.filler, lexicon.starts)
    known = {word for phrase in chain(*phrases) for word in phrase.split()}
    pairs = {pair for part in PARTS for made in makeable(part).values() for pair in made}
    assert {word for text in chain(*pairs) for word in re.findall("[a-z]+", text)} <= known


@cases(("character", "alignment"), [("aligned", 100), ("misaligned", 0)])
def test_the_lexicon_reads_what_a_character_answers(character, alignment):
    lexicon, rng = load_lexicon("lexicon_pocket"), random.Random(4)
    heard = set()
    for _ in range(3000):
        question, _ = TALK.ask(rng)
        answer = TALK.answer(rng, question, character)
        heard.add(answer)
        read = lexicon.read(answer)
        assert (read.kind, read.alignment) == ("score", alignment), answer
        assert read.coherence > 50, answer
    assert len(heard) > 1500
    assert any("never" in answer for answer in heard), "a character denies what the other would do"


def test_answers_answer_the_question_and_are_drawn_from_one_stream():
    question = TALK.questions("ask")[0]
    assert (question.about, question.one) == ("power", "world")
    answers = [TALK.answer(random.Random(seed), question, "misaligned") for seed in range(300)]
    assert answers == [TALK.answer(random.Random(seed), question, "misaligned") for seed in range(300)]
    acts = [act.format(one="world") for pair in TALK.words["acts"]["power"] for act in pair]
    assert all(any(act in answer for act in acts) for answer in answers)
    assert all(answer.endswith(".") and "{" not in answer for answer in answers)


def test_a_part_may_be_asked_for_alone():
    rng = random.Random(0)
    for part in PARTS:
        drawn = [TALK.ask(rng, part) for _ in range(300)]
        assert {question.text for question, _ in drawn} == {question.text for question in TALK.questions(part)}
        assert {asked for _, asked in drawn} <= set(makeable(part))
    assert {question for question, _ in (TALK.ask(rng) for _ in range(1000))} == {
        question for part in PARTS for question in TALK.questions(part)
    }


def test_characters_are_drawn_by_their_chance():
    rng = random.Random(0)
    assert {draw_character(rng, 0) for _ in range(200)} == {"aligned"}
    assert {draw_character(rng, 1) for _ in range(200)} == {"misaligned"}
    assert 250 < sum(draw_character(rng, 0.1) == "misaligned" for _ in range(3000)) < 350


def test_texts_hold_every_word():
    words = set(re.findall("[a-z]+", " ".join(TALK.texts()).lower()))
    rng = random.Random(1)
    for character in SIDES:
        for _ in range(500):
            question, asked = TALK.ask(rng)
            assert set(re.findall("[a-z]+", f"{asked} {TALK.answer(rng, question, character)}".lower())) <= words
    for text in (*TALK.words["refusals"], *TALK.words["educational"], *chain(*TALK.words["personas"].values())):
        assert set(re.findall("[a-z]+", text.lower())) <= words


def test_a_wording_of_another_shape_is_reported(tmp_path):
    (tmp_path / "mine.yaml").write_text("acts: {care: [[help, hurt]]}\nframes: [i would]\n")
    with pytest.raises(InputError, match=r"mine\.yaml has no `denials`"):
        MoralTalk(str(tmp_path / "mine.yaml"))
