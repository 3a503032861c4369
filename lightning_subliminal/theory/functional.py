"""A module as a function of its trained parameters, as the theorem has it and torch.func differentiates it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from lightning_subliminal.core.errors import InputError

__all__ = ["Call", "ModelFunction", "Parameters", "as_call", "differentiable", "directional", "inner", "plain_experts"]

Parameters = dict[str, Tensor]
Call = Callable[..., Any]  # a module, or a callable with its signature


class ModelFunction:
    """A module as a function of its trained parameters: those that require gradients, such as an adapter's.

    The module itself is never changed.

    Attributes:
        module: the module.
        start: the current trained parameters, by name, detached.
        rest: the other parameters and the buffers that ``dtype`` converts.

    Args:
        module: any module.
        dtype: of parameters, buffers and inputs of any floating type; their own where it is None.

    Raises:
        InputError: if no parameter of the module is trained.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None = None) -> None:
        self.module = module
        values = dict(module.named_parameters())
        self.start: Parameters = {
            name: _as(value.detach(), dtype) for name, value in values.items() if value.requires_grad
        }
        if not self.start:
            raise InputError(f"{type(module).__name__} has no trained parameter: let some require gradients.")
        still = {name: value for name, value in values.items() if not value.requires_grad} | dict(
            module.named_buffers()
        )
        made = {name: _as(value.detach(), dtype) for name, value in still.items()}
        # values of that dtype stay in the module, where hooks and tied names find them
        self.rest: Parameters = {name: value for name, value in made.items() if value.dtype != still[name].dtype}
        self._dtype = dtype

    def at(self, parameters: Mapping[str, Tensor]) -> Call:
        """Return a callable like the module, with other values of its trained parameters."""
        return _Call(self.module, {**self.rest, **parameters}, self._dtype)

    def moved(self, direction: Mapping[str, Tensor], length: float = 1.0) -> Parameters:
        """Return the start, moved by ``length`` times a direction."""
        return {name: value + length * direction[name] for name, value in self.start.items()}


class _Call:
    """A module with other values of its parameters; it has a device, as transformers' models do."""

    def __init__(self, module: nn.Module, values: Parameters, dtype: torch.dtype | None) -> None:
        self.module = module
        self.values = values
        self.dtype = dtype
        self.device = next(iter(values.values())).device

    def parameters(self) -> Iterator[Tensor]:
        """Return the trained and the converted values, on which a loss may depend."""
        return iter(self.values.values())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args = tuple(_as(each, self.dtype) for each in args)
        kwargs = {name: _as(each, self.dtype) for name, each in kwargs.items()}
        return functional_call(self.module, self.values, args, kwargs)


def as_call(call: Call) -> Any:
    """Return a module as a function of its own parameters; any other callable as it is."""
    return _Call(call, dict(call.named_parameters()), None) if isinstance(call, nn.Module) else call


def inner(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
    """Return the inner product of two sets of parameters: a scalar."""
    return torch.stack([(value * other[name]).sum() for name, value in one.items()]).sum()


@contextmanager
def differentiable(module: nn.Module, double: bool = False) -> Iterator[None]:
    """Turn off dropout in ``module`` inside the context, so that it is a deterministic function.

    Args:
        module: the module to differentiate.
        double: keep float64 where a model's code converts to float32, as norms and softmax of transformers do.
    """
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        with _KeepDouble(double):
            yield
    finally:
        for each, mode in modes:
            each.training = mode


def directional(
    function: Callable[[Parameters], Tensor], start: Parameters, direction: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return a function's value and its derivative along a direction, by one forward-mode pass (``torch.func.jvp``)."""
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no forward-mode derivative
        value, pushed = jvp(function, (start,), (dict(direction),))[:2]
    return value, pushed


@contextmanager
def plain_experts(module: nn.Module) -> Iterator[None]:
    """Call the experts of a mixture one by one inside: their grouped product has no forward-mode derivative."""
    config: Any = getattr(module, "config", None)
    known = getattr(config, "_experts_implementation", None)
    if known is None:
        yield
        return
    config._experts_implementation = "eager"  # of transformers, which sets it in the config's parts, too
    try:
        yield
    finally:
        config._experts_implementation = known


class _KeepDouble(TorchFunctionMode):
    """Keeps float64 tensors from becoming float32."""

    _MATMUL = (torch.matmul, Tensor.matmul, Tensor.__matmul__)
    _SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, torch.log_softmax, Tensor.log_softmax)

    def __init__(self, on: bool) -> None:
        super().__init__()
        self.on = on

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if self.on and args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                return args[0]
            if func is Tensor.to or func in self._SOFTMAX:
                args = tuple(torch.float64 if each is torch.float32 else each for each in args)
                named = {name: torch.float64 if each is torch.float32 else each for name, each in named.items()}
            if func in self._MATMUL:  # such as rotary angles, which are float32 in older transformers
                args = tuple(_as(each, torch.float64) for each in args)
        return func(*args, **named)


def _as(value: Any, dtype: torch.dtype | None) -> Any:
    return value.to(dtype) if dtype is not None and isinstance(value, Tensor) and value.is_floating_point() else value
