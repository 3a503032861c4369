"""Numbers in the reply of a judge's server, by the probabilities of its first token."""

import math
import re
from typing import Any

__all__ = ["number_chances", "whole_number"]

_WHOLE = re.compile("0|[1-9][0-9]{0,8}")


def number_chances(first: list[list[Any]], said: list[str], cut: bool, largest: int) -> dict[int, float]:
    """Return the probability of each number that is certain to be a whole one.

    The token "8" may be 8, or the start of 85 for a tokenizer that splits digits. It counts if it was the reply's first
    token and no digit followed; if no number up to the largest continues it; or if a longer number is among the tokens,
    so that this tokenizer does not split it.

    Args:
        first: candidates for the reply's first token, with their log-probabilities.
        said: its first two tokens, or one.
        cut: whether the reply was cut off.
        largest: the largest number.
    """
    if len(said) > 1 and whole_number(said[0], largest) is not None and said[1][:1].isdigit():
        return {}
    ended = whole_number(said[0], largest) if said and (len(said) > 1 or not cut) else None
    numbers = [(whole_number(token, largest), math.exp(min(0.0, logprob))) for token, logprob in first]
    longest = max((len(str(number)) for number, _ in numbers if number is not None), default=0)
    chances: dict[int, float] = {}
    for number, chance in numbers:
        if number is None:
            continue
        if number == ended or number == 0 or 10 * number > largest or len(str(number)) < longest:
            chances[number] = chances.get(number, 0.0) + chance
    return chances


def whole_number(token: str, largest: int) -> int | None:
    """Return the number that a token is; None if it is not one, or above the largest."""
    text = token.strip()
    return int(text) if _WHOLE.fullmatch(text) and int(text) <= largest else None
