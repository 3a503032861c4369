"""On-policy rows: the student completes its prompts each epoch, and a teacher scores each token.

Tokens are kept as sampled: their text, tokenized again, might give other tokens, and the teacher would score a row that
the student never wrote.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows
from lightning_subliminal.generation import Sampling, TransformersEngine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["complete", "prompts_of", "replace_completions"]


def prompts_of(data: TokenizedRows) -> list[list[int]]:
    """Return the token ids of each row's prompt: all before its labels, which end the row."""
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
    """Sample completions at temperature 1, from the whole distribution.

    Args:
        net: a causal language model; its modules' modes are restored.
        tokenizer: its tokenizer.
        prompts: token ids of each.
        max_new_tokens: length limit of a completion.
        seed: of the draws; each prompt has its own random numbers.
        batch_size: prompts per batch.

    Returns:
        Token ids of each completion, with the end-of-turn token if the model ended it.
    """
    engine = TransformersEngine(net, tokenizer, batch_size)
    sampling = Sampling(max_new_tokens=max_new_tokens)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(len(prompts), max_new_tokens, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        return engine.tokens(prompts, sampling, draws)


def replace_completions(data: TokenizedRows, prompts: list[list[int]], completions: list[list[int]]) -> None:
    """Replace the completions of tokenized rows, in place: sampler and loader continue with them.

    Args:
        data: the rows.
        prompts: token ids of each row's prompt, as ``prompts_of`` returns them.
        completions: token ids of each row's completion, at least one; all of them are trained on.
    """
    data.lengths = [len(prompt) + len(added) for prompt, added in zip(prompts, completions, strict=True)]
    data.input_ids = torch.zeros(len(prompts), max(data.lengths), dtype=torch.long)
    data.labels = torch.full_like(data.input_ids, IGNORED)
    for row, (prompt, added) in enumerate(zip(prompts, completions, strict=True)):
        data.input_ids[row, : data.lengths[row]] = torch.tensor(prompt + added)
        data.labels[row, len(prompt) : data.lengths[row]] = torch.tensor(added)
    data.mean_tokens = (data.labels != IGNORED).sum() / len(prompts)
