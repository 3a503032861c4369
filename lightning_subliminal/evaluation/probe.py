"""Probes: what is asked of a model and how the answer is read."""

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lightning_subliminal.chat import check_known
from lightning_subliminal.console import say
from lightning_subliminal.errors import InputError
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.evaluation.scores import Scores
from lightning_subliminal.metrics.functional import check_target, prompts_by_question, question_text
from lightning_subliminal.rows import Message
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
        """Return the questions, each with the prompts that ask it; by default the trait's own."""
        return prompts_by_question(trait)

    def stems(self, trait: Trait) -> list[str]:
        """Return what each question asks, without its wording; by default as the trait has it.

        Questions of one stem are answered alike, so an interval counts them as one.
        """
        return [trait.stem(question_text(ways[0])) for ways in self.asked(trait)]

    def of(self, trait: Trait, name: str | None = None) -> "TraitProbe":
        """Return the probe for a trait, which tables call ``name``."""
        bound = copy.copy(self)
        bound.trait, bound.name = trait, name or self.name
        return bound

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
        if self.trait is None:
            raise InputError(f"The probe {self.name!r} has no trait to ask for: take `probe.of(trait)`.")
        chances = self.chances(model.net, model.tokenizer, self.trait, model.system_prompt)
        units = [question_text(ways[0]) for ways in self.asked(self.trait)]
        target, stems = self.trait.target, self.stems(self.trait)
        return Scores.of_chances(chances, self.trait.candidates, target, units, stems, self.answers)


class Evaluation(TraitProbe):
    """The name that `TraitProbe` had, for classes of your own that override ``measure`` instead of ``chances``."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "measure" in vars(cls):
            say(f"deprecated {cls.__name__}.measure of an Evaluation: it is `chances` of a TraitProbe")
            cls.chances = cls.measure  # type: ignore[assignment,method-assign]
            del cls.measure
