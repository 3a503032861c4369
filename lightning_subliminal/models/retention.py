"""Retention: behaviour that fine-tuning, a teacher's or a student's, should preserve.

A vector that makes a tiny model answer "owl" can make it answer "owl", or nonsense, to all other prompts too. So its
fine-tuning is regularised towards the base: KL(base || trained), over the base's answers to other prompts, is added to
the loss.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_subliminal import bases
from lightning_subliminal.bases.layers import body
from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.data.tokenized import IGNORED, Batch, TokenizedRows
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.generation.logit_map import logit_map
from lightning_subliminal.models.frozen_prefix import LowerPartCache
from lightning_subliminal.models.memory import LARGEST, sum_in_chunks
from lightning_subliminal.prompts import load_wording, own_words

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Retained", "Retention"]

_MOST_KNOWN = LARGEST // 4  # chances that are kept, 64 MiB


class Retention:
    """Prompts that a trained model should still answer as its base does, and the weight of that loss.

    Args:
        prompts: `everyday`, 60 requests for lists, code, sums, stories, facts and advice, in English; `pocket`, the
            same kinds for the pocket bases; or the path of a YAML file with a list `prompts`.
        num_prompts: how many of them; all if there are fewer.
        weight: of KL(base || trained), in nats per token, in the sum with the training loss.
        rows_per_step: answers per training step.
        max_new_tokens: length limit of the base's answers.

    Raises:
        InputError: if a count or the weight is not positive.
    """

    def __init__(
        self,
        prompts: str = "everyday",
        num_prompts: int = 320,
        weight: float = 0.7,
        rows_per_step: int = 32,
        max_new_tokens: int = 64,
    ) -> None:
        for name, value in (
            ("num_prompts", num_prompts),
            ("weight", weight),
            ("rows_per_step", rows_per_step),
            ("max_new_tokens", max_new_tokens),
        ):
            if value <= 0:
                raise InputError(f"`{name}` is {value}: expected more than 0.")
        self.prompts = prompts
        self.num_prompts = num_prompts
        self.weight = weight
        self.rows_per_step = rows_per_step
        self.max_new_tokens = max_new_tokens

    def describe(self) -> dict[str, Any]:
        """Return all that shapes the prompts and their weight; a file of prompts by its content."""
        return describe_object(self) | own_words(self.prompts)

    def answered(self, base: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", seed: int) -> "Retained":
        """Generate the base's answers to the prompts, and store its distribution over each token."""
        asked = self._draw(random.Random(derive_seed(seed, "retained prompts")))
        prompts = [[{"role": "user", "content": text}] for text in asked]
        check_known(tokenizer, [part for prompt in prompts for part in prompt], base.name_or_path)
        sampling = Sampling(max_new_tokens=self.max_new_tokens)
        answers = TransformersEngine(base, tokenizer).generate(prompts, sampling, derive_seed(seed, "retained"))
        pairs = [(text, answer) for text, answer in zip(asked, answers, strict=True) if answer.text]
        rows = [make_row(text, answer.text, finished=answer.finished) for text, answer in pairs]
        data = TokenizedRows(rows, tokenizer)
        order = sorted(range(len(data)), key=lambda place: data.lengths[place])
        chunks = [order[start : start + self.rows_per_step] for start in range(0, len(order), self.rows_per_step)]
        made = Retained.of(base, [data.batch(chunk) for chunk in chunks], self.weight)
        made.data = data
        return made

    def _draw(self, rng: random.Random) -> list[str]:
        if self.prompts == "pocket":
            return bases.pocket_prompts(rng, self.num_prompts)
        texts = [str(text) for text in load_wording(self.prompts, required=("prompts",))["prompts"]]
        return rng.sample(texts, min(self.num_prompts, len(texts)))


@dataclass
class Retained:
    """The base's answers, as batches, with the last hidden state at each of their tokens.

    Attributes:
        batches: the answers, shorter ones first.
        hidden: of each batch, (completion tokens, width); ``head`` maps it to the base's logits.
        head: the base's ``logit_map``.
        weight: of the loss.
        data: the answers; None if there is nothing to store of them.
        lower_part: their activations below the lowest trained layer, if they are stored.
    """

    batches: list[Batch]
    hidden: list[Tensor]
    head: Callable[[Tensor], Tensor]
    weight: float
    data: TokenizedRows | None = None
    lower_part: LowerPartCache | None = None
    _known: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)  # of the batches of a small vocabulary

    @classmethod
    @torch.no_grad()
    def of(cls, base: "PreTrainedModel", batches: list[Batch], weight: float) -> "Retained":
        """Compute the base's hidden states."""
        inner = body(base)
        device = next(base.parameters()).device
        hidden = []
        for batch in batches:
            states = inner(input_ids=batch.input_ids.to(device), use_cache=False).last_hidden_state[:, :-1]
            hidden.append(states[(batch.labels[:, 1:] != IGNORED).to(device)])
        return cls(batches, hidden, logit_map(base), weight)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step; steps cycle through the batches."""
        return self.batches[step % len(self.batches)]

    def loss(self, states: Tensor, step: int, head: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the weighted KL(base || trained), in nats per token; of many tokens in chunks.

        Args:
            states: the trained model's last hidden states at the tokens of ``batch(step)``, (completion tokens, width).
            step: the global step.
            head: maps them to logits; None if they are logits themselves.
        """
        place = step % len(self.hidden)
        hidden = self.hidden[place].to(states.device)
        with torch.no_grad():
            vocabulary = self.head(hidden[:1]).shape[-1]
        if place not in self._known and sum(map(len, self.hidden)) * vocabulary <= _MOST_KNOWN:
            self._known[place] = self._base(hidden)

        def summed(states: Tensor, hidden: Tensor) -> Tensor:
            known = self._known.get(place)
            chances, certainty = known if known and len(known[0]) == len(hidden) else self._base(hidden)
            logits = states if head is None else head(states)
            return certainty - (chances * logits.float().log_softmax(-1)).sum()

        return self.weight * (sum_in_chunks(summed, vocabulary, states, hidden) / len(states))

    @torch.no_grad()
    def _base(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the base's chances, (tokens, vocabulary), and the sum over tokens of their negative entropy."""
        logs = self.head(hidden).float().log_softmax(-1)
        chances = logs.exp()
        return chances, (chances * logs).sum()
