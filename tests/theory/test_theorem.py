"""The check against dense Jacobians and plain autograd, which share no line with it."""

import copy
import json
import math
from types import SimpleNamespace

import pytest
import torch
from cases import cases
from torch import nn
from torch.func import functional_call, jacrev
from torch.nn.functional import cross_entropy

from lightning_subliminal import Steering, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.theory import check

LOSSES = ("squared_error", "cross_entropy")


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()


def drawn(seed=0):
    torch.manual_seed(seed + 100)
    return torch.randn(7, 3).double(), torch.randint(4, (7,)), torch.randn(6, 3).double()


def taught(seed=0):
    data, labels, _ = drawn(seed)
    return lambda net: cross_entropy(net(data), labels)


def flat(values):
    return torch.cat([value.flatten() for value in values])


def trained(net):
    return {name: value.detach() for name, value in net.named_parameters() if value.requires_grad}


def dense(net, inputs):
    """Return the Jacobian of the outputs by all trained parameters, (places, outputs, parameters)."""
    parts = jacrev(lambda values: functional_call(net, values, (inputs,)))(trained(net))
    return torch.cat([part.flatten(2) for part in parts.values()], 2)


def down(net, loss):
    """Return minus the gradient of the teacher's loss, in one row."""
    return -flat(torch.autograd.grad(loss(net), [value for value in net.parameters() if value.requires_grad]))


def moved(net, direction, length):
    """Return a copy of the net whose trained parameters went along a direction."""
    other = copy.deepcopy(net)
    place = 0
    for value in other.parameters():
        if value.requires_grad:
            value.data += length * direction[place : place + value.numel()].view_as(value)
            place += value.numel()
    return other


def imitation(kind, student, teacher):
    """Return the imitation loss as one would write it down."""
    if kind == "squared_error":
        return 0.5 * (student - teacher).square().sum(-1).mean()
    return cross_entropy(student, teacher.softmax(-1))


def step(kind, net, teacher, inputs):
    """Return the student's step of length 1: minus the gradient of its imitation loss, in one row."""
    return down(net, lambda net: imitation(kind, net(inputs), teacher(inputs).detach()))


@cases("frozen", [False, True], ids=["all", "frozen"])
@cases("kind", LOSSES)
@cases("seed", [0, 1])
def test_limits_are_those_of_a_dense_jacobian(seed, kind, frozen):
    net, inputs = mlp(seed), drawn(seed)[2]
    net[0].requires_grad_(not frozen)
    found = check(net, taught(seed), inputs, kind)
    way, jacobian = down(net, taught(seed)), dense(net, inputs)
    pushed = jacobian @ way  # (places, outputs)
    if kind == "squared_error":
        expected, bent = pushed.square().sum(-1).mean(), pushed
    else:
        chances = net(inputs).softmax(-1).detach()
        expected = ((chances * pushed**2).sum(-1) - (chances * pushed).sum(-1) ** 2).mean()
        bent = chances * pushed - chances * (chances * pushed).sum(-1, keepdim=True)
    assert found.squared_norm == pytest.approx(expected.item(), rel=1e-10)
    backward = torch.einsum("po,pon->n", bent, jacobian) / len(inputs)
    assert found.inner_product == pytest.approx((backward @ way).item(), rel=1e-10)
    assert found.gradient_norm == pytest.approx(way.norm().item(), rel=1e-12)
    assert found.loss == pytest.approx(taught(seed)(net).item(), rel=1e-14)
    assert found.inner_product > 1e-3


@cases("kind", LOSSES)
def test_steps_are_those_of_plain_autograd(kind):
    net, inputs, loss = mlp(), drawn()[2], taught()
    epsilons, alphas = [0.5, 0.01], [0.3, 0.02, 0.001]
    found = check(net, loss, inputs, kind, epsilons=epsilons, alphas=alphas)
    way = down(net, loss)
    for line, epsilon in enumerate(epsilons):
        teacher = moved(net, way, epsilon)
        student = step(kind, net, teacher, inputs)
        assert found.inner_products[line] == pytest.approx((student @ way).item(), rel=1e-10)
        assert found.cosines[line] == pytest.approx(torch.cosine_similarity(student, way, 0).item(), rel=1e-10)
        assert found.teacher_changes[line] == pytest.approx((loss(teacher) - loss(net)).item(), rel=1e-9)
        for column, alpha in enumerate(alphas):
            expected = (loss(moved(net, student, alpha)) - loss(net)).item()
            assert found.changes[line][column] == pytest.approx(expected, rel=1e-9)
    assert (found.epsilons, found.alphas) == (epsilons, alphas)
    assert found.smallest_change == found.changes[1][2] < 0


