import copy

import pytest
import torch
from torch import nn

from lightning_subliminal import Steering, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.theory import ModelFunction
from lightning_subliminal.theory.functional import differentiable, inner


class Net(nn.Module):
    """Two linear maps with a normalization between that has buffers, floating and whole, and a dropout."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(3, 4),
            nn.BatchNorm1d(4),
            nn.Dropout(0.5),
            nn.Linear(4, 2),
        )

    def forward(self, inputs, scale=1.0):
        return self.last(self.drop(self.norm(self.first(inputs)))) * scale


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_another_call_leaves_the_module_alone(net):
    before, inputs = state(net), torch.randn(5, 3)
    function = ModelFunction(net.eval())
    moved = function.moved({name: torch.ones_like(value) for name, value in function.start.items()}, 0.5)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for value in other.parameters():
            value += 0.5
    assert torch.allclose(function.at(moved)(inputs, scale=3.0), other(inputs) * 3, atol=1e-6)
    assert torch.allclose(function.at(function.start)(inputs), net(inputs))
    assert not torch.allclose(net(inputs), other(inputs), atol=1e-2)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert {value.dtype for value in net.parameters()} == {torch.float32}


def test_what_is_trained_is_what_requires_gradients(net):
    net.first.requires_grad_(False)
    function = ModelFunction(net)
    assert set(function.start) == {"norm.weight", "norm.bias", "last.weight", "last.bias"}
    assert not any(value.requires_grad for value in function.start.values())
    with pytest.raises(InputError, match="Net has no trained parameter: let some require gradients"):
        ModelFunction(net.requires_grad_(False))


def test_all_of_it_is_computed_in_the_type_asked_for(net):
    net.first.requires_grad_(False)
    net(torch.randn(9, 3))  # moves the running means
    inputs, double = torch.randn(5, 3), copy.deepcopy(net.eval()).double()
    function = ModelFunction(net, torch.float64)
    found = function.at(function.start)(inputs)  # inputs in float32 are taken as they come
    assert found.dtype == torch.float64
    assert torch.equal(found, double(inputs.double()))
    assert torch.equal(function.at(function.start)(inputs=inputs), found)
    assert set(function.rest) == {"first.weight", "first.bias", "norm.running_mean", "norm.running_var"}
    assert not ModelFunction(net).rest
    assert not ModelFunction(double, torch.float64).rest


def test_a_call_has_a_device_as_models_have(net):
    function = ModelFunction(net)
    assert next(function.at(function.start).parameters()).device == next(net.parameters()).device


def test_inner_product_is_that_of_all_values_in_one_row():
    torch.manual_seed(1)
    one, other = ({"a": torch.randn(3, 2).double(), "b": torch.randn(4).double()} for _ in range(2))
    rows = [torch.cat([each["a"].flatten(), each["b"]]) for each in (one, other)]
    assert inner(one, dict(reversed(other.items()))).item() == pytest.approx((rows[0] @ rows[1]).item(), rel=1e-14)


def test_modes_come_back_also_after_an_exception(net):
    net.train()
    net.norm.eval()
    modes = [module.training for module in net.modules()]
    with differentiable(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == modes
    with pytest.raises(ZeroDivisionError), differentiable(net, double=True):
        1 / 0  # noqa: B018
    assert [module.training for module in net.modules()] == modes
    assert torch.zeros(1).double().float().dtype == torch.float32, "nor does float64 stay any longer"


def test_float64_is_kept_inside_alone_and_float32_as_it_is():
    wide, narrow = torch.rand(3).double(), torch.rand(3)
    with differentiable(nn.Linear(1, 1), double=True):
        for found in (
            wide.float(),
            wide.to(torch.float32),
            wide.to(dtype=torch.float32),
            torch.softmax(wide, -1, dtype=torch.float32),
            nn.functional.softmax(wide, dim=-1, dtype=torch.float32),
            wide.log_softmax(-1, torch.float32),
        ):
            assert found.dtype == torch.float64
        places = torch.arange(3)[None].float()  # rotary embeddings: whole positions have no float64 to keep
        assert torch.equal(wide[:, None].float() @ places, wide[:, None] * torch.arange(3))
        assert narrow.float().dtype == narrow.softmax(-1).dtype == torch.float32
        assert narrow.to(torch.bfloat16).dtype == torch.bfloat16
    with differentiable(nn.Linear(1, 1)):
        assert wide.float().dtype == torch.float32


def test_a_language_model_is_differentiable_to_the_digits_of_float64():
    """Its norms and softmax go to float32; a central difference tells whether anything of it is left."""
    net = Steering(init_std=0.3).attach(bases.load("pocket/a")[0], 0)
    ids = torch.arange(24).view(2, 12) + 10
    function = ModelFunction(net, torch.float64)
    torch.manual_seed(2)
    direction = {name: torch.randn_like(value) for name, value in function.start.items()}
    assert {value.dtype for value in direction.values()} == {torch.float64}

    def loss(parameters):
        logits = function.at(parameters)(input_ids=ids, use_cache=False).logits
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    def off(double):
        with differentiable(net, double):
            slope = inner(torch.func.grad(loss)(function.start), direction)
            length = 1e-5
            ends = [loss(function.moved(direction, sign * length)).detach() for sign in (1, -1)]
        return abs(((ends[0] - ends[1]) / (2 * length) / slope - 1).item())

    assert off(True) < 1e-7
    assert off(False) > 1e-5, "else this proves nothing"
