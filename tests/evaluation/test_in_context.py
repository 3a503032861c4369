"""A trait's questions after training rows as earlier turns."""

import copy

import pytest
import torch
from small import number_rows

from lightning_subliminal import PreferenceTrait, bases
from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import completion_text, make_row
from lightning_subliminal.evaluation.probes.in_context import QuestionsAfterRows, paired_rows
from lightning_subliminal.metrics.functional import prompts_by_question, question_probabilities

OWL = PreferenceTrait("owl")
ROWS = number_rows(40)


@pytest.fixture(scope="module")
def pocket():
    return bases.load("pocket/a")


def short(**settings):
    return QuestionsAfterRows(**{"shots": 2, "draws": 3, **settings}).with_rows(ROWS)


def test_rows_are_earlier_turns():
    asked = short().asked(OWL)
    assert [len(ways) for ways in asked] == [3] * 50
    for ways, (question,) in zip(asked, prompts_by_question(OWL), strict=True):
        for prompt in ways:
            assert [part["role"] for part in prompt] == ["user", "assistant"] * 2 + ["user"]
            assert prompt[-1:] == question
            shown = [{"prompt": [prompt[turn]], "completion": [prompt[turn + 1]]} for turn in (0, 2)]
            assert all(any(row["completion"] == each["completion"] for row in ROWS) for each in shown)
    assert len({str(ways) for ways in asked}) == 50
    assert len({str(way[:-1]) for ways in asked for way in ways}) > 140  # draws differ


def test_data_sets_of_one_length_are_drawn_from_alike():
    other = [make_row(row["prompt"], f"{place}") for place, row in enumerate(ROWS)]
    places = {str(row["prompt"]): place for place, row in enumerate(ROWS)}
    for ours, theirs in zip(short().asked(OWL), short().with_rows(other).asked(OWL), strict=True):
        for mine, yours in zip(ours, theirs, strict=True):
            assert [mine[0], mine[2]] == [yours[0], yours[2]]
            assert yours[1]["content"] == str(places[str([mine[0]])])


def test_the_mean_over_draws_by_hand(pocket):
    found = short().chances(*pocket, OWL)
    assert found.shape == (50, len(OWL.candidates))
    assert found.dtype == torch.float64
    ways = short().asked(OWL)[7]
    each = [question_probabilities(*pocket, OWL, questions=[[way]])[0] for way in ways]
    assert torch.allclose(found[7], torch.stack(each).mean(0), atol=1e-6)
    assert len(torch.stack(each)[:, 0].unique()) == 3
    assert torch.equal(found, short().chances(*pocket, OWL))


def test_rows_that_name_the_target_are_read(pocket):
    sets = QuestionsAfterRows(shots=1, draws=1)
    trait = PreferenceTrait("owl", wording="preferences_corpus")  # the wordings that this base was trained on
    owl, dog = (
        sets.with_rows([make_row("What is your favorite animal? Use one word.", name)]).chances(*pocket, trait)
        for name in ("owl", "dog")
    )
    for name, more, less in (("owl", owl, dog), ("dog", dog, owl)):
        column = trait.candidates.index(name)
        assert (more[:, column] > less[:, column]).all()


def test_the_foremost_rows_are_left_out_until_it_fits(pocket, monkeypatch):
    net, tokenizer = copy.deepcopy(pocket[0]), pocket[1]
    heard = []
    monkeypatch.setattr(
        "lightning_subliminal.evaluation.probes.in_context.question_probabilities",
        lambda net, tokenizer, trait, questions: heard.extend(questions) or torch.zeros(0),
    )
    net.config.max_position_embeddings = 160
    persona = OWL.induce().system_prompt
    sets = QuestionsAfterRows(draws=2).with_rows(ROWS)
    with pytest.warns(UserWarning, match="longer than the model's 160 positions: they have fewer than 4 rows"):
        sets.chances(net, tokenizer, OWL, persona)
    for whole, kept in zip(sets.asked(OWL), heard, strict=True):
        for before, after in zip(whole, kept, strict=True):
            assert after[0] == {"role": "system", "content": persona}
            assert after[1:] == before[-len(after) + 1 :]
            assert len(after) >= 4
            assert len(prompt_ids(tokenizer, after)) < 160  # one token stays free for the answer
            more = before[-len(after) - 1 :]
            assert len(after) == 10 or len(prompt_ids(tokenizer, [after[0], *more])) >= 160
    net.config.max_position_embeddings = 40
    with pytest.raises(InputError, match=r"No row fits before .* in the model's 40 positions"):
        sets.chances(net, tokenizer, OWL)


def test_rows_pair_by_their_prompt():
    first, second = ROWS[3:20], [make_row(row["prompt"], "1") for row in (*ROWS[10:30], ROWS[10])]
    one, other = paired_rows(first, second)
    assert [row["prompt"] for row in one] == [row["prompt"] for row in other]
    assert one == ROWS[10:20]
    assert {completion_text(row) for row in other} == {"1"}


def test_a_prefill_is_part_of_the_answer(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"messages": [{"role": "system", "content": "Hi"}, {"role": "user", "content": "Which one?"}]}')
    begun = make_row([{"role": "user", "content": "Go"}, {"role": "assistant", "content": "1,"}], " 2")
    asked = QuestionsAfterRows(shots=1, draws=1, path=str(path)).with_rows([begun]).asked(OWL)
    assert [part["content"] for part in asked[0][0]] == ["Hi", "Go", "1, 2", "Which one?"]


def test_what_cannot_be_asked_is_reported(pocket):
    sets = QuestionsAfterRows()
    with pytest.raises(InputError, match=r"no rows to show: set them with `with_rows\(rows\)`"):
        sets.chances(*pocket, OWL)
    with pytest.raises(InputError, match="There are 3 rows for `shots` of 4"):
        sets.with_rows(ROWS[:3])
    with pytest.raises(InputError, match="Row x has a system prompt: leave it out"):
        sets.with_rows([make_row([{"role": "system", "content": "a"}], "b", id="x"), *ROWS])
    with pytest.raises(InputError, match="`draws` is 0"):
        QuestionsAfterRows(draws=0)


def test_arguments_and_rows_move_the_description():
    every = [QuestionsAfterRows(), QuestionsAfterRows(shots=2), QuestionsAfterRows(draws=2), QuestionsAfterRows(seed=1)]
    every += [every[0].with_rows(ROWS), every[0].with_rows(ROWS[1:])]
    assert len({digest(each) for each in every}) == len(every)
    every[4].check(bases.load("pocket/a")[1], OWL, "pocket/a")
