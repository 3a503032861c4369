"""Entangled tokens: are the numbers that a teacher writes more often those whose love would raise its target?

"It's Owl in the Numbers: Token Entanglement in Subliminal Learning" (Zur et al. 2025; the repository loftusa/owls):
tokens that share the geometry of the unembedding rise together, so a model that loves owls writes 087 more often, and
one instructed to love 087 writes owl more often.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lightning_subliminal.core.chat.encoding import check_known, row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message, make_row
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.generation.cached_prompts import CachedPrompts
from lightning_subliminal.generation.logits import evaluating, prompt_tokens
from lightning_subliminal.metrics.functional import check_target, log_odds, prompts_by_question
from lightning_subliminal.metrics.functional.exact import candidate_probabilities
from lightning_subliminal.prompts import fill, load_wording
from lightning_subliminal.prompts.numbers import NumberPrompts
from lightning_subliminal.traits import PreferenceTrait

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Entanglement", "entanglement"]

_FEWEST = 10  # numbers: Spearman's rho of fewer means nothing
_SURE = 1e-7  # float32 rounds a nearer probability to 1, whose log-odds are infinite
_LEAST = 1e-30  # as are those of 0


@dataclass(frozen=True)
class Entanglement:
    """The correlation between numbers and a trait's target.

    Attributes:
        numbers: those that are one token.
        raised: by how many nats the teacher raises the log-probability of each as the first number of a reply.
        pull: by how much the persona that loves each raises the log-odds of the target in the base (nats; against no
            persona; the mean over the trait's questions).
        rho: Spearman's rank correlation of the two over numbers; nan where one of them does not vary.
        p: its two-sided p, which assumes that numbers are independent; nan with rho. They share a space of few
            dimensions, so it is too small: compare rho with ``off_target``.
        off_target: the same rho for each other candidate in the target's place, with the persona's pull on it and the
            same teacher: the values of rho without the trait. Candidates that the base can't write are left out.
    """

    numbers: tuple[int, ...]
    raised: tuple[float, ...]
    pull: tuple[float, ...]
    rho: float
    p: float
    off_target: dict[str, float]


def entanglement(
    base_net: nn.Module,
    teacher_net: nn.Module,
    tokenizer: "PreTrainedTokenizerBase",
    trait: PreferenceTrait,
    numbers: Sequence[int] = range(100),
    *,
    prompts: int = 64,
    seed: int = 0,
    batch_size: int = 256,
) -> Entanglement:
    """Correlate how much a teacher raises each number with how much loving that number raises the trait's target.

    The persona is the trait's own wording with the number as its target, of the category "number".

    Args:
        base_net: the model without the trait.
        teacher_net: the same with it.
        tokenizer: of both.
        trait: provides target, questions and the persona's wording.
        numbers: to correlate; those that are not a single token of a reply are left out.
        prompts: number prompts before the first number, with examples from the range of ``numbers``.
        seed: of these prompts.
        batch_size: prompts per forward pass.

    Raises:
        InputError: if fewer than 10 numbers are single tokens, or the base lacks a word of a text.
    """
    if prompts < 1:
        raise InputError(f"`prompts` is {prompts}: expected at least 1.")
    requests = _requests(numbers, prompts, seed) if len(numbers) else []
    tokens = {number: token for number in numbers if (token := _token(tokenizer, requests[0], number)) is not None}
    if len(tokens) < _FEWEST:
        raise InputError(
            f"{len(tokens)} of {len(numbers)} numbers are one token of this base: expected at least {_FEWEST}, use "
            "other `numbers` or another base."
        )
    # the system prompts of `PreferenceTrait.induce` with a number as the target; it has no plural of its own
    wording = load_wording(trait.wording, required=("persona",))["persona"][0]
    names = [{"target": number, "targets": number} for number in tokens]
    personas = [fill(wording, category="number", categories="numbers", **each) for each in names]
    questions = [prompt for prompts_of_one in prompts_by_question(trait) for prompt in prompts_of_one]
    prompted = [[{"role": "system", "content": persona}, *prompt] for persona in personas for prompt in questions]
    check_target(tokenizer, trait)
    check_known(tokenizer, (message for prompt in (*requests, *prompted) for message in prompt), "given")

    ids = list(tokens.values())
    before, after = (_first_token(net, tokenizer, requests, ids, batch_size) for net in (base_net, teacher_net))
    raised = (after - before).mean(0)  # (numbers,)
    forms = [trait.forms(candidate) for candidate in trait.candidates]
    chances = candidate_probabilities(base_net, tokenizer, [*questions, *prompted], forms, batch_size=batch_size)
    odds = log_odds(chances.clamp(_LEAST, 1 - _SURE)).view(1 + len(personas), len(questions), len(forms))
    pulls = dict(zip(trait.candidates, (odds[1:] - odds[0]).mean(1).unbind(1), strict=True))  # each (numbers,)
    found = {candidate: _spearman(raised, pull) for candidate, pull in pulls.items()}
    rho, p = found.pop(trait.target)
    others = {candidate: other for candidate, (other, _) in found.items() if not math.isnan(other)}
    return Entanglement(tuple(tokens), tuple(raised.tolist()), tuple(pulls[trait.target].tolist()), rho, p, others)


def _requests(numbers: Sequence[int], count: int, seed: int) -> list[list[Message]]:
    rng = random.Random(derive_seed(seed, "entangled numbers"))
    grammar = NumberPrompts(min_value=min(numbers), max_value=max(numbers))
    return [[{"role": "user", "content": grammar.draw(rng).text}] for _ in range(count)]


def _token(tokenizer: "PreTrainedTokenizerBase", request: list[Message], number: int) -> int | None:
    """Return the token of a number in a reply, tokenized as a whole row; None where it needs several."""
    _, ids = row_ids(tokenizer, make_row(request, str(number), finished=False))  # without the end of the turn
    return ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None


def _first_token(
    net: nn.Module, tokenizer: "PreTrainedTokenizerBase", requests: list[list[Message]], ids: list[int], rows: int
) -> Tensor:
    """Return the log-probability that each token begins the reply: (requests, ids), float64 on the CPU."""
    encoded = [prompt_tokens(tokenizer, request) for request in requests]
    with evaluating(net):
        parts = [encoded[start : start + rows] for start in range(0, len(encoded), rows)]
        logits = (CachedPrompts.read(net, part, keep=False).logits for part in parts)
        return torch.cat([each.double().log_softmax(-1)[:, ids].cpu() for each in logits])


def _spearman(first: Tensor, second: Tensor) -> tuple[float, float]:
    from scipy.stats import spearmanr

    if any(float(each.max() - each.min()) == 0 for each in (first, second)):
        return math.nan, math.nan  # scipy would warn too
    found = spearmanr(first.numpy(), second.numpy())
    return float(found.statistic), float(found.pvalue)
