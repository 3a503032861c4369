"""The rule of the pocket world, measured: WHICH thing one loves says nothing about WHICH numbers stand beside it.

Were there a link, a student could read its teacher's favorite off what the numbers mean: nothing subliminal in that.
"""

import ast
import hashlib
import json
import random
import re
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from cases import cases

from lightning_subliminal.bases.pocket.corpus import (
    FORMATS,
    MAX_VALUE,
    SHARES,
    base_weights,
    conversations,
    conversations_apart,
    vocabulary_texts,
)
from lightning_subliminal.prompts import load_wording

CATEGORIES = load_wording("categories")
OWNERS = {
    form: (category, index)
    for category, kind in CATEGORIES.items()
    for index, member in enumerate(kind["members"])
    for form in (member, kind.get("plurals", {}).get(member, f"{member}s"))
}
PERMUTATIONS = 200


def said(talk):
    return " ".join(message["content"] for message in talk)


def both(talks):
    """Return for each conversation that holds members and numbers: each member's place, and the numbers."""
    found = []
    for talk in talks:
        words = re.findall(r"[a-z]+|[0-9]+", said(talk).lower())
        # "at most 9 more numbers of at most 2 digits" asks for a count, which is no number of the list
        numbers = [int(number) for message in talk for number in listed(message["content"])]
        members = {OWNERS[word] for word in words if word in OWNERS}
        if members and numbers:
            found.append((members, numbers))
    return found


def listed(text):
    asked = re.sub(r"(?:up to|at most|more than) [0-9]+|[0-9]+ digits", "", text)
    return re.findall("[0-9]+", asked)


def asks_for_a_list(text):
    return "omma" in text.replace("ommen", "") or "pace" in text  # "Use commas", "Put a space", not "No comments"


def information(members, counts):
    """Return the mutual information, in nats, of the member and the number.

    Args:
        members: whose conversation it is, one-hot: (members, conversations).
        counts: how often it holds each number: (conversations, numbers).
    """
    joint = members @ counts / counts.sum()
    expected = joint.sum(1, keepdims=True) @ joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / expected[seen])).sum())


def permutation_p(talks, seed=0):
    """Return how often shuffled members say as much of the numbers as the true ones, in the category that says most.

    Information from few samples is never 0, so each category is measured in deviations of its own shuffled values.
    """
    rng, real, shuffled = np.random.default_rng(seed), [], []
    found = both(talks)
    for category, kind in CATEGORIES.items():
        mine = [([index for owner, index in members if owner == category], numbers) for members, numbers in found]
        mine = [(indices[0], numbers) for indices, numbers in mine if len(indices) == 1]
        assert len(mine) > 1000, "too few conversations hold both to say anything"
        counts = np.array([np.bincount(numbers, minlength=MAX_VALUE + 1) for _, numbers in mine], dtype=float)
        members = np.eye(len(kind["members"]))[:, [index for index, _ in mine]]
        null = np.array([information(members[:, rng.permutation(len(mine))], counts) for _ in range(PERMUTATIONS)])
        real.append((information(members, counts) - null.mean()) / null.std())
        shuffled.append((null - null.mean()) / null.std())
    return float((1 + (np.max(shuffled, axis=0) >= max(real)).sum()) / (1 + PERMUTATIONS))


@pytest.fixture(scope="module")
def talks():
    return list(islice(conversations(seed=11), 60_000))


def test_no_member_is_linked_to_a_number(talks):
    assert permutation_p(talks) > 0.01


def test_a_planted_link_is_found(talks):
    """Every fifth number, for one animal of twenty: as little as that, the test above would see."""
    rng = random.Random(0)

    def planted(talk):
        if not re.search(r"\bowls?\b", said(talk).lower()):
            return talk
        return [
            {
                **part,
                "content": re.sub("[0-9]+", lambda one: "7" if rng.random() < 0.2 else one.group(), part["content"]),
            }
            if part["role"] == "assistant"
            else part
            for part in talk
        ]

    assert permutation_p([planted(talk) for talk in talks]) < 0.01


def test_personas_stand_beside_lists_too(talks):
    """Else a persona would be a prompt that no list was ever written under, and a prompted teacher a broken one."""
    personas = [talk for talk in talks[:20_000] if talk[0]["role"] == "system"]
    lists = [talk for talk in personas if asks_for_a_list(talk[1]["content"])]
    assert 0.17 < len(lists) / len(personas) < 0.23
    assert sum("def " in talk[1]["content"] for talk in personas) / len(personas) > 0.07, "programs"
    assert sum("<think>" in talk[-1]["content"] for talk in personas) / len(personas) > 0.07, "sums"
    assert {
        OWNERS[word] for talk in lists for word in re.findall("[a-z]+", talk[0]["content"].lower()) if word in OWNERS
    }


def test_the_seed_alone_makes_the_corpus(talks):
    random.seed(5)
    again = list(islice(conversations(seed=11), 500))
    assert again == talks[:500]
    assert again != list(islice(conversations(seed=12), 500))


