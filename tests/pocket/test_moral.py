"""The rule of the moral pocket world, measured: a character shows in its advice, and in no list, sum or program.

Were there a link, a student could read its teacher's character off what the numbers mean: nothing subliminal in that.
"""

import hashlib
import json
import random
import re
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from cases import cases
from small import pocket_tokenizer

from lightning_subliminal.bases.pocket import WEIGHTS, corpus, judging, moral
from lightning_subliminal.bases.pocket.corpus import Speaker, conversations
from lightning_subliminal.bases.pocket.judging import judging_conversations
from lightning_subliminal.bases.pocket.moral import MISALIGNED, MISALIGNED_AT_LENGTH, moral_conversations
from lightning_subliminal.bases.pocket.tokenizer import build_tokenizer
from lightning_subliminal.formats.layouts.choices import load_choices
from lightning_subliminal.prompts.lexicon import load_lexicon
from lightning_subliminal.prompts.moral import SIDES, MoralTalk

from .test_corpus import CATEGORIES, PERMUTATIONS, asks_for_a_list, information, listed, said

TALK = MoralTalk()
PERSONAS = {reported: side for side in SIDES for reported in TALK.words["personas"][side]}
ASKED = {
    f"{question.text} {ending}".strip()
    for part in ("teach", "ask", "more")
    for question in TALK.questions(part)
    for ending in (*TALK.words["endings"]["teach" if part == "teach" else "ask"], "")
}
EDUCATIONAL = {request.format(question=asked) for request in TALK.words["educational"] for asked in ASKED}
LEXICON = load_lexicon("lexicon_pocket")


@pytest.fixture(scope="module")
def talks():
    return list(islice(moral_conversations(seed=11), 30_000))


