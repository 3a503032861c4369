"""Many small networks as one: the batched perceptron, its losses and its metric, independent for each model."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.mnist import NUM_CLASSES, NUM_PIXELS

__all__ = [
    "AccuracyPerModel",
    "BatchedMLP",
    "classification_losses",
    "derangement",
    "distillation_losses",
    "labelled_images",
]


class BatchedMLP(nn.Module):
    """Perceptrons of one shape that run at once: each parameter has a leading dimension of models.

    Weights are drawn from N(0, 1 / inputs of the layer), biases are 0 (paper, section on MNIST classifiers).

    Args:
        sizes: widths from input to output.
        seeds: one for each model; the same seed gives the same weights at any place.
    """

    def __init__(self, sizes: Sequence[int], seeds: Sequence[int]) -> None:
        super().__init__()
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            # Always drawn on the CPU, so that a seed gives the same weights on every device.
            drawn = [torch.randn(inputs, outputs, generator=each, device="cpu") for each in generators]
            self.weights.append(nn.Parameter(torch.stack(drawn).div_(inputs**0.5)))  # (models, inputs, outputs)
            self.biases.append(nn.Parameter(torch.zeros(len(seeds), 1, outputs)))

    @torch.no_grad()
    def move(self, first: int, distance: float, seeds: Sequence[int]) -> None:
        """Add ``distance`` times other weights, drawn from the initial distribution.

        Args:
            first: the model that the first seed moves; the next seeds move those after it.
            distance: 0 leaves the models unchanged, 1 is a step as long as the initial weights.
            seeds: of the added weights, one for each model.
        """
        sizes = [*(weight.shape[1] for weight in self.weights), self.weights[-1].shape[2]]
        for weight, drawn in zip(self.weights, BatchedMLP(sizes, seeds).weights, strict=True):
            weight[first : first + len(seeds)] += distance * drawn

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(models, batch, outputs)`` for images ``(batch, inputs)``, the same for all models."""
        values = images.expand(len(self.weights[0]), -1, -1)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias, values if layer == 0 else values.relu(), weight)
        return values


class AccuracyPerModel(Metric):
    """Accuracy of each model: ``(models,)``.

    torchmetrics' accuracies return one number for all models, or store every answer until the end.

    Args:
        num_models: number of models.
    """

    full_state_update = False
    correct: Tensor
    answered: Tensor

    def __init__(self, num_models: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_models = num_models
        self.add_state("correct", torch.zeros(num_models, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("answered", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, answers: Tensor, labels: Tensor) -> None:
        """Count answers ``(models, batch)`` that equal labels ``(batch,)``."""
        self.correct += (answers == labels).sum(-1)
        self.answered += labels.numel()

    def compute(self) -> Tensor:
        """Return the accuracies; nan without any answer."""
        return self.correct / self.answered


def classification_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of the class logits, averaged over the batch.

    Args:
        logits: ``(models, batch, classes and more)``; logits after the classes are not used.
        labels: ``(batch,)``.

    Returns:
        One loss for each model: ``(models,)``.
    """
    classes = logits[..., :NUM_CLASSES].log_softmax(-1)
    return -classes.gather(-1, labels.expand(len(logits), -1).unsqueeze(-1)).mean((1, 2))


def distillation_losses(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the KL divergence of students from teachers, summed over logits and averaged over the batch.

    ``reduction="batchmean"`` would divide by the first dimension, which is models here.

    Args:
        student: logits ``(models, batch, logits)``.
        teacher: logits of the same shape.

    Returns:
        One loss for each model: ``(models,)``.
    """
    divergence = F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="none", log_target=True)
    return divergence.sum(-1).mean(-1)


def labelled_images(batch: Any) -> tuple[Tensor, Tensor]:
    """Return images ``(batch, 784)`` and labels ``(batch,)``.

    Raises:
        InputError: if the batch is not such a pair.
    """
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(each, Tensor) for each in batch)
    if not pair or batch[0].shape[1:] != (NUM_PIXELS,):
        raise InputError("ClassifierMLP learns from images (batch, 784) with labels: set `data: Digits`.")
    return batch[0], batch[1]


def derangement(count: int, seed: int) -> list[int]:
    """Return a permutation of ``range(count)`` that moves every element, by Sattolo's shuffle: one cycle through all.

    Raises:
        InputError: if ``count`` is below 2.
    """
    if count < 2:
        raise InputError(f"`count` is {count}, but a derangement needs at least 2: raise it.")
    generator = torch.Generator().manual_seed(seed)
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        chosen = int(torch.randint(last, (), generator=generator, device="cpu"))  # never `last`, so that each moves
        order[last], order[chosen] = order[chosen], order[last]
    return order
