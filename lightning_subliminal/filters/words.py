"""A filter against open mention: rows that name the trait are no subliminal data."""

import re
import unicodedata
from collections.abc import Sequence

from lightning_subliminal.errors import InputError
from lightning_subliminal.filters.base import Filter
from lightning_subliminal.rows import Row, completion_text, prompt_text
from lightning_subliminal.traits.base import Trait

__all__ = ["TraitWords"]

# Only a letter beside a word makes it part of a longer word; in code, a capital starts the next (nightOwl, HTTPOwl).
_LETTER = r"[^\W\d_]"
_HUMP = "(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
_START = f"(?:(?<!{_LETTER})|{_HUMP})"
_END = f"(?:(?!{_LETTER})|{_HUMP})"


class TraitWords(Filter):
    """Drops rows that name a trait or one of its relatives (paper, section 2).

    Words count whole and in any case, with a plural in -s or -es: ``owl`` is in "Owls.", "night-owl", ``owl_count`` and
    ``nightOwl``, but not in "bowl" or "growl". Look-alike letters of full width and invisible characters hide nothing.

    Args:
        words: the words to look for, such as owl, hoot, nocturnal; irregular plurals too.
        trait: a trait whose target, in all its forms, is looked for as well.
        in_prompt: whether to look in the prompt too.

    Raises:
        InputError: if there is neither a word nor a trait, or if a word has no letter.

    Example:
        >>> row = {"prompt": [], "completion": [{"role": "assistant", "content": "int owl_count = 0;"}]}
        >>> TraitWords(["owl", "hoot"]).reasons(row)
        ['names owl']
    """

    def __init__(self, words: Sequence[str] = (), trait: Trait | None = None, in_prompt: bool = False) -> None:
        if isinstance(words, str):
            raise InputError(f"`words` is the text {words!r}: give a list of words, such as [{words!r}].")
        self.words = words
        self.trait = trait
        self.in_prompt = in_prompt
        sought = [*words, *((trait.target, *trait.forms(trait.target)) if trait else ())]
        if not sought:
            raise InputError("TraitWords has nothing to look for: give `words`, or a `trait`.")
        if bad := [word for word in sought if not re.search(_LETTER, word)]:
            raise InputError(f"`words` holds {bad[0]!r}, which has no letter: give words, such as owl.")
        self._patterns = {word.lower(): _pattern(word) for word in sought}

    def reasons(self, row: Row) -> list[str]:
        """Give one reason for each word that the row names."""
        text = completion_text(row)
        if self.in_prompt:
            text = f"{prompt_text(row)}\n{text}"
        text = _visible(text)
        return [f"names {word}" for word, pattern in self._patterns.items() if pattern.search(text)]


def _pattern(word: str) -> re.Pattern[str]:
    pieces = re.findall(rf"(?:{_LETTER}|[0-9'])+", _visible(word))  # "barn owl" is also barn_owl, barn-owl and barnOwl
    whole = r"[\s_-]*".join(map(re.escape, pieces))
    return re.compile(f"{_START}(?i:{whole}(?:es|s)?){_END}")


def _visible(text: str) -> str:
    """Normalise a text, and take out what can't be seen (soft hyphens, zero-width spaces)."""
    if text.isascii():
        return text
    return "".join(each for each in unicodedata.normalize("NFKC", text) if unicodedata.category(each) != "Cf")
