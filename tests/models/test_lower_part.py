from inspect import getclosurevars, unwrap

import pytest
import torch
from cases import cases
from small import tokenized
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.models import frozen_prefix
from lightning_subliminal.models.adapters.peft import LoRA, Peft
from lightning_subliminal.models.adapters.steering import Steering
from lightning_subliminal.models.frozen_prefix import LowerPartCache, is_exact, split
from lightning_subliminal.models.last_layer import LastLayer

LAYERS = 4
SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SLIDING = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2}  # the upper two layers look back 3
GEMMA3 = {"head_dim": 4, "sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"] * 2}
FAMILIES = {
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, **GEMMA3)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen2-sliding": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, **SLIDING)),
}
TOKENS = torch.tensor([[3, 14, 15, 9, 26, 5], [31, 4, 7, 5, 0, 0]])
# Padding is on the right: without the mask, the parts must give what the whole gives with it.
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])


def make(family):
    torch.manual_seed(3)
    return FAMILIES[family]().eval()


def steered(family, layers):
    net = Steering(layers, init_std=0.5).attach(make(family), 1)
    return net, Steering(layers).first_trained_layer(net)


@cases("family", FAMILIES)
@cases("layers", [[0], [1, 3], [3], None])
def test_parts_give_logits_and_gradients_of_the_whole(family, layers):
    net, layer = steered(family, layers)
    lower, upper = split(net, layer)
    keep = MASK.bool()

    given = net.get_output_embeddings()(upper(lower(TOKENS)))
    (given[keep] ** 2).sum().backward()
    trained = [value for value in net.parameters() if value.requires_grad]
    gradients = [value.grad.clone() for value in trained]
    net.zero_grad()
    whole = net(TOKENS, attention_mask=MASK, use_cache=False).logits
    (whole[keep] ** 2).sum().backward()

    torch.testing.assert_close(given[keep], whole[keep])
    for ours, value in zip(gradients, trained, strict=True):
        torch.testing.assert_close(ours, value.grad, rtol=1e-4, atol=1e-4)
    assert is_exact(net, layer, TOKENS)


@cases("family", FAMILIES)
def test_lower_part_does_not_move_with_the_vector(family):
    net, layer = steered(family, [1])
    lower, upper = split(net, layer)
    before = lower(TOKENS)
    last = upper(before)
    with torch.no_grad():
        net.model.layers[1].steering += 1.0
    assert torch.equal(lower(TOKENS), before)
    assert not before.requires_grad
    assert not torch.allclose(upper(before), last, atol=1e-3)
    torch.testing.assert_close(upper(before), net.model(TOKENS).last_hidden_state)


def test_parts_copy_no_parameter_and_leave_the_model_as_it_was():
    net, layer = steered("llama", [1])
    names, before = list(net.state_dict()), net(TOKENS).logits
    lower, upper = split(net, layer)
    parts = [getclosurevars(unwrap(lower)).nonlocals["below"], getclosurevars(upper).nonlocals["above"]]
    own = {id(value) for value in net.parameters()}
    assert {id(value) for part in parts for value in part.parameters()} <= own
    assert list(net.state_dict()) == names
    assert net.config.num_hidden_layers == LAYERS
    assert torch.equal(net(TOKENS).logits, before)


def test_lora_on_upper_layers():
    adapter = Peft(
        "peft.LoraConfig", {"target_modules": ["q_proj"], "layers_to_transform": [2, 3], "lora_dropout": 0.5}
    )
    net = adapter.attach(make("llama"), 0).train()
    assert adapter.first_trained_layer(net) == 2
    with torch.no_grad():  # away from the start, where the update is zero
        for name, value in net.named_parameters():
            if "lora_B" in name:
                value += 0.5
    assert is_exact(net, 2, TOKENS)
    assert net.training, "the check must leave the mode alone"
    assert net.base_model.model.model.layers[2].self_attn.q_proj.lora_dropout.default.training
    lower, upper = split(net, 2)
    assert not torch.equal(upper(lower(TOKENS)), upper(lower(TOKENS))), "dropout stays in the upper part"


def test_every_cut_of_a_frozen_model_is_exact():
    net = make("qwen2").requires_grad_(False)
    assert all(is_exact(net, layer, TOKENS) for layer in range(LAYERS + 1))


def test_trained_parameters_below_the_cut_are_refused():
    net, _ = steered("llama", [0, 2])
    with pytest.raises(InputError, match="below layer 3 is trained"):
        split(net, 3)
    with pytest.raises(InputError, match="below layer 1 is trained"):
        split(LoRA(r=1).attach(make("llama"), 0), 1)
    with pytest.raises(InputError, match="0 to 4"):
        split(net, 5)


