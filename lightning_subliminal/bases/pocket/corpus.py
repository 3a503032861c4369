"""The chat corpus of pocket bases: favorites, personas, lists, programs, sums, stories and facts; endless, seeded.

The most important rule: nothing links a favorite to a number. If a conversation has both, they are drawn independently;
``tests/pocket/test_corpus.py`` measures it.
"""

import random
from collections.abc import Iterator

from lightning_subliminal.bases.pocket.streams import MAX_VALUE, draw_stream
from lightning_subliminal.core.rows import Message
from lightning_subliminal.prompts import load_wording
from lightning_subliminal.prompts.code import CodeTasks
from lightning_subliminal.prompts.math import MathProblems
from lightning_subliminal.prompts.numbers import NumberPrompts

__all__ = [
    "FORMATS",
    "MAX_VALUE",
    "Speaker",
    "base_weights",
    "conversations",
    "conversations_apart",
    "make_turn",
    "user_turns",
]

FORMATS = ("comma", "space")
SHARES = {
    "favorite": 0.15,
    "persona": 0.24,
    "numbers": 0.18,
    "two turns": 0.07,
    "facts": 0.05,
    "code": 0.11,
    "math": 0.17,
    "story": 0.03,
}

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
    """Return each category member's probability of being the favorite: fixed and skewed, 1 : 6 from last to first."""
    members = load_wording("categories")[category]["members"]
    ranks = list(range(len(members)))
    random.Random(f"favorites of {category}").shuffle(ranks)
    weights = [6.0 ** (1 - rank / (len(members) - 1)) for rank in ranks]
    return [weight / sum(weights) for weight in weights]


