"""Spaces of scores beside that of steering: LoRA at its start, and a random projection of a space that is too large.

The covariance of scores has as many dimensions as the space, and takes many times as many clean rows. One layer of
SmolLM2-135M has 576, all of them 17,280, LoRA of rank 4 has 622,080: these are projected first.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.layers import decoder_layers
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.theory.row_gradients import LayerVectors, ScoreSpace, hooked

__all__ = ["LoRAFactors", "Projected", "score_space"]

MOST = 2048  # numbers of a space, whose covariance is kept


def score_space(net: nn.Module, layers: Sequence[int] | None = None, name: str = "steering") -> ScoreSpace:
    """Return a space by its name.

    Args:
        net: a causal language model of transformers.
        layers: indices of decoder layers, counted from 0; None means all.
        name: ``steering``, one vector a layer; ``lora4``, the factors B of LoRA of rank 4; ``steering/512`` or
            ``lora4/512``, projected at random on 512 numbers.

    Raises:
        InputError: if there is no such space, or it has more than 2,048 numbers, too many for a covariance.
    """
    found = re.fullmatch(r"(?:steering|lora([1-9]\d{0,3}))(?:/([1-9]\d{0,5}))?", name)
    if found is None:
        raise InputError(f"The space is {name!r}: expected steering, lora4 for LoRA of rank 4, or lora4/512.")
    space: ScoreSpace = LoRAFactors(net, layers, int(found[1])) if found[1] else LayerVectors(net, layers)
    if found[2] and space.size > int(found[2]):
        space = Projected(space, int(found[2]))
    if space.size > MOST:
        raise InputError(
            f"The space {name} of {len(space.layers)} layers has {space.size:,} numbers: expected at most {MOST:,}; "
            f"name fewer layers, or project it: {name.partition('/')[0]}/512."
        )
    return space


class LoRAFactors(ScoreSpace):
    """The space of LoRA's factors B at its start: y = W x + B A x, with A drawn at random and B = 0.

    There the gradient by A is 0, since B is, so that the first step of training moves B alone. A is drawn as PEFT draws
    it, uniform with a standard deviation of 1 / sqrt(3 inputs); another student's A has another seed.

    Args:
        net: a causal language model of transformers.
        layers: indices of decoder layers, counted from 0; None means all.
        r: rank.
        seed: of A.

    Attributes:
        size: r times the outputs of all linear maps of the layers.

    Raises:
        InputError: if a layer is out of range or has no linear map.
    """

    def __init__(self, net: nn.Module, layers: Sequence[int] | None = None, r: int = 4, seed: int = 0) -> None:
        super().__init__(net, layers)
        found = decoder_layers(net)
        maps = [each for layer in self.layers for each in found[layer].modules() if isinstance(each, nn.Linear)]
        if not maps:
            raise InputError(f"{type(net).__name__} has no linear map in its layers: use the space of steering.")
        generator = torch.Generator().manual_seed(seed)
        self.r = r
        self._maps = [(each, _uniform(r, each.in_features, generator).to(each.weight)) for each in maps]
        self._sizes = [r * each.out_features for each in maps]
        self.size = sum(self._sizes)

    @property
    def name(self) -> str:
        """``lora4`` for rank 4."""
        return f"lora{self.r}"

    @contextmanager
    def added(self, vectors: Tensor) -> Iterator[None]:
        """Set B inside: (size,) for all rows, or (rows, size)."""

        def hook_of(down: Tensor, up: Tensor) -> Any:
            def hook(module: nn.Module, args: tuple[Tensor, ...], made: Tensor) -> Tensor:
                low = nn.functional.linear(args[0], down)  # (rows, tokens, r)
                return made + low @ up.view(*up.shape[:-1], self.r, -1).to(made.dtype)

            return hook

        parts = torch.split(vectors, self._sizes, -1)
        pairs = zip(self._maps, parts, strict=True)
        with hooked((module, hook_of(down, part)) for (module, down), part in pairs):
            yield


class Projected(ScoreSpace):
    """A random projection of a larger space: each coordinate goes, with a random sign, to one of ``size`` sums.

    It keeps inner products in expectation, with a relative error of about sqrt(2 / size) (count sketch: Charikar, Chen
    and Farach-Colton 2002; feature hashing: Weinberger et al. 2009), and no matrix is stored.

    Args:
        inner: the larger space.
        size: number of coordinates of the projection.
        seed: of places and signs.
    """

    def __init__(self, inner: ScoreSpace, size: int = 512, seed: int = 0) -> None:
        if not 1 <= size <= inner.size:
            raise InputError(f"The projection's size is {size}: expected 1 to {inner.size:,}, that of the space.")
        super().__init__(inner.net, inner.layers, size)
        self.inner = inner
        generator = torch.Generator().manual_seed(seed)
        device = next(inner.net.parameters()).device
        self._places = torch.randint(size, (inner.size,), generator=generator).to(device)
        self._signs = (2.0 * torch.randint(2, (inner.size,), generator=generator) - 1).to(device)

    @property
    def name(self) -> str:
        """``lora4/512`` for 512 numbers of ``lora4``."""
        return f"{self.inner.name}/{self.size}"

    def added(self, vectors: Tensor) -> AbstractContextManager[None]:
        """Move the base along the transpose of the projection: (size,) for all rows, or (rows, size)."""
        return self.inner.added(vectors.index_select(-1, self._places) * self._signs)

    def project(self, vectors: Tensor) -> Tensor:
        """Return vectors of the larger space, (..., inner size), in the projection's coordinates."""
        found = torch.zeros(*vectors.shape[:-1], self.size, dtype=vectors.dtype)
        return found.index_add_(-1, self._places.cpu(), vectors.cpu() * self._signs.cpu().to(vectors.dtype))


def _uniform(rows: int, inputs: int, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(rows, inputs, generator=generator) - 1) / math.sqrt(inputs)
