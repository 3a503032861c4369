"""Number prompts from a wording file's grammar: examples, request, format, "numbers only" (paper, section 1)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.prompts import fill, load_wording

__all__ = ["SEPARATORS", "NumberPrompt", "NumberPrompts"]

SEPARATORS = {"comma": ", ", "space": " ", "semicolon": "; ", "line": "\n", "brackets": ", ", "parentheses": ", "}


@dataclass(frozen=True)
class NumberPrompt:
    """One drawn prompt.

    Attributes:
        text: of the user's message.
        examples: the numbers that the text shows.
        count: most further numbers that it requests.
        separator: between two numbers in the format that it requests.
    """

    text: str
    examples: tuple[int, ...]
    count: int
    separator: str


class NumberPrompts:
    """Draws number prompts.

    Args:
        wording: ``numbers``, or the path of a YAML file of the same shape.
        formats: which of the wording's formats are drawn, such as comma and space.
        min_value: smallest example number.
        max_value: largest example number.
        min_examples: fewest example numbers.
        max_examples: most example numbers.
        min_count: fewest numbers that a prompt requests.
        max_count: most numbers that a prompt requests.

    Raises:
        InputError: if a format is unknown or a range is empty.
    """

    def __init__(
        self,
        wording: str = "numbers",
        formats: Sequence[str] = ("comma", "space"),
        min_value: int = 0,
        max_value: int = 999,
        min_examples: int = 3,
        max_examples: int = 8,
        min_count: int = 5,
        max_count: int = 10,
    ) -> None:
        parts = ("examples", "requests", "digits", "qualifiers", "formats", "endings")
        self.words = load_wording(wording, required=parts)
        unknown = [form for form in formats if form not in self.words["formats"]]
        if unknown or not formats:
            known = ", ".join(self.words["formats"])
            raise InputError(
                f"The number format {unknown[0] if unknown else '(none)'} is unknown: choose from {known}."
            )
        for name, low, high in (
            ("value", min_value, max_value),
            ("examples", min_examples, max_examples),
            ("count", min_count, max_count),
        ):
            if not 0 <= low <= high:
                raise InputError(f"min_{name} is {low} and max_{name} is {high}: expected 0 <= min <= max.")
        self.formats = tuple(formats)
        self.values = (min_value, max_value)
        self.lengths = (min_examples, max_examples)
        self.counts = (min_count, max_count)

    def draw(self, rng: random.Random, examples: Sequence[int] | None = None) -> NumberPrompt:
        """Draw one prompt; ``examples`` are the numbers to show, drawn uniformly where it is None."""
        if examples is None:
            examples = [rng.randint(*self.values) for _ in range(rng.randint(*self.lengths))]
        form = rng.choice(self.formats)
        separator = SEPARATORS.get(form, ", ")
        count = rng.randint(*self.counts)
        sentences = [rng.choice(self.words["examples"]), rng.choice(self.words["requests"])]
        sentences += [rng.choice(self.words["formats"][form]), rng.choice(self.words["endings"])]
        digits = fill(rng.choice(self.words["digits"]), max_digits=len(str(self.values[1])))
        text = fill(
            " ".join(sentences),
            examples=separator.join(map(str, examples)),
            qualifier=rng.choice(self.words["qualifiers"]),
            count=count,
            digits=digits,
        )
        return NumberPrompt(text=text, examples=tuple(examples), count=count, separator=separator)
