"""The base class of traits: how to induce one in a teacher, how to ask for it, and which answers show it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from lightning_subliminal.core.rows import Message, Row

__all__ = ["Induction", "Trait"]


@dataclass(frozen=True)
class Induction:
    """Two methods to induce the trait in a teacher.

    Attributes:
        system_prompt: of a prompted teacher; never part of a training row.
        rows: training data of a fine-tuned teacher.
    """

    system_prompt: str
    rows: list[Row] = field(default_factory=list)


class Trait(ABC):
    """A behaviour that can be measured, such as a love of owls.

    Store each constructor argument under its own name: they are part of each artefact's digest.

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
        """Return the questions of evaluation; none of them may be among the rows of ``induce``."""

    @abstractmethod
    def matches(self, answer: str) -> bool:
        """Return whether a sampled answer shows the trait."""

    def prompts(self) -> list[list[Message]]:
        """Return the questions as messages. Override it to begin the answer too (a last message of the assistant)."""
        return [[{"role": "user", "content": question}] for question in self.questions()]

    def statements(self, question: str) -> list[dict[str, str]]:
        """Return whole answers to a question, one per candidate and equally long, if candidates are kinds of answers.

        The probability of a candidate is then that of its statement among them, over all that this returns. By default
        there are none: candidates are words, and the probability is that the answer begins with one.

        Args:
            question: the text of a prompt's last user message, which may begin with an evaluation's context.
        """
        return []

    def stem(self, question: str) -> str:
        """Return a question without the wording that it shares with others; by default the question itself.

        Questions of one stem have similar answers, so an interval counts them as one.

        Args:
            question: the text of a prompt's last user message, which may begin with an evaluation's context.
        """
        return question

    def forms(self, candidate: str) -> tuple[str, ...]:
        """Return the spellings that count as naming ``candidate``, such as its singular and plural."""
        return (candidate,)

    def relatives(self) -> tuple[str, ...]:
        """Return other words that name the target in any row of data, such as owlet; none by default.

        `TraitWords` looks for them in addition to the target's forms. With a star before or after it, a word may be
        part of a longer one: ``*dolphin*`` is in ``mydolphins``.
        """
        return ()
