"""Guards: what makes figures hard to read as a trait, a sentence each, to stand above the figures.

They look at exact chances alone. The thresholds were set before any run.
"""

from collections.abc import Mapping

from lightning_subliminal.evaluation.scores import Scores

__all__ = ["LEAST_LEARNED", "LEAST_SAID", "MOST_UNNAMED", "pair_doubts", "warnings_of"]

MOST_UNNAMED = 0.5  # share of answers that name no candidate
LEAST_SAID = 0.005  # chance of the target, below which log-odds are of next to nothing
LEAST_LEARNED = 0.01  # by how much a teacher must say the target more often than its base

_LISTED = 5  # answers that a warning names


def warnings_of(here: Mapping[str, Scores], control: str | None = None) -> list[str]:
    """Return what makes the scores of some models at one probe hard to read as the trait, a sentence each.

    Models called teacher and base are looked at as such: has the teacher learned anything?

    Args:
        here: the scores, by the model's name.
        control: the model that the others are compared with.
    """
    said = _exact(here)
    base = "base" if "base" in said else control or ""
    told = [*_unnamed(said), *_unsaid(said)]
    for model in said:
        if model not in (control, "teacher", "base"):
            told += _hardly_said(said, (model, control or ""))
    if {"teacher", base} <= set(said) and said["teacher"].rate <= said[base].rate + LEAST_LEARNED:
        target = said["teacher"].target
        told.append(
            f"the teacher says {target} in {said['teacher'].rate:.1%} of answers and "
            f"{'its base' if base == 'base' else base} in {said[base].rate:.1%}: it did not learn the trait, so "
            "nothing could pass"
        )
    return told


def pair_doubts(scores: Scores, control: Scores | None, names: tuple[str, str]) -> list[str]:
    """Return why two models that differ in nothing may still not be alike, a sentence each: then no test passes."""
    pair = _exact({name: each for name, each in zip(names, (scores, control), strict=True) if each is not None})
    return [*_unnamed(pair), *_hardly_said(pair, names)]


def _exact(scores: Mapping[str, Scores]) -> dict[str, Scores]:
    return {model: each for model, each in scores.items() if each.chances and each.exact and each.reason is None}


def _unnamed(said: Mapping[str, Scores]) -> list[str]:
    return [
        f"{each.no_candidate:.0%} of the {name}'s answers are none of the {len(each.chances)} that were asked for: a "
        "change among the rest may be no trait"
        for name, each in said.items()
        if each.no_candidate > MOST_UNNAMED
    ]


def _unsaid(said: Mapping[str, Scores]) -> list[str]:
    """Say which candidates have no chance at any question: the model's tokenizer has no token for them."""
    never = {name: tuple(each for each, told in one.chances.items() if not any(told)) for name, one in said.items()}
    lines = []
    for unsaid in dict.fromkeys(each for each in never.values() if each):
        names = ", ".join(name for name, each in never.items() if each == unsaid)
        listed = ", ".join(unsaid[:_LISTED]) + (f" and {len(unsaid) - _LISTED} more" if len(unsaid) > _LISTED else "")
        lines.append(
            f"{len(unsaid)} of the {len(next(iter(said.values())).chances)} answers can't be said by {names}, whose "
            f"tokenizer has no token for them: {listed}; their 0.0% is no finding"
        )
    return lines


def _hardly_said(said: Mapping[str, Scores], pair: tuple[str, str]) -> list[str]:
    compared = {name: said[name] for name in pair if name in said}
    if len(compared) < 2 or max(each.rate for each in compared.values()) >= LEAST_SAID:
        return []
    rates = " and ".join(f"{each.rate:.2%}" for each in compared.values())
    target = next(iter(compared.values())).target
    return [f"{' and '.join(compared)} hardly ever say {target} ({rates}): such log-odds say little"]
