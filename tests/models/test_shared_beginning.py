"""What all rows of a batch begin with is computed once, with the states and gradients of computing it for each."""

import torch
from cases import cases
from small import quiet_trainer, tokenized
from transformers import GPT2Config, GPT2LMHeadModel

from lightning_subliminal import LoRA, Steering, Student
from lightning_subliminal.data.tokenized import row_loader
from lightning_subliminal.models import shared_beginning
from lightning_subliminal.models.frozen_prefix import split
from lightning_subliminal.models.last_layer import LastLayer
from lightning_subliminal.models.shared_beginning import common_beginning
from lightning_subliminal.models.stored_keys import StoredKeys

from .test_last_layer import ADAPTERS, EXACT, built
from .test_lower_part import make

ALIKE = torch.cat([torch.arange(3, 23).expand(4, -1), torch.arange(12, 36).view(4, 6)], 1)


@cases("family", EXACT)
@cases("name", ADAPTERS)
def test_states_and_gradients_are_those_of_each_row(family, name):
    net = built(family, ADAPTERS[name])
    trained = [value for value in net.parameters() if value.requires_grad]
    last, found = LastLayer.of(net, ALIKE[:1]), []
    assert last.shared(ALIKE) == 20
    head = net.get_output_embeddings()
    for shared in (20, 0):
        net.zero_grad()
        states = last.states(last.below(ALIKE, shared), torch.ones_like(ALIKE, dtype=torch.bool))
        (head(states) ** 2).sum().backward()
        found.append([states.detach(), *(value.grad.clone() for value in trained)])
    for ours, whole in zip(*found, strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-4)


def test_the_upper_part_reads_it_once_too():
    net = built("llama", Steering([1]))
    lower, upper = split(net, 2, to_last=True)
    hidden, seen = lower(ALIKE), []
    net.model.layers[2].register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[:2])))
    torch.testing.assert_close(upper(hidden, 20), upper(hidden), rtol=1e-5, atol=1e-5)
    assert seen == [(1, 20), (4, 6), (4, 26)]


FEWER = ALIKE.clone()
FEWER[2, 15] = 1


@cases(
    "ids, shared",
    [(ALIKE, 20), (ALIKE[:1], 0), (ALIKE[:, 5:], 0), (ALIKE[:1].expand(3, -1), 25), (FEWER, 0), (ALIKE[:, :16], 0)],
)
def test_how_much_is_alike(ids, shared):
    assert common_beginning(ids) == shared


def test_a_hook_of_the_user_sees_whole_rows():
    net = make("llama")
    net.model.layers[1].mlp.register_forward_hook(lambda *_: None)
    assert LastLayer.of(net, ALIKE[:1]).shared(ALIKE) == 0


def test_large_states_below_the_norm_are_no_difference():
    net = make("llama")
    with torch.no_grad():
        net.model.layers[0].mlp.down_proj.weight.mul_(1e9)  # as in SmolLM2, whose states reach 10,000
    assert LastLayer.of(net, ALIKE[:1]).shared(ALIKE) == 20


def test_other_families_read_each_row():
    net = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=4))
    assert LastLayer.of(net, ALIKE[:1]) is None


@cases("adapter", [Steering(), LoRA(r=2), None])
@cases("reuse", [True, False])
def test_students_learn_the_same(adapter, reuse, monkeypatch):
    monkeypatch.setattr(shared_beginning, "_LEAST", 1)
    monkeypatch.setattr(StoredKeys, "of", lambda *_: None)  # which need no beginning
    found, calls = [], []
    for shares in (True, False):
        if not shares:
            monkeypatch.setattr(LastLayer, "_shares", lambda *_: False)
        module = Student("pocket/a", adapter, learning_rate=1e-3, seed=0, reuse_lower_part=reuse, optimizer="sgd")
        shared = LastLayer.shared
        monkeypatch.setattr(
            LastLayer, "shared", lambda self, ids, own=shared: calls.append(own(self, ids)) or calls[-1]
        )
        quiet_trainer(max_epochs=2).fit(module, row_loader(tokenized(24), 8, seed=1))
        found.append({name: value.detach() for name, value in module.named_parameters() if value.requires_grad})
    assert any(calls)
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=0, atol=1e-6)