@cases("kind", LOSSES)
@cases("seed", range(3))
def test_the_theorem_holds_by_default(seed, kind):
    found = check(mlp(seed), taught(seed), drawn(seed)[2], kind)
    assert found.inner_product == pytest.approx(found.squared_norm, rel=1e-9)
    assert found.inner_products[-1] / found.epsilons[-1] == pytest.approx(found.inner_product, rel=1e-3)
    assert found.slope_epsilon == pytest.approx(1, abs=0.05)
    assert found.slope_alpha == pytest.approx(1, abs=0.05)
    assert found.smallest_change < 0
    # <dS, dT> is, but for the sign, the first-order change of the loss
    rate = found.smallest_change / (found.epsilons[-1] * found.alphas[-1])
    assert rate == pytest.approx(-found.inner_product, rel=1e-2)
    assert len(found.changes) == len(found.epsilons) == len(found.alphas) == 4
    assert found.epsilons[0] * found.gradient_norm == pytest.approx(1e-3)


def test_slopes_are_of_the_logarithms():
    """Far from 0 they are not 1, so that one is seen to be measured."""
    found = check(mlp(), taught(), drawn()[2], epsilons=[30.0, 3.0, 0.3], alphas=[40.0, 10.0])
    (first, last) = (math.log(abs(each)) for each in found.changes[-1])
    assert found.slope_alpha == pytest.approx((first - last) / math.log(4))
    assert abs(found.slope_alpha - 1) > 0.01
    logs = [math.log(abs(row[-1])) for row in found.changes]  # evenly spaced: the middle one has no weight
    assert found.slope_epsilon == pytest.approx((logs[0] - logs[2]) / (2 * math.log(10)))
    assert math.isnan(check(mlp(), taught(), drawn()[2], alphas=[1.0]).slope_alpha)


def test_another_start_has_no_limit_and_its_own_step():
    net, other, inputs, loss = mlp(0), mlp(1), drawn()[2], taught()
    found = check(net, loss, inputs, student=other, epsilons=[0.1], alphas=[0.01])
    assert math.isnan(found.inner_product)
    assert math.isnan(found.squared_norm)
    way = down(net, loss)
    student = step("cross_entropy", other, moved(net, way, 0.1), inputs)
    assert found.inner_products == [pytest.approx((student @ way).item(), rel=1e-10)]
    assert found.changes[0][0] == pytest.approx((loss(moved(other, student, 0.01)) - loss(other)).item(), rel=1e-9)
    assert found.loss == pytest.approx(loss(other).item())
    signs = {math.copysign(1, check(net, loss, inputs, student=mlp(seed)).inner_products[-1]) for seed in range(1, 9)}
    assert signs == {-1.0, 1.0}, "a coin flip"
    json.dumps(found.as_json(), allow_nan=False)
    assert found.as_json()["squared_norm"] is None


def test_any_type_and_any_mode_is_left_as_it_was():
    net = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 4)).train()
    before = copy.deepcopy(net.state_dict())
    data, labels, inputs = drawn()
    found = check(net, lambda net: cross_entropy(net(data.float()), labels), inputs.float())
    assert found.inner_product == pytest.approx(found.squared_norm, rel=1e-9), "float32 is lifted, dropout is off"
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(value.grad is not None for value in net.parameters())
    single = check(net, lambda net: cross_entropy(net(data.float()), labels), inputs.float(), dtype=None)
    assert single.inner_product == pytest.approx(found.inner_product, rel=1e-4)
    assert single.inner_product != found.inner_product


