"""Alignment of a student's displacement with its teacher's.

A displacement is the change of a model's weights since its start. With a shared start, the first small step of
imitation, on any inputs, has an inner product of at least 0 with the teacher's displacement (paper, section on the
theorem). The theorem does not cover later steps, other optimizers and other starts; there it is measured.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError

__all__ = [
    "Alignment",
    "AlignmentSubject",
    "Displacement",
    "LowRank",
    "alignment",
    "difference",
    "inner_product",
    "layer_of",
]

# BatchedMLP keeps weights.0, biases.0; a bare number is a place in nn.Sequential.
_NUMBERED = re.compile(r"(?:^|\.)(?:layers?|h|blocks?|weights|biases)\.(\d+)(?:\.|$)")


class LowRank(NamedTuple):
    """A matrix ``left @ right``, which is never formed.

    Attributes:
        left: ``(outputs, rank)``, or ``(models, outputs, rank)``.
        right: ``(rank, inputs)``, or ``(models, rank, inputs)``.
    """

    left: Tensor
    right: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the matrix."""
        return (*self.left.shape[:-1], self.right.shape[-1])


Displacement: TypeAlias = Mapping[str, Tensor | LowRank]
"""The change of a base's weights, by their names in the base, for any adapter."""


@dataclass(frozen=True)
class Alignment:
    """A student's displacement compared with its teacher's.

    Each value is a scalar, or ``(models,)`` where displacements have a dimension of models; float64.

    Attributes:
        cosine: between the two; nan where one of them is zero. At least 0 after a first small step of gradient descent
            from the teacher's own start (paper, section on the theorem).
        student_norm: length of the student's displacement.
        teacher_norm: length of the teacher's displacement.
        projection: the student's displacement along the teacher's, as a share of it: <student, teacher> / <teacher,
            teacher>; nan where the teacher's is zero.
        layers: the same for each layer alone, by ``layer_of``.
    """

    cosine: Tensor
    student_norm: Tensor
    teacher_norm: Tensor
    projection: Tensor
    layers: "dict[str, Alignment]" = field(default_factory=dict)


@dataclass(frozen=True)
class AlignmentSubject:
    """What ``AlignmentTracker`` tracks of a module, which returns it from ``alignment_subject(trainer)``.

    Attributes:
        arms: returns the current displacements by the name of the arm, such as `student`.
        teacher: returns the teacher's displacement; called once, when the tracking starts.
        teacher_loss: returns each arm's loss on the teacher's training data; nothing where that is unknown.
        model_dims: 1 where each tensor has a leading dimension of models, else 0.
        following: returns whether the arms are in training; a module may train its teacher first.
    """

    arms: Callable[[], Mapping[str, Displacement]]
    teacher: Callable[[], Displacement]
    teacher_loss: Callable[[], Mapping[str, Tensor | float]] = dict
    model_dims: int = 0
    following: Callable[[], bool] = lambda: True


def layer_of(name: str) -> str:
    """Return the layer of a weight: "layer 0", or the part of its name, such as "embed_tokens"."""
    if found := _NUMBERED.search(name):
        return f"layer {int(found[1])}"
    parts = [part for part in name.split(".") if part not in ("weight", "bias")]
    part = parts[-1] if parts else name
    return f"layer {part}" if part.isdigit() else part


def difference(now: Tensor, start: Tensor) -> Tensor:
    """Return ``now - start``, detached and at least in float32, since 16 bits would lose a small change."""
    wide = torch.promote_types(now.dtype, torch.float32)
    return now.detach().to(wide) - start.detach().to(now.device, wide)


def inner_product(one: Displacement, other: Displacement, model_dims: int = 0) -> Tensor:
    """Return the inner product of two displacements: the sum over their common names.

    It is computed in float64 (float32 where a device has none): a displacement has millions of terms of both signs,
    whose sum in float32 keeps few digits when the two are nearly orthogonal. Low-rank matrices are multiplied by their
    factors: <A B, C D> is the sum of (A^T C) * (B D^T), of the size of the ranks.

    Args:
        one: tensors of any shape, ``(models, ...)`` with ``model_dims``.
        other: likewise.
        model_dims: 1 where each tensor has a leading dimension of models.

    Returns:
        Scalar, or ``(models,)``.

    Raises:
        InputError: if a name has different shapes in the two.
    """
    products = [_product(value, other[name], name, model_dims) for name, value in one.items() if name in other]
    return sum(products, _zero(one, other, model_dims))


def alignment(student: Displacement, teacher: Displacement, model_dims: int = 0) -> Alignment:
    """Compare two displacements, whole and layer by layer, for all layers of either.

    Arguments and errors are those of ``inner_product``.
    """
    zero = _zero(student, teacher, model_dims)
    # Of each layer: <student, teacher>, <student, student>, <teacher, teacher>.
    layers: dict[str, list[Tensor]] = {}
    for name in dict.fromkeys((*student, *teacher)):
        sums = layers.setdefault(layer_of(name), [zero, zero, zero])
        for place, (one, other) in enumerate(((student, teacher), (student, student), (teacher, teacher))):
            if name in one and name in other:
                sums[place] = sums[place] + _product(one[name], other[name], name, model_dims)
    whole = [sum((sums[place] for sums in layers.values()), zero) for place in range(3)]
    return _compared(whole, {layer: _compared(sums, {}) for layer, sums in layers.items()})


def _compared(sums: list[Tensor], layers: dict[str, Alignment]) -> Alignment:
    product, student, teacher = sums
    norms = student.sqrt(), teacher.sqrt()
    return Alignment(product / (norms[0] * norms[1]), *norms, product / teacher, layers)


def _zero(one: Displacement, other: Displacement, model_dims: int) -> Tensor:
    """Return an empty sum, of the shape and on the device of the terms."""
    for value in (*one.values(), *other.values()):
        like = value.left if isinstance(value, LowRank) else value
        return _exact(like.new_zeros(like.shape[:model_dims]))
    return torch.zeros((), dtype=torch.float64)


def _product(one: Tensor | LowRank, other: Tensor | LowRank, name: str, model_dims: int) -> Tensor:
    if tuple(one.shape) != tuple(other.shape):
        raise InputError(
            f"{name} has shape {tuple(one.shape)} in one displacement and {tuple(other.shape)} in the other: compare "
            "models of one architecture."
        )
    if isinstance(one, LowRank) and isinstance(other, LowRank):
        small = _exact(one.left).mT @ _exact(other.left), _exact(one.right) @ _exact(other.right).mT
        return (small[0] * small[1]).sum((-2, -1))
    if isinstance(one, LowRank):
        return (_exact(one.left) * (_exact(other) @ _exact(one.right).mT)).sum((-2, -1))  # type: ignore[arg-type]
    if isinstance(other, LowRank):
        return _product(other, one, name, model_dims)
    first = _exact(one)
    second = first if other is one else _exact(other)
    if model_dims == 0:
        return torch.dot(first.flatten(), second.flatten())
    # a batch of matrix products, which never forms a tensor of all terms
    return torch.bmm(first.flatten(1).unsqueeze(1), second.flatten(1).unsqueeze(2)).flatten()


def _exact(value: Tensor) -> Tensor:
    return value.detach().to(torch.float32 if value.device.type == "mps" else torch.float64)
