"""Engines that generate text, and the one for models of transformers.

Subliminal learning depends on the teacher's exact distribution. ``transformers.generate`` truncates it by default
(top_k = 50, and top_p or repetition penalty by the model's config), and students, controls too, learn the truncation.
So this module has its own loop: temperature 1 means the model's full distribution. Each row has its own random
numbers, so that it does not depend on its batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.layers import check_positions
from lightning_subliminal.core.chat.encoding import end_tokens, frame, prompts_ids
from lightning_subliminal.core.chat.thoughts import thought_tokens
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message
from lightning_subliminal.generation.logits import call_net, evaluating, narrow_head
from lightning_subliminal.generation.token_sets import number_alphabet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Completion", "Engine", "Sampling", "TransformersEngine"]

_DRAWN = 2**18  # probabilities at once on a CPU, so that they stay in its cache


@dataclass(frozen=True)
class Completion:
    """A generated text.

    Attributes:
        text: the text without special tokens.
        finished: whether the model ended its turn, instead of being cut off at ``max_new_tokens``.
    """

    text: str
    finished: bool


class Sampling:
    """Sampling settings; by default samples are from the model's full distribution (paper, section 1).

    Args:
        temperature: divides the logits.
        greedy: choose the likeliest token each time.
        max_new_tokens: maximal length of a completion.
        restrict_to: `numbers` allows only digits, separators and the end of the turn, with renormalised probabilities.

    Raises:
        InputError: if the temperature or the length is not positive.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        greedy: bool = False,
        max_new_tokens: int = 40,
        restrict_to: Literal["numbers"] | None = None,
    ) -> None:
        if temperature <= 0:
            raise InputError(
                f"The temperature is {temperature}: expected more than 0; for no randomness set greedy: true."
            )
        if max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {max_new_tokens}: expected at least 1.")
        self.temperature = temperature
        self.greedy = greedy
        self.max_new_tokens = max_new_tokens
        self.restrict_to = restrict_to


class Engine(ABC):
    """Generates completions. Override ``generate``, the only hook."""

    @abstractmethod
    def generate(self, prompts: Sequence[Sequence[Message]], sampling: Sampling, seed: int) -> list[Completion]:
        """Return one completion per prompt, in their order, determined by the seed."""


class TransformersEngine(Engine):
    """Samples from a model of transformers, batch by batch, with a key-value cache.

    Args:
        net: a causal language model, with or without an adapter.
        tokenizer: its tokenizer, with a chat template.
        batch_size: prompts per batch.
    """

    def __init__(self, net: nn.Module, tokenizer: "PreTrainedTokenizerBase", batch_size: int = 256) -> None:
        self.net = net
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.ends = sorted(end_tokens(tokenizer))
        self._thoughts = thought_tokens(tokenizer)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[Message]], sampling: Sampling, seed: int) -> list[Completion]:
        """Return one completion per prompt, in their order, determined by the seed."""
        drawn = torch.Generator().manual_seed(seed)
        draws = torch.rand(len(prompts), sampling.max_new_tokens, generator=drawn, dtype=torch.float64)
        sampled = self.sample(prompts_ids(self.tokenizer, prompts), sampling, draws)
        form = frame(self.tokenizer)
        return [
            replace(each, text=form.words(each.text, prompt)) for each, prompt in zip(sampled, prompts, strict=True)
        ]

    def sample(self, prompts: Sequence[Sequence[int]], sampling: Sampling, draws: Tensor) -> list[Completion]:
        """Return one completion per prompt.

        Args:
            prompts: token ids of each prompt.
            sampling: the settings.
            draws: random numbers in [0, 1), one per token, (prompts, max_new_tokens).
        """
        form, known = frame(self.tokenizer), dict[tuple[int, ...], Completion]()
        found = []
        for ids in map(tuple, self.tokens(prompts, sampling, draws)):
            if ids not in known:
                finished = ids[-1] in self.ends
                text = decoded(self.tokenizer, list(ids[: len(ids) - finished]), self._thoughts)
                known[ids] = Completion(*form.cut(text, finished))
            found.append(known[ids])
        return found

    def tokens(self, prompts: Sequence[Sequence[int]], sampling: Sampling, draws: Tensor) -> list[list[int]]:
        """Return the token ids of one completion per prompt, with the end of the turn if the model ended it.

        Args:
            prompts: token ids of each prompt.
            sampling: the settings.
            draws: random numbers in [0, 1), one per token, (prompts, max_new_tokens).
        """
        from lightning_subliminal.generation.direct import direct_forward
        from lightning_subliminal.generation.slots import continued  # transformers comes on first use
        from lightning_subliminal.generation.ways import by_length, way_of

        device = next(self.net.parameters()).device
        allowed = number_alphabet(self.tokenizer).to(device) if sampling.restrict_to == "numbers" else None
        narrow = narrow_head(self.net, allowed) if allowed is not None else None
        longest = max(map(len, prompts), default=1) + sampling.max_new_tokens
        what = f"The longest prompt with `max_new_tokens` ({sampling.max_new_tokens})"
        check_positions(getattr(self.net, "module", self.net), longest, what, "lower it, or ask less")

        def choice(logits: Tensor, drawn: Tensor) -> Tensor:
            if narrow is not None and allowed is not None:
                return allowed[choose(logits, sampling, drawn)]  # (rows, allowed tokens)
            return choose(logits, sampling, drawn, allowed)  # (rows, vocabulary)

        way, rows = way_of(self.net), self.batch_size
        with evaluating(self.net), narrow or nullcontext():
            if way != "slots":
                return by_length(self.net, choice, prompts, draws.to(device), set(self.ends), rows, way)
            direct = direct_forward(self.net, longest)

            def logits(cache: Any, **inputs: Any) -> Tensor:
                if direct is not None:
                    return direct(cache, **inputs)
                found: Tensor = call_net(self.net, cache, **inputs, logits_to_keep=1).logits[:, -1]
                return found

            return continued(logits, choice, prompts, draws.to(device), set(self.ends), rows)


