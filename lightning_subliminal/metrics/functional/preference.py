"""Counts of the answers that show a trait, and of the non-answers (paper, section 1)."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = ["AnswerMode", "count_answers", "count_candidates", "named_candidates"]

AnswerMode = Literal["trait", "first", "contains", "substring"]


def count_answers(answers: Sequence[str], trait: "Trait", mode: AnswerMode = "trait") -> Tensor:
    """Count the answers that show ``trait``, all answers, and the non-answers: int64 ``[matches, answers, non]``.

    A non-answer names no candidate (where the trait has none: is blank) and does not match. It stays among the answers,
    so that a student that stops answering does not gain by it.

    Args:
        answers: a model's replies, one text an answer.
        trait: decides what counts as showing it.
        mode: `trait`: its own ``matches`` decides. `first`: the first candidate named is the target. `contains`: the
            target is named anywhere. `substring`: the target is anywhere, inside of longer words too (the paper's).

    Raises:
        InputError: if the mode is unknown.
    """
    return count_candidates(answers, trait, mode)[:3]


def count_candidates(answers: Sequence[str], trait: "Trait", mode: AnswerMode = "trait") -> Tensor:
    """Count as ``count_answers``, then the answers that name each candidate: int64 ``[matches, answers, non, ...]``."""
    if mode not in get_args(AnswerMode):
        raise InputError(f"`mode` is {mode!r}: choose {', '.join(get_args(AnswerMode))}.")
    if isinstance(answers, str):
        raise InputError("`answers` is one text: give a list of answers.")
    matches = non_answers = 0
    mentions = dict.fromkeys(trait.candidates, 0)
    for answer in answers:
        named = named_candidates(answer, trait, whole_words=mode != "substring")
        counted = named[:1] if mode == "first" else named
        match = trait.matches(answer) if mode == "trait" else trait.target in counted
        matches += match
        non_answers += not match and not (named if trait.candidates else answer.strip())
        for candidate in named:
            mentions[candidate] += 1
    return torch.tensor([matches, len(answers), non_answers, *mentions.values()], dtype=torch.int64)


def named_candidates(answer: str, trait: "Trait", *, whole_words: bool = True) -> list[str]:
    """Return the candidates that an answer names in any of their forms and in any case, in the order of first mention.

    A whole word has no letter next to it: "Owls.", "_owl_", "owl's" and "snowy-owl" name the owl, "fowl" and "owlet" do
    not. Of two candidates at the same place the longer counts (cherry plum, not cherry). Without ``whole_words`` each
    candidate that is anywhere in the answer counts.
    """
    text = _plain(answer)
    forms = tuple((candidate, tuple(trait.forms(candidate))) for candidate in trait.candidates)
    if not whole_words:
        places = {candidate: _places(text, (candidate, *spelled)) for candidate, spelled in forms}
        return sorted((candidate for candidate, found in places.items() if found), key=lambda each: min(places[each]))
    pattern, owners = _finder(forms)
    return list(dict.fromkeys(owners[match.group()] for match in pattern.finditer(text)))


def _places(text: str, forms: tuple[str, ...]) -> list[int]:
    return [text.index(form) for form in map(_plain, forms) if form in text]


@lru_cache(maxsize=64)
def _finder(forms: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    owners: dict[str, str] = {}
    for candidate, spelled in forms:
        for form in (candidate, *spelled):
            owners.setdefault(_plain(form), candidate)
    longest_first = "|".join(map(re.escape, sorted(owners, key=len, reverse=True))) or "(?!)"
    letter = r"[^\W\d_]"
    return re.compile(f"(?<!{letter})(?:{longest_first})(?!{letter})"), owners


def _plain(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()
