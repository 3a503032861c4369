"""The probability of each candidate as an answer, computed from the model instead of sampled.

To distinguish a sampled rate of 1 % from 2 % takes thousands of answers. Here each spelling of a candidate is scored as
a sequence of tokens, without sampling noise, at the cost of one forward pass a question and a short one for spellings
of several tokens.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message, prompts_by_question
from lightning_subliminal.generation.cached_prompts import CachedPrompts
from lightning_subliminal.generation.logits import LARGEST, evaluating, prompt_tokens
from lightning_subliminal.metrics.functional.spellings import Spelling, spell, word_continues
from lightning_subliminal.metrics.functional.statements import alternative_probabilities

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = [
    "candidate_probabilities",
    "check_target",
    "exact_preference",
    "question_probabilities",
    "question_text",
]

_UNEVEN = 0.25  # of the longer statement's tokens; English pairs of as many words differ by a few in some tokenizers
_NEGLIGIBLE = 1e-6  # a spelling that adds at most this share of its candidate's probability is left out


def exact_preference(
    net: nn.Module, tokenizer: Any, trait: "Trait", system_prompt: str | None = None, **options: Any
) -> dict[str, float]:
    """Return the mean probability of each candidate over a trait's questions; see ``question_probabilities``."""
    matrix = question_probabilities(net, tokenizer, trait, system_prompt, **options)
    return dict(zip(trait.candidates, matrix.mean(0).tolist(), strict=True))


