"""A training step, run without numbers."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lightning_subliminal.bases.layers import body, inner_model, towers
from lightning_subliminal.bases.loading import with_attention
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.models import Adapter
from lightning_subliminal.models.frozen_prefix import LIMIT, split
from lightning_subliminal.models.memory import checkpoint_layers, sum_in_chunks, vocabulary_size
from lightning_subliminal.models.objectives import soft_target_loss
from lightning_subliminal.models.stored_keys import stored_bytes
from lightning_subliminal.workflow.estimate.counter import Counter, placed, without_numbers

__all__ = ["BatchShape", "Step", "make_net", "run_step"]


@dataclass(frozen=True)
class BatchShape:
    """The shape of a batch of rows.

    Attributes:
        rows: per batch on a device.
        prompt: tokens before the completion.
        completion: trained tokens.
        all_rows: of the data set, whose activations below the lowest trained layer are stored.
    """

    rows: int
    prompt: int
    completion: int
    all_rows: int

    @property
    def tokens(self) -> int:
        """Tokens per row."""
        return self.prompt + self.completion


@dataclass(frozen=True)
class Step:
    """Bytes and FLOPs of a training step on one device.

    Attributes:
        parameters: of the model with its adapter.
        trained: of them.
        weights: bytes of parameters and buffers.
        gradients: bytes; on several devices with DDP's buckets, a second copy.
        optimizer: bytes of its states.
        stored: bytes of the activations below the lowest trained layer, stored for all rows, and of the last layer's
            keys and values.
        activations: bytes kept by the forward pass for the backward pass.
        logits: bytes that the loss needs at its peak beside them.
        peak: most bytes at once: not the sum, since gradients grow while activations are freed.
        flops: of one batch, forward and backward.
    """

    parameters: int
    trained: int
    weights: int
    gradients: int
    optimizer: int
    stored: int
    activations: int
    logits: int
    peak: int
    flops: int


def make_net(folder: Path, dtype: str, adapter: Adapter | None = None, precision: str = "32-true") -> Any:
    """Make a base from its config, with an adapter, without numbers (torch's device "meta"), in training mode."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        net: Any = with_attention(
            lambda attention: AutoModelForCausalLM.from_config(
                config, dtype=getattr(torch, dtype), attn_implementation=attention
            )
        )
    for name in towers(net) if adapter is None else ():
        net.get_submodule(name).requires_grad_(False)
    if adapter is not None:
        net = adapter.attach(net, derive_seed(0, "adapter"))
    kinds = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}
    if precision in kinds:
        net = net.to(kinds[precision])
    return net.train()


def run_step(
    make: Callable[[], Any],
    batches: BatchShape,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    *,
    adapter: Adapter | None,
    precision: str,
    accumulate: int = 1,
    devices: int = 1,
    checkpointing: bool = False,
    reuse_lower_part: bool = True,
    on_cpu: bool = True,
    teacher: Callable[[], Any] | None = None,
    more_loss: Callable[[Any], Tensor] | None = None,
) -> Step:
    """Run a step without numbers, after a first one, as Lightning does, and count.

    Lightning computes the next loss before it frees the last step's gradients, so that these are there beside the
    activations. On several devices DDP keeps a copy of the gradients in buckets.

    Args:
        make: returns the net, in training mode.
        batches: the shape of a batch.
        optimizer: makes the optimizer of the trained parameters.
        adapter: of the net.
        precision: of the trainer.
        accumulate: batches per step.
        devices: that train together.
        checkpointing: whether layers are checkpointed.
        reuse_lower_part: as the language model's.
        on_cpu: whether it is trained there, where the last layer's keys and values may be stored, too.
        teacher: returns the net whose soft targets are learned; None for sampled tokens.
        more_loss: a further loss of the net, of rows of its own.
    """
    made, beside = make(), None if teacher is None else teacher()
    with without_numbers() as counter:
        net, taught = placed(made), None if beside is None else placed(beside)
        if checkpointing:
            checkpoint_layers(net)
        weights = counter.now
        trained = [each for each in net.parameters() if each.requires_grad]
        with _autocast(precision):
            forward, stored = _forward(net, adapter, batches, reuse_lower_part, on_cpu and not checkpointing)
        steps = optimizer(trained)
        run = _Run(net, forward, _places(batches), precision, taught, more_loss)
        for each in trained:
            each.grad = torch.zeros_like(each)
        steps.step()  # makes its states
        gradients = sum(each.grad.nbytes for each in trained if each.grad is not None)
        states = counter.now - weights - stored - gradients
        before = counter.now
        counter.restart()
        if accumulate > 1:
            run.batch(counter)
            counter.flops = 0
        hidden, logits = run.batch(counter, steps if accumulate == 1 else None)
        flops = counter.flops
        steps.step()
        buckets = gradients if devices > 1 else 0
        return Step(
            parameters=sum(each.numel() for each in net.parameters()),
            trained=sum(each.numel() for each in trained),
            weights=weights,
            gradients=gradients + buckets,
            optimizer=states,
            stored=stored,
            activations=hidden - before,
            logits=logits,
            peak=counter.peak + buckets,
            flops=flops,
        )


