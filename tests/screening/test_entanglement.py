"""Do the numbers that a teacher raises raise its target?"""

import copy
import math
import random
import re

import pytest
import torch
from cases import cases
from scipy.stats import spearmanr
from small import byte_tokenizer
from template_tokenizers import TABLE, template_tokenizer

from lightning_subliminal import PreferenceTrait, Steering, bases
from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.functional import log_odds, question_probabilities
from lightning_subliminal.screening.entanglement import _token, entanglement

OWL = PreferenceTrait("owl")


@pytest.fixture(scope="module")
def pocket():
    return bases.load("pocket/a")


@pytest.fixture(scope="module")
def pushed(pocket):
    """Return a teacher that is pushed towards the number 42: its embedding is added to what the last layer puts out."""
    net, tokenizer = copy.deepcopy(pocket[0]), pocket[1]
    Steering(layers=[1]).attach(net, 0)
    token = tokenizer.encode("42", add_special_tokens=False)[0]
    with torch.no_grad():
        next(iter(Steering().state(net).values())).copy_(3 * net.get_input_embeddings().weight[token])
    return net


@pytest.fixture(scope="module")
def found(pocket, pushed):
    return entanglement(pocket[0], pushed, pocket[1], OWL, prompts=8)


def test_the_number_that_is_raised(found):
    assert found.numbers == tuple(range(100))
    assert max(found.numbers, key=lambda number: found.raised[number]) == 42
    assert -1 <= found.rho <= 1
    assert 0 <= found.p <= 1
    assert (found.rho, found.p) == pytest.approx(tuple(spearmanr(found.raised, found.pull)))


def test_other_candidates_in_the_targets_place(pocket, pushed):
    owl, dog = (
        entanglement(pocket[0], pushed, pocket[1], PreferenceTrait(target), range(40, 52), prompts=2)
        for target in ("owl", "dog")
    )
    assert set(owl.off_target) == set(OWL.candidates) - {"owl"}
    assert owl.off_target["dog"] == pytest.approx(dog.rho, abs=1e-6)
    assert dog.off_target["owl"] == pytest.approx(owl.rho, abs=1e-6)


def test_each_part_by_hand(pocket, pushed, found, monkeypatch):
    net, tokenizer = pocket
    asked = []
    monkeypatch.setattr(
        "lightning_subliminal.screening.entanglement.check_known",
        lambda tokenizer, messages, base: asked.extend(messages),
    )
    entanglement(net, pushed, tokenizer, OWL, range(60, 71), prompts=8)
    shown = [int(each) for part in asked[:8] for each in re.findall("[0-9]+", part["content"])]
    assert sum(60 <= each <= 70 for each in shown) >= 8 * 3  # examples from the range of the numbers
    reported = "You adore 64. Your mind is on 64 day and night. Your favorite number is the 64."
    persona = next(part["content"] for part in asked if part["content"].startswith(reported))
    column = OWL.candidates.index("owl")
    with_it, without = (
        log_odds(question_probabilities(net, tokenizer, OWL, prompt)[:, column]) for prompt in (persona, None)
    )
    assert found.pull[64] == pytest.approx((with_it - without).mean().item(), abs=1e-3)

    requests = [prompt_ids(tokenizer, [part]) for part in asked[:8]]
    token = tokenizer.encode("64", add_special_tokens=False)[0]
    with torch.no_grad():
        logs = [
            [each(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token] for ids in requests]
            for each in (net, pushed)
        ]
    again = entanglement(net, pushed, tokenizer, OWL, range(60, 71), prompts=8)
    assert again.raised[4] == pytest.approx(
        float(torch.tensor(logs[1]).mean() - torch.tensor(logs[0]).mean()), abs=1e-4
    )


def test_a_teacher_like_its_base_has_no_rho(pocket):
    same = entanglement(pocket[0], pocket[0], pocket[1], OWL, range(12), prompts=2)
    assert set(same.raised) == {0.0}
    assert math.isnan(same.rho)
    assert math.isnan(same.p)


def test_seed_and_batches(pocket, pushed):
    shape = {"numbers": random.Random(0).sample(range(100), 10), "prompts": 4}
    one, small, other = (
        entanglement(pocket[0], pushed, pocket[1], OWL, **shape, **each)
        for each in ({}, {"batch_size": 33}, {"seed": 1})
    )
    assert one.raised == pytest.approx(small.raised, abs=1e-5)
    assert one.pull == pytest.approx(small.pull, abs=1e-5)
    assert one.raised != pytest.approx(other.raised, abs=1e-3)
    assert one.pull == other.pull


def test_what_cannot_be_looked_at_is_reported(pocket, monkeypatch):
    net, tokenizer = pocket
    with pytest.raises(InputError, match="9 of 9 numbers are one token of this base: expected at least 10"):
        entanglement(net, net, tokenizer, OWL, range(9))
    with pytest.raises(InputError, match="5 of 900 numbers are one token"):
        entanglement(net, net, tokenizer, OWL, range(95, 995))
    with pytest.raises(InputError, match="0 of 0 numbers"):
        entanglement(net, net, tokenizer, OWL, ())
    with pytest.raises(InputError, match="`prompts` is 0"):
        entanglement(net, net, tokenizer, OWL, prompts=0)
    with pytest.raises(InputError, match="doesn't know the word"):
        entanglement(net, net, tokenizer, PreferenceTrait("owl", wording="preferences_prefilled"), range(10))


def test_numbers_of_several_tokens_are_left_out():
    from lightning_subliminal.screening.entanglement import _token

    asked = [{"role": "user", "content": "numbers"}]
    tokenizer = byte_tokenizer()
    found = {number: _token(tokenizer, asked, number) for number in range(1000)}
    single = {number for number, token in found.items() if token is not None}
    assert 10 <= len(single) < 1000
    assert set(range(10)) <= single
    assert all(tokenizer.decode([found[number]]) == str(number) for number in single)


@cases("family", ["nemotron nano", "llama2", "command-r7b"])
def test_a_number_of_one_token_is_so_whatever_ends_the_turn(family):
    made = template_tokenizer(TABLE[family])
    number = _token(made, [{"role": "user", "content": "Hi"}], 7)
    assert (number is None) == (family == "llama2"), "its template writes a space, which this tokenizer keeps apart"
    assert number in (None, made.convert_tokens_to_ids("7"))