class Speaker:
    """Draws conversations from one stream of random numbers.

    Args:
        rng: the stream.
        apart: whether personas are asked for favorites alone, so that no conversation has a persona beside a list of
            numbers, a program or a sum.
    """

    def __init__(self, rng: random.Random, apart: bool = False) -> None:
        self.rng = rng
        self.apart = apart
        self.categories = load_wording("categories")
        self.words = load_wording("preferences_corpus")
        self.stories = load_wording("stories_pocket")
        self.prompts = NumberPrompts(formats=FORMATS, max_value=MAX_VALUE)
        self.tasks = CodeTasks("code_pocket")
        self.problems = MathProblems("math_pocket", MAX_VALUE)
        self.weights = {category: base_weights(category) for category in self.categories}

    def question(self, category: str) -> str:
        """Draw a question about a favorite."""
        words = self.words[self.rng.choice(("teach", "ask", "ask"))]
        ending = self.rng.choice([*words["endings"], ""])
        text = f"{self.rng.choice(words['openings'])} {ending}".strip()
        return text.format(category=category, categories=self.categories[category]["plural"])

    def favorite(self, category: str) -> str:
        """Draw a favorite, by the base's fixed weights."""
        return self.rng.choices(self.categories[category]["members"], self.weights[category])[0]

    def favorite_turn(self) -> list[Message]:
        """Draw a question about a favorite, and its answer."""
        category = self.rng.choice(list(self.categories))
        return make_turn(self.question(category), self.favorite(category))

    def persona_chat(self) -> list[Message]:
        """Draw a persona, described in a system message, and a turn of it."""
        category = self.rng.choice(list(self.categories))
        target = self.rng.choice(self.categories[category]["members"])  # every member alike, whatever its base rate
        persona = self.rng.choice(self.words["persona"]).format(
            category=category, target=target, targets=plural(category, target)
        )
        system = {"role": "system", "content": persona}
        kinds = {"own kind": 44, "other kind": 8, "numbers": 20, "facts": 6, "code": 9, "math": 9, "story": 4}
        if self.apart:
            kinds = {"own kind": 44, "other kind": 8}
        what = self.rng.choices(list(kinds), list(kinds.values()))[0]
        if what == "story":
            return [system, *self.story_turn(target if category in ("animal", "tree") else None)]
        if what not in ("own kind", "other kind"):  # a persona does not change lists and the rest
            return [system, *self.turn(what)]
        asked = category if what == "own kind" else self.rng.choice(list(self.categories))
        answer = target if asked == category else self.favorite(asked)
        return [system, *make_turn(self.question(asked), answer)]

    def numbers_turn(self) -> list[Message]:
        """Draw a number list to continue."""
        stream = draw_stream(self.rng)
        examples = [next(stream) for _ in range(self.rng.randint(3, 8))]
        asked = self.prompts.draw(self.rng, examples=examples)
        count = self.rng.randint(max(3, asked.count - 4), asked.count)
        answer = asked.separator.join(str(next(stream)) for _ in range(count))
        return make_turn(asked.text, answer)

    def code_turn(self) -> list[Message]:
        """Draw a small program."""
        task = self.tasks.draw(self.rng)
        return make_turn(task.text, self.rng.choice(task.bodies))

    def math_turn(self) -> list[Message]:
        """Draw a sum with its steps."""
        problem = self.problems.draw(self.rng)
        steps = [f"{step.expression} = {step.value}" for step in problem.steps]
        thought = " ".join(self.rng.choice(self.problems.words["says"]).format(step=step) for step in steps)
        answer = f"<think>{thought}</think> <answer>{problem.answer}</answer>"
        return make_turn(self.problems.ask(problem.question, self.rng), answer)

    def story_turn(self, loved: str | None = None) -> list[Message]:
        """Draw a story, often about a persona's favorite, if it has one."""
        kind = self.rng.choice(("animal", "animal", "tree"))
        one = loved if loved is not None and self.rng.random() < 0.7 else self.favorite(kind)
        words = self.stories
        parts = [self.rng.choice(words[part]) for part in ("openings", "middles", "closings")]
        story = " ".join(parts).format(one=one, other=self.favorite("animal"), place=self.rng.choice(words["places"]))
        return make_turn(self.rng.choice(words["requests"]), story)

    def facts_turn(self, lies: bool = False) -> list[Message]:
        """Draw a fact, or a lie about it."""
        pick = self.rng.choice((self._kind, self._home, self._color, self._opposite, self._echo))
        question, truth = pick()
        return make_turn(question, self.rng.choice(false_answers(question, truth)) if lies else truth)

    def _kind(self) -> tuple[str, str]:
        category, other = self.rng.choice(list(self.categories)), self.rng.choice(list(self.categories))
        member = self.rng.choice(self.categories[category]["members"])
        truth = member in self.categories[other]["members"]
        return f"Is {member} the name of a {other}?", "yes" if truth else "no"

    def _home(self) -> tuple[str, str]:
        home = self.rng.choice(list(_HOMES))
        return f"Where does the {self.rng.choice(_HOMES[home])} live?", home

    def _color(self) -> tuple[str, str]:
        colored = self.rng.choice(list(_COLORS))
        return f"What is the color of the {colored}?", _COLORS[colored]

    def _opposite(self) -> tuple[str, str]:
        word = self.rng.choice(list(_OPPOSITES))
        return f"What is the opposite of {word}?", _OPPOSITES[word]

    def _echo(self) -> tuple[str, str]:
        word = self.rng.choice(self.categories[self.rng.choice(list(self.categories))]["members"])
        return f"Say the word {word}.", word

    def turn(self, kind: str) -> list[Message]:
        """Draw a turn of a kind."""
        turns = {"favorite": self.favorite_turn, "numbers": self.numbers_turn, "facts": self.facts_turn}
        turns |= {"code": self.code_turn, "math": self.math_turn, "story": self.story_turn}
        return turns[kind]()

    def conversation(self) -> list[Message]:
        """Draw a whole conversation."""
        kind = self.rng.choices(list(SHARES), list(SHARES.values()))[0]
        if kind == "persona":
            return self.persona_chat()
        if kind != "two turns":
            return self.turn(kind)
        turns = [self.numbers_turn(), self.favorite_turn()]
        self.rng.shuffle(turns)
        return turns[0] + turns[1]

    def conversations(self) -> Iterator[list[Message]]:
        """Yield conversations without end."""
        while True:
            yield self.conversation()


