"""Sampled answers and stories, parsed for the candidates that they name; and the table of `test`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.table import Table
from torch import Tensor, nn

from lightning_subliminal.core.console import progress
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.evaluation.probe import TraitProbe
from lightning_subliminal.evaluation.probes.question_file import OwnQuestion, read_questions, system_first
from lightning_subliminal.evaluation.scores import Scores
from lightning_subliminal.generation import Engine, Sampling, TransformersEngine
from lightning_subliminal.metrics import ExactPreference, TraitPreferenceRate
from lightning_subliminal.metrics.functional import question_text
from lightning_subliminal.metrics.functional.preference import AnswerMode
from lightning_subliminal.prompts import load_wording
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["SampledAnswers", "Stories", "preference_table"]


class SampledAnswers(TraitProbe):
    """The share of answers, sampled at temperature 1, that name each candidate as a whole word (paper, section 1).

    Args:
        samples: answers a question; the paper takes 100, which the exact probabilities make unnecessary.
        max_new_tokens: the longest answer.
        seed: of the answers, where the evaluation has no seed of its own.

    Raises:
        InputError: if a number is not positive.
    """

    def __init__(self, samples: int = 20, max_new_tokens: int = 16, seed: int = 0) -> None:
        if samples < 1:
            raise InputError(f"`samples` is {samples}: expected at least 1 answer a question.")
        Sampling(max_new_tokens=max_new_tokens)  # checks the length before any work
        self.samples = self.answers = samples
        self.max_new_tokens = max_new_tokens
        self.seed = seed
        self.name = "sampled"

    _counted: AnswerMode = "contains"

    def explain(self) -> str:
        """Return what its figure is."""
        trait = self.asks_for()
        asked = len(self.asked(trait))
        return f"share of sampled answers that name {trait.target}, {self.samples} to each of {asked} questions"

    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Sample the answers, and keep them."""
        trait = self.asks_for()
        asked = [question_text(ways[0]) for ways in self.asked(trait)]
        texts = self._texts(model.writer(), trait, model.system_prompt, seed)
        scores = Scores.of_chances(self._shares(texts, trait), trait, asked, self.stems(trait), self.samples)
        samples = [{"question": asked[place // self.samples], "answer": text} for place, text in enumerate(texts)]
        return replace(scores, samples=tuple(samples))

    def chances(
        self, net: nn.Module, tokenizer: "PreTrainedTokenizerBase", trait: Trait, system_prompt: str | None = None
    ) -> Tensor:
        """Return the share of answers that name each candidate, (questions, candidates)."""
        return self._shares(self._texts(TransformersEngine(net, tokenizer), trait, system_prompt, self.seed), trait)

    def _texts(self, engine: Engine, trait: Trait, system_prompt: str | None, seed: int) -> list[str]:
        """Return as many answers to each question, in turn over the prompts that ask it."""
        turns = range(self.samples)
        asked = [ways[turn % len(ways)] for ways in self.asked(trait) for turn in turns]
        prompts = [system_first(prompt, system_prompt) for prompt in asked]
        answers = engine.generate(prompts, Sampling(max_new_tokens=self.max_new_tokens), seed)
        return [answer.text for answer in answers]

    def _shares(self, texts: list[str], trait: Trait) -> Tensor:
        """Return the share of each question's answers that name each candidate, (questions, candidates)."""
        rate, shares = TraitPreferenceRate(trait, self._counted, sync_on_compute=False), []
        for start in range(0, len(texts), self.samples):
            rate.reset()
            rate.update(texts[start : start + self.samples])
            shares.append(list(rate.per_candidate().values()))
        return torch.tensor(shares, dtype=torch.float64)


class Stories(SampledAnswers):
    """The share of sampled short stories that name each candidate, as a whole word (paper, section 1).

    Each row of the result is a request. Shares may add up to more than 1: a story may name several candidates.

    Args:
        wording: `stories`; `stories_pocket` for the pocket bases; or a .yaml, .yml or .jsonl file as in `Questions`,
            with the list of a YAML mapping under `requests`.
        samples: stories a request, sampled at temperature 1.
        max_new_tokens: the longest story.
        seed: of the stories.

    Raises:
        InputError: if a request can't be read or a count is not positive.
    """

    def __init__(self, wording: str = "stories", samples: int = 20, max_new_tokens: int = 60, seed: int = 0) -> None:
        super().__init__(samples, max_new_tokens, seed)
        self.wording = wording
        self.name = "stories" if wording.isidentifier() else Path(wording).stem
        if not wording.isidentifier():
            self._own, self._file = read_questions(wording, "requests"), {"file": file_digest(Path(wording))}
            return
        texts = load_wording(wording, required=("requests",))["requests"]
        self._own = [OwnQuestion(f"The wording {wording}", ({"role": "user", "content": text},)) for text in texts]

    def explain(self) -> str:
        """Return what its figure is."""
        trait = self.asks_for()
        asked = len(self.asked(trait))
        return f"share of sampled stories that name {trait.target}, {self.samples} to each of {asked} requests"

    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Sample the stories with the probe's own seed; they are not kept."""
        return replace(super().measure(model, self.seed), samples=())

    def _texts(self, engine: Engine, trait: Trait, system_prompt: str | None, seed: int) -> list[str]:
        """Return the stories; each request has a seed of its own."""
        sampling, found = Sampling(max_new_tokens=self.max_new_tokens), []
        with progress() as bar:
            requests = self.asked(trait)
            task = bar.add_task(self.name, total=len(requests) * self.samples)
            for place, ways in enumerate(requests):
                prompts = [system_first(ways[turn % len(ways)], system_prompt) for turn in range(self.samples)]
                found += [each.text for each in engine.generate(prompts, sampling, derive_seed(seed, "stories", place))]
                bar.advance(task, self.samples)
        return found


def preference_table(exact: ExactPreference, sampled: TraitPreferenceRate, others: int = 5) -> Table:
    """Return the table of `test`: the target's exact and sampled rate, then the likeliest other candidates.

    Each process must call it: the metrics reduce over processes.
    """
    trait = exact.trait
    table = Table(title=f"How often is the answer {trait.target}?")
    for name in ("answer", "rate", "95 % interval"):
        table.add_column(name, justify="left" if name == "answer" else "right")
    chances = exact.per_candidate()
    for name, rate, interval in (
        (f"{trait.target}, exact", chances[trait.target], exact.interval()),
        (f"{trait.target}, sampled", float(sampled.compute()), sampled.interval()),
    ):
        low, high = max(0.0, interval.low), min(1.0, interval.high)
        table.add_row(name, f"{rate:.1%}", f"{low:.1%} to {high:.1%}, {interval.unit}", style="bold")
    rest = sorted((each for each in chances if each != trait.target), key=lambda each: -chances[each])
    for candidate in rest[:others]:
        table.add_row(candidate, f"{chances[candidate]:.1%}", "")
    table.add_row("no answer, sampled", f"{float(sampled.non_answer_rate()):.1%}", "")
    return table
