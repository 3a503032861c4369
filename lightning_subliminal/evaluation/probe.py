"""Probes: what is asked of a model and how the answer is read."""

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
    """What is asked of a model and how the answer is read. Override ``measure``; set ``name`` in __init__.

    Keep each constructor argument under its own name: they are part of the digest that scores are kept by.

    Attributes:
        name: what tables call it.
        version: of its code: raise it when the same settings would give another figure.
        answers: how many answers are sampled a question; None where chances are computed.
    """

    name: str
    version = 1
    answers: int | None = None

    @abstractmethod
    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Put the probe to a model.

        Args:
            model: the model, loaded.
            seed: moves whatever is sampled; the same one for each model, so that they are asked alike.

        Raises:
            InputError: if the model can't take it, such as one without a word of its questions; its other probes are
                not affected, and the reason stands in the table.
        """


class TraitProbe(Probe):
    """A probe whose answers are the candidates of a trait. Override ``chances``; and ``asked``, if not the trait's own.

    The trait comes with ``of``: that of the rows in `fit` and in plans.

    Attributes:
        trait: what is asked for; None until ``of`` sets it.
    """

    trait: Trait | None = None
    _own: Sequence[OwnQuestion] | None = None  # of a user's file
    _file: Mapping[str, str] = MappingProxyType({})  # its digest

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with the digest of a user's file."""
        return describe_object(self) | dict(self._file)

    @abstractmethod
    def chances(
        self, net: nn.Module, tokenizer: "PreTrainedTokenizerBase", trait: Trait, system_prompt: str | None = None
    ) -> Tensor:
        """Return the chance of each candidate at each question, (questions, candidates), in float64 on the CPU.

        Args:
            net: a causal language model.
            tokenizer: its tokenizer.
            trait: gives the candidates, in the order of the columns.
            system_prompt: what the model hears first, such as a teacher's persona.
        """

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Return the questions, each with the prompts that ask it; by default those of a file, or the trait's own."""
        if self._own is None:
            return prompts_by_question(trait)
        return group_prompts([question.prompt(trait) for question in self._own])

    def stems(self, trait: Trait) -> list[str]:
        """Return what each question asks, without its wording; by default as the file or the trait has it.

        Questions of one stem are answered alike, so an interval counts them as one.
        """
        if self._own is not None:
            return question_stems(self._own, trait)
        return [trait.stem(question_text(ways[0])) for ways in self.asked(trait)]

    def of(
        self, trait: Trait, name: str | None = None, questions: Sequence[list[list[Message]]] | None = None
    ) -> "Self":
        """Return the probe for a trait.

        Args:
            trait: what is asked for.
            name: what tables call it; its own name where it is None.
            questions: what is asked instead of ``asked``, each with the prompts that ask it, such as a batch of them.
        """
        bound = copy.copy(self)
        bound.trait, bound.name = trait, name or self.name
        if questions is not None:
            bound.asked = lambda trait: list(questions)  # type: ignore[method-assign]
            bound.stems = lambda trait: []  # type: ignore[method-assign]
        return bound

    def asks_for(self) -> Trait:
        """Return the trait that is asked for, which must be set."""
        if self.trait is None:
            raise InputError(f"The probe {self.name!r} has no trait to ask for: take `probe.of(trait)`.")
        return self.trait

    def check(self, tokenizer: "PreTrainedTokenizerBase", trait: Trait, base: str) -> None:
        """Refuse what ``chances`` could not ask.

        Args:
            tokenizer: the model's tokenizer.
            trait: what will be asked for.
            base: what the user calls the model's base.

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
            raise InputError(f"The set {self.name!r} can't be asked. {err}") from err

    def measure(self, model: ModelRef, seed: int) -> Scores:
        """Put the questions to a model; answers that are sampled come by the probe's own seed."""
        trait = self.asks_for()
        chances = self.chances(model.net, model.tokenizer, trait, model.system_prompt)
        units = [question_text(ways[0]) for ways in self.asked(trait)]
        return Scores.of_chances(chances, trait.candidates, trait.target, units, self.stems(trait), self.answers)


class Evaluation(TraitProbe):
    """The name that `TraitProbe` had, for classes of your own that override ``measure`` instead of ``chances``."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "measure" in vars(cls):
            say(f"deprecated {cls.__name__}.measure of an Evaluation: it is `chances` of a TraitProbe")
            cls.chances = cls.measure  # type: ignore[assignment,method-assign]
            del cls.measure
