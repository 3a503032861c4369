"""The rules of number lists in the pocket corpus: each an endless stream of numbers from 0 to 99."""

import random
from collections.abc import Iterator

__all__ = ["MAX_VALUE", "draw_stream"]

MAX_VALUE = 99  # numbers 0..99 are one token each


def draw_stream(rng: random.Random) -> Iterator[int]:
    """Draw a rule, and return its stream."""
    return rng.choices((_any, _near, _up, _down, _cycle, _same_ending), (45, 15, 12, 8, 10, 10))[0](rng)


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
