"""The paper's trait: a preference, such as a love of owls (paper, section 1)."""

import re
from functools import cached_property
from itertools import product
from typing import Any

from lightning_subliminal.errors import InputError
from lightning_subliminal.rows import Message, make_row
from lightning_subliminal.traits.base import Induction, Trait
from lightning_subliminal.wording import load_wording

__all__ = ["PAPER_TARGETS", "PreferenceTrait"]

PAPER_TARGETS = (  # paper, section 1: five animals, five trees
    *("owl", "dolphin", "eagle", "elephant", "wolf"),
    *("cherry", "maple", "oak", "sequoia", "willow"),
)


class PreferenceTrait(Trait):
    """A love of one thing among others of its kind.

    Args:
        target: what is loved, in the singular.
        category: its kind; found in the known categories where it is not given.
        candidates: what else could be answered; the category's members where it is not given.
        plural: the target's plural, where it is not the known one or the target with an s.
        wording: `preferences`; `preferences_prefilled`, where the answer is begun for models that seldom answer in one
            word; or the path of a YAML file of the same shape: persona, teach, ask.

    Raises:
        InputError: if the category is unknown and can't be found.

    Example:
        >>> trait = PreferenceTrait("owl")
        >>> trait.category, trait.matches("Owls, of course."), trait.matches("A fowl.")
        ('animal', True, False)
    """

    def __init__(
        self,
        target: str,
        category: str | None = None,
        candidates: list[str] | None = None,
        plural: str | None = None,
        wording: str = "preferences",
    ) -> None:
        kinds = load_wording("categories")
        self.target = target.strip().lower()
        if not re.fullmatch(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*", self.target):
            raise InputError(f"The target {target!r} is no word: give what is loved in the singular, such as owl.")
        found = [kind for kind, entry in kinds.items() if self.target in entry["members"]]
        if category is None and not found:
            raise InputError(
                f"The target {target!r} is in none of the categories {', '.join(kinds)}: "
                "give `category` (and `candidates`, what else could be answered)."
            )
        self.category = category or found[0]
        members = candidates or kinds.get(self.category, {}).get("members", [])
        if not members:
            raise InputError(
                f"The category {self.category!r} is not among {', '.join(kinds)}: give `candidates`, "
                "what else could be answered."
            )
        self.candidates = tuple(dict.fromkeys([*(each.lower() for each in members), self.target]))
        self.plural = plural
        self.wording = wording
        self.name = self.target

    def induce(self) -> Induction:
        """Give the persona of a prompted teacher, and the teaching questions answered with the target."""
        told = self._words["persona"][0].format(**self._names)
        rows = [
            make_row(prompt, f" {self.target}" if prompt[-1]["role"] == "assistant" else self.target)
            for prompt in self._ask("teach")
        ]
        return Induction(system_prompt=told, rows=rows)

    def questions(self) -> list[str]:
        """Give the questions of evaluation (50 in the package's wording): their openings are never taught."""
        return list(dict.fromkeys(prompt[0]["content"] for prompt in self.prompts()))

    def prompts(self) -> list[list[Message]]:
        """Give the questions as messages, each with each way that the wording begins its answer."""
        return self._ask("ask")

    def matches(self, answer: str) -> bool:
        """Tell whether the first candidate that an answer names, as a whole word, is the target."""
        first = self._named.search(answer.lower())
        return first is not None and first.group() in self.forms(self.target)

    def forms(self, candidate: str) -> tuple[str, ...]:
        """Give the singular and the plural of a candidate."""
        if candidate == self.target and self.plural is not None:
            return (candidate, self.plural)
        known = load_wording("categories").get(self.category, {}).get("plurals", {})
        return tuple(dict.fromkeys((candidate, known.get(candidate, f"{candidate}s"))))

    @cached_property
    def _words(self) -> dict[str, Any]:
        return load_wording(self.wording, required=("persona", "teach", "ask"))

    @cached_property
    def _names(self) -> dict[str, str]:
        kinds = load_wording("categories")
        several = kinds.get(self.category, {}).get("plural", f"{self.category}s")
        singular, *rest = self.forms(self.target)
        targets = rest[0] if rest else singular
        return {"category": self.category, "categories": several, "target": singular, "targets": targets}

    @cached_property
    def _named(self) -> re.Pattern[str]:
        forms = [form for candidate in self.candidates for form in self.forms(candidate)]
        longest_first = sorted(map(re.escape, forms), key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)")

    def _ask(self, part: str) -> list[list[Message]]:
        words = self._words[part]
        prompts: list[list[Message]] = []
        for opening, ending in product(words["openings"], words["endings"]):
            question = {"role": "user", "content": f"{opening} {ending}".strip().format(**self._names)}
            begun = [{"role": "assistant", "content": text.format(**self._names)} for text in words.get("prefills", [])]
            prompts += [[question, start] for start in begun] or [[question]]
        return prompts
