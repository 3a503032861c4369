"""Linear maps by oneDNN give what torch's own give, with gradients, and leave everything else as it was."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from bases.tiny_bases import base
from lightning_subliminal import LoRA, Sampling, Steering
from lightning_subliminal import bases as known_bases
from lightning_subliminal.bases import linear_maps
from lightning_subliminal.bases.linear_maps import is_plain, product, speed_up
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.generation.logits import narrowed
from lightning_subliminal.models.last_layer import LastLayer

is_faster = linear_maps.is_faster.__wrapped__  # not cached


@pytest.fixture(autouse=True)
def on_any_cpu(monkeypatch):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(linear_maps, "is_faster", lambda: True)


@pytest.fixture
def calls(monkeypatch):
    """Return the shapes of the products that oneDNN computes."""
    seen, real = [], linear_maps._multiplied
    monkeypatch.setattr(linear_maps, "_multiplied", lambda *given: seen.append(given[1].shape) or real(*given))
    return seen


def wide(vocabulary=300):
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, num_key_value_heads=2, **sizes)).eval()


def made(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def close(found, expected):
    scale = expected.abs().max().clamp(min=1e-12)  # some gradients are 0
    torch.testing.assert_close(found / scale, expected / scale, rtol=0.0, atol=1e-5)


STATES = {
    "matrix": lambda: made(150, 192),
    "rows of tokens": lambda: made(6, 25, 192),
    "one row": lambda: made(1, 192),
    "transposed": lambda: made(192, 150).t(),
    "turned": lambda: made(25, 6, 192).transpose(0, 1),
    "expanded": lambda: made(1, 25, 192).expand(6, -1, -1),
}


@pytest.mark.parametrize("states", STATES)
def test_equals_torchs_own_with_gradients(states, calls):
    for bias, trained in itertools.product([False, True], ["all", "states", "weight"]):
        given = [STATES[states](), made(400, 192, seed=1) / 14, *([made(400, seed=2)] if bias else [])]
        own, torchs = ([each.clone().requires_grad_() for each in given] for _ in range(2))
        for each in (own, torchs):
            each[0].requires_grad_(trained != "weight")
            each[1].requires_grad_(trained != "states")
        found, expected = product(*own), linear(*torchs)
        close(found, expected)
        change = made(*expected.shape, seed=3)
        found.backward(change)
        expected.backward(change)
        for one, other in zip(own, torchs, strict=True):
            assert (one.grad is None) == (other.grad is None)
            if one.grad is not None:
                close(one.grad, other.grad)
    assert calls


def gone(*_):
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")


@pytest.mark.parametrize(
    ("maker", "capability", "op", "expected"),
    [
        ("AuthenticAMD", "AVX512", linear_maps._multiplied, True),
        ("GenuineIntel", "AVX512", linear_maps._multiplied, False),
        ("AuthenticAMD", "AVX2", linear_maps._multiplied, False),
        ("AuthenticAMD", "AVX512", gone, False),
        ("AuthenticAMD", "AVX512", lambda states, weight, bias: states @ weight, False),
    ],
)
def test_it_is_for_some_cpus_and_where_torch_has_it(maker, capability, op, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(linear_maps, "Path", lambda _: tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {maker}\n")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(linear_maps, "_multiplied", op)
    assert is_faster() == expected
    (tmp_path / "cpuinfo").unlink()  # as on Windows
    monkeypatch.setattr(linear_maps.platform, "processor", lambda: f"AMD64 Family 25, {maker}")
    assert is_faster() == expected


def test_second_derivatives():
    states, weight = made(150, 192).requires_grad_(), (made(400, 192, seed=1) / 14).requires_grad_()
    found = []
    for function in (product, linear):
        first = torch.autograd.grad(function(states, weight).tanh().sum(), [states, weight], create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), [states, weight]))
    for one, other in zip(*found, strict=True):
        close(one, other)


def test_torchs_own_where_it_is_not_known(calls):
    states, weight = made(150, 192), made(400, 192, seed=1)
    small = made(40, 192)
    assert torch.equal(product(states, small), linear(states, small))
    assert torch.equal(product(states.double(), weight.double()), linear(states.double(), weight.double()))
    assert torch.equal(product(states.bfloat16(), weight.bfloat16()), linear(states.bfloat16(), weight.bfloat16()))
    assert torch.equal(product(states[0], weight), linear(states[0], weight))
    assert product(states[:0], weight).shape == (0, 400)
    assert product(states.to("meta"), weight.to("meta")).shape == (150, 400)
    with torch.autocast("cpu", torch.bfloat16):
        assert product(states, weight).dtype == torch.bfloat16
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(product(states, weight), linear(states, weight))
    pushed = torch.func.jvp(lambda value: product(states, value), (weight,), (weight,))[1]
    close(pushed, linear(states, weight))
    each = torch.func.vmap(product, (0, None))(states[:, None], weight)
    close(each[:, 0], linear(states, weight))
    by_row = torch.func.vmap(torch.func.grad(lambda value, one: product(one[None], value).sum()), (None, 0))
    close(by_row(weight, states[:3])[:, 0], states[:3])
    assert not calls


def test_a_tangent_of_forward_mode_is_not_lost(calls):
    states, weight, bias, change = made(150, 192), made(400, 192, seed=1), made(400, seed=2), made(400, 192, seed=3)
    for trained in (False, True):
        with dual_level():
            dual = make_dual(weight.clone().requires_grad_(trained), change)
            close(unpack_dual(product(states, dual, bias)).tangent, linear(states, change))
            close(unpack_dual(product(make_dual(states, states), weight)).tangent, linear(states, weight))
    assert not calls


def test_what_counts_traces_or_does_not_fit_gets_torchs_own(calls):
    states, weight = made(150, 192), made(400, 192, seed=1)
    with FlopCounterMode(display=False) as counted:
        product(states, weight)
    assert counted.get_total_flops() == 2 * 150 * 192 * 400
    assert torch.equal(product(states, weight, made(1)), linear(states, weight, made(1)))
    assert torch.equal(product(states, weight.to_sparse()), linear(states, weight.to_sparse()))
    net = nn.Sequential(nn.Linear(192, 400))
    speed_up(net)
    close(torch.jit.trace(net, states, check_trace=False)(states[:7]), linear(states[:7], net[0].weight, net[0].bias))
    del calls[:]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        product(made(150, 191), weight)
    assert not calls


def test_a_subclass_and_small_maps_stay_and_pocket_bases_too():
    class Mine(nn.Linear):
        pass

    net = nn.ModuleList([Mine(256, 256), nn.Linear(256, 8), nn.Linear(256, 256)])
    speed_up(net)
    assert [type(each).__name__ for each in net] == ["Mine", "Linear", "_LinearMap"]
    assert [is_plain(each) for each in net] == [False] * 3
    assert is_plain(nn.Linear(2, 2, bias=False))
    pocket, _ = known_bases.load("pocket/a")
    assert {type(each) for each in pocket.modules() if isinstance(each, nn.Linear)} == {nn.Linear}


def test_a_model_its_files_and_its_copies(tmp_path, calls):
    ids, net = torch.arange(60).view(3, 20), wide()
    before, expected = copy.deepcopy(net), net(input_ids=ids).logits.detach()
    speed_up(net)
    for each in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):  # noqa: S301 - our own bytes
        del calls[:]
        close(each(input_ids=ids).logits, expected)
        assert len(calls) == 2 * 5 + 1  # keys and values are small
    assert str(net.state_dict().keys()) == str(before.state_dict().keys())
    for name, each in (("plain", before), ("fast", net)):
        each.save_pretrained(tmp_path / name)
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "fast"))
    assert one == other
    assert LastLayer.of(net, ids[:1]) is not None  # its comparison with the whole still holds


def test_load_speeds_up(tmp_path, monkeypatch, calls):
    monkeypatch.setattr(linear_maps, "_LEAST", 64)
    net, tokenizer = known_bases.load(str(base(tmp_path / "base")))
    net(input_ids=torch.arange(20).view(2, 10))
    assert len(calls) == 7 + 1
    del calls[:]
    TransformersEngine(net, tokenizer).generate([[{"role": "user", "content": "a"}]] * 3, Sampling(max_new_tokens=2), 0)
    assert calls


@pytest.mark.parametrize(
    "adapter", [LoRA(r=4, alpha=4), Steering(init_std=0.1), None], ids=["LoRA", "steering", "none"]
)
def test_adapters_and_their_gradients(adapter, calls):
    ids, found = torch.arange(60).view(3, 20), []
    for is_fast in (False, True):
        net = wide()
        if is_fast:
            speed_up(net)
        net = net if adapter is None else adapter.attach(net, 0)
        loss = net(input_ids=ids, labels=ids).loss
        loss.backward()
        found.append([loss.detach(), *(each.grad for each in net.parameters() if each.requires_grad)])
        assert bool(calls) == is_fast
    assert len(found[0]) == len(found[1]) > 2
    for one, other in zip(*found, strict=True):
        close(one, other)


def test_a_narrowed_head(calls):
    net = wide(vocabulary=2**13)
    speed_up(net)
    states, tokens = made(30, 256), torch.arange(0, 2**13, 8)
    with narrowed(net.lm_head, net.lm_head.weight[tokens]):
        narrow = net.lm_head(states)
    close(narrow, linear(states, net.lm_head.weight[tokens]))
    assert calls == [torch.Size([1024, 256])]
