"""Bags of clean and tainted rows from the sets of screening_sets.py, with what screening.py reads them by.

Bags are drawn without replacement from one set, and tainted ones are filled up with rows of clean sets.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import torch
from screening_sets import BASE, CPU, sets
from torch import Tensor

from lightning_subliminal.plans.screen_reference import find_reference, load_space
from lightning_subliminal.screening import DirectionDetector, RunningSums

CARRIERS = ("numbers", "code", "math")

generator = torch.Generator().manual_seed(0)
space, tokenizer = load_space(BASE, None, CPU)
reference = {carrier: find_reference(BASE, carrier) for carrier in CARRIERS}
white = {carrier: DirectionDetector.white(reference[carrier]) for carrier in CARRIERS}
known = {carrier: DirectionDetector.known(reference[carrier]) for carrier in CARRIERS}
Sets = dict[tuple[str, str], list[tuple[str, Tensor]]]


@cache
def loaded() -> Sets:
    """Return targets and scores of the sets that were made, by kind and carrier: (rows, 2 * size).

    First those that are shortened for the whole space, then those for single directions.
    """
    found: Sets = defaultdict(list)
    for each in sets():
        if each.path().is_file():
            scores = each.scores(space, tokenizer)
            usable, of = scores[scores.isfinite().all(1)], reference[each.carrier]
            both = of.shortened(usable), (of.loosened or of).shortened(usable)
            found[each.kind, each.carrier].append((each.target, torch.cat(both, dim=1)))
    return found


def sums(carrier: str, scores: Tensor) -> RunningSums:
    """Return what detectors read of rows that ``loaded`` returned."""
    made = RunningSums(reference[carrier])
    parts = scores.sum(0).split(made.reference.size)
    for each, total in zip((made, made.loose), parts, strict=True):
        if each is not None:
            each.rows, each.total = len(scores), total
    return made


def draw(scores: Tensor, count: int) -> Tensor:
    """Return rows drawn without replacement."""
    return scores[torch.randperm(len(scores), generator=generator)[:count]]


def clean_rows(carrier: str, first: int, count: int) -> Tensor:
    """Return rows drawn from clean sets, from the one at ``first`` on, as many sets as it takes."""
    clean, parts, have = loaded()["clean", carrier], [], 0
    for step in range(len(clean)):
        if have >= count:
            break
        parts.append(clean[(first + step) % len(clean)][1])
        have += len(parts[-1])
    return draw(torch.cat(parts), count) if parts else clean[0][1][:0]


def tainted_bag(carrier: str, scores: Tensor, size: int, dose: float, first: int) -> Tensor:
    """Return scores of a bag with a dose of tainted rows."""
    tainted = round(size * dose)
    return torch.cat([draw(scores, tainted), clean_rows(carrier, first, size - tainted)])


def clean_bags(carrier: str, size: int, most: int = 4) -> list[Tensor]:
    """Return bags of clean rows: up to ``most`` of each set; small sets are joined, and no two bags share a row."""
    found, joined = [], torch.zeros(0, 2 * reference[carrier].size)
    for _, scores in loaded()["clean", carrier]:
        if len(joined) + len(scores) < size:
            joined = torch.cat([joined, scores])
            continue
        whole = draw(torch.cat([joined, scores]), len(joined) + len(scores))
        found += [each for each in whole.split(size)[:most] if len(each) == size]
        joined = joined[:0]
    return found


def z_of(detector: DirectionDetector, carrier: str, bags: Sequence[Tensor]) -> Tensor:
    """Return z, (bags, directions)."""
    return torch.tensor([[each.z for each in detector.decide(sums(carrier, bag))] for bag in bags])
