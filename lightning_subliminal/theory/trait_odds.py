"""Log-odds of a trait's target as a differentiable number, and their gradient.

``metrics.functional.question_probabilities`` computes the chance here as in the evaluation: it takes a model with other
parameters, through which gradients flow. Probes detach theirs, so they are not used.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.core.rows import Message
from lightning_subliminal.metrics.functional import log_odds, question_probabilities
from lightning_subliminal.metrics.functional.exact import questions_of
from lightning_subliminal.theory.functional import Call, ModelFunction, Parameters, as_call
from lightning_subliminal.traits.base import Trait

__all__ = ["Question", "trait_gradient", "trait_log_odds"]

Question = Sequence[Sequence[Message]]  # prompts that differ in the beginning of the answer


def trait_log_odds(
    call: Call,
    tokenizer: Any,
    trait: Trait,
    questions: Sequence[Question] | None = None,
    candidates: Sequence[str] | None = None,
) -> Tensor:
    """Return the log-odds of a trait's target at each question, differentiable by the model's parameters.

    Args:
        call: a causal language model, or one with other parameters (``ModelFunction.at``).
        tokenizer: its tokenizer, with a chat template.
        trait: has the questions and the target.
        questions: a selection of ``prompts_by_question``; all where it is None.
        candidates: some of the trait's candidates, instead of its target alone.

    Returns:
        Log-odds, (questions,), or (questions, candidates) with ``candidates``, in float64 on the CPU; -inf for a
        candidate that the tokenizer can't spell.

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
        if not odds.requires_grad:  # it does not depend on the trained parameters
            continue
        parts = torch.autograd.grad(odds, list(here.values()), allow_unused=True)
        for name, part in zip(here, parts, strict=True):
            if part is not None:
                total[name] += part / len(groups)
    return total, torch.stack(found)
