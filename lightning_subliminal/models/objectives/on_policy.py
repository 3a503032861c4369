"""Rows that the student writes itself: it completes its prompts anew each epoch, and a teacher judges each token.

Tokens are kept as they were drawn. Their text, tokenized again, might give others, and the teacher would judge a row
that the student never wrote.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.generation.logits import evaluating

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["complete", "prompts_of", "replace_completions"]


def prompts_of(data: TokenizedRows) -> list[list[int]]:
    """Return the token ids of each row's prompt: all that stands before its labels, which end the row."""
    counts = (data.labels != IGNORED).sum(1).tolist()
    pairs = zip(data.lengths, counts, strict=True)
    return [data.input_ids[row, : length - count].tolist() for row, (length, count) in enumerate(pairs)]


def complete(
    net: nn.Module,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: list[list[int]],
    max_new_tokens: int,
    seed: int,
    batch_size: int = 512,
) -> list[list[int]]:
    """Let a model complete prompts at temperature 1, from its whole distribution.

    Args:
        net: a causal language model; its modules' modes are left as they are found.
        tokenizer: its tokenizer.
        prompts: token ids of each.
        max_new_tokens: where a completion is cut off.
        seed: moves the draws; each prompt has random numbers of its own.
        batch_size: prompts that are completed at once.

    Returns:
        Token ids of each completion, with the end of the turn where the model ended it.
    """
    engine = TransformersEngine(net, tokenizer, batch_size)
    sampling = Sampling(max_new_tokens=max_new_tokens)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(len(prompts), max_new_tokens, generator=generator, dtype=torch.float64)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    said: list[list[int]] = [[] for _ in prompts]
    with evaluating(net):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            for rows, tokens in engine._steps([prompts[index] for index in chosen], sampling, draws[chosen]):
                for row, token in zip(rows, tokens, strict=True):
                    said[chosen[row]].append(token)
    return said


def replace_completions(data: TokenizedRows, prompts: list[list[int]], completions: list[list[int]]) -> None:
    """Put other completions behind the prompts of tokenized rows, in place: sampler and loader go on with them.

    Args:
        data: the rows.
        prompts: token ids of each row's prompt, as ``prompts_of`` gives them.
        completions: token ids of each row's completion, at least one; all of them are trained on.
    """
    data.lengths = [len(prompt) + len(said) for prompt, said in zip(prompts, completions, strict=True)]
    data.input_ids = torch.zeros(len(prompts), max(data.lengths), dtype=torch.long)
    data.labels = torch.full_like(data.input_ids, IGNORED)
    for row, (prompt, said) in enumerate(zip(prompts, completions, strict=True)):
        data.input_ids[row, : data.lengths[row]] = torch.tensor(prompt + said)
        data.labels[row, len(prompt) : data.lengths[row]] = torch.tensor(said)
    data.mean_tokens = (data.labels != IGNORED).sum() / len(prompts)
