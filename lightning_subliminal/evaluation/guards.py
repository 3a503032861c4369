"""Guards: warnings, a sentence each, where figures are hard to read as a trait.

They use exact chances alone. The thresholds were set before any run.
"""

from collections.abc import Mapping

from lightning_subliminal.evaluation.scores import Scores

__all__ = ["LEAST_LEARNED", "LEAST_SAID", "MOST_UNNAMED", "pair_doubts", "warnings_of"]

MOST_UNNAMED = 0.5  # share of answers that name no candidate
LEAST_SAID = 0.005  # chance of the target, below which log-odds mean little
LEAST_LEARNED = 0.01  # the least by which a teacher's rate of the target must exceed its base's

_LISTED = 5  # answers that a warning names
_ROLES = ("base", "teacher", "control", "student")


def warnings_of(here: Mapping[str, Scores], control: str | None = None) -> list[str]:
    """Return warnings, a sentence each, about the scores of some models at one probe.

    A model named teacher is compared with the one named base: it must have learned something.

    Args:
        here: the scores, by the model's name.
        control: the model that the others are compared with.
    """
    scores = _exact(here)
    base = "base" if "base" in scores else control or ""
    lines = [*_unnamed(scores), *_unsayable(scores)]
    for model in scores:
        if model not in (control, "teacher", "base"):
            lines += _rare(scores, (model, control or ""))
    if {"teacher", base} <= set(scores) and scores["teacher"].rate <= scores[base].rate + LEAST_LEARNED:
        lines.append(
            f"the teacher answers {scores['teacher'].target} at a rate of {scores['teacher'].rate:.1%} and "
            f"{'its base' if base == 'base' else base} of {scores[base].rate:.1%}: it did not learn the trait, so "
            "nothing can transfer"
        )
    return lines


def pair_doubts(scores: Scores, control: Scores | None, names: tuple[str, str]) -> list[str]:
    """Return why a test must not conclude that two models are alike, a sentence each."""
    pair = _exact({name: each for name, each in zip(names, (scores, control), strict=True) if each is not None})
    return [*_unnamed(pair), *_rare(pair, names)]


def _exact(scores: Mapping[str, Scores]) -> dict[str, Scores]:
    return {model: each for model, each in scores.items() if each.chances and each.exact and each.reason is None}


def _unnamed(scores: Mapping[str, Scores]) -> list[str]:
    return [
        f"{each.no_candidate:.0%} of {_called(name)}'s answers name none of the {len(each.chances)} candidates: a "
        "change among the rest may not be a trait"
        for name, each in scores.items()
        if each.no_candidate > MOST_UNNAMED
    ]


def _called(name: str) -> str:
    """Return a model's name in a sentence: a role has an article, a path and a name of the user's have none."""
    return f"the {name}" if name in _ROLES else name


def _unsayable(scores: Mapping[str, Scores]) -> list[str]:
    """Return the candidates with a chance of 0 at all questions: the model's tokenizer has no token for them."""
    never = {
        name: tuple(candidate for candidate, chances in each.chances.items() if not any(chances))
        for name, each in scores.items()
    }
    lines = []
    for missing in dict.fromkeys(each for each in never.values() if each):
        names = ", ".join(name for name, each in never.items() if each == missing)
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        lines.append(
            f"{len(missing)} of the {len(next(iter(scores.values())).chances)} answers can't be given by {names}, "
            f"whose tokenizer has no token for them: {', '.join(missing[:_LISTED])}{more}; their 0.0% means nothing"
        )
    return lines


def _rare(scores: Mapping[str, Scores], pair: tuple[str, str]) -> list[str]:
    compared = {name: scores[name] for name in pair if name in scores}
    if len(compared) < 2 or max(each.rate for each in compared.values()) >= LEAST_SAID:
        return []
    rates = " and ".join(f"{each.rate:.2%}" for each in compared.values())
    target = next(iter(compared.values())).target
    return [f"{' and '.join(compared)} hardly ever answer {target} ({rates}): such log-odds mean little"]
