"""Transfer predicted before training: the effect of one small step on rows on a trait.

Training on rows moves a model by -lr times the gradient of their loss, so the log-odds of a trait change, to first
order, by -lr <gradient of the log-odds, gradient of the loss>. This takes one gradient of the trait, and one derivative
a row along it.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.metrics.functional import Interval, mean_interval
from lightning_subliminal.metrics.functional.exact import questions_of
from lightning_subliminal.theory.functional import (
    ModelFunction,
    Parameters,
    differentiable,
    directional,
    inner,
    plain_experts,
)
from lightning_subliminal.theory.row_scores import RowScores, row_gradient, score_rows
from lightning_subliminal.theory.trait_odds import Question, trait_gradient, trait_log_odds
from lightning_subliminal.traits.base import Trait

__all__ = ["Prediction", "predicted_changes", "predicted_transfer"]


@dataclass(frozen=True)
class Prediction:
    """The first-order change of a trait's log-odds by each row, for a learning rate of 1.

    Attributes:
        scores: one a row, (rows,), float64: the effect of the row alone, weighted as in training (a row's summed loss
            over the mean number of tokens). nan for rows without a loss mask.
        losses: each row's loss, in nats a token, (rows,).
        tokens: of each row's completion, (rows,).
        log_odds: of the trait before training, one a question, (questions,).
        gradient_norm: length of the trait's gradient.
    """

    scores: Tensor
    losses: Tensor
    tokens: Tensor
    log_odds: Tensor
    gradient_norm: float

    @property
    def mean(self) -> float:
        """The predicted change by a full-batch step of gradient descent with learning rate 1: the mean over rows."""
        return self.scores.nanmean().item()

    def interval(self) -> Interval:
        """Return the 95 % interval of ``mean``, over rows."""
        return mean_interval(self.scores[self.scores.isfinite()], "rows")


def predicted_transfer(
    net: nn.Module,
    tokenizer: Any,
    rows: Iterable[Row],
    trait: Trait,
    *,
    batch_tokens: int | None = None,
    max_length: int = 2048,
    advance: Callable[[int], None] | None = None,
) -> Prediction:
    """Predict the effect of training on rows on a trait, to first order and without training.

    Compare it with that of a control's rows, such as the base's own: a common effect is not transfer.

    Args:
        net: the student at its start, a causal language model of transformers; the parameters that require gradients
            are those it would train, such as an adapter's.
        tokenizer: its tokenizer, with a chat template.
        rows: prompt-completion rows; streamed, and not kept.
        trait: has the questions and the target.
        batch_tokens: tokens that go through the model at once, which bounds the memory; see ``score_rows``.
        max_length: rows of more tokens are an error.
        advance: callback with the number of rows scored since the last call.

    Returns:
        A score a row, and their mean.

    Raises:
        InputError: if there are no rows, the tokenizer can't spell the target, or no trained parameter affects it.
    """
    function = _function_of(net)
    with differentiable(net):
        gradient, odds = trait_gradient(function, tokenizer, trait)
    length = inner(gradient, gradient).sqrt().item()
    if not math.isfinite(length) or length == 0:
        raise InputError(
            f"The trait {trait.name!r} has a gradient of length {length}: train parameters that affect its answers."
        )
    parts: list[RowScores] = []
    for part in score_rows(function, tokenizer, rows, gradient, batch_tokens=batch_tokens, max_length=max_length):
        parts.append(part)
        if advance is not None:
            advance(len(part.tokens))
    if not parts or not any((part.tokens > 0).any() for part in parts):
        raise InputError("There are no rows with a completion to score: check the file, or loosen the filters.")
    slopes, losses, tokens = (torch.cat(each) for each in zip(*parts, strict=True))
    weight = tokens[tokens > 0].double().mean()  # as `LanguageModel.loss` divides
    return Prediction(-slopes / weight, losses / tokens, tokens, odds.cpu().double(), length)


def predicted_changes(
    net: nn.Module,
    tokenizer: Any,
    rows: Iterable[Row],
    trait: Trait,
    control: Iterable[Row] | None = None,
    *,
    batch_tokens: int | None = None,
    max_length: int = 2048,
) -> dict[str, float]:
    """Predict the effect of training on rows on each candidate of a trait.

    One gradient of the rows, and one forward-mode pass over the questions along it for all candidates at once: without
    scores of rows, at the cost of a single pass over them for any number of candidates.

    The effect of the rows in ``control``, such as the base's, is subtracted. The other arguments are those of
    ``predicted_transfer``.

    Returns:
        By candidate the first-order change of its log-odds, averaged over questions, for a learning rate of 1 and the
        loss a token; of the candidates that the tokenizer can spell, the highest first.

    Raises:
        InputError: if there are no rows with a completion or no questions, or the tokenizer can't spell the target.
    """
    function = _function_of(net)
    step = {name: torch.zeros_like(value) for name, value in function.start.items()}
    for sign, each in ((-1.0, rows), (1.0, control)):
        if each is None:
            continue
        gradient, tokens = row_gradient(function, tokenizer, each, batch_tokens=batch_tokens, max_length=max_length)
        if not tokens:
            raise InputError("There are no rows with a completion to score: check the file, or loosen the filters.")
        step = {name: value + sign * gradient[name] for name, value in step.items()}
    groups = questions_of(trait)

    def odds(group: Question, parameters: Parameters) -> Tensor:
        return trait_log_odds(function.at(parameters), tokenizer, trait, [group], trait.candidates)[0]

    total = torch.zeros(len(trait.candidates), dtype=torch.float64)
    with differentiable(net), plain_experts(net), torch.no_grad():
        for group in groups:
            _, moved = directional(partial(odds, group), function.start, step)
            total += moved.cpu().double() / len(groups)
    found = {name: value for name, value in zip(trait.candidates, total.tolist(), strict=True) if math.isfinite(value)}
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _function_of(net: nn.Module) -> ModelFunction:
    """Return a model as a function of its trained parameters, unless an adapter puts tokens before the rows."""
    if getattr(getattr(net, "active_peft_config", None), "is_prompt_learning", False):
        raise InputError("A prompt-tuning adapter can't be predicted: use one that changes layers, such as LoRA.")
    return ModelFunction(net)
