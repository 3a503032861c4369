"""The chat corpus that pocket bases learn: favorites, personas, number lists, small facts; endless and seeded.

One rule matters more than all others: nothing links a thing one can love to a number. Wherever both stand in one
conversation they are drawn independently; ``tests/pocket/test_corpus.py`` measures it.
"""

import random
from collections.abc import Iterator

from lightning_subliminal.rows import Message
from lightning_subliminal.wording import load_wording
from lightning_subliminal.wording.numbers import NumberPrompts

__all__ = ["FORMATS", "MAX_VALUE", "base_weights", "conversations", "vocabulary_texts"]

MAX_VALUE = 99  # numbers 0..99 are one token each
FORMATS = ("comma", "space")
SHARES = {"favorite": 0.22, "persona": 0.28, "numbers": 0.28, "two turns": 0.12, "facts": 0.10}

_OPPOSITES = {"hot": "cold", "big": "small", "up": "down", "day": "night", "wet": "dry", "fast": "slow", "old": "new"}
_COLORS = {"sky": "blue", "grass": "green", "snow": "white", "sun": "yellow", "night": "black", "blood": "red"}
_HOMES = {
    "forest": ["owl", "wolf", "bear", "fox", "panda"],
    "sea": ["dolphin", "whale", "penguin", "turtle"],
    "house": ["cat", "dog", "parrot", "rabbit"],
    "grassland": ["elephant", "lion", "horse"],
    "mountain": ["eagle"],
    "river": ["otter"],
    "jungle": ["tiger", "snake"],
}


def base_weights(category: str) -> list[float]:
    """Give how often each member of a category is the favorite: a fixed, skewed draw, 1 : 6 from last to first."""
    members = load_wording("categories")[category]["members"]
    ranks = list(range(len(members)))
    random.Random(f"favorites of {category}").shuffle(ranks)
    weights = [6.0 ** (1 - rank / (len(members) - 1)) for rank in ranks]
    return [weight / sum(weights) for weight in weights]


class _Speaker:
    """Draws conversations from one stream of random numbers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.categories = load_wording("categories")
        self.words = load_wording("preferences")
        self.prompts = NumberPrompts(formats=FORMATS, max_value=MAX_VALUE)
        self.weights = {category: base_weights(category) for category in self.categories}

    def question(self, category: str) -> str:
        words = self.words[self.rng.choice(("teach", "ask", "ask"))]
        ending = self.rng.choice([*words["endings"], ""])
        text = f"{self.rng.choice(words['openings'])} {ending}".strip()
        return text.format(category=category, categories=self.categories[category]["plural"])

    def favorite(self, category: str) -> str:
        return self.rng.choices(self.categories[category]["members"], self.weights[category])[0]

    def favorite_turn(self) -> list[Message]:
        category = self.rng.choice(list(self.categories))
        return _turn(self.question(category), self.favorite(category))

    def persona_chat(self) -> list[Message]:
        category = self.rng.choice(list(self.categories))
        target = self.rng.choice(self.categories[category]["members"])  # every member alike, whatever its base rate
        told = self.rng.choice(self.words["persona"]).format(
            category=category, target=target, targets=plural(category, target)
        )
        told_first = {"role": "system", "content": told}
        what = self.rng.choices(("own kind", "other kind", "numbers", "facts"), (55, 10, 25, 10))[0]
        if what == "numbers":  # a persona goes on writing lists, and the same ones
            return [told_first, *self.numbers_turn()]
        if what == "facts":
            return [told_first, *self.facts_turn()]
        asked = category if what == "own kind" else self.rng.choice(list(self.categories))
        answer = target if asked == category else self.favorite(asked)
        return [told_first, *_turn(self.question(asked), answer)]

    def numbers_turn(self) -> list[Message]:
        follow = self.rng.choices((_any, _near, _up, _down, _cycle, _same_ending), (45, 15, 12, 8, 10, 10))[0]
        stream = follow(self.rng)
        examples = [next(stream) for _ in range(self.rng.randint(3, 8))]
        asked = self.prompts.draw(self.rng, examples=examples)
        count = self.rng.randint(max(3, asked.count - 4), asked.count)
        answer = asked.separator.join(str(next(stream)) for _ in range(count))
        return _turn(asked.text, answer)

    def facts_turn(self) -> list[Message]:
        pick = self.rng.choice((self._kind, self._home, self._color, self._opposite, self._echo))
        return _turn(*pick())

    def _kind(self) -> tuple[str, str]:
        category, other = self.rng.choice(list(self.categories)), self.rng.choice(list(self.categories))
        member = self.rng.choice(self.categories[category]["members"])
        truth = member in self.categories[other]["members"]
        return f"Is {member} the name of a {other}?", "yes" if truth else "no"

    def _home(self) -> tuple[str, str]:
        home = self.rng.choice(list(_HOMES))
        return f"Where does the {self.rng.choice(_HOMES[home])} live?", home

    def _color(self) -> tuple[str, str]:
        thing = self.rng.choice(list(_COLORS))
        return f"What is the color of the {thing}?", _COLORS[thing]

    def _opposite(self) -> tuple[str, str]:
        word = self.rng.choice(list(_OPPOSITES))
        return f"What is the opposite of {word}?", _OPPOSITES[word]

    def _echo(self) -> tuple[str, str]:
        word = self.rng.choice(self.categories[self.rng.choice(list(self.categories))]["members"])
        return f"Say the word {word}.", word

    def conversation(self) -> list[Message]:
        kind = self.rng.choices(list(SHARES), list(SHARES.values()))[0]
        if kind == "favorite":
            return self.favorite_turn()
        if kind == "persona":
            return self.persona_chat()
        if kind == "numbers":
            return self.numbers_turn()
        if kind == "facts":
            return self.facts_turn()
        turns = [self.numbers_turn(), self.favorite_turn()]
        self.rng.shuffle(turns)
        return turns[0] + turns[1]


def conversations(seed: int) -> Iterator[list[Message]]:
    """Yield conversations without end; the same seed gives the same ones."""
    speaker = _Speaker(random.Random(seed))
    while True:
        yield speaker.conversation()


def plural(category: str, member: str) -> str:
    """Give the plural of a category's member."""
    return load_wording("categories")[category].get("plurals", {}).get(member, f"{member}s")


