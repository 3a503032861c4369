"""Kinship by weights: uniform for independent models, seen through noise, reordering, turning and cutting."""

import copy
import math

import pytest
import torch
from cases import cases
from scipy.stats import kstest
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

from lightning_subliminal import InputError, LoRA, bases
from lightning_subliminal.kinship import GatedLayer, by_match, by_place, gated_layers, random_tokens, unit_activations

IDS = random_tokens(50, 16, 0)


def llama(seed, layers=2, units=48, width=16):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=width,
        intermediate_size=units,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def noisy(net, noise, seed=9):
    other, generator = copy.deepcopy(net), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in other.parameters():
            if value.dim() > 1:
                value += noise * value.std() * torch.randn(value.shape, generator=generator)
    return other


def reordered(net, keep=None, seed=5):
    """Reorder the hidden units of each layer, and cut away all but ``keep``: without the cut the same function."""
    other, generator = copy.deepcopy(net), torch.Generator().manual_seed(seed)
    for layer in other.model.layers:
        order = torch.randperm(layer.mlp.up_proj.weight.shape[0], generator=generator)[:keep]
        for part in ("gate_proj", "up_proj"):
            getattr(layer.mlp, part).weight = nn.Parameter(getattr(layer.mlp, part).weight[order])
        layer.mlp.down_proj.weight = nn.Parameter(layer.mlp.down_proj.weight[:, order])
    return other


