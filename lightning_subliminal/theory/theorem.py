"""The theorem on real tensors: one small step of imitation, on any inputs, decreases the teacher's own loss.

Paper, section on the theorem. The teacher takes a step from the start, T = start + e dT with dT = - gradient of its
loss. The student takes a step from the same start towards the teacher's outputs, on whatever inputs. To first order its
displacement dS has an inner product with dT that is a mean of squares, so never negative:

    <dS, dT> / (a e) = mean over outputs of |J dT|^2          with squared error
                     = mean over outputs of Var_p(J dT)       with softmax cross-entropy, p the start's own softmax

J is the derivative of the outputs by the parameters. It is never formed: J dT is one forward-mode product, and products
with the transposed J are reverse-mode products.
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
from lightning_subliminal.theory.functional import Call, ModelFunction, Parameters, differentiable, directional, inner

__all__ = ["ImitationLoss", "TheoremCheck", "check"]

ImitationLoss = Literal["squared_error", "cross_entropy"]

# Lengths of displacements: 1e-3 and three decades below, where the first order dominates and float64 is exact enough.
LONGEST = 1e-3
GRID = (1.0, 1e-1, 1e-2, 1e-3)


@dataclass(frozen=True)
class TheoremCheck:
    """Results of a check. Lists over steps are from the largest step to the smallest.

    Attributes:
        inner_product: <dS, dT> / (a e) in the limit of small steps, by a reverse-mode product; nan with another start,
            where the limit does not exist.
        squared_norm: the same as a mean of squares, by a forward-mode product alone; nan with another start.
        gradient_norm: length of the teacher's gradient, which is that of dT.
        loss: the teacher's loss at the student's start.
        epsilons: the teacher's steps.
        alphas: the student's.
        inner_products: <dS, dT> for a student of step 1 and a teacher moved by each epsilon; (epsilons,).
        cosines: of dS and dT, the same; (epsilons,).
        teacher_changes: of the teacher's loss by its own step; (epsilons,).
        changes: of the teacher's loss by the student's step; (epsilons, alphas).
        slope_epsilon: of log |change| by log epsilon, at the smallest alpha; 1 by the theorem.
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
        """Return all fields as JSON-able data; numbers that are not finite as None."""
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

    The steps move the parameters that require gradients: all of a network, or those of an adapter.

    Args:
        model: the common start, which is not changed.
        teacher_loss: the teacher's loss, a scalar, as a function of a callable like the model:
            ``lambda net: cross_entropy(net(images), labels)``.
        student_inputs: the inputs on which the student imitates the teacher: a tensor, or a mapping of the model's
            keyword arguments.
        loss: of the imitation: half the squared distance of the outputs, or the cross-entropy of their softmax;
            averaged over the outputs' places.
        read: returns the outputs, (..., outputs), from the model's result; by default a tensor itself, or the
            ``logits`` of any other result. It may select places, such as ``lambda out: out.logits[completion]``.
        student: another start for the student: a module like ``model`` with other values, as a counterexample, since
            the theorem then does not hold.
        epsilons: the teacher's steps, largest first; by default for displacements of length 1e-3 to 1e-6.
        alphas: the student's; by default for displacements of length 1e-3 to 1e-6 at the largest epsilon.
        dtype: of the computation; float32 loses changes of a loss in rounding. The model's own where it is None.

    Returns:
        The inner product by both methods, the changes of the teacher's loss over both grids, and their slopes.

    Raises:
        InputError: if the teacher's loss is not a scalar or does not depend on the trained parameters, the outputs are
            empty, the imitation loss is unknown, or the steps do not decrease towards 0.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        >>> data, labels = torch.randn(16, 4), torch.randint(3, (16,))
        >>> found = check(net, lambda net: nn.functional.cross_entropy(net(data), labels), torch.randn(9, 4))
        >>> found.inner_product > 0, found.smallest_change < 0
        (True, True)
    """
    for name, steps in (("epsilons", epsilons), ("alphas", alphas)):
        falls = steps and all(one > other > 0 for one, other in pairwise([math.inf, *steps]))
        if steps is not None and not falls:
            raise InputError(f"`{name}` is {list(steps)}: expected at least one step above 0, largest first.")
    if loss not in get_args(ImitationLoss):
        raise InputError(f"`loss` is {loss!r}: choose {' or '.join(get_args(ImitationLoss))}.")
    read = read or _outputs
    base = ModelFunction(model, dtype)
    own = base if student is None else ModelFunction(student, dtype)
    if {name: value.shape for name, value in own.start.items()} != {n: v.shape for n, v in base.start.items()}:
        raise InputError("`student` trains other parameters than `model`: use a module like it, with other values.")

    def outputs(function: ModelFunction, parameters: Parameters) -> Tensor:
        call = function.at(parameters)
        made = read(call(**student_inputs) if isinstance(student_inputs, Mapping) else call(student_inputs))
        if not made.dim() or not made.numel():
            raise InputError(f"The outputs have shape {tuple(made.shape)}: expected at least one output to imitate.")
        return made.reshape(-1, made.shape[-1])  # (places, outputs)

    def taught_loss(call: Call) -> Tensor:
        found = teacher_loss(call)
        if not isinstance(found, Tensor) or found.dim():
            raise InputError("The teacher's loss is not a scalar tensor: return one, such as a mean over its rows.")
        return found

    with differentiable(model, dtype == torch.float64), differentiable(own.module, dtype == torch.float64):
        gradient, _ = grad_and_value(lambda parameters: taught_loss(base.at(parameters)))(base.start)
        down = {name: -value.detach() for name, value in gradient.items()}
        length = inner(down, down).sqrt().item()
        if not math.isfinite(length) or length == 0:
            raise InputError(
                f"The teacher's gradient has length {length}: its loss must depend on the trained parameters."
            )
        first, pushed = directional(lambda parameters: outputs(base, parameters), base.start, down)
        before_step, pull = vjp(lambda parameters: outputs(own, parameters), own.start)[:2]
        places = len(before_step)

        def student_step(residual: Tensor) -> Parameters:
            """Return a step of size 1 down the imitation loss whose gradient by the outputs is -residual."""
            (step,) = pull(residual / places)
            return {name: value.detach() for name, value in step.items()}

        limit, squares = math.nan, math.nan
        if student is None:
            weighted, square = _curvature(first, pushed, loss)
            limit, squares = inner(student_step(weighted), down).item(), square.mean().item()
        epsilons = list(epsilons) if epsilons is not None else [LONGEST * part / length for part in GRID]
        with torch.no_grad():
            taught = [outputs(base, base.moved(down, epsilon)) for epsilon in epsilons]
            moves = [student_step(_residual(each, before_step, loss)) for each in taught]
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
            f"The model returns a {type(made).__name__} without `logits`: pass `read`, which returns its outputs."
        )
    return found


def _curvature(outputs: Tensor, pushed: Tensor, loss: ImitationLoss) -> tuple[Tensor, Tensor]:
    """Return H J dT, (places, outputs), and <J dT, H J dT>, (places,), with the loss's curvature H at the start.

    Args:
        outputs: at the start, (places, outputs).
        pushed: J dT, (places, outputs).
        loss: which imitation loss.
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
