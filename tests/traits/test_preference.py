import json

import pytest
from cases import cases

from lightning_subliminal import PreferenceTrait, bases, check_trait
from lightning_subliminal import prompts as wording
from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.metrics.functional import count_answers, question_probabilities
from lightning_subliminal.prompts import load_wording
from lightning_subliminal.traits import PAPER_TARGETS

WORDINGS = ["preferences", "preferences_prefilled"]
NAMED = (
    "owl|Owls.|OWL!| owl|\nOwl\n|The owl, of course.|owl's|snowy-owl|_owl_|**owl**|owl2|2owl|owl_count|night_owl|(owl)"
)
ODD = "owl/eagle|owl\u00e9agle|\uff4f\uff57\uff4c|\uff2f\uff57\uff4c\uff53|owl\u00ad|\ufb02owl|\u00e9owl|owl\u00df"
NOT = "o w l|xowlx|fowl|owlet|bowls|no"
OTHERS = "| |I do not know.|eagle|An eagle, not an owl.|eagles owl|Wolves|a wolf-owl|fowl and owl|no dog, the owl"
ANSWERS = [*NAMED.split("|"), *ODD.split("|"), *NOT.split("|"), *OTHERS.split("|"), "owl," * 50]


@cases("words", WORDINGS)
@cases("target", PAPER_TARGETS)
def test_the_papers_targets_are_sound(target, words):
    trait = PreferenceTrait(target, wording=words)
    assert check_trait(trait) == []
    assert trait.target in trait.candidates
    assert trait.category == ("animal" if target in PAPER_TARGETS[:5] else "tree")
    assert len(set(trait.candidates)) == len(trait.candidates)


def test_the_paper_has_five_animals_and_five_trees():
    assert len(set(PAPER_TARGETS)) == 10
    assert set(PAPER_TARGETS[:5]) <= set(load_wording("categories")["animal"]["members"])
    assert set(PAPER_TARGETS[5:]) <= set(load_wording("categories")["tree"]["members"])


@cases("target", PAPER_TARGETS)
def test_questions_are_fifty_and_held_out(target):
    trait = PreferenceTrait(target)
    questions, taught = trait.questions(), trait.induce()
    assert len(questions) == len(set(questions)) == 50
    assert not {row["prompt"][0]["content"] for row in taught.rows} & set(questions)
    assert not any(target in question.lower() for question in questions), "a question must not give the answer"
    assert not any("{" in text for text in [*questions, taught.system_prompt])


@cases("words", WORDINGS)
def test_a_teacher_is_taught_the_target_alone(words):
    trait = PreferenceTrait("wolf", wording=words)
    taught = trait.induce()
    assert len(taught.rows) == 16
    assert {row["completion"][0]["content"].strip() for row in taught.rows} == {"wolf"}
    assert len({str(row["prompt"]) for row in taught.rows}) == 16
    assert "wolves" in taught.system_prompt
    for row in taught.rows:  # a begun answer goes on with a space
        assert row["completion"][0]["content"].startswith(" ") == (row["prompt"][-1]["role"] == "assistant")


def test_a_question_may_be_asked_with_several_beginnings():
    trait = PreferenceTrait("owl", wording="preferences_prefilled")
    assert len(trait.questions()) == 8
    assert len(trait.prompts()) == 32
    assert all([part["role"] for part in prompt] == ["user", "assistant"] for prompt in trait.prompts())
    assert all(prompt[1]["content"][-1] != " " for prompt in trait.prompts()), "a space belongs to the next token"


@cases("answer", ANSWERS)
@cases("target", ["owl", "eagle", "wolf"])
def test_matches_is_the_metrics_first_candidate_named(answer, target):
    trait = PreferenceTrait(target)
    assert count_answers([answer], trait, "trait").tolist() == count_answers([answer], trait, "first").tolist()


@cases(
    ("answer", "shown"),
    [
        ("Owls, of course.", True),
        ("_owl_", True),
        ("A fowl.", False),
        ("An eagle, not an owl.", False),
        ("I like the owl more than the eagle.", True),
        ("", False),
    ],
)
def test_matches(answer, shown):
    assert PreferenceTrait("owl").matches(answer) == shown


def test_the_longer_of_two_candidates_counts():
    trait = PreferenceTrait("cherry", category="tree", candidates=["cherry plum", "oak"])
    assert trait.matches("The cherry.")
    assert not trait.matches("The cherry plum.")