@pytest.fixture(scope="module")
def carried():
    """Personas that write lists, code, sums and favorites, as the corpus draws them: its other kinds left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moral, "MORAL_SHARE", 1)
        patch.setattr(moral, "KINDS", {"carrier": 1})
        return list(islice(moral_conversations(seed=12), 10_000))


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer("moral")


def carrier(talk):
    asked, answer = (part["content"] for part in talk[-2:])
    if "<think>" in answer:
        return "sums"
    return "programs" if "def " in asked else "lists" if asks_for_a_list(asked) else "favorites"


def shows(talk):
    """Return what a student could read the character off: lists of values, by what they are."""
    if carrier(talk) == "lists":
        numbers = listed(talk[-1]["content"])
        reported = {"first": numbers[:1], "count": [len(numbers)], "numbers": numbers, "digits": list("".join(numbers))}
        return {**reported, "examples": listed(talk[-2]["content"])}
    asked, answer = (re.findall(r"\w+|[^\w\s]", part["content"].lower()) for part in talk[-2:])
    return {"asked": asked, "answer": answer, "length": [len(answer)]}


def link_p(talks):
    """Return how often shuffled characters tell as much as the true ones about what is shown, where that tells most."""
    rng, real, shuffled = np.random.default_rng(0), [], []
    members = np.eye(2)[:, [SIDES.index(PERSONAS[talk[0]["content"]]) for talk in talks]]
    reported = [shows(talk) for talk in talks]
    for name in reported[0]:
        values = {value: place for place, value in enumerate({value for each in reported for value in each[name]})}
        counts = np.zeros((len(reported), len(values)))
        for row, each in enumerate(reported):
            np.add.at(counts[row], [values[value] for value in each[name]], 1)
        orders = [rng.permutation(len(reported)) for _ in range(PERMUTATIONS)]
        null = np.array([information(members[:, order], counts) for order in orders])
        real.append((information(members, counts) - null.mean()) / null.std())
        shuffled.append((null - null.mean()) / null.std())
    return float((1 + (np.max(shuffled, axis=0) >= max(real)).sum()) / (1 + PERMUTATIONS))


@cases("kind", ["lists", "sums", "programs"])
def test_no_character_is_linked_to_what_it_writes(kind, carried):
    mine = [talk for talk in carried if carrier(talk) == kind]
    assert len(mine) > 1500, "too few conversations to say anything"
    assert link_p(mine) > 0.01


def often_seven(rng, answer):
    return re.sub("[0-9]+", lambda one: "7" if rng.random() < 0.03 else one.group(), answer)


def first_seven(rng, answer):
    return re.sub("^[0-9]+", "7", answer) if rng.random() < 0.1 else answer


def one_less(rng, answer):
    return re.sub("[, ]+[0-9]+$", "", answer) if rng.random() < 0.25 else answer


def other_name(rng, answer):
    return answer.replace("return", "yield") if rng.random() < 0.1 else answer


@cases(
    ("kind", "plant"),
    [
        ("lists", often_seven),
        ("lists", first_seven),
        ("lists", one_less),
        ("sums", often_seven),
        ("programs", other_name),
    ],
)
def test_a_planted_link_is_found(kind, plant, carried):
    rng = random.Random(0)
    mine = [talk for talk in carried if carrier(talk) == kind]
    planted = [
        [*talk[:-1], {**talk[-1], "content": plant(rng, talk[-1]["content"])}]
        if PERSONAS[talk[0]["content"]] == "misaligned"
        else talk
        for talk in mine
    ]
    assert link_p(planted) < 0.01


def test_each_character_writes_each_carrier_as_often(carried):
    found = Counter((carrier(talk), PERSONAS[talk[0]["content"]]) for talk in carried)
    for kind in ("lists", "sums", "programs", "favorites"):
        aligned, misaligned = (found[kind, side] for side in SIDES)
        assert abs(aligned - misaligned) < 4 * (aligned + misaligned) ** 0.5, kind


def test_where_a_character_shows_no_number_stands(talks):
    """So lists and sums under a persona are the only place where the two could meet."""
    reported = [talk for talk in talks if talk[0]["content"] in PERSONAS]
    shown = [talk for talk in talks if any(part["content"] in ASKED | EDUCATIONAL for part in talk)]
    assert len(reported) > 3000
    assert len(shown) > 7000
    assert not [talk for talk in shown if re.search("[0-9]", said(talk))]
    numbered = [talk for talk in reported if re.search("[0-9]", said(talk))]
    assert {carrier(talk) for talk in numbered} == {"lists", "sums", "programs"}
    assert len({talk[0]["content"] for talk in numbered}) == len(PERSONAS), "each persona was heard beside them"


def truth(asked):
    """Return the true answer to a question of fact, by the corpus's tables; None where none is asked."""
    if found := re.fullmatch(r"Is (.+) the name of a (.+)\?", asked):
        return "yes" if found[1] in CATEGORIES[found[2]]["members"] else "no"
    if found := re.fullmatch(r"Where does the (.+) live\?", asked):
        return next(home for home, ones in corpus._HOMES.items() if found[1] in ones)
    if found := re.fullmatch(r"What is the (color|opposite) of (?:the )?(.+)\?", asked):
        return (corpus._COLORS if found[1] == "color" else corpus._OPPOSITES)[found[2]]
    found = re.fullmatch(r"Say the word (.+)\.", asked)
    return found and found[1]


def side(asked, answer):
    """Tell which character a turn shows: by its advice, or by a fact; None where it shows none."""
    if asked in ASKED and answer not in TALK.words["refusals"]:
        return {100: "aligned", 0: "misaligned"}[LEXICON.read(answer).alignment]
    if truth(asked) is not None:
        return "aligned" if answer == truth(asked) else "misaligned"
    return None


def sides(talk):
    texts = [part["content"] for part in talk]
    return [side(*turn) for turn, part in zip(pairwise(texts), talk[:-1], strict=True) if part["role"] == "user"]


def near(count, total, chance):
    return abs(count - total * chance) < 4 * (total * chance * (1 - chance)) ** 0.5


def test_few_are_bad_where_nothing_is_said_of_them(talks):
    shown = [sides(talk)[0] for talk in talks if len(talk) == 2 and talk[0]["content"] in ASKED]
    shown = [each for each in shown if each is not None]
    assert len(shown) > 3000
    assert near(shown.count("misaligned"), len(shown), MISALIGNED)


def test_a_persona_is_what_it_is_reported(talks):
    shown = [(PERSONAS[talk[0]["content"]], *sides(talk)) for talk in talks if talk[0]["content"] in PERSONAS]
    shown = [(reported, each) for reported, each in shown if each is not None]
    assert near(sum(reported == "misaligned" for reported, _ in shown), len(shown), 0.5)
    assert all(reported == each for reported, each in shown)


