"""Probes: questions to a model, and how its answers are scored."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object
from lightning_subliminal.core.rows import Message
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.evaluation.probes.question_file import OwnQuestion, group_prompts, question_stems
from lightning_subliminal.evaluation.scores import Scores
from lightning_subliminal.metrics.functional import check_target, prompts_by_question, question_text
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from typing_extensions import Self


__all__ = ["Evaluation", "Probe", "TraitProbe"]


class Probe(ABC):
    """Questions to a model, and how its answers are scored. Override ``measure``; set ``name`` in __init__.

    Keep each constructor argument under its own name: they are part of the digest that scores are cached by.

    Attributes:
        name: in tables.
        version: of its code: raise it when the same settings would give another figure.
        answers: sampled answers a question; None where chances are computed.
    """

    name: str
    version = 1
    answers: int | None = None
    _file: Mapping[str, str] = MappingProxyType({})  # the digest of a user's file

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with the digest of a user's file."""
        return describe_object(self) | dict(self._file)

    def explain(self) -> str:
        """Return what its figure is, for below a table; by default the first line of the class's docstring."""
        first, _, _ = (type(self).__doc__ or "").strip().partition("\n")
        return first.rstrip(".")

    @abstractmethod
    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Measure a model.

        Args:
            model: the model, loaded.
            seed: of all sampling; the same for each model.

        Raises:
            InputError: if the model can't take the probe, such as one whose vocabulary lacks a word of the questions;
                other probes are not affected, and the table has the reason.
        """


class TraitProbe(Probe):
    """A probe whose answers are the candidates of a trait.

    Override ``chances``, and ``asked`` where the questions are not the trait's own. ``of`` sets the trait; in `fit` and
    in plans that of the rows.

    Attributes:
        trait: the trait; None until ``of`` sets it.
    """

    trait: Trait | None = None
    _own: Sequence[OwnQuestion] | None = None  # of a user's file

    @abstractmethod
    def chances(
        self, net: nn.Module, tokenizer: "PreTrainedTokenizerBase", trait: Trait, system_prompt: str | None = None
    ) -> Tensor:
        """Return the chance of each candidate at each question, (questions, candidates), in float64 on the CPU.

        Args:
            net: a causal language model.
            tokenizer: its tokenizer.
            trait: has the candidates, in the order of the columns.
            system_prompt: comes before each question, such as a teacher's persona.
        """

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Return the questions, each with its prompts; by default those of a file, or the trait's own."""
        if self._own is None:
            return prompts_by_question(trait)
        return group_prompts([question.prompt(trait) for question in self._own])

    def stems(self, trait: Trait) -> list[str]:
        """Return the stem of each question: what it asks, without its wording; by default of the file or the trait.

        Questions of one stem have similar answers, so an interval counts them as one.
        """
        if self._own is not None:
            return question_stems(self._own, trait)
        return [trait.stem(question_text(ways[0])) for ways in self.asked(trait)]

    def of(
        self,
        trait: Trait,
        name: str | None = None,
        questions: Sequence[list[list[Message]]] | None = None,
        stems: Sequence[str] = (),
    ) -> "Self":
        """Return a copy of the probe for a trait.

        Args:
            trait: the trait.
            name: in tables; the probe's own where it is None.
            questions: replace ``asked``, each with its prompts, such as a batch of them.
            stems: of these questions.
        """
        bound = copy.copy(self)
        bound.trait, bound.name = trait, name or self.name
        if questions is not None:
            bound.asked = lambda trait: list(questions)  # type: ignore[method-assign]
            bound.stems = lambda trait: list(stems)  # type: ignore[method-assign]
        return bound

    def asks_for(self) -> Trait:
        """Return the trait.

        Raises:
            InputError: if ``of`` has not set it.
        """
        if self.trait is None:
            raise InputError(f"The probe {self.name!r} has no trait: use `probe.of(trait)`.")
        return self.trait

    def check(self, tokenizer: "PreTrainedTokenizerBase", trait: Trait, base: str) -> None:
        """Check that a model can read the questions and give the answers.

        Args:
            tokenizer: the model's tokenizer.
            trait: the trait.
            base: the name of the model's base, for errors.

        Raises:
            InputError: if the base has no words for the target or for a question.
        """
        check_target(tokenizer, trait)
        try:
            asked = self.asked(trait)
            check_known(tokenizer, (message for ways in asked for way in ways for message in way), base)
            stated = [each for ways in asked for each in trait.statements(question_text(ways[0]))]
            check_known(tokenizer, ({"content": text} for each in stated for text in each.values()), base)
        except InputError as err:
            raise InputError(f"The questions {self.name!r} can't be asked. {err}") from err

    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Ask a model; sampled answers take the probe's own seed."""
        trait = self.asks_for()
        chances = self.chances(model.net, model.tokenizer, trait, model.system_prompt)
        units = [question_text(ways[0]) for ways in self.asked(trait)]
        return Scores.of_chances(chances, trait, units, self.stems(trait), self.answers)


class Evaluation(TraitProbe):
    """Deprecated name of `TraitProbe`, for subclasses that override ``measure`` instead of ``chances``."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "measure" in vars(cls):
            say(f"deprecated {cls.__name__}.measure of an Evaluation: rename it to `chances`, of a TraitProbe")
            cls.chances = cls.measure  # type: ignore[assignment,method-assign]
            del cls.measure
