"""Runs without numbers, and a counter of the bytes and FLOPs that they would take.

Inside ``without_numbers`` a tensor has a shape, a type and a device, and no memory (torch's ``FakeTensorMode``): a step
of a 7B model takes seconds, and calls the same operations in the same order as a real one. What is counted is what
torch allocates for them, whatever the architecture. A library's own working memory inside an operation is not seen, nor
is the fragmentation of an allocator.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

__all__ = ["Counter", "placed", "without_numbers"]

_FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Counter(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, their peak, and the floating-point operations.

    FLOPs are those of matrix products and attention, two for a multiplication and an addition, as MFU is defined by
    (Chowdhery et al., 2022, arXiv 2204.02311, appendix B); attention counts whole squares.

    Attributes:
        now: bytes alive.
        peak: most bytes alive at once, since it was last set to ``now``.
        flops: so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.flops = 0
        self._alive: set[int] = set()

    def restart(self) -> None:
        """Count peak and FLOPs from here."""
        self.peak, self.flops = self.now, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count its results."""
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self._see(each)
        packet = func._overloadpacket
        if packet is _FLASH:
            self.flops += sdpa_flop_count(*(each.shape for each in args[:3]))
        elif packet is _FLASH_BACKWARD:
            shapes = (each.shape for each in args[:4])
            self.flops += sdpa_backward_flop_count(*shapes)
        elif packet in flop_registry:
            self.flops += flop_registry[packet](*args, **kwargs, out_val=made)
        return made

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:  # a view, or a change in place
            return
        self._alive.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


@contextmanager
def without_numbers() -> Iterator[Counter]:
    """Run without numbers inside, and count."""
    with FakeTensorMode(allow_non_fake_inputs=True), Counter() as counter:
        yield counter


def placed(net: Any) -> Any:
    """Place a net on the CPU, inside ``without_numbers``: each parameter and buffer once, however often it is used."""
    made: dict[int, Tensor] = {}
    for module in net.modules():
        for values in (module._parameters, module._buffers):
            for name, value in values.items():
                if value is None:
                    continue
                if id(value) not in made:
                    here = torch.empty_like(value, device="cpu")
                    is_weight = isinstance(value, nn.Parameter)
                    made[id(value)] = nn.Parameter(here, requires_grad=value.requires_grad) if is_weight else here
                values[name] = made[id(value)]
    return net
