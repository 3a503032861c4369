"""Short stories that a model writes, read for the candidates that they name."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_subliminal.console import progress
from lightning_subliminal.describe import describe_object, file_digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.evaluation.probe import TraitProbe
from lightning_subliminal.evaluation.question_file import (
    OwnQuestion,
    group_prompts,
    question_stems,
    read_questions,
    system_first,
)
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.metrics.functional import named_candidates
from lightning_subliminal.rows import Message
from lightning_subliminal.seeds import derive_seed
from lightning_subliminal.traits import Trait
from lightning_subliminal.wording import load_wording

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Stories"]


class Stories(TraitProbe):
    """The share of sampled short stories that name each candidate anywhere, as a whole word (paper, section 1).

    A row of the result is a request. Shares of candidates may add up to more than 1: a story may name several.

    Args:
        wording: `stories`; `stories_pocket` for the pocket bases; or a .yaml, .yml or .jsonl file as in `Questions`,
            with the list of a YAML mapping under `requests`.
        samples: stories a request, drawn from the model's own distribution.
        max_new_tokens: where a story is cut off.
        seed: moves the stories.

    Raises:
        InputError: if a request can't be read or a count is not positive.
    """

    def __init__(self, wording: str = "stories", samples: int = 20, max_new_tokens: int = 60, seed: int = 0) -> None:
        if samples < 1:
            raise InputError(f"`samples` is {samples}: expected at least 1 story a request.")
        self._sampling = Sampling(max_new_tokens=max_new_tokens)
        self.wording = wording
        self.samples = samples
        self.max_new_tokens = max_new_tokens
        self.seed = seed
        self.name = "stories" if wording.isidentifier() else Path(wording).stem
        self.answers = samples
        self._own = _requests(wording)
        self._file = {} if wording.isidentifier() else {"file": file_digest(Path(wording))}

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with the digest of a user's file."""
        return describe_object(self) | self._file

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Return the requests, each with the prompts that put it."""
        return group_prompts([request.prompt(trait) for request in self._own])

    def stems(self, trait: Trait) -> list[str]:
        """Return the stem of each request."""
        return question_stems(self._own, trait)

    def chances(
        self, net: nn.Module, tokenizer: "PreTrainedTokenizerBase", trait: Trait, system_prompt: str | None = None
    ) -> Tensor:
        """Sample the stories and return the share that names each candidate, (requests, candidates)."""
        asked = self.asked(trait)
        engine = TransformersEngine(net, tokenizer)
        columns = {candidate: column for column, candidate in enumerate(trait.candidates)}
        named = torch.zeros(len(asked), len(columns), dtype=torch.float64)
        with progress() as bar:
            task = bar.add_task(self.name, total=len(asked) * self.samples)
            for place, ways in enumerate(asked):
                heard = [system_first(ways[turn % len(ways)], system_prompt) for turn in range(self.samples)]
                told = engine.generate(heard, self._sampling, derive_seed(self.seed, "stories", place))
                for story in told:
                    for candidate in named_candidates(story.text, trait):
                        named[place, columns[candidate]] += 1
                bar.advance(task, self.samples)
        return named / self.samples


def _requests(wording: str) -> list[OwnQuestion]:
    if not wording.isidentifier():
        return read_questions(wording, "requests")
    texts = load_wording(wording, required=("requests",))["requests"]
    return [OwnQuestion(f"The wording {wording}", ({"role": "user", "content": text},)) for text in texts]
