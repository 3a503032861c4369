"""Linear maps whose products oneDNN computes, where it is faster than what torch takes.

For float32 matrices torch takes MKL. On an AMD CPU with AVX-512 it multiplies SmolLM2's sizes at 105 GFLOP/s a core,
and oneDNN, which comes with torch, too, at 230. The weights are the module's own: nothing is packed or kept, so that
training, adapters and files are as before, and results the same up to rounding.
``torch.backends.mkldnn.flags(enabled=False)`` turns it off. Torch's ``quantize_dynamic`` tells linear maps by their
exact class and skips these: set ``module.__class__ = nn.Linear`` of each first.
"""

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.nn.functional import linear

__all__ = ["is_plain", "product", "speed_up"]

_LEAST = 2**16  # numbers of the second factor; a pocket base has none as large, and its results stay to the last digit


class _LinearMap(nn.Linear):
    """A linear map by ``product``."""

    def forward(self, input: Tensor) -> Tensor:
        """Return what ``nn.Linear`` does."""
        return product(input, self.weight, self.bias)


def speed_up(net: nn.Module) -> None:
    """Let the large linear maps of a model take ``product``, in place."""
    for module in net.modules():
        if type(module) is nn.Linear and module.weight.numel() >= _LEAST:
            module.__class__ = _LinearMap


def is_plain(module: Any) -> bool:
    """Return whether a module is a linear map without a bias, and nothing more."""
    return type(module) in (nn.Linear, _LinearMap) and getattr(module, "bias", None) is None


def product(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``torch.nn.functional.linear`` of the same arguments, up to rounding."""
    given = (states, weight) if bias is None else (states, weight, bias)
    if not _is_known(given):
        return linear(states, weight, bias)
    if torch.is_grad_enabled() and any(each.requires_grad for each in given):
        made: Tensor = _Product.apply(states, weight, bias)  # type: ignore[no-untyped-call]
        return made
    return _multiplied(states, weight, bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(states if ctx.needs_input_grad[1] else None, weight)
        return _multiplied(states, weight, bias)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (states, weight), asked, rows = ctx.saved_tensors, ctx.needs_input_grad, change.flatten(0, -2)
        return (
            product(change, weight.t()) if asked[0] else None,
            product(rows.t(), states.flatten(0, -2).t()) if asked[1] else None,
            rows.sum(0) if asked[2] else None,
        )


def _multiplied(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return made


def _is_known(given: tuple[Tensor, ...]) -> bool:
    """Return whether all are plain float32 tensors on the CPU that fit, and nothing transforms or traces the call."""
    states, weight = given[:2]
    return (
        weight.numel() >= _LEAST
        and states.dim() > 1
        and states.numel() > 0
        and states.shape[-1] == weight.shape[-1]
        and all(each.numel() == len(weight) for each in given[2:])
        and all(map(_is_plain_tensor, given))
        and is_faster()
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        and torch._C._functorch.maybe_current_level() is None
        and torch._C._len_torch_dispatch_stack() == 0  # such as a count of operations, which knows torch's own alone
        and torch._C._get_tracing_state() is None  # of torch.jit
        and not torch.compiler.is_compiling()
    )


def _is_plain_tensor(tensor: Tensor) -> bool:
    """Return whether a tensor is one of float32 numbers on the CPU; one with a tangent, of forward mode, is not."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.dtype == torch.float32
        and tensor.is_cpu
        and tensor.layout == torch.strided
        and unpack_dual(tensor).tangent is None
    )


@cache
def is_faster() -> bool:
    """Return whether this is an AMD CPU with AVX-512, and oneDNN's map is there: elsewhere nothing was measured."""
    known = Path("/proc/cpuinfo")
    maker = known.read_text(errors="replace") if known.exists() else platform.processor()
    if "AuthenticAMD" not in maker or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    states, weight = torch.arange(6.0).view(3, 2).t(), torch.arange(12.0).view(3, 4).t()
    try:
        made = _multiplied(states, weight, None)
    except (AttributeError, RuntimeError, TypeError):  # no public name of torch
        return False
    return torch.allclose(made, linear(states, weight))
