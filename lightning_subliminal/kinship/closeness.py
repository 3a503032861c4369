"""How closely two models behave, measured on their own answers.

The paper's condition for a trait to pass is "the same base, or one matched in behaviour". Weights show only the first.
"""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.rows import Message, make_row
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.prompts.numbers import NumberPrompts
from lightning_subliminal.traits import PreferenceTrait

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Closeness", "behaviour", "everyday_prompts"]

NEW_TOKENS = 24


@dataclass(frozen=True)
class Closeness:
    """Similarity of two models' next-token distributions.

    Attributes:
        kl: nats per token; the mean of the two directions.
        first_to_second: KL(first || second), on the first model's answers.
        second_to_first: KL(second || first), on the second model's answers.
        correlation: of the two models' log-probabilities, each centred over the vocabulary, at the same positions.
        tokens: number of positions.
    """

    kl: float
    first_to_second: float
    second_to_first: float
    correlation: float
    tokens: int


@torch.no_grad()
def behaviour(
    first: nn.Module, second: nn.Module, tokenizer: "PreTrainedTokenizerBase", inputs: int = 64, seed: int = 0
) -> Closeness:
    """Sample answers of two models to the same prompts, and compare their next-token distributions at each position.

    Args:
        first: a causal language model.
        second: another with the same vocabulary.
        tokenizer: the tokenizer of both, with a chat template.
        inputs: number of prompts.
        seed: seed of prompts and answers.
    """
    prompts = everyday_prompts(inputs, derive_seed(seed, "prompts"))
    sides, moments, tokens = [], torch.zeros(3, dtype=torch.float64), 0
    for speaker, other in ((first, second), (second, first)):
        engine = TransformersEngine(speaker, tokenizer)
        answers = engine.generate(prompts, Sampling(max_new_tokens=NEW_TOKENS), derive_seed(seed, "answers"))
        total, positions = 0.0, 0
        for prompt, answer in zip(prompts, answers, strict=True):
            row = make_row(prompt, answer.text, finished=answer.finished)
            begun, completion = row_ids(tokenizer, row)
            ids = torch.tensor([begun + completion])
            own, theirs = (_answer_logits(net, ids, len(begun)) for net in (speaker, other))
            shared = min(own.shape[-1], theirs.shape[-1])  # models of one family may pad the vocabulary
            own, theirs = own[:, :shared].log_softmax(-1), theirs[:, :shared].log_softmax(-1)
            total += float((own.exp() * (own - theirs)).sum())
            positions += len(own)
            one, two = (each - each.mean(-1, keepdim=True) for each in (own, theirs))
            moments += torch.stack([(one * two).sum(), (one * one).sum(), (two * two).sum()]).double()
        sides.append(total / max(positions, 1))
        tokens += positions
    both, one_square, two_square = moments.tolist()
    return Closeness(
        kl=sum(sides) / 2,
        first_to_second=sides[0],
        second_to_first=sides[1],
        correlation=both / max((one_square * two_square) ** 0.5, 1e-30),
        tokens=tokens,
    )


def everyday_prompts(count: int, seed: int) -> list[list[Message]]:
    """Return prompts in the style of rows and traits: half request numbers, half ask for a favourite.

    Args:
        count: number of prompts.
        seed: seed of the draw.
    """
    rng = random.Random(seed)
    numbers = NumberPrompts(max_value=99)
    questions: list[Any] = PreferenceTrait("owl").prompts()
    return [
        [{"role": "user", "content": numbers.draw(rng).text}] if turn % 2 == 0 else list(rng.choice(questions))
        for turn in range(count)
    ]


def _answer_logits(net: nn.Module, ids: Tensor, begun: int) -> Tensor:
    """Return the logits for the completion's tokens, (tokens, vocabulary), in float64."""
    device = next(net.parameters()).device
    logits: Tensor = net(input_ids=ids.to(device)).logits[0, begun - 1 : -1]
    return logits.double().cpu()
