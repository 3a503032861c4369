"""The short forward pass of small Llamas has their logits, and is not taken where it has not."""

import pytest
import torch
from cases import cases
from small import byte_tokenizer
from transformers import CohereConfig, CohereForCausalLM, DynamicCache, LlamaConfig, LlamaForCausalLM

from lightning_subliminal import LoRA, Sampling, Steering, bases
from lightning_subliminal.generation import TransformersEngine, direct, logits, number_alphabet
from lightning_subliminal.generation.direct import direct_forward
from lightning_subliminal.generation.logits import call_net

from .engine_contract import PROMPTS


def llama(**settings):
    """Make a Llama whose queries share heads of keys, with biases and scaled angles."""
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
    shape = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 6, "num_key_value_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = {**shape, "vocab_size": 96, "num_hidden_layers": 3, "attention_bias": True, "rope_parameters": rope}
        return LlamaForCausalLM(LlamaConfig(**config, **settings)).eval()


def adapted(adapter):
    net = adapter.attach(bases.load("pocket/a")[0], 0).eval()
    with torch.no_grad():
        for name, each in net.named_parameters():
            if each.requires_grad:
                each.add_(torch.randn(each.shape, generator=torch.Generator().manual_seed(len(name))) * 0.05)
    return net


@torch.no_grad()
@cases("make", [llama, lambda: adapted(Steering()), lambda: adapted(LoRA(r=2))], ids=["llama", "steering", "lora"])
def test_logits_are_the_models_own(make):
    net = make()
    found = direct_forward(net, 40)
    ids = torch.randint(5, 90, (4, 12), generator=torch.Generator().manual_seed(0))
    places, caches = torch.arange(12).expand(4, -1), [DynamicCache(), DynamicCache()]
    for begin, end in ((0, 7), (7, 11)):
        given = {"input_ids": ids[:, begin:end], "position_ids": places[:, begin:end]}
        whole = call_net(net, caches[0], **given, use_cache=True).logits[:, -1]
        torch.testing.assert_close(found(caches[1], **given), whole, rtol=1e-4, atol=1e-5)
    mask = torch.ones(4, 12, dtype=torch.long)
    mask[1, :3] = mask[2, :5] = 0
    given = {"input_ids": ids[:, 11:], "position_ids": places[:, 11:] - 3, "attention_mask": mask}
    whole = call_net(net, caches[0], **given, use_cache=True).logits[:, -1]
    torch.testing.assert_close(found(caches[1], **given), whole, rtol=1e-4, atol=1e-5)


def changed(net, name):
    if name == "hook":
        net.model.layers[1].self_attn.register_forward_hook(lambda module, given, out: (out[0] * 2, *out[1:]))
    elif name == "layer":
        own = net.model.layers[1].forward
        net.model.layers[1].forward = lambda *given, **named: own(*given, **named) * 1.01
    elif name == "half":
        net.bfloat16()
    return net


@torch.no_grad()
@cases("name", ["hook", "layer", "half"])
def test_a_model_that_computes_otherwise_keeps_its_own_pass(name):
    assert direct_forward(llama(), 40) is not None
    assert direct_forward(changed(llama(), name), 40) is None


@torch.no_grad()
def test_other_and_wider_models_keep_their_own_pass(monkeypatch):
    assert direct_forward(torch.nn.Linear(2, 2), 40) is None
    long = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 500.0}
    net = llama()
    net.config.rope_parameters = long
    net.model.rotary_emb = type(net.model.rotary_emb)(net.config)
    assert direct_forward(net, 40) is None, "its angles depend on the length of the text"
    monkeypatch.setattr(direct, "_WIDTH", 16)
    assert direct_forward(llama(), 40) is None


@cases("settings", [{}, {"restrict_to": "numbers"}])
def test_texts_are_those_of_the_models_own_pass(monkeypatch, settings):
    net, sampling = adapted(Steering()), Sampling(max_new_tokens=20, **settings)
    tokenizer = bases.load("pocket/a")[1]
    found = TransformersEngine(net, tokenizer, 16).generate(PROMPTS * 9, sampling, 4)
    monkeypatch.setattr(direct, "_WIDTH", 0)
    assert TransformersEngine(net, tokenizer, 16).generate(PROMPTS * 9, sampling, 4) == found


def test_logits_that_a_model_scales_are_scaled_among_numbers_too(monkeypatch):
    tokenizer = byte_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
        shape = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
        net = CohereForCausalLM(CohereConfig(vocab_size=2**13, logit_scale=0.25, **shape, **ids)).eval()
        net.lm_head.weight.data.mul_(20)
    engine, sampling = TransformersEngine(net, tokenizer), Sampling(max_new_tokens=9, restrict_to="numbers")
    assert logits.narrow_head(net, number_alphabet(tokenizer)) is not None
    found = engine.generate(PROMPTS * 4, sampling, 1)
    monkeypatch.setattr(logits, "is_wide", lambda head: False)
    assert engine.generate(PROMPTS * 4, sampling, 1) == found


def test_a_narrow_head_is_whole_again_after_an_error():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = llama()
        net.lm_head = torch.nn.Linear(24, 2**13, bias=False)
    narrow = logits.narrow_head(net, torch.tensor([3, 5]))
    with pytest.raises(RuntimeError, match="shape"), narrow:
        net.lm_head(torch.ones(1, 25))
    assert net.lm_head(torch.ones(1, 24)).shape == (1, 2**13)
    with logits.narrow_head(net, torch.tensor([3, 5])):
        assert net.lm_head(torch.ones(1, 24)).shape == (1, 2)
