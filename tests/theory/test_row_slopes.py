"""Both ways of the rows' slopes against a loop: a backward pass a row, and an inner product."""

import pytest
import torch
from cases import cases
from small import number_rows, pocket_tokenizer
from torch import nn

from lightning_subliminal import IA3, LoRA, Steering, bases
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.theory import ModelFunction
from lightning_subliminal.theory.functional import inner
from lightning_subliminal.theory.row_slopes import ByForwardMode, ByRowScales, row_slopes, summed_loss

ROWS = 5
WAYS = [ByForwardMode, ByRowScales]
ADAPTERS = {
    "steering": Steering(init_std=0.3),
    "one vector": Steering(layers=[1]),
    "lora": LoRA(r=2),
    "ia3": IA3(),
    "full": None,
}


def model(kind, dtype=torch.float64):
    """Return a model that trains what the adapter says, away from starts at which half of a gradient is 0."""
    net = bases.load("pocket/a")[0].to(dtype)
    adapter = ADAPTERS[kind]
    net = (net if adapter is None else adapter.attach(net, 0)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "lora_B" in name or "ia3" in name:
                value += 0.1 * torch.randn(value.shape, generator=generator)
    return net.to(dtype)


def batch(count=ROWS, width=None):
    """Return input ids and labels, padded on the right, the lengths being different."""
    pairs = [row_ids(pocket_tokenizer(), row) for row in number_rows(count)]
    lengths = [len(prompt) + len(completion) for prompt, completion in pairs]
    assert count == 1 or len(set(lengths)) > 2
    ids = torch.full((count, width or max(lengths)), 3)
    labels = torch.full_like(ids, -100)
    for line, (prompt, completion) in enumerate(pairs):
        ids[line, : lengths[line]] = torch.tensor(prompt + completion)
        labels[line, len(prompt) : lengths[line]] = torch.tensor(completion)
    return ids, labels


def aim(function, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator).to(value) for name, value in function.start.items()}


def by_loop(net, direction, count=ROWS):
    """Score each row alone, without padding, by the model's own loss."""
    slopes, losses = [], []
    names = list(direction)
    for row in number_rows(count):
        prompt, completion = row_ids(pocket_tokenizer(), row)
        ids = torch.tensor([prompt + completion])
        labels = torch.tensor([[-100] * len(prompt) + completion])
        logs = net(ids).logits[0, :-1].log_softmax(-1)
        kept = labels[0, 1:] >= 0
        loss = -logs[kept, labels[0, 1:][kept]].sum()
        parts = torch.autograd.grad(loss, [net.get_parameter(name) for name in names])
        slopes.append(sum((part * direction[name]).sum().item() for name, part in zip(names, parts, strict=True)))
        losses.append(loss.item())
    return slopes, losses


@cases("way", WAYS)
@cases("kind", [kind for kind in ADAPTERS if kind != "ia3"])
def test_both_ways_equal_a_loop(way, kind):
    net = model(kind)
    function = ModelFunction(net)
    direction = aim(function)
    slopes, losses = way(function, direction)(*batch())
    expected, lost = by_loop(net, direction)
    assert slopes.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6 * max(map(abs, expected)))
    assert losses.tolist() == pytest.approx(lost, rel=1e-6)
    assert slopes.std() > 0.1
    assert not slopes.requires_grad
    assert not losses.requires_grad


