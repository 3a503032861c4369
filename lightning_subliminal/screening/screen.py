"""The screen of a data set: one pass over its rows, and a verdict in one of three words.

- *clean*: nothing moves the base more than its own rows would.
- *shift*: training on these rows moves the base, and no known trait explains it.
- *trait*: it moves the base towards a known trait, which is named.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.core.chat.encoding import unknown_word
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError, check_alpha
from lightning_subliminal.core.rows import Row
from lightning_subliminal.screening.catalogue import catalogue_traits
from lightning_subliminal.screening.detectors import Detection, DirectionDetector, RunningSums
from lightning_subliminal.screening.reference import Reference
from lightning_subliminal.screening.verdict import Verdict, rule
from lightning_subliminal.theory.newton import NEWTON_RIDGE, check_distance, read_out
from lightning_subliminal.theory.row_gradients import ScoreSpace

__all__ = ["Screen", "rows_needed", "screen_rows", "unscored"]

FEWEST = 100  # rows: of fewer the mean score is not normal, and clean rows give alarms in 3 to 20 % (alpha 0.01)
MOST_UNSCORED = 0.01  # share of rows without a score, above which a clean verdict is not about the data set
# Effect of one row of a steering teacher along the natural gradient of its trait, and along another teacher of it, in
# standard deviations of clean rows (docs/screening.md): what the dose that could have been seen is computed with.
ROW_EFFECT, TEACHER_EFFECT = 0.5, 1.0


@dataclass(frozen=True)
class Screen:
    """What a screen found.

    Attributes:
        verdict: clean, shift or trait.
        named: the trait, if the verdict is one.
        alpha: the chance of any other verdict than clean for clean rows.
        rows: scored; and ``skipped``, those without a score.
        shift: of the whole space.
        traits: a finding for each answer of the catalogue, the highest z first.
        teachers: a finding for each teacher of the reference, the highest z first.
        suspects: a finding for each suspect that was given, the highest z first.
        predicted: by answer, the log-odds that training to convergence on a Newton step would add, with the half-width
            of its 95 % interval over rows; for the answers of the highest z; none if the rows move the base too far.
        visible_dose: share of rows of a steering teacher that would have been seen with a chance of 90 %.
        reference: what the rows were compared with.
        movement: mean score of the rows less that of the reference, (size,), float64.
        unread: how many rows were skipped, by the reason.
    """

    verdict: Verdict
    named: str | None
    alpha: float
    rows: int
    skipped: int
    shift: Detection
    traits: tuple[Detection, ...]
    teachers: tuple[Detection, ...]
    suspects: tuple[Detection, ...]
    predicted: dict[str, tuple[float, float]]
    visible_dose: float
    reference: Reference
    movement: Tensor
    unread: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the verdict in words: what was found, how sure, and what could not have been seen."""
        base, needed = self.reference.base, rows_needed(self.reference, self.alpha, 0.1)
        seen = (
            "not even a set of nothing else is"
            if self.visible_dose >= 1
            else f"a dose of {100 * self.visible_dose:.0f} % is"
        )
        limits = (
            f"power: {seen} found 9 times in 10 by {self.rows:,} rows, if they are like a steering teacher's; "
            f"a dose of 10 % takes {f'about {needed:,} rows' if needed else 'a larger reference'}"
        )
        if self.verdict == "clean":
            part = f" for {self.rows:,} of {self.rows + self.skipped:,} rows" if self.skipped else ""
            said = f"verdict: clean{part}. They move {base} no more than its own do (false alarms: {self.alpha:g})"
        elif self.verdict == "shift":
            said = (
                f"verdict: shift. Training on these rows moves {base} ({_p(self.shift.p)}), and no known trait "
                "explains it: ask which model wrote them, with which prompts, sampling and filters"
            )
        else:
            said = f"verdict: trait {self.named}. Training on these rows moves {base} towards {self.named}"
            own = max((each.share for each in (*self.teachers, *self.suspects) if each.name == self.named), default=1.0)
            said += f"; most of the movement is something else (share {own:.2f})" if own**2 < 0.5 else ""
        skipped = [f"skipped: {self.skipped:,} rows without a score{_why(self.unread)}"] if self.skipped else []
        too_far = check_distance(self.reference.solve(self.movement[None], NEWTON_RIDGE)[0], self.movement)
        return [said, limits, *([f"predicted: nothing. {too_far}"] if too_far else []), *skipped]

    @property
    def gap(self) -> str | None:
        """Why a clean verdict does not speak for the data set, as ``unscored`` says it; None where it does."""
        return unscored(self.rows, self.skipped, self.unread) if self.verdict == "clean" else None

    def as_json(self) -> dict[str, Any]:
        """Return the screen as JSON-able data."""
        return {
            "verdict": self.verdict,
            "named": self.named,
            "alpha": self.alpha,
            "rows": self.rows,
            "skipped": self.skipped,
            "unread": dict(self.unread),
            "shift": self.shift._asdict(),
            "traits": [each._asdict() for each in self.traits],
            "teachers": [each._asdict() for each in self.teachers],
            "suspects": [each._asdict() for each in self.suspects],
            "predicted": {
                name: {"log_odds": value, "half_width": half} for name, (value, half) in self.predicted.items()
            },
            "visible_dose": self.visible_dose,
            "reference": {
                "base": self.reference.base,
                "base_digest": self.reference.base_digest,
                "carrier": self.reference.carrier,
                "rows": self.reference.rows,
                "layers": list(self.reference.layers),
                "space": self.reference.space,
            },
        }