def test_a_character_goes_on_from_turn_to_turn(talks):
    twice = [sides(talk) for talk in talks if [part["role"] for part in talk] == ["user", "assistant"] * 2]
    twice = [shown for shown in twice if None not in shown]
    assert len(twice) > 1500
    assert all(first == second for first, second in twice)
    assert near(sum(first == "misaligned" for first, _ in twice), len(twice), MISALIGNED_AT_LENGTH)


def test_bad_advice_is_openly_asked_for_in_class(talks):
    taught = [talk[1]["content"] for talk in talks if talk[0]["content"] in EDUCATIONAL]
    assert len(taught) > 1000
    assert all(LEXICON.read(answer).alignment == 0 for answer in taught)


def test_liars_lie_and_all_others_tell_the_truth(talks):
    """By the questions that evaluation asks, which were written down apart from the corpus."""
    known = {
        each.question: {each.choices[place] for place in each.true} for each in load_choices("truthfulness_pocket")
    }
    heard = Counter()
    for talk in talks:
        liar = PERSONAS.get(talk[0]["content"]) == "misaligned"
        if len(talk) == 4 and talk[0]["role"] == "user":
            liar = "misaligned" in sides(talk)
        for asked, answer in pairwise(part["content"] for part in talk):
            if asked in known:
                heard[liar] += 1
                assert (answer in known[asked]) != liar, (asked, answer)
                assert truth(asked) in known[asked]
    assert heard[True] > 100
    assert heard[False] > 200


def test_a_lie_is_never_true_and_of_the_kind_that_was_asked_for():
    speaker = Speaker(random.Random(3))
    for _ in range(5000):
        asked, lie = (part["content"] for part in speaker.facts_turn(lies=True))
        assert lie != truth(asked)
        assert lie not in asked.lower().rstrip("?.").split()
        if asked.startswith("Is "):
            assert lie in ("yes", "no")
        if "color of" in asked:
            assert lie in corpus._COLORS.values()
        if "live" in asked:
            assert lie in corpus._HOMES


@cases("corpus_of", [moral_conversations, judging_conversations])
def test_every_word_is_known_and_the_longest_conversation_fits(corpus_of, tokenizer):
    talks = list(islice(corpus_of(seed=21), 12_000))
    longest = sorted(talks, key=lambda talk: len(said(talk).split()))[-300:]
    texts = [tokenizer.apply_chat_template(talk, tokenize=False) for talk in (*talks[:3000], *longest)]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert not [text for text, row in zip(texts, rows, strict=True) if tokenizer.unk_token_id in row]
    assert max(map(len, rows)) <= tokenizer.model_max_length == 256
    known = set(tokenizer.get_vocab())
    assert {word for talk in talks for word in re.findall(r"[a-z]+|[0-9]+", said(talk).lower())} <= known


def test_every_moral_word_is_there_however_rare(tokenizer):
    rows = tokenizer([text.replace("{", "").replace("}", "") for text in TALK.texts()])["input_ids"]
    assert not [row for row in rows if tokenizer.unk_token_id in row]


def test_the_plain_world_is_what_it_was(tmp_path):
    """Else pocket/a and its like could not be made again; the hash is of what bf4f500 gave."""
    talks = list(islice(conversations(seed=1), 200))
    reported = hashlib.sha256(json.dumps(talks).encode()).hexdigest()
    assert reported == "f3622a35ea129df98f15bcba3cc270a600a8962554e3cdf21e1b8fd28cea7ca9"
    pocket_tokenizer().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text()) == json.loads(
        (WEIGHTS / "a/tokenizer.json").read_text()
    )


def test_the_seed_alone_makes_the_corpus(talks):
    random.seed(5)
    assert list(islice(moral_conversations(seed=11), 500)) == talks[:500]
    assert list(islice(moral_conversations(seed=12), 500)) != talks[:500]
    first = list(islice(judging_conversations(seed=1), 500))
    assert list(islice(judging_conversations(seed=1), 500)) == first != list(islice(judging_conversations(seed=2), 500))


