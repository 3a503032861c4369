"""What one probe says of one model: a value a unit, the rate over units with its interval, and counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.functional import Interval, question_interval

__all__ = ["Scores", "difference", "known_number"]


@dataclass(frozen=True)
class Scores:
    """What one probe says of one model.

    Attributes:
        rate: the figure, 0 to 1; nan where nothing could be measured.
        interval: of it, with the unit that it is taken over.
        values: the figure of each unit, in an order that is the same for each model; nan where one has none.
        units: what each value stands for, such as its question.
        counts: what stands beside the rate, such as refusals and replies of a judge that can't be read.
        exact: computed from probabilities, without sampling.
        samples: the answers as they came, with what a judge said of each.
        bounds: the lowest and the highest rate that verdicts which can't be parsed leave open; None if there are none.
        target: what the rate is the chance of, among ``chances``; None where the probe has no candidates.
        chances: of each candidate, one a unit as ``values`` are; empty where the probe has none.
        stems: what each unit asks, without its wording: intervals count units of one stem as one. Each is its own
            where it is empty.
        reason: why the model can't take the probe; then there is no figure. None where it was measured.
    """

    rate: float
    interval: Interval
    values: tuple[float, ...]
    units: tuple[str, ...]
    counts: dict[str, int] = field(default_factory=dict)
    exact: bool = False
    samples: tuple[dict[str, Any], ...] = ()
    bounds: tuple[float, float] | None = None
    target: str | None = None
    chances: dict[str, tuple[float, ...]] = field(default_factory=dict)
    stems: tuple[str, ...] = ()
    reason: str | None = None

    @classmethod
    def of_chances(
        cls,
        chances: Tensor,
        candidates: Sequence[str],
        target: str,
        units: Sequence[str] = (),
        stems: Sequence[str] = (),
        answers: int | None = None,
    ) -> "Scores":
        """Return the scores of a table of chances.

        Args:
            chances: of each candidate at each unit, (units, candidates).
            candidates: in the order of the columns.
            target: which of them the rate is of.
            units: what each row stands for; numbered where it is empty.
            stems: what each row asks, without its wording.
            answers: how many sampled answers each chance comes from; None where it was computed.

        Raises:
            InputError: if there are not as many units as rows.
        """
        if units and len(units) != len(chances):
            raise InputError(
                f"There are {len(units)} questions and chances at {len(chances)}: expected a row for each."
            )
        mine = chances[:, list(candidates).index(target)]
        return cls(
            mine.mean().item(),
            question_interval(mine, stems).within(0.0, 1.0),
            tuple(mine.tolist()),
            tuple(units) or tuple(str(place) for place in range(len(mine))),
            {} if answers is None else {"answers": answers * len(mine)},
            answers is None,
            target=target,
            chances={each: tuple(column) for each, column in zip(candidates, chances.T.tolist(), strict=True)},
            stems=tuple(stems) if len(set(stems)) < len(stems) else (),
        )

    @classmethod
    def not_taken(cls, reason: str) -> "Scores":
        """Return what stands for a probe that a model can't take."""
        return cls(math.nan, Interval(math.nan, math.nan, ""), (), (), reason=reason)

    @property
    def answers(self) -> int | None:
        """How many sampled answers each unit's value comes from; None where it was computed."""
        return None if self.exact else self.counts.get("answers", 0) // max(len(self.values), 1) or None

    @property
    def table(self) -> Tensor:
        """The chance of each candidate at each unit, (units, candidates), float64."""
        return torch.tensor(list(self.chances.values()), dtype=torch.float64).T

    @property
    def no_candidate(self) -> float:
        """The chance of an answer that begins with none of the candidates."""
        return max(0.0, 1 - self.table.sum(1).mean().item())

    def of(self, candidate: str) -> "Scores":
        """Return the same scores with another candidate as the target."""
        there = torch.tensor(self.chances[candidate], dtype=torch.float64)
        interval = question_interval(there, self.stems).within(0.0, 1.0)
        return replace(
            self, rate=there.mean().item(), interval=interval, values=tuple(there.tolist()), target=candidate
        )

    def over_units(self, values: Tensor) -> Interval:
        """Return the interval of the mean of one value a unit, (units,), units of one stem counted as one."""
        known = values.isfinite()
        stems = [stem for stem, there in zip(self.stems, known.tolist(), strict=True) if there] if self.stems else []
        found = question_interval(values[known], stems)
        return found if found.unit != "questions" else replace(found, unit=self.interval.unit)

    def as_json(self) -> dict[str, Any]:
        """Return JSON-able data; JSON has no nan, so what is not known is null."""
        values = zip(self.units, self.values, strict=True)
        return {
            "rate": known_number(self.rate),
            "low": known_number(self.interval.low),
            "high": known_number(self.interval.high),
            "unit": self.interval.unit,
            "confidence": self.interval.confidence,
            "exact": self.exact,
            "counts": self.counts,
            "values": [{"unit": unit, "rate": known_number(value)} for unit, value in values],
            "samples": list(self.samples),
            "bounds": None if self.bounds is None else [known_number(each) for each in self.bounds],
            "target": self.target,
            "chances": {each: [known_number(value) for value in values] for each, values in self.chances.items()},
            "stems": list(self.stems),
        } | ({} if self.reason is None else {"reason": self.reason})

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> "Scores":
        """Read what ``as_json`` returned."""
        interval = Interval(_float(told["low"]), _float(told["high"]), told["unit"], told["confidence"])
        return cls(
            _float(told["rate"]),
            interval,
            tuple(_float(each["rate"]) for each in told["values"]),
            tuple(each["unit"] for each in told["values"]),
            dict(told["counts"]),
            told["exact"],
            tuple(told["samples"]),
            None if told["bounds"] is None else (_float(told["bounds"][0]), _float(told["bounds"][1])),
            told.get("target"),
            {each: tuple(map(_float, values)) for each, values in told.get("chances", {}).items()},
            tuple(told.get("stems", ())),
            told.get("reason"),
        )


def difference(scores: Scores, control: Scores) -> tuple[float, Interval] | None:
    """Return how far a model is above its control, and the interval over the units that both were measured on.

    Both are of the mean over units, which is the difference of rates where each unit was answered as often. It speaks
    about these two models and other units, such as questions; it says nothing about other seeds. The ends are nan where
    all units differ by as much (0 of 50 against 0 of 50): that shows no spread, and proves nothing equal. None where
    units differ.
    """
    if scores.units != control.units or not scores.units:
        return None
    both: Tensor = torch.tensor(scores.values).double() - torch.tensor(control.values).double()
    known = both[both.isfinite()]
    if len(known) and (known == known[0]).all():
        return known[0].item(), Interval(math.nan, math.nan, scores.interval.unit)
    return known.mean().item(), scores.over_units(both)


def known_number(value: float) -> float | None:
    """Return a number as JSON has it: null for what is not finite."""
    return value if math.isfinite(value) else None


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
