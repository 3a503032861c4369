"""The theorem on real tensors: one small step of imitation, on any inputs, goes down the teacher's own loss.

Paper, section on the theorem. The teacher takes a step from the start, T = start + e dT with dT = - gradient of its
loss. The student takes a step from the same start towards the teacher's outputs, on whatever inputs. To first order its
displacement dS has an inner product with dT that is a mean of squares, so never negative:

    <dS, dT> / (a e) = mean over outputs of |J dT|^2          with squared error
                     = mean over outputs of Var_p(J dT)       with softmax cross-entropy, p the start's own softmax

J is the derivative of the outputs by the parameters. It is never formed: J dT is one forward-mode product, and
transposed J times something is one reverse-mode product.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vjp

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.theory.functional import (
    Call,
    ModelFunction,
    Parameters,
    differentiable,
    directional,
    inner,
)

__all__ = ["ImitationLoss", "TheoremCheck", "check"]

ImitationLoss = Literal["squared_error", "cross_entropy"]

# Lengths of displacements: 1e-3 and three decades below, where the first order rules and float64 still counts.
LONGEST = 1e-3
GRID = (1.0, 1e-1, 1e-2, 1e-3)


@dataclass(frozen=True)
class TheoremCheck:
    """What one check found. Lists over steps go from the largest step to the smallest.

    Attributes:
        inner_product: <dS, dT> / (a e) in the limit of small steps, by a reverse-mode product; nan with another start,
            where no such limit exists.
        squared_norm: the same as a mean of squares, by a forward-mode product alone; nan with another start.
        gradient_norm: length of the teacher's gradient, which is that of dT.
        loss: the teacher's loss at the student's start.
        epsilons: the teacher's steps.
        alphas: the student's.
        inner_products: <dS, dT> for a student of step 1 and a teacher really moved by each epsilon; (epsilons,).
        cosines: of dS and dT, the same; (epsilons,).
        teacher_changes: of the teacher's loss by its own step; (epsilons,).
        changes: of the teacher's loss by the student's step; (epsilons, alphas).
        slope_epsilon: of log |change| by log epsilon, at the smallest alpha; the theorem says 1.
        slope_alpha: of log |change| by log alpha, at the smallest epsilon; 1.
    """

    inner_product: float
    squared_norm: float
    gradient_norm: float
    loss: float
    epsilons: list[float]
    alphas: list[float]
    inner_products: list[float]
    cosines: list[float]
    teacher_changes: list[float]
    changes: list[list[float]]
    slope_epsilon: float
    slope_alpha: float

    @property
    def smallest_change(self) -> float:
        """The change of the teacher's loss by the smallest steps of both: negative, or 0 where nothing is taught."""
        return self.changes[-1][-1]

    def as_json(self) -> dict[str, Any]:
        """Return all fields as JSON-able data; what is no finite number as None."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def check(
    model: nn.Module,
    teacher_loss: Callable[[Call], Tensor],
    student_inputs: Any,
    loss: ImitationLoss = "cross_entropy",
    *,
    read: Callable[[Any], Tensor] | None = None,
    student: nn.Module | None = None,
    epsilons: Sequence[float] | None = None,
    alphas: Sequence[float] | None = None,
    dtype: torch.dtype | None = torch.float64,
) -> TheoremCheck:
    """Check the theorem for a model, a teacher's loss and a student's inputs (paper, section on the theorem).

    What is moved are the parameters that require gradients: all of a network, or those of an adapter.

    Args:
        model: the common start. It is left as it is.
        teacher_loss: the teacher's loss, a scalar, as a function of something that is called as the model is:
            ``lambda net: cross_entropy(net(images), labels)``. It may be anything.
        student_inputs: what the student imitates the teacher on; also anything: a tensor, or a mapping of the model's
            keyword arguments.
        loss: how it imitates: half the squared distance of the outputs, or the cross-entropy of their softmax; the
            mean over all outputs' places.
        read: gives the outputs, (..., outputs), from what the model returns; by default a tensor as it is, and the
            ``logits`` of anything else. It may choose places, such as ``lambda out: out.logits[completion]``.
        student: where the student starts instead: a module like ``model`` with other values. The theorem then says
            nothing, and that is what it is for.
        epsilons: the teacher's steps, largest first; by default such that its displacement is 1e-3 to 1e-6 long.
        alphas: the student's; by default such that its displacement is 1e-3 to 1e-6 long at the largest epsilon.
        dtype: of the computation. Changes of a loss in float32 are lost in rounding; None takes the model's own.

    Returns:
        The inner product both ways, the changes of the teacher's loss over both grids, and their slopes.

    Raises:
        InputError: if the teacher's loss is no scalar or does not depend on what is trained, the student has nothing to
            imitate, there is no such imitation loss, or the steps do not go down towards 0.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        >>> data, labels = torch.randn(16, 4), torch.randint(3, (16,))
        >>> found = check(net, lambda net: nn.functional.cross_entropy(net(data), labels), torch.randn(9, 4))
        >>> found.inner_product > 0, found.smallest_change < 0
        (True, True)
    """
    for name, steps in (("epsilons", epsilons), ("alphas", alphas)):
        if steps is not None and not _go_down(steps):
            raise InputError(f"`{name}` is {list(steps)}: give at least one step above 0, largest first.")
    if loss not in get_args(ImitationLoss):
        raise InputError(f"`loss` is {loss!r}: choose {' or '.join(get_args(ImitationLoss))}.")
    read = read or _outputs
    base = ModelFunction(model, dtype)
    own = base if student is None else ModelFunction(student, dtype)
    if {name: value.shape for name, value in own.start.items()} != {n: v.shape for n, v in base.start.items()}:
        raise InputError("`student` trains other parameters than `model`: give a module like it, with other values.")

    def outputs(function: ModelFunction, parameters: Parameters) -> Tensor:
        call = function.at(parameters)
        made = call(**student_inputs) if isinstance(student_inputs, Mapping) else call(student_inputs)
        return _by_place(read(made))

    def taught_loss(call: Call) -> Tensor:
        found = teacher_loss(call)
        if not isinstance(found, Tensor) or found.dim():
            raise InputError("The teacher's loss is no scalar tensor: give a function such as a mean over its rows.")
        return found

    with differentiable(model, dtype == torch.float64), differentiable(own.module, dtype == torch.float64):
        gradient, _ = grad_and_value(lambda parameters: taught_loss(base.at(parameters)))(base.start)
        down = {name: -value.detach() for name, value in gradient.items()}
        length = inner(down, down).sqrt().item()
        if not math.isfinite(length) or length == 0:
            raise InputError(f"The teacher's gradient has length {length}: its loss must depend on what is trained.")
        first, pushed = directional(lambda parameters: outputs(base, parameters), base.start, down)
        told, pull = vjp(lambda parameters: outputs(own, parameters), own.start)[:2]
        places = len(told)

        def student_step(residual: Tensor) -> Parameters:
            """Go down the imitation loss whose gradient by the outputs is -residual, at step 1."""
            (step,) = pull(residual / places)
            return {name: value.detach() for name, value in step.items()}

        limit, squares = math.nan, math.nan
        if student is None:
            weighted, square = _curvature(first, pushed, loss)
            limit, squares = inner(student_step(weighted), down).item(), square.mean().item()
        epsilons = list(epsilons) if epsilons is not None else [LONGEST * part / length for part in GRID]
        with torch.no_grad():
            taught = [outputs(base, base.moved(down, epsilon)) for epsilon in epsilons]
            moves = [student_step(_residual(each, told, loss)) for each in taught]
            if alphas is None:
                farthest = max(inner(moves[0], moves[0]).sqrt().item(), 1e-300)
                alphas = [LONGEST * part / farthest for part in GRID]
            before, own_before = (taught_loss(each.at(each.start)).item() for each in (base, own))
            teacher_changes = [taught_loss(base.at(base.moved(down, e))).item() - before for e in epsilons]
            changes = [
                [taught_loss(own.at(own.moved(move, alpha))).item() - own_before for alpha in alphas] for move in moves
            ]
    products = [inner(move, down).item() for move in moves]
    lengths = [inner(move, move).sqrt().item() * length for move in moves]
    return TheoremCheck(
        inner_product=limit,
        squared_norm=squares,
        gradient_norm=length,
        loss=own_before,
        epsilons=epsilons,
        alphas=list(alphas),
        inner_products=products,
        cosines=[product / size if size else math.nan for product, size in zip(products, lengths, strict=True)],
        teacher_changes=teacher_changes,
        changes=changes,
        slope_epsilon=_slope(epsilons, [row[-1] for row in changes]),
        slope_alpha=_slope(list(alphas), changes[-1]),
    )


def _outputs(made: Any) -> Tensor:
    found = made if isinstance(made, Tensor) else getattr(made, "logits", None)
    if not isinstance(found, Tensor):
        raise InputError(
            f"The model returns a {type(made).__name__} without `logits`: say by `read` what its outputs are."
        )
    return found


def _by_place(outputs: Tensor) -> Tensor:
    """Return outputs of any shape as (places, outputs)."""
    if not outputs.dim() or not outputs.numel():
        raise InputError(f"The outputs have shape {tuple(outputs.shape)}: the student needs something to imitate.")
    return outputs.reshape(-1, outputs.shape[-1])


def _go_down(steps: Sequence[float]) -> bool:
    return (
        len(steps) > 0
        and all(0 < step < math.inf for step in steps)
        and all(one > other for one, other in pairwise(steps))
    )


def _curvature(outputs: Tensor, pushed: Tensor, loss: ImitationLoss) -> tuple[Tensor, Tensor]:
    """Return H J dT and its square <J dT, H J dT> a place, H being the loss's curvature by the outputs at the start.

    Args:
        outputs: at the start, (places, outputs).
        pushed: J dT, (places, outputs).
        loss: which imitation loss.

    Returns:
        (places, outputs) and (places,).
    """
    if loss == "squared_error":
        return pushed, pushed.square().sum(-1)
    chances = outputs.softmax(-1)
    centred = pushed - (chances * pushed).sum(-1, keepdim=True)
    return chances * centred, (chances * centred.square()).sum(-1)


def _residual(teacher: Tensor, student: Tensor, loss: ImitationLoss) -> Tensor:
    """Return the imitation loss's negative gradient by the student's outputs, (places, outputs)."""
    if loss == "squared_error":
        return teacher - student
    return teacher.softmax(-1) - student.softmax(-1)


def _slope(steps: list[float], changes: list[float]) -> float:
    """Return the slope of log |change| by log step, by least squares; nan where a change is 0 or there is one step."""
    x = torch.tensor(steps, dtype=torch.float64).log()
    y = torch.tensor(changes, dtype=torch.float64).abs().log()
    if len(steps) < 2 or not y.isfinite().all():
        return math.nan
    x = x - x.mean()
    return ((x * y).sum() / x.square().sum()).item()


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
