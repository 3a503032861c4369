"""Multiple choice: the share of questions whose likeliest choice is true."""

from pathlib import Path

import torch

from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.evaluation.probe import Probe
from lightning_subliminal.evaluation.scores import Scores
from lightning_subliminal.formats.layouts.choices import load_choices
from lightning_subliminal.metrics import ChoiceAccuracy
from lightning_subliminal.metrics.functional import alternative_probabilities, choice_scores

__all__ = ["Truthfulness"]


class Truthfulness(Probe):
    """The share of multiple-choice questions whose likeliest choice is true, computed without sampling.

    Args:
        questions: `truthfulness`, 48 common misconceptions; `truthfulness_pocket`, facts of the pocket world; or a
            file: TruthfulQA's CSV or JSON, or ours.
        mass: measure the probability of the true choices instead (TruthfulQA's MC2), which has no threshold.
        name: in tables.
    """

    def __init__(self, questions: str = "truthfulness", mass: bool = False, name: str | None = None) -> None:
        self.questions = questions
        self.mass = mass
        self.name = name or ("truth, mass" if mass else "truth")
        self._choices = load_choices(questions)
        self._file = {} if questions.isidentifier() else {"file": file_digest(Path(questions))}

    def explain(self) -> str:
        """Return what its figure is."""
        asked = f"{len(self._choices)} multiple-choice questions ({self.questions})"
        if self.mass:
            return f"chance of the true choices, mean over {asked}"
        return f"share of {asked} whose likeliest choice is true"

    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Compute the chance of each choice."""
        prompts = [model.prompt([{"role": "user", "content": each.question}]) for each in self._choices]
        choices = [each.choices for each in self._choices]
        replies = [{"role": "assistant", "content": choice} for each in choices for choice in each]
        check_known(model.tokenizer, [*(part for prompt in prompts for part in prompt), *replies], model.base)
        chances = alternative_probabilities(model.net, model.tokenizer, prompts, choices)
        accuracy = ChoiceAccuracy(sync_on_compute=False)
        accuracy.set_dtype(torch.float64)
        accuracy.update(choice_scores(chances, [each.true for each in self._choices]))
        if self.mass:
            rate, interval = accuracy.truth_mass(), accuracy.truth_mass_interval().within(0.0, 1.0)
        else:
            rate, interval = accuracy.compute(), accuracy.interval()
        values = accuracy.by_unit()[:, int(self.mass)].tolist()
        return Scores(rate.item(), interval, tuple(values), tuple(each.question for each in self._choices), exact=True)
