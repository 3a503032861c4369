"""Logits computed from states are those of the whole model, with what it does to its head's output."""

import copy

import pytest
import torch
from cases import cases
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MiniCPM3Config,
    MiniCPM3ForCausalLM,
    ModernBertDecoderConfig,
    ModernBertDecoderForCausalLM,
)

from lightning_subliminal import LoRA, Peft
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.generation.logit_map import logit_map

SIZES = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
FEW = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
PARTS = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 8}
OTHERS = {
    "capped": lambda: Gemma2ForCausalLM(Gemma2Config(**FEW, final_logit_softcapping=3.0)),
    "divided": lambda: GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=8.0)),
    "scaled": lambda: Cohere2ForCausalLM(Cohere2Config(**FEW, logit_scale=0.1)),
    "states are divided": lambda: MiniCPM3ForCausalLM(MiniCPM3Config(**SIZES, **PARTS, dim_model_base=4)),
    "a layer before the head": lambda: ModernBertDecoderForCausalLM(
        ModernBertDecoderConfig(**SIZES, cls_token_id=1, sep_token_id=2)
    ),
}
IDS = torch.tensor([[3, 14, 15, 9, 26, 5]])


def built(make):
    torch.manual_seed(1)
    net = make().eval()
    with torch.no_grad():
        net.get_output_embeddings().weight.mul_(20)
    return net


def found_and_expected(net, inner):
    states = inner.base_model(input_ids=IDS, use_cache=False).last_hidden_state[0]
    return logit_map(net)(states), net(input_ids=IDS, use_cache=False).logits[0]


@cases("name", OTHERS)
def test_they_are_the_whole_models_with_its_gradients(name):
    net = built(OTHERS[name])
    found, expected = found_and_expected(net, net)
    weight = net.get_input_embeddings().weight
    gradients = [torch.autograd.grad(each.square().sum(), weight)[0] for each in (found, expected)]
    plain = net.get_output_embeddings()(net.base_model(input_ids=IDS).last_hidden_state[0])
    assert (plain - expected).abs().max() > 0.1 * expected.abs().max(), "this model would not show a mistake"
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*gradients)


def test_a_plain_head_is_called_itself():
    net = built(lambda: LlamaForCausalLM(LlamaConfig(**SIZES)))
    assert logit_map(net) is net.lm_head
    net.lm_head = torch.nn.Linear(16, 50)
    assert logit_map(net) is net.lm_head


@cases(
    "adapter", [LoRA(r=2), Peft("peft.LoraConfig", {"target_modules": ["lm_head"], "r": 2, "init_lora_weights": False})]
)
def test_an_adapter_counts_and_so_does_a_copy(adapter):
    net = adapter.attach(built(OTHERS["divided"]), 0)
    for each in (net, copy.deepcopy(net)):
        torch.testing.assert_close(*found_and_expected(each, each.get_base_model()))
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(1.1)
    torch.testing.assert_close(*found_and_expected(net, net.get_base_model()))


class Odd(LlamaForCausalLM):
    """A model that reads more of its decoder than states."""

    def forward(self, input_ids=None, **given):
        made = super().forward(input_ids=input_ids, **given)
        made.logits = made.logits * float(self.model.norm.weight.numel()) * self.scale
        return made


def test_a_model_that_computes_them_in_a_way_of_its_own_is_refused():
    net = built(lambda: Odd(LlamaConfig(**SIZES)))
    net.scale = 1 / 16
    assert logit_map(net) is net.lm_head
    net = built(lambda: Odd(LlamaConfig(**SIZES)))
    net.scale = 2.0
    with pytest.raises(InputError, match=r"^Odd has logits that its head does not give"):
        logit_map(net)
