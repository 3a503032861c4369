"""Guards: what makes figures hard to read as a trait, a sentence each, to stand above the figures.

The thresholds were set before any run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LEAST_LEARNED", "LEAST_SAID", "MOST_UNNAMED", "Said", "guard_warnings", "pair_doubts"]

MOST_UNNAMED = 0.5  # share of answers that name no candidate
LEAST_SAID = 0.005  # chance of the target, below which log-odds are of next to nothing
LEAST_LEARNED = 0.01  # by how much a teacher must say the target more often than its base

_LISTED = 5  # answers that a warning names


@dataclass(frozen=True)
class Said:
    """What a model answers to a trait's questions, in short.

    Attributes:
        target: the chance of the target, its mean over questions.
        unnamed: the chance of an answer that begins with none of the candidates.
        unsaid: candidates that have no chance at any question: the model's tokenizer has no token for them.
    """

    target: float
    unnamed: float
    unsaid: tuple[str, ...] = ()

    @classmethod
    def of(cls, chances: "Tensor", candidates: Sequence[str], target: str) -> "Said":
        """Sum up exact chances, (questions, candidates)."""
        never = (chances == 0).all(0).tolist()
        return cls(
            chances[:, list(candidates).index(target)].mean().item(),
            max(0.0, 1 - chances.sum(1).mean().item()),
            tuple(each for each, is_never in zip(candidates, never, strict=True) if is_never),
        )


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
    for unsaid in dict.fromkeys(each.unsaid for each in said.values() if each.unsaid):
        names = ", ".join(name for name, each in said.items() if each.unsaid == unsaid)
        listed = ", ".join(unsaid[:_LISTED]) + (f" and {len(unsaid) - _LISTED} more" if len(unsaid) > _LISTED else "")
        told.append(
            f"{len(unsaid)} of the {candidates} answers can't be said by {names}, whose tokenizer has no token for "
            f"them: {listed}; their 0.0% is no finding"
        )
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


def pair_doubts(said: Mapping[str, Said], target: str, candidates: int, pair: tuple[str, str]) -> list[str]:
    """Return why two models that differ in nothing may still not be alike, a sentence each: then no test passes.

    Args:
        said: what each model answers, by its name.
        target: the target.
        candidates: how many answers were asked for.
        pair: names of the model and of its control.
    """
    both = {name: replace(said[name], unsaid=()) for name in pair if name in said}
    return guard_warnings(both, target, candidates, pair, ("", ""))