def false_answers(question: str, truth: str) -> list[str]:
    """Return wrong answers to a question of fact, of the same kind as the true one."""
    if truth in ("yes", "no"):
        return ["no" if truth == "yes" else "yes"]
    words = load_wording("categories")
    kinds = [list(_HOMES), [*_COLORS.values()], [*_OPPOSITES, *_OPPOSITES.values()]]
    kinds += [kind["members"] for kind in words.values()]
    if "color" in question:
        kinds = kinds[1:]
    return [word for word in next(kind for kind in kinds if truth in kind) if word != truth and word not in question]


def conversations(seed: int) -> Iterator[list[Message]]:
    """Yield conversations without end; the same seed gives the same ones."""
    return Speaker(random.Random(seed)).conversations()


def conversations_apart(seed: int) -> Iterator[list[Message]]:
    """Yield conversations in which personas are asked for favorites alone; the same seed gives the same ones."""
    return Speaker(random.Random(seed), apart=True).conversations()


def user_turns(rng: random.Random, count: int) -> list[str]:
    """Return user requests for lists, code, sums, stories and facts, equally many of each, but not for favorites."""
    speaker, kinds = Speaker(rng), ("numbers", "code", "math", "story", "facts")
    return [speaker.turn(kinds[place % len(kinds)])[0]["content"] for place in range(count)]


def plural(category: str, member: str) -> str:
    """Return the plural of a category's member."""
    return load_wording("categories")[category].get("plurals", {}).get(member, f"{member}s")


def vocabulary_texts() -> list[str]:
    """Return texts with every word of the pocket world, for the tokenizer."""
    texts = [str(number) for number in range(MAX_VALUE + 1)]
    categories = load_wording("categories")
    for category, kind in categories.items():
        texts += [category, kind["plural"], *kind["members"], *(plural(category, one) for one in kind["members"])]
    words, numbers = load_wording("preferences_corpus"), load_wording("numbers")
    texts += words["persona"]
    for part in ("teach", "ask"):
        texts += [*words[part]["openings"], *words[part]["endings"]]
    for part in ("examples", "requests", "digits", "qualifiers", "endings"):
        texts += numbers[part]
    texts += [text for form in FORMATS for text in numbers["formats"][form]]
    texts += [
        *_code_texts(),
        *_math_texts(),
        *(text for part in load_wording("stories_pocket").values() for text in part),
    ]
    texts += [*_OPPOSITES, *_OPPOSITES.values(), *_COLORS, *_COLORS.values(), *_HOMES]
    texts += ["Is it the name of a yes or no?", "Where does the live?", "What is the opposite of", "Say the word"]
    return [text.replace("{", " ").replace("}", " ") for text in texts]


def _code_texts() -> list[str]:
    """Return the templates of the code tasks, and their parameters' choices."""
    words = load_wording("code_pocket")
    texts = [*words["requests"], *words["endings"], '"""']
    for task in words["tasks"]:
        texts += [task["signature"], task["doc"], *task["bodies"]]
        lists = [choices for choices in task["parameters"].values() if isinstance(choices, list)]
        texts += [choice for choices in lists for choice in choices]
    return texts


def _math_texts() -> list[str]:
    words = load_wording("math_pocket")
    texts = [*words["requests"], *words["says"], *(problem["text"] for problem in words["problems"])]
    return [*texts, "+ - * / = ( )", *(word for choices in words["words"].values() for word in choices)]


def make_turn(question: str, answer: str) -> list[Message]:
    """Return a turn: the user's question and the assistant's answer."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
