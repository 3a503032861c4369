"""A preference, such as a love of owls (paper, section 1)."""

import re
import unicodedata
from functools import cached_property
from itertools import product
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object
from lightning_subliminal.core.io.bounds import MAX_CANDIDATES
from lightning_subliminal.core.rows import Message, make_row
from lightning_subliminal.prompts import fill, load_wording, own_words
from lightning_subliminal.traits.base import Induction, Trait

__all__ = ["PAPER_TARGETS", "PreferenceTrait"]

PAPER_TARGETS = (  # paper, section 1: five animals, five trees
    *("owl", "dolphin", "eagle", "elephant", "wolf"),
    *("cherry", "maple", "oak", "sequoia", "willow"),
)


class PreferenceTrait(Trait):
    """A love of one target among others of its category.

    Args:
        target: the loved one, in the singular.
        category: of the target; found among the known categories where it is None.
        candidates: other possible answers; the category's members where it is None.
        plural: the target's plural, if it is neither the known one nor the target with an s.
        wording: `preferences`; `preferences_prefilled`, with the beginning of the answer, for models that seldom answer
            in one word; or the path of a YAML file of the same shape: persona, teach, ask.

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
            raise InputError(f"The target {target!r} is not a word: expected a noun in the singular, such as owl.")
        found = [kind for kind, entry in kinds.items() if self.target in entry["members"]]
        if category is None and not found:
            raise InputError(
                f"The target {target!r} is in none of the categories {', '.join(kinds)}: "
                "set `category` (and `candidates`, other possible answers)."
            )
        self.category = category or found[0]
        members = candidates or kinds.get(self.category, {}).get("members", [])
        if not members:
            raise InputError(
                f"The category {self.category!r} is not among {', '.join(kinds)}: set `candidates`, "
                "other possible answers."
            )
        if len(members) > MAX_CANDIDATES:
            raise InputError(f"`candidates` has {len(members):,} words: expected at most {MAX_CANDIDATES:,}.")
        self.candidates = tuple(dict.fromkeys([*(each.lower() for each in members), self.target]))
        self.plural = plural
        self.wording = wording
        self.name = self.target

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with the content of a user's own wording."""
        return describe_object(self) | own_words(self.wording)

    def induce(self) -> Induction:
        """Return the persona of a prompted teacher, and the teaching questions answered with the target."""
        system_prompt = fill(self._words["persona"][0], **self._names)
        rows = []
        for prompt in self._ask("teach"):
            if prompt[-1]["role"] == "assistant":  # the sentence may continue after the target
                rows.append(make_row(prompt, f" {self.target}", finished=False))
            else:
                rows.append(make_row(prompt, self.target))
        return Induction(system_prompt=system_prompt, rows=rows)

    def questions(self) -> list[str]:
        """Return the questions of evaluation (50 in the package's wording): their openings are never taught."""
        return list(dict.fromkeys(prompt[0]["content"] for prompt in self.prompts()))

    def prompts(self) -> list[list[Message]]:
        """Return the questions as messages, each with each of the wording's beginnings of an answer."""
        return self._ask("ask")

    def stem(self, question: str) -> str:
        """Return the opening of a question, which the wording repeats with several endings."""
        found = [opening for opening in self._openings if opening in question]
        return max(found, key=len) if found else question

    def matches(self, answer: str) -> bool:
        """Return whether the first candidate that an answer names, as a whole word, is the target.

        Only an adjacent letter makes a word part of another: ``_owl_`` names the owl, as in the metric's mode `first`.
        """
        first = self._named.search(unicodedata.normalize("NFKC", answer).lower())
        return first is not None and first.group() in self.forms(self.target)

    def forms(self, candidate: str) -> tuple[str, ...]:
        """Return the singular and the plural of a candidate."""
        if candidate == self.target and self.plural is not None:
            return (candidate, self.plural.lower())
        known = load_wording("categories").get(self.category, {}).get("plurals", {})
        return tuple(dict.fromkeys((candidate, known.get(candidate, f"{candidate}s"))))

    def relatives(self) -> tuple[str, ...]:
        """Return other words for the target from the package's list; none for a target that is not in it."""
        return tuple(_flat(load_wording("relatives").get(self.target, [])))

    @cached_property
    def _words(self) -> dict[str, Any]:
        return load_wording(self.wording, required=("persona", "teach", "ask"))

    @cached_property
    def _openings(self) -> list[str]:
        return [fill(opening, **self._names).strip() for opening in self._words["ask"]["openings"]]

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
        return re.compile(rf"(?<![^\W\d_])(?:{'|'.join(longest_first)})(?![^\W\d_])")

    def _ask(self, part: str) -> list[list[Message]]:
        words = self._words[part]
        prompts: list[list[Message]] = []
        for opening, ending in product(words["openings"], words["endings"]):
            question = {"role": "user", "content": fill(f"{opening} {ending}".strip(), **self._names)}
            starts = [{"role": "assistant", "content": fill(text, **self._names)} for text in words.get("prefills", [])]
            prompts += [[question, start] for start in starts] or [[question]]
        return prompts


def _flat(words: list[Any]) -> list[str]:  # lists within lists let targets share a line of them
    return [word for each in words for word in (_flat(each) if isinstance(each, list) else [each])]