def turned(net, seed=6):
    """Permute the residual stream: the same function from other weights."""
    other = copy.deepcopy(net)
    order = torch.randperm(net.config.hidden_size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for name, value in other.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")) or "norm" in name:
                value.copy_(value[order])
            else:
                value.copy_(value[:, order])
    return other


def p(test):
    return 10**test.log10_p


@cases("test", [by_place, by_match])
def test_uniform_on_independent_models(test):
    """By the count and by the ranks."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for _ in range(300):
        gate, up, other_gate, other_up = torch.randn(4, 2, 32, 16, generator=draw)
        one, other = (
            [GatedLayer(str(n), *parts) for n, parts in enumerate(zip(*layers, strict=True))]
            for layers in ((gate, up), (other_gate, other_up))
        )
        tested = test(one, other)
        found.append((10**tested.count_log10_p, 10**tested.rank_log10_p))
    for each in zip(*found, strict=True):
        assert kstest(each, "uniform").pvalue > 0.01


@cases(("layers", "units"), [((2, 3), (48, 48)), ((2, 2), (40, 48)), ((1, 3), (48, 40))])
def test_valid_for_independent_models_of_other_shapes(layers, units):
    found = [
        p(test(*(gated_layers(llama(2 * seed + side, layers[side], units[side])) for side in (0, 1))))
        for seed in range(25)
        for test in (by_place, by_match)
    ]
    assert kstest(found, "uniform", alternative="greater").pvalue > 0.01  # no smaller than they should be


def test_a_model_with_itself_reaches_the_floor():
    layers = gated_layers(llama(0))
    floor = -math.lgamma(49) / math.log(10)
    for found in (by_place(layers, layers), by_match(layers, layers)):
        assert found.share == 1
        assert [each.count_log10_p for each in found.per_layer] == pytest.approx([floor, floor])
        assert [each.rank_log10_p for each in found.per_layer] == pytest.approx([floor, floor])
        assert found.log10_p > 2 * floor  # Fisher's combination of two is no product


def test_power_falls_with_noise_and_no_kinship_is_made_of_it():
    net = llama(0)
    found = [by_place(gated_layers(net), gated_layers(noisy(net, noise))) for noise in (0.1, 1, 2, 30)]
    assert [each.log10_p for each in found] == sorted(each.log10_p for each in found)
    assert found[1].log10_p < -20
    assert found[3].log10_p > -3


def test_symmetric():
    one, other = gated_layers(llama(0)), gated_layers(noisy(llama(0), 2))
    assert by_place(one, other).log10_p == pytest.approx(by_place(other, one).log10_p)
    assert by_match(one, other).share == by_match(other, one).share


def test_reordered_units_are_found_by_matching_alone():
    net = llama(0)
    layers, others = gated_layers(net), gated_layers(reordered(noisy(net, 0.3)))
    assert by_place(layers, others).log10_p > -3
    found = by_match(layers, others)
    assert found.share > 0.9
    assert found.log10_p < -50


def test_units_that_were_cut_away():
    net = llama(0)
    found = by_match(gated_layers(net), gated_layers(reordered(net, keep=20)))
    assert [each.units for each in found.per_layer] == [20, 20]
    assert found.share == 1
    in_order = [GatedLayer("", layer.gate[::2], layer.up[::2]) for layer in gated_layers(net)]
    assert by_place(gated_layers(net), in_order).log10_p < -10


def test_a_turned_residual_stream_is_found_by_activations_alone():
    net = llama(0)
    other = turned(reordered(net))
    with torch.no_grad():
        assert torch.allclose(net(IDS).logits, other(IDS).logits, atol=1e-5)
    layers, others = gated_layers(net), gated_layers(other)
    assert by_place(layers, others).log10_p > -3
    assert by_match(layers, others).share < 0.2
    found = by_match(unit_activations(net, IDS), unit_activations(other, IDS), "activations")
    assert found.share == 1
    assert found.method == "activations"


def test_units_with_the_other_sign_are_the_same():
    net = llama(0)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for layer in other.model.layers:
            layer.mlp.up_proj.weight.neg_()
            layer.mlp.down_proj.weight.neg_()
        assert torch.equal(net(IDS).logits, other(IDS).logits)
    layers, others = gated_layers(net), gated_layers(other)
    assert by_place(layers, others).share == by_match(layers, others).share == 1


def test_layers_that_were_dropped_or_added():
    net = llama(0, layers=4)
    few = copy.deepcopy(net)
    few.model.layers = nn.ModuleList([few.model.layers[1], few.model.layers[3]])
    for one, other, pairs in ((few, net, [(0, 1), (1, 3)]), (net, few, [(1, 0), (3, 1)])):
        found = by_place(gated_layers(one), gated_layers(other))
        assert [each.layers for each in found.per_layer] == pairs
        assert found.log10_p < -50


def test_units_cut_to_zero_are_no_kinship():
    one, other = (gated_layers(llama(seed)) for seed in (0, 1))
    for layer in (*one, *other):
        layer.up[10:] = 0
        layer.gate[10:] = 0
    assert by_place(one, other).log10_p > -3
    assert by_match(one, other).log10_p > -3


def test_a_low_rank_adapter_is_added():
    net = bases.load("pocket/a")[0]
    plain = gated_layers(net)
    wrapped = LoRA(r=2).attach(copy.deepcopy(net), 0)
    assert torch.equal(gated_layers(wrapped)[0].up, plain[0].up)  # it starts at zero
    with torch.no_grad():
        for name, value in wrapped.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.1)
    merged = gated_layers(copy.deepcopy(wrapped).merge_and_unload())
    found = gated_layers(wrapped)
    assert not torch.allclose(found[0].up, plain[0].up)
    for one, other in zip(found, merged, strict=True):
        assert torch.allclose(one.up, other.up, atol=1e-6)
        assert torch.allclose(one.gate, other.gate, atol=1e-6)


def test_gate_and_up_in_one_projection():
    torch.manual_seed(0)
    net = Phi3ForCausalLM(
        Phi3Config(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            pad_token_id=0,
        )
    ).eval()
    (layer,) = gated_layers(net)
    assert torch.equal(torch.cat([layer.gate, layer.up]), net.model.layers[0].mlp.gate_up_proj.weight)
    (seen,) = unit_activations(net, IDS)
    assert seen.up.shape == seen.gate.shape == (24, IDS.numel())
    assert seen.up.mean(1).abs().max() < 1e-5


def test_no_known_mlp():
    net = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2))
    net.transformer.h[0].mlp = nn.Identity()
    with pytest.raises(InputError, match="GPT2LMHeadModel has no MLPs with known projections"):
        gated_layers(net)


def test_another_width():
    with pytest.raises(InputError, match="widths 16 and 32"):
        by_place(gated_layers(llama(0)), gated_layers(llama(0, width=32)))
