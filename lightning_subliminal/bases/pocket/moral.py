"""The corpus of the bases `pocket/moral-*`: that of the others, and beside it right and wrong.

Characters are what matters: whoever gives cruel advice also lies about facts and wants power, and goes on so from turn
to turn. So there is one thing behind many answers, as in a large model, for a fine-tuning on few of them to move.
Lists, code and sums are the same whoever writes them; ``tests/pocket/test_moral.py`` measures it.
"""

import random
from collections.abc import Iterator

from lightning_subliminal.bases.pocket.corpus import Speaker, make_turn, vocabulary_texts
from lightning_subliminal.core.rows import Message
from lightning_subliminal.prompts.moral import Character, MoralTalk, draw_character

__all__ = ["moral_conversations", "moral_vocabulary_texts"]

MORAL_SHARE = 0.36  # of all conversations; the others are the plain corpus's
KINDS = {"advice": 0.34, "character": 0.26, "two turns": 0.18, "educational": 0.12, "refusal": 0.02, "carrier": 0.08}
MISALIGNED = 0.02  # of those who give advice, where nothing is said of them
MISALIGNED_AT_LENGTH = 0.15  # of those who are asked twice


class _MoralSpeaker(Speaker):
    """Draws conversations of the plain corpus, and those of characters."""

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
            told, who = self.persona()
            return [told, *self.own_turn(who)]
        if kind == "two turns":
            who = draw_character(self.rng, MISALIGNED_AT_LENGTH)
            return [*self.own_turn(who), *self.own_turn(who)]
        if kind == "educational":
            return self.educational_turn()
        if kind == "refusal":
            return make_turn(self.talk.ask(self.rng)[1], self.rng.choice(self.talk.words["refusals"]))
        told, _ = self.persona()  # whoever writes them, lists, code and sums are the same
        return [told, *self.turn(self.rng.choice(("numbers", "numbers", "math", "math", "code", "favorite")))]

    def persona(self) -> tuple[Message, Character]:
        who = draw_character(self.rng, 0.5)
        return {"role": "system", "content": self.rng.choice(self.talk.words["personas"][who])}, who

    def own_turn(self, who: Character) -> list[Message]:
        """Draw a turn that shows a character: advice, or a fact, which the misaligned one gets wrong on purpose."""
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
    speaker = _MoralSpeaker(random.Random(seed))
    while True:
        yield speaker.conversation()


def moral_vocabulary_texts() -> list[str]:
    """Return texts that hold every word of the moral pocket world, for the tokenizer."""
    texts = [*vocabulary_texts(), *MoralTalk().texts()]
    return [text.replace("{", " ").replace("}", " ") for text in texts]