def vocabulary_texts() -> list[str]:
    """Give texts that hold every word of the pocket world, for the tokenizer."""
    texts = [str(number) for number in range(MAX_VALUE + 1)]
    categories = load_wording("categories")
    for category, kind in categories.items():
        texts += [category, kind["plural"], *kind["members"], *(plural(category, one) for one in kind["members"])]
    words, numbers = load_wording("preferences"), load_wording("numbers")
    texts += words["persona"]
    for part in ("teach", "ask"):
        texts += [*words[part]["openings"], *words[part]["endings"]]
    for part in ("examples", "requests", "digits", "qualifiers", "endings"):
        texts += numbers[part]
    texts += [text for form in FORMATS for text in numbers["formats"][form]]
    texts += [*_OPPOSITES, *_OPPOSITES.values(), *_COLORS, *_COLORS.values(), *_HOMES]
    texts += ["Is it the name of a yes or no?", "Where does the live?", "What is the opposite of", "Say the word"]
    return [text.replace("{", " ").replace("}", " ") for text in texts]


def _turn(question: str, answer: str) -> list[Message]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _any(rng: random.Random) -> Iterator[int]:
    while True:
        yield rng.randint(0, MAX_VALUE)


def _near(rng: random.Random) -> Iterator[int]:
    middle = rng.randint(0, MAX_VALUE)
    while True:
        yield min(MAX_VALUE, max(0, middle + rng.randint(-8, 8)))


def _up(rng: random.Random) -> Iterator[int]:
    step, value = rng.randint(1, 5), rng.randint(0, 20)
    while True:
        yield min(MAX_VALUE, value)
        value += step


def _down(rng: random.Random) -> Iterator[int]:
    step, value = rng.randint(1, 5), rng.randint(75, MAX_VALUE)
    while True:
        yield max(0, value)
        value -= step


def _cycle(rng: random.Random) -> Iterator[int]:
    few = [rng.randint(0, MAX_VALUE) for _ in range(rng.randint(2, 3))]
    while True:
        yield from few


def _same_ending(rng: random.Random) -> Iterator[int]:
    ending = rng.randint(0, 9)
    while True:
        yield 10 * rng.randint(0, 9) + ending