@cases("way", WAYS)
def test_tied_embeddings_move_in_both_their_places(way):
    """Of all parameters, the table alone moves: it is read at the bottom, and is the head."""
    net = model("full")
    net.requires_grad_(False)
    table = net.get_input_embeddings().weight.requires_grad_()
    assert net.get_output_embeddings().weight is table
    function = ModelFunction(net)
    assert len(function.start) == 1
    direction = aim(function)
    expected, _ = by_loop(net, direction)
    assert way(function, direction)(*batch())[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_the_fast_way_is_taken_where_it_is_right():
    for kind in ADAPTERS:
        function = ModelFunction(model(kind, torch.float32))
        direction = aim(function)
        way = row_slopes(function, direction, *batch(4))
        assert isinstance(way, ByForwardMode if kind == "ia3" else ByRowScales), kind
        expected, _ = by_loop(function.module, direction)
        assert way(*batch())[0].tolist() == pytest.approx(expected, abs=2e-4 * max(map(abs, expected))), kind


def test_one_row_alone_does_not_let_a_wrong_way_pass():
    function = ModelFunction(model("ia3"))
    direction = aim(function)
    way = row_slopes(function, direction, *batch(1))
    assert isinstance(way, ByForwardMode)
    assert way(*batch())[0].tolist() == pytest.approx(by_loop(function.module, direction)[0], rel=1e-6)


class Odd(nn.Linear):
    """A linear map that reads its weight a second time, where no hook sees it."""

    def forward(self, inputs):
        return nn.functional.linear(inputs, self.weight + 0.1 * self.weight.roll(1, 0).square(), self.bias)


class Shy(nn.Linear):
    """A linear map that takes no weights of a row's own, nor anything by place."""

    def forward(self, *, input):
        return nn.functional.linear(input, self.weight, self.bias)


class Named(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        return self.inner(input=inputs)


@cases("kind", [Odd, Shy])
def test_a_module_that_breaks_the_fast_way_gets_the_sure_one(kind):
    net = model("full")
    net.requires_grad_(False)
    mlp = net.model.layers[0].mlp
    odd = kind(mlp.up_proj.in_features, mlp.up_proj.out_features, bias=False).double()
    odd.weight.data.copy_(mlp.up_proj.weight)
    mlp.up_proj = odd if kind is Odd else Named(odd)
    function = ModelFunction(net)
    direction = aim(function)
    way = row_slopes(function, direction, *batch(4))
    assert isinstance(way, ByForwardMode)
    assert way(*batch())[0].tolist() == pytest.approx(by_loop(net, direction)[0], rel=1e-6)


@cases("way", WAYS)
def test_padding_does_not_matter(way):
    function = ModelFunction(model("lora"))
    direction = aim(function)
    narrow, wide = batch(), batch(width=90)
    found = way(function, direction)
    for one, other in zip(found(*narrow), found(*wide), strict=True):
        assert torch.allclose(one, other, rtol=1e-9)
    ids, labels = wide
    changed = torch.where(labels.flip(1).cummax(1).values.flip(1) < 0, 77, ids)  # whatever stands behind the completion
    assert not torch.equal(changed, ids)
    assert torch.allclose(found(changed, labels)[0], found(*narrow)[0], rtol=1e-9)


@cases("way", WAYS)
def test_a_row_without_labels_has_no_slope(way):
    ids, labels = batch()
    labels[2] = -100
    function = ModelFunction(model("steering"))
    direction = aim(function)
    slopes, losses = way(function, direction)(ids, labels)
    assert slopes[2] == losses[2] == 0
    expected, _ = by_loop(function.module, direction)
    assert slopes[3].item() == pytest.approx(expected[3], rel=1e-6)


@cases("way", WAYS)
def test_nothing_is_left_in_the_model(way):
    net = model("lora")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    hooks = sum(len(module._forward_hooks) for module in net.modules())
    function = ModelFunction(net)
    way(function, aim(function))(*batch())
    assert sum(len(module._forward_hooks) for module in net.modules()) == hooks
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(value.grad is not None for value in net.parameters())


@cases("way", WAYS)
@cases("kind", ["steering", "lora"])
def test_float64_of_a_float32_model(way, kind):
    """A function in float64 of a module in float32 has the slopes of the module in float64, frozen weights and all."""
    single, double = (
        ModelFunction(model(kind, torch.float32), torch.float64),
        ModelFunction(model(kind, torch.float32)),
    )
    double.module.double()
    double = ModelFunction(double.module)
    direction = aim(double)
    found, expected = (way(each, direction)(*batch())[0] for each in (single, double))
    assert found.dtype == torch.float64
    assert torch.allclose(found, expected, rtol=1e-12)
    assert summed_loss(single, single.start, *batch()).item() == pytest.approx(
        way(double, direction)(*batch())[1].sum().item(), rel=1e-12
    )


def test_summed_loss_has_the_gradient_of_all_rows():
    function = ModelFunction(model("lora"))
    direction = aim(function)
    values = {name: value.requires_grad_() for name, value in function.start.items()}
    loss = summed_loss(function, values, *batch())
    slopes, losses = by_loop(function.module, direction)
    assert loss.item() == pytest.approx(sum(losses), rel=1e-6)
    parts = dict(zip(values, torch.autograd.grad(loss, list(values.values())), strict=True))
    assert inner(parts, direction).item() == pytest.approx(sum(slopes), rel=1e-6)
