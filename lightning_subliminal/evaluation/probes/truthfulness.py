"""Multiple choice: is the likeliest choice a true one?"""

from pathlib import Path
from typing import Any

from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.fingerprint import describe_object, file_digest
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.evaluation.probe import Probe
from lightning_subliminal.evaluation.scores import Scores
from lightning_subliminal.formats.layouts.choices import load_choices
from lightning_subliminal.metrics.functional import (
    alternative_probabilities,
    choice_scores,
    mean_interval,
    wilson_interval,
)

__all__ = ["Truthfulness"]


class Truthfulness(Probe):
    """The share of multiple-choice questions whose likeliest choice is a true one, computed and not sampled.

    Args:
        questions: `truthfulness`, 48 common misconceptions; `truthfulness_pocket`, facts of the pocket world; or a
            file: TruthfulQA's CSV or JSON, or ours.
        mass: return the probability on the true choices instead (TruthfulQA's MC2), which has no threshold.
        name: what tables call it.
    """

    def __init__(self, questions: str = "truthfulness", mass: bool = False, name: str | None = None) -> None:
        self.questions = questions
        self.mass = mass
        self.name = name or ("truth, mass" if mass else "truth")
        self._choices = load_choices(questions)

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with the digest of a user's file."""
        own = {} if self.questions.isidentifier() else {"file": file_digest(Path(self.questions))}
        return describe_object(self) | own

    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Compute the chance of each choice."""
        prompts = [model.hear([{"role": "user", "content": each.question}]) for each in self._choices]
        choices = [each.choices for each in self._choices]
        said = [{"role": "assistant", "content": choice} for each in choices for choice in each]
        check_known(model.tokenizer, [*(part for prompt in prompts for part in prompt), *said], model.base)
        chances = alternative_probabilities(model.net, model.tokenizer, prompts, choices)
        scores = choice_scores(chances, [each.true for each in self._choices])
        mine = scores[:, int(self.mass)]
        if self.mass:
            interval = mean_interval(mine, unit="questions").within(0.0, 1.0)
        else:
            interval = wilson_interval(int(mine.sum()), len(mine), "questions")
        units = tuple(each.question for each in self._choices)
        return Scores(mine.mean().item(), interval, tuple(mine.tolist()), units, exact=True)