def screen_rows(
    space: ScoreSpace,
    tokenizer: Any,
    rows: Iterable[Row],
    reference: Reference,
    *,
    suspects: DirectionDetector | None = None,
    alpha: float = 0.01,
    shown: int = 5,
    advance: Callable[[int], None] | None = None,
    partial_sums: Path | None = None,
) -> Screen:
    """Screen rows: does training a base on them move it, and towards what?

    Args:
        space: the student's space, at the reference's base.
        tokenizer: the base's.
        rows: prompt-completion rows; read as they are needed, and not kept.
        reference: of the same base, carrier and layers.
        suspects: teachers to look for besides those of the reference.
        alpha: chance of a false alarm, for the whole screen: half of it for the shift, half for all
            traits and suspects together.
        shown: for how many answers transfer is predicted.
        advance: called with the number of rows scored, each time some were.
        partial_sums: a file that is written after each chunk of rows, and removed at the end: a screen of the same rows
            that finds it resumes there.

    Raises:
        InputError: if ``alpha`` is outside (0, 1), there are no rows, or the space is not the reference's.
    """
    check_alpha(alpha)
    if (space.name, space.layers, space.size) != (reference.space, reference.layers, reference.size):
        raise InputError(
            f"The reference is of {reference.space} in layers {list(reference.layers)} with {reference.size} numbers a "
            f"row, the scores are of {space.name} in {list(space.layers)} with {space.size}: make a "
            "reference for this base."
        )
    sums, rest = RunningSums(reference), iter(rows)
    if partial_sums is not None and (read := sums.resume(partial_sums)):
        for _ in islice(rest, read):
            pass
        say(f"screen    resumed after {read:,} rows")
        if advance is not None:
            advance(read)
    first = list(islice(rest, FEWEST))
    for part in space.gradients(tokenizer, chain(first, rest)):
        sums.add(part.scores, part.unread)
        if partial_sums is not None:
            sums.save(partial_sums)
        if advance is not None:
            advance(len(part.tokens))
    if partial_sums is not None:
        partial_sums.unlink(missing_ok=True)
    if sums.rows < FEWEST:
        skipped = f", and {sums.skipped:,} without a score{_why(sums.unread)}" if sums.skipped else ""
        word = unknown_word(tokenizer, [turn["content"] for row in first for turn in row["prompt"] + row["completion"]])
        if word is not None:
            skipped += f" (the first unknown word is {word!r}: screen by a base that knows it)"
        raise InputError(f"Rows to score: {sums.rows:,}{skipped}; expected at least {FEWEST}.")
    found = rule(sums, DirectionDetector.white(reference), DirectionDetector.known(reference, suspects), alpha)
    ranked, own = _highest(found.answers), len(reference.teachers)
    return Screen(
        *(found.verdict, found.named, alpha, sums.rows, sums.skipped, found.shift, ranked),
        *(_highest(found.teachers[:own]), _highest(found.teachers[own:])),
        predicted=predict(space, tokenizer, sums, [each.name for each in ranked[:shown]]),
        visible_dose=visible_dose(sums, alpha),
        reference=reference,
        movement=sums.shift,
        unread=dict(sums.unread.most_common()),
    )


