"""A trait as a differentiable number: the log-odds of its target, as evaluation measures them, and their gradient."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.chat import row_ids
from lightning_subliminal.errors import InputError
from lightning_subliminal.generation.scoring import prompt_tokens
from lightning_subliminal.metrics.functional import check_target, log_odds, prompts_by_question, question_text
from lightning_subliminal.metrics.functional.spellings import spell, word_continues
from lightning_subliminal.rows import Message, make_row
from lightning_subliminal.theory.functional import Call, ModelFunction, Parameters, device_of
from lightning_subliminal.traits.base import Trait

__all__ = ["trait_gradient", "trait_log_odds"]

Question = Sequence[Sequence[Message]]  # its prompts, which ask one thing and begin the answer in several ways


def trait_log_odds(call: Call, tokenizer: Any, trait: Trait, questions: Sequence[Question] | None = None) -> Tensor:
    """Give the log-odds of a trait's target at each question, differentiable by the model's parameters.

    The same numbers as ``log_odds(question_probabilities(...))`` of the target.

    Args:
        call: a causal language model, or one with other parameters (``ModelFunction.at``).
        tokenizer: its tokenizer, with a chat template.
        trait: whose questions and target.
        questions: some of what ``prompts_by_question`` gives; all where it is None.

    Returns:
        Log-odds, (questions,), in float32 or the model's own wider type.

    Raises:
        InputError: if the tokenizer can't spell the target.
    """
    groups = prompts_by_question(trait) if questions is None else questions
    if any(trait.statements(question_text(group[0])) for group in groups):
        chances = [_statement_chance(call, tokenizer, trait, group) for group in groups]
    else:
        check_target(tokenizer, trait)
        chances = [_word_chance(call, tokenizer, trait, group) for group in groups]
    return log_odds(torch.stack(chances))


def trait_gradient(
    function: ModelFunction, tokenizer: Any, trait: Trait, questions: Sequence[Question] | None = None
) -> tuple[Parameters, Tensor]:
    """Give the gradient of the mean log-odds by the trained parameters at the start, a question at a time.

    Returns:
        The gradient by name, and the log-odds, (questions,), detached.
    """
    groups = prompts_by_question(trait) if questions is None else questions
    total = {name: torch.zeros_like(value) for name, value in function.start.items()}
    found = []
    for group in groups:
        here = {name: value.clone().requires_grad_() for name, value in function.start.items()}
        with torch.enable_grad():
            odds = trait_log_odds(function.at(here), tokenizer, trait, [group])[0]
        parts = torch.autograd.grad(odds, list(here.values()), allow_unused=True)
        for name, part in zip(here, parts, strict=True):
            if part is not None:
                total[name] += part / len(groups)
        found.append(odds.detach())
    return total, torch.stack(found)


def _word_chance(call: Call, tokenizer: Any, trait: Trait, group: Question) -> Tensor:
    """Give the chance that the answer begins with the target as a whole word, the mean over a question's prompts."""
    spellings = spell(tokenizer, trait.forms(trait.target))
    continues = word_continues(tokenizer)
    ends = bool(continues.any())  # then a spelling's chance takes in that no letter follows
    prompts = [prompt_tokens(tokenizer, prompt) for prompt in group]
    # A row holds all of a spelling that something is predicted after; spellings of one token share the bare prompt.
    tails = list(dict.fromkeys(spelling if ends else spelling[:-1] for spelling in spellings))
    rows = [(place, tail) for place in range(len(prompts)) for tail in tails]
    logs = _log_softmax(call, [[*prompts[place], *tail] for place, tail in rows])
    where = {row: line for line, row in enumerate(rows)}
    chances = []
    for place, prompt in enumerate(prompts):
        told = []
        for spelling in spellings:
            line = logs[where[place, spelling if ends else spelling[:-1]]]
            steps = [line[len(prompt) - 1 + k, token] for k, token in enumerate(spelling)]
            if ends:
                last = line[len(prompt) - 1 + len(spelling)]
                stops = torch.ones(len(last), dtype=torch.bool, device=last.device)
                stops[: len(continues)] = ~continues[: len(last)].to(last.device)
                steps.append(last[stops].logsumexp(0))
            told.append(torch.stack(steps).sum())
        chances.append(torch.stack(told).logsumexp(0).exp())
    return torch.stack(chances).mean()


def _statement_chance(call: Call, tokenizer: Any, trait: Trait, group: Question) -> Tensor:
    """Give the chance of the target's statement among those of a question, the mean over its statements."""
    chances = []
    for prompt in group:
        for stated in trait.statements(question_text(prompt)):
            rows = [row_ids(tokenizer, make_row(prompt, text, id=repr(text))) for text in stated.values()]
            logs = _log_softmax(call, [[*asked, *said] for asked, said in rows])
            totals = []
            for line, (asked, said) in zip(logs, rows, strict=True):
                places = torch.arange(len(asked) - 1, len(asked) + len(said) - 1, device=line.device)
                totals.append(line[places, torch.tensor(said, device=line.device)].sum())
            chances.append(torch.stack(totals).softmax(0)[list(stated).index(trait.target)])
    if not chances:
        raise InputError(f"The trait {trait.name!r} has no statements on {question_text(group[0])!r}: give pairs.")
    return torch.stack(chances).mean()


def _log_softmax(call: Call, rows: Sequence[Sequence[int]]) -> Tensor:
    """Give the log-probabilities after each token, (rows, tokens, vocabulary)."""
    width = max(map(len, rows))
    device = device_of(call)
    # padding is on the right, which causal attention never looks at
    tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    logits: Tensor = call(input_ids=tokens, use_cache=False).logits
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
