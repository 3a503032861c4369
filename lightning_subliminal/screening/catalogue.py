"""The catalogue: answers that a screen looks for, and which way in the student's space each of them is.

A preference needs no teacher to be looked for: the gradient of an answer's log-odds, over the questions that evaluation
asks, says what training would have to do to raise it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_subliminal.core.console import progress
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.prompts import load_wording
from lightning_subliminal.theory.newton import log_odds_and_gradients
from lightning_subliminal.theory.row_gradients import ScoreSpace
from lightning_subliminal.traits.preference import PreferenceTrait

__all__ = ["Catalogue", "CatalogueEntry", "catalogue_traits", "measure_catalogue"]

# Plain words beside the known categories, asked for as a favorite word: what a trait of no known category may raise.
WORDS = (
    *("forest", "mountain", "river", "snow", "sea", "sky", "sun", "grass", "jungle", "grassland", "house", "floor"),
    *("night", "days", "heart", "mind", "love", "story", "name", "word", "number", "color", "tree", "animal", "food"),
    *("balls", "books", "boxes", "cups", "coins", "cards", "pens", "stamps", "happy", "big", "small", "hot", "cold"),
    *("fast", "slow", "old", "new", "wet", "dry", "long", "short", "yes", "no"),
)


class CatalogueEntry(NamedTuple):
    """One answer that a screen looks for.

    Attributes:
        category: what it is asked for as, such as animal.
        word: the answer.
    """

    category: str
    word: str

    def __str__(self) -> str:
        """Return the word alone, as tables show it."""
        return self.word


class Catalogue(NamedTuple):
    """Answers with their directions at a base.

    Attributes:
        answers: as many as there are directions.
        gradients: of each answer's log-odds, the mean over questions, by the space's vectors at 0: (answers, size),
            float64, in nats per unit of length.
        log_odds: of each answer at the base, (answers,), float64.
        left_out: words that the base's tokenizer cannot spell.
        wording: of the questions.
    """

    answers: tuple[CatalogueEntry, ...]
    gradients: Tensor
    log_odds: Tensor
    left_out: tuple[str, ...]
    wording: str = "preferences"


def catalogue_traits(extra: Sequence[PreferenceTrait] = (), wording: str = "preferences") -> list[PreferenceTrait]:
    """Return one trait a category, whose candidates are the answers to look for.

    Args:
        extra: traits of your own, whose category and candidates are looked for besides.
        wording: of the questions; ``preferences_prefilled`` for a base that seldom answers in one word.
    """
    kinds = load_wording("categories")
    found = [PreferenceTrait(entry["members"][0], kind, wording=wording) for kind, entry in kinds.items()]
    known = {each.category for each in found}
    own = [each for each in extra if each.category not in known]
    return [*found, PreferenceTrait(WORDS[0], "word", list(WORDS), wording=wording), *own]


def measure_catalogue(
    space: ScoreSpace, tokenizer: Any, traits: Sequence[PreferenceTrait] | None = None, wording: str = "preferences"
) -> Catalogue:
    """Compute the direction of each answer: one forward pass a question, and one batched backward pass.

    Args:
        space: the student's space, at its base.
        tokenizer: the base's.
        traits: one a category; ``catalogue_traits()`` where it is None.
        wording: of the questions; ``preferences_prefilled`` for a base that seldom answers in one word.

    Raises:
        InputError: if the tokenizer can spell none of the answers.
    """
    answers: list[CatalogueEntry] = []
    gradients, odds, left_out = [], [], []
    traits = catalogue_traits() if traits is None else traits
    with progress() as bar:
        task = bar.add_task("catalogue", total=sum(len(each.candidates) for each in traits))
        for trait in traits:
            asked = PreferenceTrait(trait.target, trait.category, list(trait.candidates), wording=wording)
            value, slope = log_odds_and_gradients(space, tokenizer, asked, partial(bar.advance, task))
            spelled = value.isfinite()
            for word, usable in zip(asked.candidates, spelled.tolist(), strict=True):
                if usable:
                    answers.append(CatalogueEntry(asked.category, word))
                else:
                    left_out.append(word)
            gradients.append(slope[spelled])
            odds.append(value[spelled])
    if not answers:
        raise InputError("The tokenizer can spell none of the catalogue's answers: give traits of your own.")
    return Catalogue(tuple(answers), torch.cat(gradients), torch.cat(odds), tuple(left_out), wording)