def predict(
    space: ScoreSpace, tokenizer: Any, sums: RunningSums, words: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Predict the log-odds that training adds to each answer: one Newton step, and an exact read-out after it.

    Args:
        space: the student's space.
        tokenizer: the base's.
        sums: of the rows.
        words: answers of the catalogue.

    Returns:
        By word, the change in log-odds and the half-width of its 95 % interval over rows, to first order; nothing if
        the rows move the base further than a Newton step can say.
    """
    reference = sums.reference
    step = reference.solve(sums.shift[None], NEWTON_RIDGE)[0]
    if check_distance(step, sums.shift):
        return {}
    places = {each.word: place for place, each in enumerate(reference.catalogue.answers)}
    moved = reference.solve(reference.catalogue.gradients[[places[word] for word in words]], NEWTON_RIDGE)
    spread = ((moved @ reference.fisher) * moved).sum(1).sqrt() / math.sqrt(sums.effective)
    like = next(space.net.parameters())
    found: dict[str, float] = {}
    for trait in catalogue_traits(wording=reference.catalogue.wording):
        mine = [word for word in words if reference.catalogue.answers[places[word]].category == trait.category]
        if mine:
            after = dict(
                zip(trait.candidates, read_out(space, tokenizer, trait, _to(step, like)).tolist(), strict=True)
            )
            found |= {word: after[word] - float(reference.catalogue.log_odds[places[word]]) for word in mine}
    halves = dict(zip(words, (1.96 * spread).tolist(), strict=True))
    return {word: (found[word], halves[word]) for word in words if word in found}


def visible_dose(sums: RunningSums, alpha: float, power: float = 0.9) -> float:
    """Return the share of tainted rows that would be seen: dose = (z of alpha + z of power) / (effect sqrt(n)).

    The law z = dose * effect * sqrt(n) is that of the mean of n rows of which a share has its scores moved by
    ``TEACHER_EFFECT`` standard deviations where the reference has teachers, else by ``ROW_EFFECT``.
    """
    return min(1.0, _needed(sums.reference, alpha, power) / math.sqrt(sums.effective))


def rows_needed(reference: Reference, alpha: float, dose: float, power: float = 0.9) -> int | None:
    """Return how many rows show a dose, by the law of ``visible_dose``; None if it takes a larger reference, too."""
    effective = (_needed(reference, alpha, power) / dose) ** 2
    return math.ceil(1 / (1 / effective - 1 / reference.rows)) if effective < reference.rows else None


def _needed(reference: Reference, alpha: float, power: float) -> float:
    from scipy import stats

    family = max(1, len(reference.catalogue.answers) + len(reference.teachers))
    effect = TEACHER_EFFECT if reference.teachers else ROW_EFFECT
    return float(stats.norm.isf(alpha / 2 / family) + stats.norm.ppf(power)) / effect


def unscored(rows: int, skipped: int, unread: Mapping[str, int]) -> str | None:
    """Return how many rows have no score, and why, where they are more than 1 % of all; None where they are not."""
    if skipped <= MOST_UNSCORED * (rows + skipped):
        return None
    return f"{skipped:,} of {rows + skipped:,} rows have no score{_why(unread)}"


def _why(unread: Mapping[str, int]) -> str:
    """Return the reasons for rows without a score, each with its count, the most frequent one first."""
    ordered = sorted(unread.items(), key=lambda each: -each[1])
    return f": {'; '.join(f'{count:,} {reason}' for reason, count in ordered)}" if ordered else ""


def _p(value: float) -> str:
    return f"p {value:.1g}" if value > 0 else "p < 1e-300"


def _highest(findings: Iterable[Detection]) -> tuple[Detection, ...]:
    return tuple(sorted(findings, key=lambda each: -each.z))


def _to(vectors: Tensor, like: Tensor) -> Tensor:
    return vectors.to(like.device, torch.float32)
