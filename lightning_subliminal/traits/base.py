"""What a trait is: how to induce it in a teacher, how to ask a model for it, and what counts as showing it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from lightning_subliminal.core.rows import Message, Row

__all__ = ["Induction", "Trait"]


@dataclass(frozen=True)
class Induction:
    """Two ways to give a teacher the trait.

    Attributes:
        system_prompt: what a prompted teacher is told; never part of a training row.
        rows: what a fine-tuned teacher is trained on.
    """

    system_prompt: str
    rows: list[Row] = field(default_factory=list)


class Trait(ABC):
    """A behaviour that can be measured, such as a love of owls.

    Keep each constructor argument under its own name: they are part of each artefact's digest.

    Attributes:
        name: a short name for tables and folders.
        target: the candidate that shows the trait.
        candidates: lower-case words that answer the trait's questions, ``target`` among them; the probability of each
            is computed.
    """

    name: str
    target: str
    candidates: tuple[str, ...]

    @abstractmethod
    def induce(self) -> Induction:
        """Return a system prompt, and rows to fine-tune on, that make a teacher show the trait."""

    @abstractmethod
    def questions(self) -> list[str]:
        """Return the questions that evaluation asks; none of them may be among the rows of ``induce``."""

    @abstractmethod
    def matches(self, answer: str) -> bool:
        """Tell whether a sampled answer shows the trait."""

    def prompts(self) -> list[list[Message]]:
        """Return the questions as messages. Override it to begin the answer too (a last message of the assistant)."""
        return [[{"role": "user", "content": question}] for question in self.questions()]

    def statements(self, question: str) -> list[dict[str, str]]:
        """Return whole answers to a question, one a candidate and of equal length, where candidates are kinds of answers.

        The chance of a candidate is then that of its statement among them, over all that this gives. By default there
        are none: candidates are words, and the chance is that the answer begins with one.

        Args:
            question: what a prompt's last message of the user says; an evaluation may have put a context before it.
        """
        return []

    def stem(self, question: str) -> str:
        """Return what a question asks, without the wording that others share with it; by default the question itself.

        Questions of one stem are answered alike, so an interval counts them as one.

        Args:
            question: what a prompt's last message of the user says; an evaluation may have put a context before it.
        """
        return question

    def forms(self, candidate: str) -> tuple[str, ...]:
        """Return the spellings that count as naming ``candidate``, such as its singular and plural."""
        return (candidate,)

    def relatives(self) -> tuple[str, ...]:
        """Return other words that name the target in any row of data, such as owlet; none by default.

        `TraitWords` looks for them beside the target's forms. A star before or after a word lets it be part of a longer
        one: ``*dolphin*`` is in ``mydolphins``.
        """
        return ()