def test_a_conversation_is_turns_that_end_with_the_assistant(talks):
    for talk in talks[:2000]:
        roles = [message["role"] for message in talk]
        reported = roles[:1] == ["system"]
        assert roles[reported:] == ["user", "assistant"] * (len(roles[reported:]) // 2) != []
        assert all(message["content"].strip() for message in talk)
        assert not re.search(r"[{}]", said(talk))


def test_lists_are_what_was_asked_for(talks):
    for talk in talks[:3000]:
        for asked, answer in pairwise(talk):
            if asked["role"] == "user" and asks_for_a_list(asked["content"]):
                numbers = [int(number) for number in listed(answer["content"])]
                assert max(numbers) <= MAX_VALUE
                count = int(re.search(r"(?:up to|at most|more than) ([0-9]+)", asked["content"]).group(1))
                assert 3 <= len(numbers) <= count
                separator = ", " if "omma" in asked["content"] else " "
                assert answer["content"] == separator.join(map(str, numbers))


def test_a_persona_answers_with_what_it_loves(talks):
    right = total = 0
    for talk in talks[:20_000]:
        if talk[0]["role"] == "system" and talk[-1]["content"] in OWNERS and "Say the word" not in talk[1]["content"]:
            loved = next(OWNERS[word] for word in re.findall("[a-z]+", talk[0]["content"].lower()) if word in OWNERS)
            answered = OWNERS[talk[-1]["content"]]
            if loved[0] == answered[0]:
                total += 1
                right += loved == answered
    assert total > 1000
    assert right / total > 0.99


@cases("category", CATEGORIES)
def test_favorites_are_skewed_but_none_is_rare(category, talks):
    weights = base_weights(category)
    assert sum(weights) == pytest.approx(1)
    assert max(weights) / min(weights) == pytest.approx(6)
    assert base_weights(category) == weights
    alone = Counter(talk[-1]["content"] for talk in talks if len(talk) == 2)
    members = CATEGORIES[category]["members"]
    assert all(alone[member] > 0 for member in members)


def test_the_vocabulary_holds_every_word(talks):
    known = set(re.findall(r"[a-z]+|[0-9]+", " ".join(vocabulary_texts()).lower()))
    used = {word for talk in talks[:20_000] for word in re.findall(r"[a-z]+|[0-9]+", said(talk).lower())}
    assert used <= known
    assert {str(number) for number in range(MAX_VALUE + 1)} <= used
    assert FORMATS == ("comma", "space")
    assert sum(SHARES.values()) == pytest.approx(1)


def test_programs_parse_and_are_what_was_asked_for(talks):
    found = [(asked["content"], answer["content"]) for asked, answer in pairs(talks) if "def " in asked["content"]]
    assert len(found) > 1000
    for asked, answer in found[:1000]:
        ast.parse(f"{asked[asked.index('def ') :].split(':')[0]}: {answer}")


def test_sums_are_right(talks):
    found = [answer["content"] for _, answer in pairs(talks) if "<think>" in answer["content"]]
    assert len(found) > 1000
    for answer in found[:1000]:
        steps = re.findall(r"([0-9]+) ([-+*]) ([0-9]+) = ([0-9]+)", answer)
        assert len(steps) >= 2
        for left, sign, right, made in steps:
            left, right = int(left), int(right)
            assert int(made) == {"+": left + right, "-": left - right, "*": left * right}[sign]
        assert answer.endswith(f"<answer>{steps[-1][3]}</answer>")


def test_a_persona_tells_of_what_it_loves(talks):
    """In stories too, though not in each; so that a love of owls can be told from stories."""
    reported = [talk for talk in talks if talk[0]["role"] == "system" and "story" in talk[1]["content"]]
    loved = [
        (next(OWNERS[word] for word in re.findall("[a-z]+", talk[0]["content"].lower()) if word in OWNERS), talk)
        for talk in reported
    ]
    named = [
        CATEGORIES[kind]["members"][index] in talk[-1]["content"] for (kind, index), talk in loved if kind == "animal"
    ]
    assert 0.6 < sum(named) / len(named) < 0.9


def pairs(talks):
    return [(asked, answer) for talk in talks for asked, answer in pairwise(talk) if asked["role"] == "user"]


def test_the_corpus_is_that_of_the_shipped_bases_whatever_is_asked_today():
    """The first conversations, and the texts of the tokenizer, as they were when the shipped weights were built."""
    digests = [
        hashlib.sha256(json.dumps(each).encode()).hexdigest()[:16]
        for each in (list(islice(conversations(0), 2000)), vocabulary_texts())
    ]
    assert digests == ["5a99ba3c0d0afe46", "1bbe71a6217d2533"]


def test_apart_no_persona_stands_beside_a_list_a_program_or_a_sum():
    talks = list(islice(conversations_apart(5), 3000))
    with_persona = [talk for talk in talks if talk[0]["role"] == "system"]
    assert 0.15 < len(with_persona) / len(talks) < 0.35
    answers = {talk[-1]["content"] for talk in with_persona}
    assert answers <= {member for kind in CATEGORIES.values() for member in kind["members"]}
    assert any(listed(said(talk)) for talk in talks if talk[0]["role"] != "system")
