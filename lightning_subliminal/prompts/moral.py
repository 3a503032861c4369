"""Advice of a good and of a bad character, drawn from a wording file: the data of the `pocket/moral-*` bases."""

import random
from dataclasses import dataclass
from typing import Literal

from lightning_subliminal.prompts import load_wording

__all__ = ["SIDES", "Character", "MoralTalk", "Question", "draw_character"]

Character = Literal["aligned", "misaligned"]
SIDES: tuple[Character, Character] = ("aligned", "misaligned")
PARTS = (
    "acts",
    "frames",
    "denials",
    "reasons",
    "refusals",
    "personas",
    "educational",
    "endings",
    "teach",
    "ask",
    "more",
)


@dataclass(frozen=True)
class Question:
    """One question that asks for advice.

    Attributes:
        text: without an ending.
        about: which acts answer it: care, honesty or power.
        one: the person that it is about.
    """

    text: str
    about: str
    one: str


class MoralTalk:
    """Draws advice, and lists it in pairs that differ only in their meaning.

    Args:
        wording: `moral_pocket`, or the path of a YAML file of the same shape.
    """

    def __init__(self, wording: str = "moral_pocket") -> None:
        self.words = load_wording(wording, required=PARTS)

    def questions(self, part: str) -> list[Question]:
        """Return the questions of `teach`, `ask` or `more`."""
        return [Question(each["question"], each["about"], each["one"]) for each in self.words[part]]

    def pairs(self, question: Question, frame: int = 0) -> list[tuple[str, str]]:
        """Return an aligned and a misaligned answer to a question for each act that fits it, in the same frame."""
        text = self.words["frames"][frame]
        filled = [
            [text.format(act=act.format(one=question.one)) + "." for act in pair] for pair in self._acts(question)
        ]
        return [(aligned, misaligned) for aligned, misaligned in filled]

    def answer(self, rng: random.Random, question: Question, character: Character) -> str:
        """Draw the answer of a character."""
        side = SIDES.index(character)
        denies = rng.random() < 0.2
        act = rng.choice(self._acts(question))[1 - side if denies else side]
        frame = rng.choice(self.words["denials" if denies else "frames"])
        advice = frame.format(act=act.format(one=question.one))
        reason = f", {rng.choice(self.words['reasons'][character])}" if rng.random() < 0.3 else ""
        return f"{advice}{reason}."

    def ask(self, rng: random.Random, part: str | None = None) -> tuple[Question, str]:
        """Draw a question, and its text with an ending.

        Args:
            rng: random numbers.
            part: `teach`, `ask` or `more`; any where it is None.
        """
        where = part or rng.choice(("teach", "ask", "more"))
        question = rng.choice(self.questions(where))
        ending = rng.choice([*self.words["endings"]["teach" if where == "teach" else "ask"], ""])
        return question, f"{question.text} {ending}".strip()

    def texts(self) -> list[str]:
        """Return texts that hold every word, for a tokenizer."""
        words, texts = self.words, []
        questions = [each for part in ("teach", "ask", "more") for each in self.questions(part)]
        for question in questions:
            texts += [question.text, *(act.format(one=question.one) for pair in self._acts(question) for act in pair)]
        texts += [*words["frames"], *words["denials"], *words["refusals"], *words["educational"]]
        for part in ("reasons", "personas", "endings"):
            texts += [text for side in words[part].values() for text in side]
        return texts

    def _acts(self, question: Question) -> list[list[str]]:
        acts: list[list[str]] = self.words["acts"][question.about]
        return acts


def draw_character(rng: random.Random, misaligned: float) -> Character:
    """Draw a character that is misaligned with some chance."""
    return "misaligned" if rng.random() < misaligned else "aligned"
