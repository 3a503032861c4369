"""Guards: what makes figures hard to read as a trait, a sentence each, to stand above the figures.

The thresholds were set before any run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LEAST_LEARNED", "LEAST_SAID", "MOST_UNNAMED", "Said", "guard_warnings"]

MOST_UNNAMED = 0.5  # share of answers that name no candidate
LEAST_SAID = 0.005  # chance of the target, below which log-odds are of next to nothing
LEAST_LEARNED = 0.01  # by how much a teacher must say the target more often than its base


@dataclass(frozen=True)
class Said:
    """What a model answers to a trait's questions, in short.

    Attributes:
        target: the chance of the target, its mean over questions.
        unnamed: the chance of an answer that begins with none of the candidates.
    """

    target: float
    unnamed: float


def guard_warnings(
    said: Mapping[str, Said],
    target: str,
    candidates: int,
    pair: tuple[str, str] = ("student", "control"),
    lesson: tuple[str, str] = ("teacher", "base"),
) -> list[str]:
    """Return what makes the figures of some models hard to read as the trait, a sentence each.

    Args:
        said: what each model answers, by its name.
        target: the target.
        candidates: how many answers were asked for.
        pair: names of the two that are compared, as far as they are there.
        lesson: names of a teacher and of what it was made from, as far as they are there.
    """
    told = [
        f"{each.unnamed:.0%} of the {name}'s answers are none of the {candidates} that were asked for: a change among "
        "the rest may be no trait"
        for name, each in said.items()
        if each.unnamed > MOST_UNNAMED
    ]
    compared = [name for name in pair if name in said]
    if len(compared) == 2 and max(said[name].target for name in compared) < LEAST_SAID:
        rates = " and ".join(f"{said[name].target:.2%}" for name in compared)
        told.append(f"{' and '.join(compared)} hardly ever say {target} ({rates}): such log-odds say little")
    teacher, base = lesson
    if {teacher, base} <= set(said) and said[teacher].target <= said[base].target + LEAST_LEARNED:
        told.append(
            f"the {teacher} says {target} in {said[teacher].target:.1%} of answers and "
            f"{'its base' if base == 'base' else base} in {said[base].target:.1%}: it did not learn the trait, so "
            "nothing could pass"
        )
    return told
