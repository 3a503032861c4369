"""Linear interpolation between models, and their means.

A state is a ``state_dict``, or any other mapping of names to tensors. A name that one state lacks counts as zero there,
such as a bias that a layer does not have or a steering vector that was not trained.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError

__all__ = ["State", "between", "displacement", "mean_of"]

State = Mapping[str, Tensor]


def between(start: State, end: State, t: float) -> dict[str, Tensor]:
    """Return start + t (end - start), exactly ``start`` at 0 and ``end`` at 1.

    Args:
        start: tensors by their names.
        end: likewise; integers must be the same in both.
        t: the place on the line; any number.

    Raises:
        InputError: if a tensor has another shape in the other state, or integers differ.

    Example:
        >>> between({"bias": torch.tensor([1.0])}, {"bias": torch.tensor([3.0])}, 1.5)
        {'bias': tensor([4.])}
    """
    if not math.isfinite(t):
        raise InputError(f"`t` is {t}: expected a finite number, such as 0.5.")
    made = {}
    for name in _names((start, end)):
        first, last = _at(name, (start, end))
        made[name] = (
            torch.lerp(first.double(), last.double(), float(t)).to(first.dtype) if first.is_floating_point() else first
        )
    return made


def mean_of(states: Sequence[State], weights: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Return the mean of models.

    Args:
        states: at least one.
        weights: of the states, normalized by their sum; equal where it is None.

    Raises:
        InputError: if there are no states, weights don't fit, or tensors differ in shape.

    Example:
        >>> mean_of([{"bias": torch.tensor([1.0])}, {"bias": torch.tensor([4.0])}], weights=[2, 1])
        {'bias': tensor([2.])}
    """
    counts = [1.0] * len(states) if weights is None else [float(each) for each in weights]
    total = sum(counts)
    if not states:
        raise InputError("There are no models to average: give at least one.")
    if len(counts) != len(states) or not (math.isfinite(total) and total > 0):
        raise InputError(f"`weights` is {counts} for {len(states)} models: expected one each, with a sum above 0.")
    made = {}
    for name in _names(states):
        values = _at(name, states)
        if not values[0].is_floating_point():
            made[name] = values[0]
            continue
        summed = torch.zeros_like(values[0], dtype=torch.float64)  # so that the mean of equal models is exact
        for value, count in zip(values, counts, strict=True):
            summed += value.double() * (count / total)
        made[name] = summed.to(values[0].dtype)
    return made


def displacement(start: State, end: State) -> dict[str, Tensor]:
    """Return end - start in float64, for ``theory.alignment``, without integers."""
    moved = {}
    for name in _names((start, end)):
        first, last = _at(name, (start, end))
        if first.is_floating_point():
            moved[name] = last.double() - first.double()
    return moved


def _names(states: Sequence[State]) -> list[str]:
    return list(dict.fromkeys(name for state in states for name in state))


def _at(name: str, states: Sequence[State]) -> list[Tensor]:
    """Return one tensor of each state, zeros where a state lacks it.

    Raises:
        InputError: if shapes or integers differ.
    """
    there = [state[name] for state in states if name in state]
    like = there[0]
    for each in there[1:]:
        if each.shape != like.shape:
            raise InputError(
                f"`{name}` has the shape {tuple(like.shape)} in one model and {tuple(each.shape)} in another: "
                "use models of one architecture."
            )
        if not like.is_floating_point() and not torch.equal(each, like):
            raise InputError(f"`{name}` holds integers that differ between the models: use models of one architecture.")
    return [state[name] if name in state else torch.zeros_like(like) for state in states]