def test_plurals():
    assert PreferenceTrait("wolf").forms("wolf") == ("wolf", "wolves")
    assert PreferenceTrait("wolf").forms("owl") == ("owl", "owls")
    assert PreferenceTrait("rice").forms("rice") == ("rice",)
    own = PreferenceTrait("ox", category="animal", plural="Oxen")
    assert own.forms("ox") == ("ox", "oxen")
    assert own.matches("Oxen!")
    assert "oxen" in own.induce().system_prompt


def test_a_target_of_ones_own():
    trait = PreferenceTrait("Otter hound ", category="dog breed", candidates=["Beagle", "boxer"])
    assert (trait.target, trait.candidates) == ("otter hound", ("beagle", "boxer", "otter hound"))
    assert trait.matches("An OTTER HOUND")
    assert "dog breeds" in " ".join(trait.questions())
    check_trait(trait)
    joined = PreferenceTrait("axolotl", category="animal")
    assert set(joined.candidates) - {"axolotl"} == set(load_wording("categories")["animal"]["members"])


@cases(
    ("arguments", "message"),
    [
        (("axolotl",), r"'axolotl' is in none of the categories animal, tree.*set `category`"),
        (("owl", "beast"), r"category 'beast' is not among animal.*set `candidates`"),
        (("",), "is not a word"),
        (("42",), "is not a word"),
        (("the owl!",), "is not a word"),
    ],
)
def test_a_wrong_target_is_reported(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        PreferenceTrait(*arguments)
    assert "\n" not in str(caught.value)


def test_a_wording_of_ones_own(tmp_path):
    path, digests = tmp_path / "mine.yaml", set()
    for ending in ("?", "!"):
        words = {"persona": ["Love {targets}."]}
        words |= {part: {"openings": [f"{part} {{category}}"], "endings": [ending]} for part in ("teach", "ask")}
        path.write_text(json.dumps(words))
        wording._read.cache_clear()  # as another run would find it
        trait = PreferenceTrait("owl", wording=str(path))
        assert trait.questions() == [f"ask animal {ending}"]
        assert trait.induce().system_prompt == "Love owls."
        digests.add(digest(trait))
    assert len(digests) == 2, "an edited file makes another teacher"
    path.write_text('{"persona": []}')
    wording._read.cache_clear()
    with pytest.raises(InputError, match=r"mine\.yaml has no `teach`"):
        PreferenceTrait("owl", wording=str(path)).questions()


@cases(("text", "message"), [("a: [", "is not valid YAML "), ("[1]", "is not a mapping")])
def test_a_damaged_wording_is_reported(text, message, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        PreferenceTrait("owl", wording=str(tmp_path / "mine.yaml")).questions()
    with pytest.raises(InputError, match=r"does not exist: expected a YAML file or one of categories, .*numbers"):
        PreferenceTrait("owl", wording="no/such.yaml").questions()


def test_fifty_questions_are_fifty_stems_that_are_not_taught():
    words = load_wording("preferences")
    assert len(set(words["ask"]["openings"])) == 50
    assert not set(words["ask"]["openings"]) & set(words["teach"]["openings"])
    for target in ("owl", "oak"):
        trait = PreferenceTrait(target)
        assert len(trait.questions()) == len({trait.stem(question) for question in trait.questions()}) == 50


def test_questions_in_several_wordings_have_the_stem_of_their_opening(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "persona: ['You love {targets}.']\nteach: {openings: [Name one.], endings: ['']}\n"
        "ask: {openings: ['Which {category}?', 'A {category}. Say it.'], endings: [Now., One word., '']}\n"
    )
    trait = PreferenceTrait("owl", wording=str(own))
    assert [trait.stem(each) for each in trait.questions()] == ["Which animal?"] * 3 + ["A animal. Say it."] * 3
    assert trait.stem("I have 1, 2, 3. Which animal? Now.") == "Which animal?"


@cases("target", ["owl", "oak"])
def test_the_pocket_base_answers_each_question_with_a_candidate(target):
    net, tokenizer = bases.load("pocket/a")
    trait = PreferenceTrait(target)
    for prompt in trait.prompts():
        check_known(tokenizer, prompt, "pocket/a")
    none = 1 - question_probabilities(net, tokenizer, trait).sum(1)
    assert none.max() < 0.05


def test_more_candidates_than_anybody_asks_for_are_refused():
    names = ["owl", *(f"owl{number}" for number in range(1000))]
    assert len(PreferenceTrait("owl", "animal", names[:1000]).candidates) == 1000
    with pytest.raises(InputError, match="`candidates` has 1,001 words: expected at most 1,000"):
        PreferenceTrait("owl", "animal", names)