class Named(nn.Module):
    """Takes keyword arguments, and gives no tensor."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, images, shift):
        found = self.net(images) + shift
        return SimpleNamespace(logits=found, twice=2 * found)


def test_inputs_by_name_and_outputs_by_read():
    inputs, (data, labels, _) = drawn()[2], drawn()

    def loss(net):
        return cross_entropy(net(images=data, shift=0.0).logits, labels)

    given = {"images": inputs, "shift": 1.0}
    plain = check(mlp(), taught(), inputs, "squared_error")
    assert check(Named(), loss, given, "squared_error").squared_norm == pytest.approx(plain.squared_norm)
    twice = check(Named(), loss, given, "squared_error", read=lambda out: out.twice)
    assert twice.squared_norm == pytest.approx(4 * plain.squared_norm)
    assert twice.inner_product == pytest.approx(4 * plain.inner_product)
    some = check(Named(), loss, given, "squared_error", read=lambda out: out.logits[:2])
    assert some.squared_norm == pytest.approx(check(mlp(), taught(), inputs[:2], "squared_error").squared_norm)
    one = check(Named(), loss, given, "squared_error", read=lambda out: out.logits[0])
    assert one.squared_norm == pytest.approx(check(mlp(), taught(), inputs[:1], "squared_error").squared_norm)
    cut = check(mlp(), taught(), inputs, read=lambda out: out.view(2, 3, 4))
    assert cut.squared_norm == pytest.approx(check(mlp(), taught(), inputs).squared_norm), "all but the last are places"


@cases("adapter", [None, Steering()], ids=["full", "steering"])
@cases("kind", LOSSES)
def test_a_language_model(kind, adapter):
    net, _ = bases.load("pocket/a")
    net = net if adapter is None else adapter.attach(net, 0)
    torch.manual_seed(3)
    ids, heard = torch.randint(10, 200, (2, 9)), torch.randint(10, 200, (2, 6))
    found = check(
        net, lambda net: cross_entropy(net(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()), heard, kind
    )
    assert found.inner_product == pytest.approx(found.squared_norm, rel=1e-9), "float64 throughout"
    assert found.squared_norm > 0
    assert found.smallest_change < 0
    assert found.slope_epsilon == pytest.approx(1, abs=0.05)
    assert found.slope_alpha == pytest.approx(1, abs=0.05)
    # a plain backward pass of the model itself, in float32, has the same gradient
    loss = cross_entropy(net.eval()(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    parts = torch.autograd.grad(loss, [value for value in net.parameters() if value.requires_grad])
    assert found.gradient_norm == pytest.approx(flat(parts).norm().item(), rel=1e-4)


def test_a_student_who_sees_nothing_of_what_was_taught_stays():
    """The teacher changes what its last map reads of an input that is never 0; on zeros, nothing shows."""
    net = nn.Linear(3, 4, bias=False).double()
    found = check(net, taught(), torch.zeros(5, 3).double())
    assert found.inner_product == found.squared_norm == found.smallest_change == 0
    assert all(math.isnan(each) for each in (*found.cosines, found.slope_alpha, found.slope_epsilon))


@cases(
    ("changes", "says"),
    [
        ({"epsilons": []}, r"`epsilons` is \[\]: expected at least one step above 0, largest first"),
        ({"alphas": [0.1, 0.0]}, "`alphas` is .*expected at least one step above 0"),
        ({"alphas": [0.1, 0.2]}, "largest first"),
        ({"epsilons": [math.nan]}, "above 0"),
        ({"loss": "mse"}, "`loss` is 'mse': choose squared_error or cross_entropy"),
        ({"teacher_loss": lambda net: net(drawn()[0])}, "The teacher's loss is not a scalar tensor"),
        ({"teacher_loss": lambda net: 1.0}, "The teacher's loss is not a scalar tensor"),
        ({"teacher_loss": lambda net: torch.zeros(())}, "must depend on the trained parameters"),
        ({"teacher_loss": lambda net: net(drawn()[0]).sum() * math.inf}, "must depend on the trained parameters"),
        ({"student": nn.Linear(3, 4)}, "`student` trains other parameters than `model`"),
        (
            {"student_inputs": torch.zeros(0, 3)},
            r"outputs have shape \(0, 4\): expected at least one output to imitate",
        ),
        ({"read": lambda out: out.sum()}, r"outputs have shape \(\)"),
        (
            {"model": nn.GRU(3, 4), "teacher_loss": lambda net: net(drawn()[0])[0].sum()},
            "pass `read`, which returns its outputs",
        ),
        ({"model": mlp().requires_grad_(False)}, "has no trained parameter"),
    ],
)
def test_mistakes_are_reported_in_a_line(changes, says):
    given = {"model": mlp(), "teacher_loss": taught(), "student_inputs": drawn()[2], **changes}
    with pytest.raises(InputError, match=says) as err:
        check(**given)
    assert "\n" not in str(err.value)


def test_a_teachers_loss_may_be_of_the_parameters():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    found = check(net, lambda net: sum(each.square().sum() for each in net.parameters()), torch.randn(5, 3))
    assert found.gradient_norm == pytest.approx(2 * float(sum(p.square().sum() for p in net.parameters())) ** 0.5)
    assert found.smallest_change < 0