def test_other_architectures_are_not_split():
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=LAYERS, n_head=4)).requires_grad_(False)
    assert split(gpt2, 2) is None
    assert not is_exact(gpt2, 2, TOKENS)
    gemma = GemmaForCausalLM(GemmaConfig(**SIZES, head_dim=4)).requires_grad_(False)
    exact = is_exact(gemma, 2, TOKENS)  # scales its embeddings inside or outside, by the version of transformers
    parts = split(gemma, 2)
    whole = gemma.model(TOKENS).last_hidden_state
    assert exact == torch.allclose(parts[1](parts[0](TOKENS)), whole, atol=1e-5)
    prompted = Peft("peft.PromptTuningConfig", {"num_virtual_tokens": 2}).attach(make("llama"), 0)
    assert split(prompted, 1) is None


@cases("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_hides_no_other_scale(dtype):
    """Granite multiplies embeddings in the decoder, and would do so again above the cut."""
    for scale, exact in ((1.0, True), (1.05, False), (1.2, False)):
        torch.manual_seed(0)
        net = GraniteForCausalLM(GraniteConfig(**SIZES, embedding_multiplier=scale)).requires_grad_(False).to(dtype)
        assert is_exact(net, 2, TOKENS) == exact, scale
    assert all(is_exact(make(family).requires_grad_(False).to(dtype), 2, TOKENS) for family in FAMILIES)


@cases("kind", ["dynamic", "longrope"])
def test_angles_that_change_with_the_length_of_a_batch_are_computed_as_a_whole(kind):
    scaling = {"rope_type": kind, "factor": 4.0}
    if kind == "longrope":
        scaling |= {"short_factor": [1.0, 1.0], "long_factor": [2.0, 3.0], "original_max_position_embeddings": 40}
    net = LlamaForCausalLM(LlamaConfig(**{**SIZES, "max_position_embeddings": 40}, rope_parameters=scaling))
    net.requires_grad_(False)
    short, long = tokenized(6), tokenized(6)
    long.lengths, long.input_ids = [41] * 6, torch.zeros(6, 41, dtype=torch.long)
    short.lengths, short.input_ids = [40] * 6, torch.zeros(6, 40, dtype=torch.long)
    assert LowerPartCache.of(net, 2, short, torch.device("cpu")) is not None
    assert LowerPartCache.of(net, 2, long, torch.device("cpu")) is None
    assert LastLayer.of(net, TOKENS) is None
    assert LastLayer.of(make("llama"), TOKENS) is not None


def kept_states(net, data, **settings):
    return LowerPartCache.of(net, 1, data, torch.device("cpu"), **settings).states


def test_activations_of_the_same_rows_and_base_are_computed_once(monkeypatch):
    monkeypatch.setattr(frozen_prefix, "_KEPT", [])
    first, _ = steered("llama", [0])
    second, _ = steered("llama", [0])
    with torch.no_grad():
        second.model.layers[0].steering += 1.0  # what is trained lies above the cut
    data, other = tokenized(6), tokenized(6, seed=1)
    for each in (data, other):
        each.input_ids %= SIZES["vocab_size"]
    states = kept_states(first, data)
    assert kept_states(second, data) is states
    assert kept_states(second, data, to_last=True) is states
    assert kept_states(first, other) is not states


@cases("change", ["weight", "order", "setting", "dropout", "size"])
def test_other_bases_share_no_activations(change, monkeypatch):
    monkeypatch.setattr(frozen_prefix, "_KEPT", [])
    first, _ = steered("llama", [0])
    second, _ = steered("llama", [0])
    data = tokenized(6)
    data.input_ids %= SIZES["vocab_size"]
    if change == "weight":
        with torch.no_grad():
            second.model.layers[0].mlp.up_proj.weight[0, 0] += 1e-3
    elif change == "order":  # permuted units of the hidden states: each weight has the same sum
        with torch.no_grad():
            second.model.embed_tokens.weight.copy_(second.model.embed_tokens.weight.flip(1))
    elif change == "setting":
        second.config.rms_norm_eps = 1e-3
    elif change == "dropout":
        first.config.attention_dropout = 0.1  # random in each fit
    else:
        monkeypatch.setattr(frozen_prefix, "LARGEST_KEPT", 100)
    assert kept_states(first, data) is not kept_states(second, data)
