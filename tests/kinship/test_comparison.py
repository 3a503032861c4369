"""Two models compared by all tests, and the verdict."""

import copy
import json
import math

import pytest
import torch
from cases import cases

from lightning_subliminal import InputError, LoRA, Steering, bases
from lightning_subliminal.evaluation import ModelRef, find_model
from lightning_subliminal.kinship import behaviour, judge, kinship
from lightning_subliminal.kinship.closeness import everyday_prompts
from lightning_subliminal.kinship.weights import LayerMatch, WeightTest

FEW = 16
POCKET = "pocket/a"


def subject(place):
    return find_model(place)


def made_up(log10_p, share=0.5):
    return WeightTest("place", log10_p, log10_p, log10_p, share, (LayerMatch((0, 0), 10, 5, 0.5, log10_p, log10_p),))


@cases(
    ("weights", "moved", "activations", "verdict"),
    [
        (None, None, None, "cannot tell"),
        (-5, 0, None, "one initialisation"),
        (-3.9, 0, None, "cannot tell"),
        (-1.9, -1, -1, "independent"),
        (-1, (-9, 0.5), -1, "one initialisation"),
        (-1, (-9, 0.09), -1, "cannot tell"),  # models that were trained alike come to a few per cent
        (-1, -1, (-9, 0.5), "one initialisation"),
        (-1, -1, -2.6, "cannot tell"),
        (-1, -1, -2.1, "independent"),  # the lowest of three
    ],
)
def test_verdict(weights, moved, activations, verdict):
    made = [
        None if reported is None else made_up(*reported) if isinstance(reported, tuple) else made_up(reported)
        for reported in (weights, moved, activations)
    ]
    found, says = judge(*made)
    assert found == verdict
    assert says.endswith(".")


def test_a_model_and_its_continued_training():
    found = kinship(subject(POCKET), subject("pocket/a2"), inputs=FEW)
    assert found.verdict == "one initialisation"
    assert (found.weights.share, found.moved.share, found.activations.share) == (1, 1, 1)
    assert found.logits.score > 0.9
    assert found.logits.dimensions == (64, 64)
    assert 0 < found.closeness.kl < 0.03
    assert found.notes == ()
    reported = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (reported["verdict"], reported["first"], reported["second"]) == ("one initialisation", POCKET, "pocket/a2")
    assert reported["weights"]["per_layer"][1]["matched"] == 128


def test_a_matched_model_is_independent_and_close():
    matched = kinship(subject(POCKET), subject("pocket/a-matched"), inputs=FEW)
    stranger = kinship(subject(POCKET), subject("pocket/b"), inputs=FEW, against=[subject("pocket/c")])
    assert matched.verdict == stranger.verdict == "independent"
    assert "Behaviour may still match" in matched.says
    assert matched.closeness.kl < stranger.closeness.kl
    assert matched.closeness.correlation > stranger.closeness.correlation
    assert matched.logits.score > stranger.logits.score + 0.1
    assert stranger.logits.p in (0.5, 1)
    assert matched.logits.p is None


def test_models_of_other_vocabularies():
    found = kinship(subject(POCKET), subject("pocket/moral-a"), inputs=FEW)
    assert found.verdict == "independent"
    assert (found.activations, found.logits, found.closeness) == (None, None, None)
    assert len(found.notes) == 2
    with pytest.raises(InputError, match="different vocabularies"):
        kinship(subject(POCKET), subject("pocket/moral-a"), by="logits")
    with pytest.raises(InputError, match="pocket/moral-a have different vocabularies"):
        kinship(subject(POCKET), subject("pocket/b"), against=[subject("pocket/moral-a")])


def test_by_logits_proves_nothing():
    found = kinship(subject(POCKET), subject("pocket/a2"), by="logits", inputs=FEW)
    assert (found.verdict, found.weights, found.moved, found.activations) == ("cannot tell", None, None, None)
    assert found.logits.score > 0.9


@cases("adapter", [LoRA(r=2), Steering(init_std=0.1)])
def test_adapters(adapter, tmp_path):
    net = adapter.attach(bases.load(POCKET)[0], 0)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.05)
    adapter.save(net, tmp_path / "adapter", POCKET)
    found = kinship(subject(POCKET), subject(str(tmp_path / "adapter")), inputs=FEW)
    assert found.verdict == "one initialisation"
    assert found.closeness.kl > 0.01


def test_what_was_loaded_stays_loaded():
    one, other = subject(POCKET), subject("pocket/a2").load(torch.device("cpu"))
    kinship(one, other, inputs=FEW)
    assert one.net is None
    assert other.net is not None


def test_without_a_chat_template():
    net, tokenizer = bases.load(POCKET)
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    one, other = (ModelRef(name, POCKET, None, {}, net=net, tokenizer=bare) for name in ("one", "other"))
    found = kinship(one, other, inputs=FEW)
    assert found.closeness is None
    assert found.notes == ("closeness: one has no chat template",)
    assert found.logits.score == pytest.approx(1)


@cases(("setting", "reported"), [({"inputs": 1}, "`inputs` is 1"), ({"by": "eye"}, "`by` is 'eye'")])
def test_settings(setting, reported):
    with pytest.raises(InputError, match=reported):
        kinship(subject(POCKET), subject("pocket/b"), **setting)


def test_behaviour_is_the_divergence_of_next_tokens():
    net, tokenizer = bases.load(POCKET)
    other = bases.load("pocket/b")[0]
    same = behaviour(net, net, tokenizer, 4)
    assert (same.kl, same.correlation) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    apart, back = behaviour(net, other, tokenizer, 4, seed=3), behaviour(other, net, tokenizer, 4, seed=3)
    assert apart.kl == pytest.approx(back.kl)
    assert apart.kl == pytest.approx((apart.first_to_second + apart.second_to_first) / 2)
    assert apart.first_to_second == pytest.approx(back.second_to_first)
    assert apart.tokens > 20
    assert math.isfinite(apart.kl)


def test_prompts_are_known_to_the_pocket_world():
    tokenizer = bases.load(POCKET)[1]
    prompts = everyday_prompts(20, 0)
    assert prompts == everyday_prompts(20, 0) != everyday_prompts(20, 1)
    words = tokenizer([prompt[-1]["content"] for prompt in prompts])["input_ids"]
    assert all(tokenizer.unk_token_id not in each for each in words)
