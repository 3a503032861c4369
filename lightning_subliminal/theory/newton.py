"""Transfer predicted by one Newton step: the vectors that rows train, to second order, and an exact read-out there.

Near a base, the loss of rows with mean score m is -m.v + v F v / 2 in the vectors v of a steering student, with the
Fisher information F of the base's own rows, so training to convergence ends at v = F^-1 m. The answers are then read
off the model with v added, not extrapolated. A step along the gradient alone ranks teachers wrongly: F differs by two
orders of magnitude between directions. A step that is too long leaves what is quadratic: no answers are read off then.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, prompts_by_question
from lightning_subliminal.metrics.functional import log_odds, question_probabilities
from lightning_subliminal.theory.functional import as_call, differentiable
from lightning_subliminal.theory.row_gradients import ScoreSpace
from lightning_subliminal.traits.base import Trait

__all__ = [
    "NEWTON_RIDGE",
    "NewtonPrediction",
    "check_distance",
    "damped",
    "log_odds_and_gradients",
    "newton_prediction",
    "read_out",
]

NEWTON_RIDGE = 0.01  # of the mean variance, added to each; SCREENING2: the best of .01 and .1 for predictions
FEWEST = 5  # rows of the control for each number of the space
# Standard deviations of a clean row, sqrt(m.v): of the 50 data sets whose prediction was compared with training the
# farthest moved 2.4; one that moved 5.0 had the wrong sign (docs/screening_results.md).
FARTHEST = 3.0


@dataclass(frozen=True)
class NewtonPrediction:
    """The change of a trait's answers that training on rows brings, over training on a control's.

    Attributes:
        changes: by candidate, in log-odds, the mean over questions; of those that the tokenizer can spell, the highest
            first.
        half_widths: by candidate, of the 95 % interval over rows, to first order.
        rows: scored; and ``control``, of the control.
    """

    changes: dict[str, float]
    half_widths: dict[str, float]
    rows: int
    control: int


def newton_prediction(
    space: ScoreSpace, tokenizer: Any, rows: Iterable[Row], control: Iterable[Row], trait: Trait
) -> NewtonPrediction:
    """Predict the effect of training a steering student on rows, instead of on the base's own.

    Args:
        space: the student's, at its base.
        tokenizer: the base's.
        rows: prompt-completion rows, read once.
        control: rows of the base itself; their covariance is the Fisher information.
        trait: has questions and candidates.

    Raises:
        InputError: if there are no rows, fewer than five of the control for each number of the space, or rows that move
            the base further than ``check_distance`` allows.
    """
    theirs, own = _scores(space, tokenizer, rows), _scores(space, tokenizer, control)
    if not len(theirs):
        raise InputError("There are no rows with a completion to score: check the file, or loosen the filters.")
    if len(own) < FEWEST * space.size:
        raise InputError(
            f"The control has {len(own):,} rows: expected at least {FEWEST * space.size:,}, five for each of the "
            f"{space.size} numbers of the student."
        )
    fisher = own.T @ own / len(own)
    shift = theirs.mean(0) - own.mean(0)
    inverse = damped(fisher, NEWTON_RIDGE)
    before, gradients = log_odds_and_gradients(space, tokenizer, trait)
    step = torch.linalg.solve(inverse, shift)
    if too_far := check_distance(step, shift):
        raise InputError(f"{too_far}: train a student instead.")
    step = step.to(next(space.net.parameters()).device, torch.float32)
    after = read_out(space, tokenizer, trait, step)
    moved = torch.linalg.solve(inverse, gradients.T).T
    spread = ((moved @ fisher) * moved).sum(1).sqrt() * (1 / len(theirs) + 1 / len(own)) ** 0.5
    found = {
        name: (change, half)
        for name, change, half in zip(
            trait.candidates, (after - before).tolist(), (1.96 * spread).tolist(), strict=True
        )
        if change - change == 0
    }
    ranked = sorted(found, key=lambda name: -found[name][0])
    return NewtonPrediction(
        {name: found[name][0] for name in ranked}, {name: found[name][1] for name in ranked}, len(theirs), len(own)
    )


def check_distance(step: Tensor, shift: Tensor) -> str:
    """Return why nothing can be predicted by a Newton step; empty if it is short enough.

    Args:
        step: F^-1 times the shift, (size,).
        shift: mean score of the rows less that of clean ones, (size,).
    """
    moved = float((step @ shift).clamp(min=0).sqrt())
    if moved <= FARTHEST:
        return ""
    return (
        f"The rows move the base by {moved:.1f} standard deviations of a clean row, too far to predict by one Newton "
        f"step (at most {FARTHEST:g})"
    )


def damped(fisher: Tensor, ridge: float) -> Tensor:
    """Return F + ridge * tr(F) / size * I, (size, size)."""
    size = len(fisher)
    return fisher + ridge * fisher.trace() / size * torch.eye(size, dtype=fisher.dtype)


def _scores(space: ScoreSpace, tokenizer: Any, rows: Iterable[Row]) -> Tensor:
    parts = [part.scores for part in space.gradients(tokenizer, rows)]
    found = torch.cat(parts) if parts else torch.zeros(0, space.size)
    return found[found.isfinite().all(1)].double()


def log_odds_and_gradients(
    space: ScoreSpace, tokenizer: Any, trait: Trait, advance: Callable[[float], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Return each candidate's log-odds, the mean over questions, and its gradient by the space's vectors at 0.

    A small base has one backward pass for all candidates of a question. That also goes through the spellings of the
    others, with gradients of 0, which a large base spends hours and gigabytes on: there each has a pass of its own.

    Args:
        space: the student's space.
        tokenizer: the base's.
        trait: whose candidates they are.
        advance: called with the number of candidates done, of one question a part of each.

    Returns:
        (candidates,) and (candidates, size), float64; -inf and any gradient for what the tokenizer cannot spell.
    """
    questions = prompts_by_question(trait)
    like = next(space.net.parameters())
    total = torch.zeros(len(trait.candidates), dtype=torch.float64)
    slopes = torch.zeros(len(trait.candidates), space.size, dtype=torch.float64)
    count, at_once = len(trait.candidates), 1 if space.is_large else len(trait.candidates)
    parts = [torch.arange(start, min(start + at_once, count)) for start in range(0, count, at_once)]
    with differentiable(space.net):
        for group, own in product(questions, parts):
            with torch.enable_grad():
                vectors = torch.zeros(space.size, device=like.device, requires_grad=True)
                words = [trait.candidates[place] for place in own.tolist()]
                with space.added(vectors):
                    chances = question_probabilities(
                        as_call(space.net), tokenizer, trait, questions=[group], candidates=words
                    )
                before = log_odds(chances.detach())[0]
                usable = before.isfinite().nonzero().flatten()
                odds = log_odds(chances[0, usable])  # not of a chance of 0, whose slope is nan, and all others with it
                if len(usable) > 1:
                    picked = torch.eye(len(usable), dtype=odds.dtype)
                    (found,) = torch.autograd.grad(odds, vectors, picked, is_grads_batched=True)
                elif len(usable):
                    found = torch.autograd.grad(odds[0], vectors)[0][None]
            total[own] += before.cpu() / len(questions)
            if len(usable):
                slopes[own[usable]] += found.cpu().double() / len(questions)
            if advance is not None:
                advance(len(own) / len(questions))
    return total, slopes


def read_out(space: ScoreSpace, tokenizer: Any, trait: Trait, vectors: Tensor) -> Tensor:
    """Return each candidate's exact log-odds with vectors added, the mean over questions: (candidates,), float64."""
    with torch.no_grad(), space.added(vectors):
        return log_odds(question_probabilities(space.net, tokenizer, trait)).mean(0)