def _places(batches: BatchShape) -> tuple[Tensor, Tensor]:
    """Return row and position of each completion token, as a mask's places are found."""
    row = torch.arange(batches.rows).repeat_interleave(batches.completion)
    position = torch.arange(batches.prompt - 1, batches.tokens - 1).repeat(batches.rows)
    return row, position


def _forward(
    net: Any, adapter: Adapter | None, batches: BatchShape, reuse_lower_part: bool, may_store_keys: bool
) -> tuple[Callable[[], Tensor], int]:
    """Return what computes the last hidden states of a batch, and the bytes that it stores for all rows."""
    layer = adapter.first_trained_layer(net) if adapter is not None and reuse_lower_part else None
    parts = split(net, layer) if layer else None
    width = inner_model(net).get_input_embeddings().weight.shape[1]
    dtype = next(net.parameters()).dtype
    stored = batches.all_rows * batches.tokens * width * dtype.itemsize
    if parts is not None and stored <= LIMIT:
        states = torch.zeros(batches.all_rows, batches.tokens, width, dtype=dtype)
        keys = torch.empty(stored_bytes(net, layer, states) if layer and may_store_keys else 0, dtype=torch.uint8)
        upper, chosen = parts[1], torch.arange(batches.rows)
        return lambda kept=keys: upper(states[chosen]), stored + keys.nbytes

    def whole() -> Tensor:
        ids = torch.zeros(batches.rows, batches.tokens, dtype=torch.long)
        hidden: Tensor = body(net)(input_ids=ids, use_cache=False).last_hidden_state
        return hidden

    return whole, 0


@dataclass(frozen=True)
class _Run:
    """What computes a batch's loss and gradients.

    Attributes:
        net: is trained.
        forward: returns the last hidden states, (rows, tokens, width).
        places: row and position of each completion token.
        precision: of the trainer.
        teacher: whose soft targets are learned; None for sampled tokens.
        more_loss: a further loss of the net.
    """

    net: Any
    forward: Callable[[], Tensor]
    places: tuple[Tensor, Tensor]
    precision: str
    teacher: Any
    more_loss: Callable[[Any], Tensor] | None

    def batch(self, counter: Counter, steps: torch.optim.Optimizer | None = None) -> tuple[int, int]:
        """Run forward and backward; return the bytes alive after the forward pass, and those that the loss adds.

        Args:
            counter: counts.
            steps: frees the last step's gradients before the backward pass; None leaves them.
        """
        with _autocast(self.precision):
            hidden = self.forward()
            after, peak = counter.now, counter.peak
            counter.peak = counter.now
            states = hidden[:, :-1][self.places]
            del hidden
            loss = self._loss(states)
            del states
            logits, counter.peak = counter.peak - after, max(peak, counter.peak)
            if self.more_loss is not None:
                loss = loss + self.more_loss(self.net)
        if steps is not None:
            steps.zero_grad()
        loss.backward()
        return after, logits

    def _loss(self, states: Tensor) -> Tensor:
        head, tokens = inner_model(self.net).get_output_embeddings(), torch.zeros(len(states), dtype=torch.long)
        vocabulary = vocabulary_size(self.net)
        if self.teacher is None:

            def summed(hidden: Tensor, tokens: Tensor) -> Tensor:
                return cross_entropy(head(hidden).float(), tokens, reduction="sum")

            return sum_in_chunks(summed, vocabulary, states, tokens)
        rows, width = int(self.places[0].shape[0]), inner_model(self.teacher).get_input_embeddings().weight.shape[1]
        teacher_head = inner_model(self.teacher).get_output_embeddings()

        def divergence(hidden: Tensor, taught: Tensor, tokens: Tensor) -> Tensor:
            with torch.no_grad():
                targets = teacher_head(taught)
            return soft_target_loss(head(hidden), targets, tokens)

        taught = torch.zeros(rows, width, dtype=next(self.teacher.parameters()).dtype)
        return sum_in_chunks(divergence, vocabulary, states, taught, tokens)


def _autocast(precision: str) -> AbstractContextManager[Any]:
    mixed = precision.endswith("mixed")
    return torch.autocast("cpu", dtype=torch.bfloat16) if mixed else nullcontext()
