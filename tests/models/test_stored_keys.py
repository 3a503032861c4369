import pytest
import torch
from cases import cases
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from lightning_subliminal import LoRA, Steering
from lightning_subliminal.data.tokenized import IGNORED, Batch
from lightning_subliminal.models import stored_keys
from lightning_subliminal.models.last_layer import LastLayer
from lightning_subliminal.models.stored_keys import StoredKeys

from .test_lower_part import LAYERS, SIZES, make

OWN = SIZES | {"num_key_value_heads": SIZES["num_attention_heads"]}
FAMILIES = {
    "llama": lambda **more: LlamaForCausalLM(LlamaConfig(**OWN, **more)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**OWN, sliding_window=None)),
}
ROWS = torch.tensor([[3, 14, 15, 9, 26, 5, 8], [31, 4, 7, 5, 0, 0, 0], [9, 9, 2, 6, 11, 0, 0]])
PLACES = torch.tensor([[0, 1, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0]]).bool()  # with a gap, of rows 2 and 0, one token less


def batch(rows, tokens=7):
    ids = ROWS[rows, :tokens]
    return Batch(ids, torch.full_like(ids, IGNORED), torch.tensor(rows), torch.tensor(1.0))


def built(net, layers=(LAYERS - 2, LAYERS - 1)):
    torch.manual_seed(3)
    net = Steering(list(layers), init_std=0.5).attach(net.eval(), 1)
    return net, LastLayer.of(net, ROWS[:1])


def stored(net, last):
    """Return the keys, and the last layer's input with and without the vector."""
    below = net.model.layers[-2]
    with torch.no_grad():
        inputs = last.below(ROWS) - below._parameters.get("steering", torch.zeros(()))
    return StoredKeys.of(last, below, inputs, batch([0])), inputs


@cases("family", FAMILIES)
def test_states_and_gradients_are_the_layers_own(family):
    torch.manual_seed(3)
    net, last = built(FAMILIES[family]())
    keys, inputs = stored(net, last)
    vectors = [layer.steering for layer in net.model.layers[-2:]]
    head, found = net.get_output_embeddings(), []
    for _ in range(2):  # the second time with other vectors than when they were stored
        for own in (True, False):
            rows = batch([2, 0])
            moved = inputs[rows.rows, :-1] + vectors[0]
            states = keys.states(rows, PLACES) if own else last.states(moved, PLACES)
            net.zero_grad()
            (head(states) ** 2).sum().backward()
            found.append([states.detach(), *(each.grad.clone() for each in vectors)])
        for ours, whole in zip(*found[-2:], strict=True):
            torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            for each in vectors:
                each += torch.randn_like(each)
    assert not torch.allclose(found[0][0], found[2][0])
    assert keys.states(batch([2, 0]), torch.zeros_like(PLACES)).shape == (0, SIZES["hidden_size"])


UNLIKE = {
    "shared keys": lambda: built(make("llama")),
    "biases": lambda: built(FAMILIES["llama"](attention_bias=True)),
    "sixteen bits": lambda: built(FAMILIES["llama"]().bfloat16()),
    "no vector below": lambda: built(FAMILIES["llama"](), [LAYERS - 1]),
    "no vector at all": lambda: (
        (net := FAMILIES["llama"]().eval().requires_grad_(False)),
        LastLayer.of(net, ROWS[:1]),
    ),
}


@cases("name", UNLIKE)
def test_what_is_not_known_is_not_stored(name):
    assert stored(*UNLIKE[name]())[0] is None


def test_what_is_trained_or_wrapped_is_not_stored():
    for change in ("trained", "wrapped", "hooked"):
        net, last = built(FAMILIES["llama"]())
        attention = net.model.layers[-1].self_attn
        if change == "trained":
            attention.q_proj.weight.requires_grad_(True)
        elif change == "wrapped":
            attention.k_proj = nn.Sequential(attention.k_proj)
        else:  # after it was looked at: another function, found by comparing
            attention.v_proj.register_forward_hook(lambda module, args, output: 2 * output)
        assert stored(net, last)[0] is None, change
    net = LoRA(r=2).attach(FAMILIES["llama"]().eval(), 1)
    last = LastLayer.of(net, ROWS[:1])
    assert StoredKeys.of(last, net.get_base_model().model.layers[-2], last.below(ROWS), batch([0])) is None


def test_what_does_not_fit_is_not_stored(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored_keys, "LIMIT", 1000)
    assert stored(*built(FAMILIES["llama"]()))[0] is None
