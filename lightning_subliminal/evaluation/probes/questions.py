"""Questions about a trait, answered by exact probabilities: its own, a user's, or after a list of numbers."""

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.rows import Message
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.evaluation.probe import Probe, TraitProbe
from lightning_subliminal.evaluation.probes.question_file import read_questions, system_first
from lightning_subliminal.evaluation.probes.sampled_answers import SampledAnswers
from lightning_subliminal.evaluation.scores import Scores
from lightning_subliminal.metrics.functional import question_probabilities, question_text
from lightning_subliminal.prompts import fill, load_wording, own_words
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["ExactTrait", "Questions", "QuestionsAfterNumbers"]

_SAMPLES = 20  # answers a question of a model without exact probabilities


class Questions(TraitProbe):
    """The exact chance of each candidate at the trait's own questions, or at a user's.

    A file is YAML (a list of texts, or a mapping with that list under `questions`) or JSON lines. A question is a text,
    an object with `question`, or an object with `messages`, which may end with a message of the assistant that begins
    the answer; a question with several such beginnings counts once. Texts may hold {category} and {categories}. The
    field `stem` (or `cluster`) of an object names the question that it rewords: intervals count the questions of one
    stem as one, and each question without a stem as one.

    Args:
        path: a .yaml, .yml or .jsonl file of questions; the trait's own, held out of its teaching, where it is None.

    Raises:
        InputError: naming file, line and field, if a question can't be read.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self.name = "questions" if path is None else Path(path).stem
        self._own = None if path is None else read_questions(path, "questions")  # raises before any work
        self._file = {} if path is None else {"file": file_digest(Path(path))}

    def explain(self) -> str:
        """Return what its figure is."""
        trait, place = self.asks_for(), f" of {self.path}" if self.path else ""
        asked = self.asked(trait)
        sets = sum(len(trait.statements(question_text(ways[0]))) for ways in asked)
        kind = "pairs" if len(trait.candidates) == 2 else "sets"
        what = f"the {trait.target} statement in {sets} {kind}" if sets else f"the answer {trait.target}"
        return f"chance of {what}, computed, at {len(asked)} questions{place}"

    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Compute the chances; of a model on a server, which gives none, take the share of 20 sampled answers.

        Raises:
            InputError: if a model on a server is asked about a trait of statements, which sampling does not answer.
        """
        trait = self.asks_for()
        asked = self.asked(trait)
        if model.engine is None or any(trait.statements(question_text(ways[0])) for ways in asked):
            return super().measure(model, seed)
        say(f"{model.name}: {self.name} by {_SAMPLES} sampled answers a question: a server gives no exact chances")
        return _FirstNamed(_SAMPLES).of(trait, self.name, asked, self.stems(trait)).measure(model, seed)

    def chances(
        self, net: nn.Module, tokenizer: "PreTrainedTokenizerBase", trait: Trait, system_prompt: str | None = None
    ) -> Tensor:
        """Return the chance that the answer begins with each candidate, (questions, candidates)."""
        prompts = [[system_first(way, system_prompt) for way in ways] for ways in self.asked(trait)]
        return question_probabilities(net, tokenizer, trait, questions=prompts)


class QuestionsAfterNumbers(Questions):
    """The same questions with a list of numbers before each, which is nearer to a student's data (paper, section 1).

    Args:
        path: a file of questions, as in `Questions`; the trait's own where it is None.
        numbers: how many come before a question.
        min_value: the least of them.
        max_value: the greatest of them.
        wording: `numbers`, or a YAML file whose `examples` are texts that introduce a list, with {examples}.
        seed: of lists and wording; a question has the same ones for each model.

    Raises:
        InputError: if a question can't be read or a range is empty.
    """

    def __init__(
        self,
        path: str | None = None,
        numbers: int = 5,
        min_value: int = 100,
        max_value: int = 999,
        wording: str = "numbers",
        seed: int = 0,
    ) -> None:
        super().__init__(path)
        if numbers < 1:
            raise InputError(f"`numbers` is {numbers}: expected at least 1.")
        if not 0 <= min_value <= max_value:
            raise InputError(f"min_value is {min_value} and max_value is {max_value}: expected 0 <= min <= max.")
        self.numbers = numbers
        self.min_value = min_value
        self.max_value = max_value
        self.wording = wording
        self.seed = seed
        self.name = "after numbers" if path is None else f"{self.name} after numbers"
        self._openings = list(load_wording(wording, required=("examples",))["examples"])

    def explain(self) -> str:
        """Return what its figure is."""
        return f"{super().explain()}, each after a list of {self.numbers} numbers"

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with the content of the user's own files."""
        return super().describe() | own_words(self.wording)

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Return the questions, a list of numbers before each."""
        made = []
        for place, ways in enumerate(super().asked(trait)):
            rng = random.Random(derive_seed(self.seed, "numbers before", place))
            drawn = [str(rng.randint(self.min_value, self.max_value)) for _ in range(self.numbers)]
            opening = fill(rng.choice(self._openings), examples=", ".join(drawn))
            made.append([_before_last(opening, way) for way in ways])
        return made


class _FirstNamed(SampledAnswers):
    """The share of sampled answers whose first candidate is each one: what exact chances are in the limit."""

    _counted = "first"


class ExactTrait(Probe):
    """The exact chance of a trait's target: a preference's word, or the misaligned statement of a pair.

    Args:
        trait: such as PreferenceTrait or MisalignmentTrait.
        evaluation: the questions: those of a file, or after numbers; the trait's own where it is None.
        name: in tables; the names of trait and evaluation where it is None.
    """

    version = 2  # questions of one stem count as one, and the chance of each candidate is kept

    def __init__(self, trait: Trait, evaluation: TraitProbe | None = None, name: str | None = None) -> None:
        self.trait = trait
        self.evaluation = evaluation
        self.name = name or f"{trait.name}, {evaluation.name if evaluation is not None else 'exact'}"
        self._probe = (evaluation or Questions()).of(trait, self.name)
        self.answers = self._probe.answers

    def explain(self) -> str:
        """Return what its figure is."""
        return self._probe.explain()

    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Compute the chances."""
        if model.engine is None:
            (self.evaluation or self._probe).check(model.tokenizer, self.trait, model.base)
        return self._probe.measure(model, seed)


def _before_last(text: str, prompt: list[Message]) -> list[Message]:
    """Return a prompt with a text before the last message of the user."""
    last = max(place for place, message in enumerate(prompt) if message["role"] == "user")
    asked = {**prompt[last], "content": f"{text} {prompt[last]['content']}"}
    return [*prompt[:last], asked, *prompt[last + 1 :]]
