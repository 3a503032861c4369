"""A filter against overt mention: rows that name the trait are not subliminal data."""

from collections.abc import Sequence

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.filters.words import Words
from lightning_subliminal.traits.base import Trait

__all__ = ["TraitWords"]


class TraitWords(Words):
    """Drops rows that name a trait or one of its relatives (paper, section 2), as ``filters.Words`` finds words.

    Args:
        words: the words to look for, such as owl, hoot, nocturnal; irregular plurals too.
        trait: a trait whose target, in all its forms and with its relatives, is looked for as well.
        in_prompt: whether to look in the prompt too.

    Raises:
        InputError: if there is neither a word nor a trait, or a word has no letter.

    Example:
        >>> row = {"prompt": [], "completion": [{"role": "assistant", "content": "int owl_count = 0;"}]}
        >>> TraitWords(["owl", "hoot"]).reasons(row)
        ['names owl']
    """

    def __init__(self, words: Sequence[str] = (), trait: Trait | None = None, in_prompt: bool = False) -> None:
        if isinstance(words, str):
            raise InputError(f"`words` is the text {words!r}: expected a list of words, such as [{words!r}].")
        sought = [*words, *((trait.target, *trait.forms(trait.target), *trait.relatives()) if trait else ())]
        if not sought:
            raise InputError("TraitWords has no words to look for: set `words`, or a `trait`.")
        super().__init__(sought, in_prompt)
        self.words = words
        self.trait = trait
