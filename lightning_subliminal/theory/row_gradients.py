"""The gradient of each row's log-likelihood in a student's space: the score of a row, for all rows of a batch at once.

Each row has coordinates of its own, all 0. In the space of steering they are one vector a layer, added to the layer's
output at every token, as ``Steering`` adds one vector for all rows. The gradient of the summed log-likelihood by them
is, row by row, what one forward and one backward pass give; the weights' own gradients are never formed.

Under rows that the base itself writes, sampled from its whole distribution, the mean score is 0 whatever the prompts
(the score identity, E[d log p(x) / d theta] = 0), and the covariance of scores is the Fisher information.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_subliminal.bases.layers import decoder_layers, hidden_size
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.metrics.functional.statements import padded
from lightning_subliminal.theory.functional import differentiable
from lightning_subliminal.theory.row_scores import CHUNK, TOKENS, encode_known, readable, split_off
from lightning_subliminal.theory.row_slopes import CompletionLogits, completion_targets, sum_by_row

__all__ = ["LayerVectors", "RowGradients", "ScoreSpace"]

LARGE, FEW = 10_000_000, 256  # weights of a large base, whose chunks have so few rows: 4,096 take an hour of a CPU


class RowGradients(NamedTuple):
    """Numbers of each row, on the CPU.

    Attributes:
        scores: the gradient of the log-likelihood of each row's completion, (rows, size of the space), float32; nan
            for a row without completion tokens, with words that the tokenizer does not know or with too many tokens, or
            whose prompt is not a prefix of it in tokens.
        log_likelihoods: in nats, summed over the completion, (rows,), float64.
        tokens: of each completion, (rows,), int64.
        unread: how many rows have no score, by the reason.
    """

    scores: Tensor
    log_likelihoods: Tensor
    tokens: Tensor
    unread: Mapping[str, int] = {}


class ScoreSpace(ABC):
    """Coordinates of what a student learns, at a base. Override ``added`` and ``name``.

    Args:
        net: a causal language model of transformers.
        layers: indices of the decoder layers that the coordinates are of, counted from 0; None means all.
        size: number of coordinates.

    Raises:
        InputError: if a layer is out of range.
    """

    def __init__(self, net: nn.Module, layers: Sequence[int] | None, size: int = 0) -> None:
        count = len(decoder_layers(net))
        self.layers = tuple(range(count) if layers is None else layers)
        if not self.layers or any(not 0 <= each < count for each in self.layers):
            raise InputError(f"`layers` is {list(self.layers)}: expected indices from 0 to {count - 1}.")
        self.net = net
        self.size = size

    @property
    def is_large(self) -> bool:
        """Whether the base takes so long that work is done in small parts."""
        return sum(each.numel() for each in self.net.parameters()) > LARGE

    @property
    @abstractmethod
    def name(self) -> str:
        """What the coordinates are, as ``score_space`` reads it, without base and layers."""

    @abstractmethod
    def added(self, vectors: Tensor) -> AbstractContextManager[None]:
        """Move the base to other coordinates inside, differentiably; 0 is the base itself.

        Args:
            vectors: (size,) for all rows, or (rows, size), one a row of the batch.
        """

    def gradients(
        self, tokenizer: Any, rows: Iterable[Row], *, batch_tokens: int | None = None, max_length: int | None = None
    ) -> Iterator[RowGradients]:
        """Return each row's score at the base, in their order, 4,096 rows at a time, of a large base 256.

        Args:
            tokenizer: the base's, with a chat template.
            rows: prompt-completion rows, in any number: they are read as they are needed, and not kept.
            batch_tokens: tokens that go through the model at once, padding included; by default 2,048 on a CPU, 4,096
                on a GPU.
            max_length: rows of more tokens have no score; by default 2,048, or the positions of a model that has fewer.
        """
        like = next(self.net.parameters())
        size = batch_tokens or TOKENS.get(like.device.type, TOKENS["cuda"])
        model, rest = CompletionLogits(self.net), iter(rows)
        count = FEW if self.is_large else CHUNK
        while chunk := list(islice(rest, count)):
            unread: Counter[str] = Counter()
            encoded = encode_known(tokenizer, chunk, max_length or readable(self.net), unread)
            scores = torch.full((len(chunk), self.size), torch.nan)
            likelihoods = torch.full((len(chunk),), torch.nan, dtype=torch.float64)
            usable = {place: each for place, each in enumerate(encoded) if each}
            order = sorted(usable, key=lambda place: sum(map(len, usable[place])))
            with differentiable(self.net):
                while order:
                    chosen, order = split_off(order, usable, size)
                    found = self._batch(model, *padded([usable[place] for place in chosen], like.device))
                    scores[chosen], likelihoods[chosen] = found[0].cpu().float(), found[1].cpu().double()
            tokens = torch.tensor([len(each[1]) if each else 0 for each in encoded])
            yield RowGradients(scores, likelihoods, tokens, unread)

    def _batch(self, model: nn.Module, input_ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        targets, places, lines = completion_targets(labels)
        with torch.enable_grad():
            own = torch.zeros(len(labels), self.size, device=labels.device, requires_grad=True)
            with self.added(own):
                logits = model(input_ids, places)
            losses = F.cross_entropy(logits, targets, reduction="none")
            (slopes,) = torch.autograd.grad(losses.sum(), own)
        return -slopes, -sum_by_row(losses.detach(), lines, len(labels))


class LayerVectors(ScoreSpace):
    """The space of vectors that are added to decoder layers' outputs, as ``Steering`` trains them.

    Args:
        net: a causal language model of transformers.
        layers: indices of decoder layers, counted from 0; None means all.

    Attributes:
        size: layers times width.

    Raises:
        InputError: if a layer is out of range.
    """

    def __init__(self, net: nn.Module, layers: Sequence[int] | None = None) -> None:
        super().__init__(net, layers)
        self.width = hidden_size(net)
        self.size = len(self.layers) * self.width

    @property
    def name(self) -> str:
        """Always ``steering``."""
        return "steering"

    @contextmanager
    def added(self, vectors: Tensor) -> Iterator[None]:
        """Add vectors to the layers' outputs inside: (size,) for all rows, or (rows, size)."""
        found = decoder_layers(self.net)
        parts = vectors.view(*vectors.shape[:-1], len(self.layers), self.width).unbind(-2)

        def hook_of(part: Tensor) -> Any:
            vector = part if part.dim() == 1 else part[:, None, :]

            def hook(module: nn.Module, args: Any, made: Any) -> Any:
                if isinstance(made, tuple):
                    return (made[0] + vector.to(made[0].dtype), *made[1:])
                return made + vector.to(made.dtype)

            return hook

        with hooked((found[layer], hook_of(part)) for layer, part in zip(self.layers, parts, strict=True)):
            yield


@contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Have modules call forward hooks inside."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