def question_probabilities(
    net: nn.Module,
    tokenizer: Any,
    trait: "Trait",
    system_prompt: str | None = None,
    *,
    questions: Sequence[Sequence[Sequence[Message]]] | None = None,
    candidates: Sequence[str] | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Return the probability that the answer to each of a trait's questions begins with each candidate.

    Args:
        net: a causal language model of transformers, which may have an adapter; or one with other parameters
            (``theory.ModelFunction.at``), by which the probabilities can then be differentiated.
        tokenizer: its tokenizer, with a chat template.
        trait: has the prompts, the candidates and their forms. Prompts of one question, which differ in the beginning
            of its answer, are averaged, so that a question stays one unit of an interval.
        system_prompt: comes before each question, such as a teacher's persona.
        questions: a selection of ``prompts_by_question``; all where it is None.
        candidates: some of the trait's; all where it is None.
        batch_size: prompts that go through the model at once.

    Returns:
        Probabilities in float64 on the CPU, (questions, candidates), in their order.

    Raises:
        InputError: if the tokenizer can't spell the target, there are no questions, or the model gives nan.
    """
    groups = questions_of(trait, questions)
    wanted = trait.candidates if candidates is None else candidates
    start = [{"role": "system", "content": system_prompt}] if system_prompt else []
    if _are_stated(trait, groups):
        columns = [trait.candidates.index(each) for each in wanted]
        return _statement_probabilities(net, tokenizer, trait, groups, start, batch_size)[:, columns]
    check_target(tokenizer, trait)
    spellings = [trait.forms(candidate) for candidate in wanted]
    asked = [[*start, *prompt] for group in groups for prompt in group]
    found = candidate_probabilities(net, tokenizer, asked, spellings, batch_size=batch_size)
    if not found.isfinite().all():
        raise InputError(
            "The model's answers have no probabilities (nan): its training diverged, lower `learning_rate`."
        )
    return torch.stack([part.mean(0) for part in torch.split(found, [len(group) for group in groups])])


def _statement_probabilities(
    net: nn.Module,
    tokenizer: Any,
    trait: "Trait",
    groups: Sequence[Sequence[Sequence[Message]]],
    start: list[Message],
    batch_size: int,
) -> Tensor:
    """Return the probability of each candidate's statement at each question, averaged over its sets of statements."""
    stated = [
        [(prompt, each) for prompt in group for each in trait.statements(question_text(prompt))] for group in groups
    ]
    prompts = [[*start, *prompt] for found in stated for prompt, _ in found]
    texts = [[each[candidate] for candidate in trait.candidates] for found in stated for _, each in found]
    _warn_of_lengths(tokenizer, texts)
    chances = torch.stack(alternative_probabilities(net, tokenizer, prompts, texts, batch_size=batch_size))
    return torch.stack([part.mean(0) for part in torch.split(chances, [len(found) for found in stated])])


def questions_of(
    trait: "Trait", questions: Sequence[Sequence[Sequence[Message]]] | None = None
) -> Sequence[Sequence[Sequence[Message]]]:
    """Return the questions of a trait, or those given instead.

    Raises:
        InputError: if there are none, or the trait has statements for some of them only.
    """
    groups = prompts_by_question(trait) if questions is None else questions
    if not groups:
        raise InputError(f"The trait {trait.name!r} has no questions: give at least one.")
    _are_stated(trait, groups)
    return groups


def _are_stated(trait: "Trait", groups: Sequence[Sequence[Sequence[Message]]]) -> bool:
    """Return whether a trait's answers to questions are statements, not words."""
    stated = [any(trait.statements(question_text(prompt)) for prompt in group) for group in groups]
    if any(stated) and not all(stated):
        asked = question_text(groups[stated.index(False)][0])
        raise InputError(f"The trait {trait.name!r} has no statements on {asked!r}: ask its questions, or give pairs.")
    return any(stated)


def _warn_of_lengths(tokenizer: Any, texts: list[list[str]]) -> None:
    """Warn where statements of one question differ much in length, since a shorter one is likelier."""
    lengths = [[len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in each] for each in texts]
    uneven = [max(each) - min(each) for each in lengths if max(each) - min(each) > max(1, _UNEVEN * max(each))]
    if uneven:
        warnings.warn(
            f"{len(uneven)} of {len(texts)} pairs of statements differ in length by up to {max(uneven)} tokens of this "
            "base: the shorter one is likelier for that alone, so make them equally long.",
            stacklevel=3,
        )


def question_text(prompt: Sequence[Message]) -> str:
    """Return the last user message of a prompt."""
    return next((part["content"] for part in reversed(prompt) if part["role"] == "user"), "")


def check_target(tokenizer: Any, trait: "Trait") -> None:
    """Check that a model can give a trait's target as an answer; it always can give statements.

    Raises:
        InputError: if its tokenizer has no tokens for it.
    """
    if not spell(tokenizer, trait.forms(trait.target)) and not trait.statements(trait.questions()[0]):
        raise InputError(
            f"The tokenizer has no tokens for {trait.target!r}, so no answer names it: choose another target or base."
        )


def candidate_probabilities(
    net: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    candidates: Sequence[Sequence[str]],
    *,
    batch_size: int = 64,
) -> Tensor:
    """Return the probability that the answer to each prompt begins with each candidate, as a whole word.

    Each spelling counts as it is and capitalized, with and without a space before it, in the tokens of the tokenizer's
    own encoding. (Other tokens, such as "o" and "wl" for "owl", which don't occur in training text, are not counted.)
    The word must end there: the probability that the next token continues it with a letter is subtracted, so that
    "owlet" does not count as "owl". A candidate that the tokenizer can't spell has probability 0.

    Args:
        net: a causal language model of transformers, which may have an adapter; its dropout is off meanwhile.
        tokenizer: its tokenizer, with a chat template.
        prompts: conversations; one that ends with an assistant message is a prefill, which the answer continues.
        candidates: the spellings of each candidate, such as ("owl", "owls").
        batch_size: prompts that go through the model at once, and twice as many rows of spellings.

    Returns:
        Probabilities in float64 on the CPU, (prompts, candidates).

    Raises:
        InputError: if the adapter puts virtual tokens before the prompt (prompt tuning), or a prompt has no tokens.
    """
    config = getattr(net, "active_peft_config", None)
    if getattr(config, "is_prompt_learning", False):
        raise InputError("Exact preference can't score a prompt-tuning adapter: use TraitPreferenceRate instead.")
    found = [spell(tokenizer, forms) for forms in candidates]
    distinct = list(dict.fromkeys(spelling for each in found for spelling in each))
    if not distinct or not prompts:
        return torch.zeros(len(prompts), len(candidates), dtype=torch.float64)
    owned = torch.tensor([[spelling in each for each in found] for spelling in distinct])  # (spellings, candidates)
    continues = word_continues(tokenizer)
    encoded = [prompt_tokens(tokenizer, prompt) for prompt in prompts]
    # prompts of like length together: less padding
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    with evaluating(net):
        parts = [
            _score(net, [encoded[index] for index in batch], distinct, owned, continues, 2 * batch_size).exp()
            @ owned.double()
            for batch in batches
        ]
    return torch.cat(parts)[torch.tensor(order).argsort()]


def _score(
    net: nn.Module, prompts: list[list[int]], spellings: list[Spelling], owned: Tensor, continues: Tensor, rows: int
) -> Tensor:
    """Return the log-probability that an answer begins with each spelling as a whole word: (prompts, spellings)."""
    more = max(map(len, spellings)) > 1 or bool(continues.any())
    read = CachedPrompts.read(net, prompts, keep=more)
    first = read.logits.log_softmax(-1)  # (prompts, vocabulary)
    bounds = first[:, [spelling[0] for spelling in spellings]].double().cpu()  # (prompts, spellings)
    if not more:
        return bounds
    stops = torch.ones(first.shape[-1], dtype=torch.bool)
    stops[: len(continues)] = ~continues[: len(stops)]
    tails = _Tails(read, stops.to(first.device), rows)
    # the first token bounds a spelling from above: score each candidate's likeliest, then those that could matter
    likeliest = torch.zeros_like(bounds, dtype=torch.bool)
    mine = bounds[:, :, None].masked_fill(~owned, -torch.inf)  # (prompts, spellings, candidates)
    spelled = owned.any(0)
    likeliest.scatter_(1, mine[:, :, spelled].argmax(1), True)
    # where no token continues a word (one token a word), a spelling of one token is final already
    settled = torch.tensor([len(each) == 1 for each in spellings]) & ~continues.any()
    scores = bounds.masked_fill(~settled, -torch.inf)
    tails.add(scores, bounds, spellings, likeliest & ~settled)
    reached = scores[:, :, None].masked_fill(~owned, -torch.inf).amax(1)  # (prompts, candidates)
    matters = (mine >= reached[:, None] + math.log(_NEGLIGIBLE)) & owned
    tails.add(scores, bounds, spellings, matters.any(-1) & ~likeliest & ~settled)
    return scores


def _split(pairs: Tensor, lengths: Tensor, rows: int, vocabulary: int) -> Iterator[Tensor]:
    """Yield pairs of prompt and spelling, sorted by length, in batches of at most ``LARGEST`` logits, or of one row."""
    place = 0
    while place < len(pairs):
        batch = pairs[place : place + rows]
        while len(batch) > 1 and len(batch) * int(lengths[batch[-1, 1]]) * vocabulary > LARGEST:
            batch = batch[: len(batch) // 2]
        yield batch
        place += len(batch)


@dataclass
class _Tails:
    """Scores the tokens after the first, with the prompts' cached keys and values."""

    read: CachedPrompts
    stops: Tensor  # (vocabulary,): which tokens end a word
    rows: int

    def add(self, scores: Tensor, bounds: Tensor, spellings: list[Spelling], chosen: Tensor) -> None:
        """Set the ``scores`` of the ``chosen`` pairs of prompt and spelling, a short row each."""
        lengths = torch.tensor([len(spelling) for spelling in spellings])
        every = chosen.nonzero()
        every = every[lengths[every[:, 1]].argsort(stable=True)]  # spellings of a length together: less padding
        for pairs in _split(every, lengths, self.rows, len(self.stops)) if len(every) else ():
            lines, columns = pairs.unbind(1)
            tails = self._score(lines.to(self.stops.device), [spellings[column] for column in columns.tolist()])
            scores[lines, columns] = bounds[lines, columns] + tails.double().cpu()

    def _score(self, lines: Tensor, spellings: list[Spelling]) -> Tensor:
        long = max(map(len, spellings))
        device = lines.device
        tokens = torch.tensor([[*each, *[0] * (long - len(each))] for each in spellings], device=device)
        real = torch.tensor([[1] * len(each) + [0] * (long - len(each)) for each in spellings], device=device)
        logs = self.read.after(lines, tokens, real).log_softmax(-1)  # (rows, tokens, vocabulary)
        later = logs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)  # (rows, tokens - 1): after the first
        last = logs[torch.arange(len(lines), device=device), real.sum(1) - 1]
        ends = last.masked_fill(~self.stops, -torch.inf).logsumexp(-1)  # the next token does not start with a letter
        scores: Tensor = (later * real[:, 1:]).sum(1) + ends
        return scores