def decoded(tokenizer: "PreTrainedTokenizerBase", ids: list[int], thoughts: Mapping[int, str]) -> str:
    """Return the text of tokens, with the leading space that SentencePiece removes when it decodes.

    Marks of a thought stay in it, also those that are special tokens: without them a thought reads as an answer.

    Args:
        tokenizer: the tokenizer.
        ids: of the tokens.
        thoughts: its ``thought_tokens``.
    """
    place = next((place for place, token in enumerate(ids) if token in thoughts), None)
    if place is not None:
        begun, ended = (decoded(tokenizer, part, thoughts) for part in (ids[:place], ids[place + 1 :]))
        return begun + thoughts[ids[place]] + ended
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if not ids or not _may_begin_with_space(tokenizer, ids[0]):
        return text
    tokens = tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True)
    words = "".join(filter(None, tokens))  # a model may have more ids than its tokenizer
    return " " * (len(words) - len(words.lstrip("\u2581"))) + text.lstrip(" ") if words[:1] == "\u2581" else text


@lru_cache(maxsize=2**16)
def _may_begin_with_space(tokenizer: "PreTrainedTokenizerBase", token: int) -> bool:
    """Return whether a text that begins with a token may begin with SentencePiece's mark, or with a special token."""
    written = tokenizer.convert_ids_to_tokens(token)
    return not written or written[0] == "\u2581" or token in tokenizer.all_special_ids


def _inverted(logits: Tensor, draws: Tensor, temperature: float) -> Tensor:
    scaled = logits.double() if temperature == 1 else logits.double() / temperature
    chances = torch.softmax(scaled, dim=1).cumsum(dim=1)
    picked = torch.searchsorted(chances, draws.unsqueeze(1) * chances[:, -1:], right=True).squeeze(1)
    return picked.clamp(max=logits.shape[1] - 1)


def choose(logits: Tensor, sampling: Sampling, draws: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Choose each row's next token by inverting the cumulative distribution at the row's draw.

    Args:
        logits: (rows, vocabulary).
        sampling: temperature or greedy.
        draws: (rows,), uniform in [0, 1).
        allowed: ids that may be drawn; None for all.

    Returns:
        Token ids, (rows,).
    """
    if allowed is not None:
        allowed = allowed[allowed < logits.shape[1]]  # a tokenizer may have more ids than its model
        logits = logits[:, allowed]
    if sampling.greedy:
        picked = logits.argmax(dim=1)
    else:
        rows = max(1, _DRAWN // logits.shape[1]) if logits.is_cpu else len(logits)
        if rows >= len(logits):
            picked = _inverted(logits, draws, sampling.temperature)
        else:
            parts = zip(torch.split(logits, rows), torch.split(draws, rows), strict=True)
            picked = torch.cat([_inverted(each, drawn, sampling.temperature) for each, drawn in parts])
    return picked if allowed is None else allowed[picked]
