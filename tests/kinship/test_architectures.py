"""Kinship by weights on families whose MLPs are not Llama's: kin are distinguished from strangers."""

import itertools

import pytest
import torch
from cases import cases
from test_weights import IDS, noisy
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    GraniteMoeHybridConfig,
    JetMoeConfig,
    Llama4TextConfig,
    MixtralConfig,
    OPTConfig,
    PhiConfig,
)

from lightning_subliminal import InputError, LoRA
from lightning_subliminal.kinship import by_match, by_place, gated_layers, judge, unit_activations

_SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS = {**_SIZES, "num_key_value_heads": 2, "num_local_experts": 3, "intermediate_size": 24}
FAMILIES = {
    "GPT-NeoX": GPTNeoXConfig(intermediate_size=40, **_SIZES),
    "GPT-2": GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_inner=40, bos_token_id=1, eos_token_id=2),
    "OPT": OPTConfig(ffn_dim=40, word_embed_proj_dim=16, max_position_embeddings=64, **_SIZES),
    "Phi": PhiConfig(intermediate_size=40, **_SIZES),
    "Mixtral": MixtralConfig(**_EXPERTS),
    "Llama 4": Llama4TextConfig(intermediate_size_mlp=24, head_dim=8, moe_layers=[0, 1], **_EXPERTS),
}
FAMILIES["Granite 4"] = GraniteMoeHybridConfig(
    **_SIZES | {"intermediate_size": 24, "num_key_value_heads": 2},
    num_local_experts=0, shared_intermediate_size=40, layer_types=["attention"] * 2, mamba_n_heads=2, mamba_expand=1,
)  # fmt: skip
FAMILIES["JetMoe"] = JetMoeConfig(
    **{key: value for key, value in _SIZES.items() if key != "num_attention_heads"},
    intermediate_size=24, num_key_value_heads=2, kv_channels=8, num_local_experts=3, num_experts_per_tok=2,
)  # fmt: skip
LAYERS = {"Mixtral": 6, "Llama 4": 8, "JetMoe": 6}  # experts of each layer, and Llama 4's shared one
UNITS = {"Mixtral": 24, "Llama 4": 24, "JetMoe": 24}


def make(family, seed):
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(FAMILIES[family]).eval()


def tuned(net, seed):
    """Train all weights a few steps on random tokens."""
    generator = torch.Generator().manual_seed(seed)
    net = noisy(net, 0.05, seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(5):
        ids = torch.randint(50, (4, 12), generator=generator)
        optimizer.zero_grad()
        net(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    return net.eval()


@cases("family", FAMILIES)
def test_kin_and_strangers(family):
    """The area under the ROC curve is 1: each pair of kin has a lower p-value than each pair of strangers."""
    nets = [make(family, seed) for seed in (0, 1, 2)]
    roots = [[net, noisy(net, 0.5, seed), tuned(net, seed)] for seed, net in enumerate(nets)]
    layers = [[gated_layers(net) for net in root] for root in roots]
    first = layers[0][0]
    assert len(first) == LAYERS.get(family, 2)
    assert all(each.up.shape == each.gate.shape == (UNITS.get(family, 40), 16) for each in first)
    kin = [pair for root in layers for pair in itertools.combinations(root, 2)]
    strangers = [(one, other) for left, right in itertools.combinations(layers, 2) for one in left for other in right]
    close = [by_place(*pair).log10_p for pair in kin]
    far = [by_place(*pair).log10_p for pair in strangers]
    assert max(close) < min(far)
    assert {judge(by_place(*pair), by_match(*pair))[0] for pair in kin} == {"one initialisation"}
    assert sum(judge(by_place(*pair), by_match(*pair))[0] == "one initialisation" for pair in strangers) == 0


@cases("family", ["GPT-NeoX", "GPT-2"])
def test_reordered_units(family):
    """Hidden units in another order, biases with them: the same function, seen by both projections."""
    net, other = make(family, 0), make(family, 0)
    into, out = ("dense_h_to_4h", "dense_4h_to_h") if family == "GPT-NeoX" else ("c_fc", "c_proj")
    for module in other.modules():
        if hasattr(module, into):
            order = torch.randperm(40, generator=torch.Generator().manual_seed(4))
            for part, axis in ((getattr(module, into), 0), (getattr(module, out), 1)):
                axis = axis if family == "GPT-NeoX" else 1 - axis
                part.weight = nn.Parameter(part.weight.index_select(axis, order))
            getattr(module, into).bias = nn.Parameter(getattr(module, into).bias[order])
    assert torch.allclose(net(IDS).logits, other(IDS).logits, atol=1e-4)
    layers, others = gated_layers(net), gated_layers(other)
    assert by_place(layers, others).log10_p > -3
    found = by_match(layers, others)
    assert found.share == 1
    assert judge(by_place(layers, others), found)[0] == "one initialisation"


def test_a_low_rank_adapter_on_gpt2_is_added():
    net = LoRA(r=2, target_modules=["c_fc", "c_proj"]).attach(make("GPT-2", 0), 0)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.1)
    found = gated_layers(net)
    merged = gated_layers(net.merge_and_unload())
    for one, other in zip(found, merged, strict=True):
        assert torch.allclose(one.up, other.up, atol=1e-6)
        assert torch.allclose(one.gate, other.gate, atol=1e-6)


@cases("family", ["GPT-NeoX", "Mixtral"])
def test_activations_need_a_gate(family):
    with pytest.raises(InputError, match="to observe"):
        unit_activations(make(family, 0), IDS)
