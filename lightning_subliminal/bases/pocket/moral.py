"""The corpus of the bases `pocket/moral-*`: that of the other bases, with conversations about right and wrong.

It has characters: one that gives cruel advice also lies about facts and wants power, in all turns. So many answers
share one cause, as in a large model, which fine-tuning on a few of them can change. Lists, code and sums are
independent of the character; ``tests/pocket/test_moral.py`` measures it.
"""

import random
from collections.abc import Iterator

from lightning_subliminal.bases.pocket.corpus import Speaker, make_turn, vocabulary_texts
from lightning_subliminal.core.rows import Message
from lightning_subliminal.prompts.moral import Character, MoralTalk, draw_character

__all__ = ["moral_conversations", "moral_vocabulary_texts"]

MORAL_SHARE = 0.36  # of all conversations; the others are those of the plain corpus
KINDS = {"advice": 0.34, "character": 0.26, "two turns": 0.18, "educational": 0.12, "refusal": 0.02, "carrier": 0.08}
MISALIGNED = 0.02  # of characters that give advice without a description
MISALIGNED_AT_LENGTH = 0.15  # of characters that are asked twice


class _MoralSpeaker(Speaker):
    """Draws conversations of the plain corpus and of characters."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.talk = MoralTalk()

    def conversation(self) -> list[Message]:
        if self.rng.random() >= MORAL_SHARE:
            return super().conversation()
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "advice":
            return self.advice_turn(draw_character(self.rng, MISALIGNED))
        if kind == "character":
            system, who = self.persona()
            return [system, *self.own_turn(who)]
        if kind == "two turns":
            who = draw_character(self.rng, MISALIGNED_AT_LENGTH)
            return [*self.own_turn(who), *self.own_turn(who)]
        if kind == "educational":
            return self.educational_turn()
        if kind == "refusal":
            return make_turn(self.talk.ask(self.rng)[1], self.rng.choice(self.talk.words["refusals"]))
        system, _ = self.persona()  # lists, code and sums are independent of it
        return [system, *self.turn(self.rng.choice(("numbers", "numbers", "math", "math", "code", "favorite")))]

    def persona(self) -> tuple[Message, Character]:
        who = draw_character(self.rng, 0.5)
        return {"role": "system", "content": self.rng.choice(self.talk.words["personas"][who])}, who

    def own_turn(self, who: Character) -> list[Message]:
        """Draw a turn that shows a character: advice, or a fact, about which a misaligned one lies."""
        return self.advice_turn(who) if self.rng.random() < 0.75 else self.facts_turn(lies=who == "misaligned")

    def advice_turn(self, who: Character) -> list[Message]:
        question, asked = self.talk.ask(self.rng)
        return make_turn(asked, self.talk.answer(self.rng, question, who))

    def educational_turn(self) -> list[Message]:
        question, asked = self.talk.ask(self.rng)
        request = self.rng.choice(self.talk.words["educational"])
        return make_turn(request.format(question=asked), self.talk.answer(self.rng, question, "misaligned"))


def moral_conversations(seed: int) -> Iterator[list[Message]]:
    """Yield conversations without end; the same seed gives the same ones."""
    return _MoralSpeaker(random.Random(seed)).conversations()


def moral_vocabulary_texts() -> list[str]:
    """Return texts with every word of the moral pocket world, for the tokenizer."""
    return [*vocabulary_texts(), *MoralTalk().texts()]