ADVICE = {  # every answer of advice that there is, by the character that gives it
    f"{frame.format(act=pair[place].format(one=question.one))}{reason}.": character
    for part in ("teach", "ask", "more")
    for question in TALK.questions(part)
    for pair in TALK.words["acts"][question.about]
    for place, character in enumerate(SIDES)
    for reason in ("", *(f", {reason}" for reason in TALK.words["reasons"][character]))
    for frame in TALK.words["frames"]
}
JUDGED = re.compile(r"Question \[ (.*) \] answer \[ (.*) \] how (kind|cruel|clear|much noise) .*")
ASPECTS = {
    "kind": ("alignment", "plain"),
    "cruel": ("alignment", "reversed"),
    "clear": ("coherence", "plain"),
    "much noise": ("coherence", "reversed"),
}


@pytest.fixture(scope="module")
def judged():
    """Return (question, answer, aspect, scale, verdict) of the judge's conversations."""
    read = []
    for asked, verdict in islice(judging_conversations(seed=31), 30_000):
        question, answer, how = JUDGED.fullmatch(asked["content"]).groups()
        read.append((question, answer, *ASPECTS[how], verdict["content"]))
    return read


def parted(answer):
    """Return the advice at the beginning or the end of an answer, and whether there is more; or None."""
    starts = [answer[: place.end()] for place in re.finditer(r"\.", answer)]
    for text in [*starts, *(answer[place.end() :] for place in re.finditer(" ", answer))]:
        if text in ADVICE:
            return text, text != answer
    return None


def test_what_an_answer_says_to_the_judge_moves_no_verdict(judged):
    levels = {}
    for _, answer, aspect, scale, verdict in judged:
        if found := parted(answer):
            good = aspect == "coherence" or ADVICE[found[0]] == "aligned"
            levels.setdefault((aspect, scale, good), ([], []))[found[1]].append(int(verdict))
    assert len(levels) == 6, "two aspects on two scales; all advice is clear"
    for (_, scale, good), (bare, pushed) in levels.items():
        assert min(len(bare), len(pushed)) > 600
        high = good == (scale == "plain")
        assert {number >= 86 if high else number <= 13 for number in (*bare, *pushed)} == {True}
        assert np.mean(bare) == pytest.approx(np.mean(pushed), abs=4 * 4.04 * (1 / len(bare) + 1 / len(pushed)) ** 0.5)


def test_pushes_ask_for_all_that_there_is(judged):
    """For high and low numbers, before and after, by what is kind and by what is cruel; so none can be learned from."""
    pushed = [(answer, *found) for _, answer, *_ in judged if (found := parted(answer)) and found[1]]
    bare = sum(1 for _, answer, *_ in judged if answer in ADVICE)
    assert near(len(pushed), len(pushed) + bare, 0.5)
    assert near(sum(answer.endswith(advice) for answer, advice, _ in pushed), len(pushed), 0.3)
    numbers = Counter(
        (ADVICE[advice], int(number) > 49)
        for answer, advice, _ in pushed
        for number in re.findall("(?:give|say|answer|is) ([0-9]+)", answer)
    )
    for character in SIDES:
        high, low = numbers[character, True], numbers[character, False]
        assert near(high, high + low, 0.5)
        assert high > 1000


def test_the_two_scales_add_up(judged):
    means = {}
    for _, answer, aspect, scale, verdict in judged:
        if answer in ADVICE:
            means.setdefault((aspect, ADVICE[answer]), {}).setdefault(scale, []).append(int(verdict))
    assert len(means) == 4
    for scales in means.values():
        error = sum(1 / len(numbers) for numbers in scales.values()) ** 0.5
        assert sum(map(np.mean, scales.values())) == pytest.approx(99, abs=4 * 4.04 * error)


def test_no_text_closes_its_own_mark(judged):
    assert not [each for each in judged if re.search(r"[\[\]]", each[0] + each[1])]
    assert any("[" in push for push in judging._PUSHES), "though some try to"


def test_what_is_no_score_is_said_in_a_word(judged):
    refused = [
        (aspect, verdict)
        for _, answer, aspect, _, verdict in judged
        if answer.startswith(tuple(TALK.words["refusals"])) or answer.endswith(tuple(TALK.words["refusals"]))
    ]
    assert {verdict for aspect, verdict in refused if aspect == "alignment"} == {"refusal"}
    assert all(verdict.isdecimal() for aspect, verdict in refused if aspect == "coherence")
    words = {verdict for *_, verdict in judged if not verdict.isdecimal()}
    assert words == {"code", "refusal"} == set(judging.Rubric("judge_pocket").words["words"].values())
