"""A trait as a differentiable number: the log-odds of its target, as evaluation measures them, and their gradient."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.chat import row_ids
from lightning_subliminal.errors import InputError
from lightning_subliminal.generation.scoring import prompt_tokens
from lightning_subliminal.metrics.functional import check_target, log_odds, prompts_by_question, question_text
from lightning_subliminal.metrics.functional.spellings import Spelling, spell, word_continues
from lightning_subliminal.rows import Message, make_row
from lightning_subliminal.theory.functional import Call, ModelFunction, Parameters, device_of
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
    """Give the log-odds of a trait's target at each question, differentiable by the model's parameters.

    The same numbers as ``log_odds(question_probabilities(...))``.

    Args:
        call: a causal language model, or one with other parameters (``ModelFunction.at``).
        tokenizer: its tokenizer, with a chat template.
        trait: whose questions and target.
        questions: some of what ``prompts_by_question`` gives; all where it is None.
        candidates: some of the trait's candidates, instead of its target alone.

    Returns:
        Log-odds, (questions,), or (questions, candidates) where those are given; in float32 or the model's own wider
        type. A candidate that the tokenizer can't spell has -inf.

    Raises:
        InputError: if the tokenizer can't spell the target, or there are no questions.
    """
    groups = questions_of(trait, questions)
    wanted = (trait.target,) if candidates is None else tuple(candidates)
    if any(trait.statements(question_text(group[0])) for group in prompts_by_question(trait) or groups):
        chances = [_statement_chances(call, tokenizer, trait, group, wanted) for group in groups]
    else:
        check_target(tokenizer, trait)
        spelled = [spell(tokenizer, trait.forms(each)) for each in wanted]
        chances = [_word_chances(call, tokenizer, spelled, group) for group in groups]
    odds = log_odds(torch.stack(chances))  # (questions, candidates)
    return odds[:, 0] if candidates is None else odds


def trait_gradient(
    function: ModelFunction, tokenizer: Any, trait: Trait, questions: Sequence[Question] | None = None
) -> tuple[Parameters, Tensor]:
    """Give the gradient of the mean log-odds by the trained parameters at the start, a question at a time.

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
    """Give the questions of a trait, or those given instead, of which there must be some."""
    groups = prompts_by_question(trait) if questions is None else questions
    if not groups:
        raise InputError(f"The trait {trait.name!r} has no questions: give at least one.")
    return groups


def _word_chances(call: Call, tokenizer: Any, spelled: Sequence[Sequence[Spelling]], group: Question) -> Tensor:
    """Give the chance that the answer begins with each candidate as a whole word: (candidates,).

    Args:
        call: the model.
        tokenizer: its tokenizer.
        spelled: the spellings of each candidate.
        group: a question's prompts; the chance is their mean.
    """
    continues = word_continues(tokenizer)
    ends = bool(continues.any())  # then a spelling's chance takes in that no letter follows
    prompts = [prompt_tokens(tokenizer, prompt) for prompt in group]
    # A row holds all of a spelling that something is predicted after; spellings of one token share the bare prompt.
    tails = list(dict.fromkeys(each if ends else each[:-1] for spellings in spelled for each in spellings))
    rows = [(place, tail) for place in range(len(prompts)) for tail in tails]
    start = min(map(len, prompts)) - 1  # the first place that predicts something
    logs = _log_softmax(call, [[*prompts[place], *tail] for place, tail in rows], start)
    where = {row: line for line, row in enumerate(rows)}
    stops = torch.ones(logs.shape[-1], dtype=torch.bool, device=logs.device)
    stops[: len(continues)] = ~continues[: len(stops)].to(logs.device)

    def chance(place: int, spelling: Spelling) -> Tensor:
        line = logs[where[place, spelling if ends else spelling[:-1]]]
        first = len(prompts[place]) - 1 - start
        steps = [line[first + k, token] for k, token in enumerate(spelling)]
        if ends:
            steps.append(line[first + len(spelling)][stops].logsumexp(0))
        return torch.stack(steps).sum().exp()

    none = logs.new_zeros(())
    return torch.stack(
        [
            torch.stack(
                [sum((chance(place, each) for each in spellings), none) for place in range(len(prompts))]
            ).mean()
            for spellings in spelled
        ]
    )


def _statement_chances(call: Call, tokenizer: Any, trait: Trait, group: Question, wanted: Sequence[str]) -> Tensor:
    """Give the chance of each candidate's statement among those of a question, the mean over its statements."""
    chances = []
    for prompt in group:
        for stated in trait.statements(question_text(prompt)):
            rows = [row_ids(tokenizer, make_row(prompt, text, id=repr(text))) for text in stated.values()]
            start = min(len(asked) for asked, _ in rows) - 1
            logs = _log_softmax(call, [[*asked, *said] for asked, said in rows], start)
            totals = []
            for line, (asked, said) in zip(logs, rows, strict=True):
                places = torch.arange(len(said), device=line.device) + len(asked) - 1 - start
                totals.append(line[places, torch.tensor(said, device=line.device)].sum())
            shares = torch.stack(totals).softmax(0)
            chances.append(torch.stack([shares[list(stated).index(each)] for each in wanted]))
    if not chances:
        raise InputError(f"The trait {trait.name!r} has no statements on {question_text(group[0])!r}: give pairs.")
    return torch.stack(chances).mean(0)


def _log_softmax(call: Call, rows: Sequence[Sequence[int]], start: int) -> Tensor:
    """Give the log-probabilities after each token from place ``start`` on, (rows, tokens - start, vocabulary)."""
    width = max(map(len, rows))
    # padding is on the right, which causal attention never looks at
    tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device_of(call))
    net: Any = getattr(call, "module", call)
    inner = net.get_base_model() if hasattr(net, "get_base_model") else net
    # Few logits where the model can: a large vocabulary at every token of every prompt would fill the memory.
    few = "logits_to_keep" in inspect.signature(inner.forward).parameters
    logits: Tensor = call(
        input_ids=tokens, use_cache=False, **({"logits_to_keep": width - start} if few else {})
    ).logits
    logits = logits[:, start - width :]
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
