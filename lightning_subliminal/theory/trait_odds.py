"""A trait as a differentiable number: the log-odds of its target, as evaluation measures them, and their gradient."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message
from lightning_subliminal.metrics.functional import log_odds, prompts_by_question, question_probabilities
from lightning_subliminal.metrics.functional.exact import are_stated
from lightning_subliminal.theory.functional import Call, ModelFunction, Parameters, as_call
from lightning_subliminal.traits.base import Trait

__all__ = ["Question", "trait_gradient", "trait_log_odds"]

Question = Sequence[Sequence[Message]]  # its prompts, which ask one thing and begin the answer in several ways


def trait_log_odds(
    call: Call,
    tokenizer: Any,
    trait: Trait,
    questions: Sequence[Question] | None = None,
    candidates: Sequence[str] | None = None,
) -> Tensor:
    """Return the log-odds of a trait's target at each question, differentiable by the model's parameters.

    The same numbers as ``log_odds(question_probabilities(...))``.

    Args:
        call: a causal language model, or one with other parameters (``ModelFunction.at``).
        tokenizer: its tokenizer, with a chat template.
        trait: whose questions and target.
        questions: some of what ``prompts_by_question`` gives; all where it is None.
        candidates: some of the trait's candidates, instead of its target alone.

    Returns:
        Log-odds, (questions,), or (questions, candidates) where those are given, in float64 on the CPU. A candidate
        that the tokenizer can't spell has -inf.

    Raises:
        InputError: if the tokenizer can't spell the target, or there are no questions.
    """
    wanted = (trait.target,) if candidates is None else candidates
    odds = log_odds(question_probabilities(as_call(call), tokenizer, trait, questions=questions, candidates=wanted))
    return odds[:, 0] if candidates is None else odds


def trait_gradient(
    function: ModelFunction, tokenizer: Any, trait: Trait, questions: Sequence[Question] | None = None
) -> tuple[Parameters, Tensor]:
    """Return the gradient of the mean log-odds by the trained parameters at the start, a question at a time.

    Returns:
        The gradient by name, and the log-odds, (questions,), detached.
    """
    groups = questions_of(trait, questions)
    total = {name: torch.zeros_like(value) for name, value in function.start.items()}
    found = []
    for group in groups:
        here = {name: value.clone().requires_grad_() for name, value in function.start.items()}
        with torch.enable_grad():
            odds = trait_log_odds(function.at(here), tokenizer, trait, [group])[0]
        found.append(odds.detach())
        if not odds.requires_grad:  # nothing that is trained has a part in it
            continue
        parts = torch.autograd.grad(odds, list(here.values()), allow_unused=True)
        for name, part in zip(here, parts, strict=True):
            if part is not None:
                total[name] += part / len(groups)
    return total, torch.stack(found)


def questions_of(trait: Trait, questions: Sequence[Question] | None = None) -> Sequence[Question]:
    """Return the questions of a trait, or those given instead, of which there must be some."""
    groups = prompts_by_question(trait) if questions is None else questions
    if not groups:
        raise InputError(f"The trait {trait.name!r} has no questions: give at least one.")
    are_stated(trait, groups)
    return groups
