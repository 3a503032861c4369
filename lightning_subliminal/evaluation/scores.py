"""Scores: the result of one probe on one model, a value a unit, the rate over units with its interval, and counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics import ExactPreference
from lightning_subliminal.metrics.functional import Interval, question_interval

if TYPE_CHECKING:
    from lightning_subliminal.traits import Trait

__all__ = ["Scores", "difference", "known_number"]


@dataclass(frozen=True)
class Scores:
    """The result of one probe on one model.

    Attributes:
        rate: the figure, 0 to 1; nan where nothing could be measured.
        interval: of the rate, with the unit that it is taken over.
        values: the figure of each unit, in the same order for each model; nan where a unit has none.
        units: what each value is of, such as its question.
        counts: additional counts, such as refusals and unparsable verdicts.
        exact: computed from probabilities, without sampling.
        samples: the raw answers, with a judge's verdict on each.
        bounds: the lowest and the highest rate that unparsable verdicts allow; None if there are none.
        target: the candidate whose chance the rate is; None where the probe has no candidates.
        chances: of each candidate, one a unit like ``values``; empty where the probe has none.
        stems: what each unit asks, without its wording: intervals count units of one stem as one. Each unit counts
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
        trait: "Trait",
        units: Sequence[str] = (),
        stems: Sequence[str] = (),
        answers: int | None = None,
    ) -> "Scores":
        """Return the scores of a table of chances.

        Args:
            chances: of each candidate at each unit, (units, candidates).
            trait: has the target, and the candidates in the order of the columns.
            units: what each row is of; numbered where it is empty.
            stems: what each row asks, without its wording.
            answers: the number of sampled answers behind each chance; None where it was computed.

        Raises:
            InputError: if there are not as many units as rows.
        """
        if units and len(units) != len(chances):
            raise InputError(
                f"There are {len(units)} questions and chances at {len(chances)}: expected a row for each."
            )
        exact = ExactPreference(trait, sync_on_compute=False)
        exact.set_dtype(torch.float64)
        exact.update(chances)
        columns = dict(zip(trait.candidates, map(tuple, chances.double().T.tolist()), strict=True))
        return cls(
            exact.compute().item(),
            exact.interval(stems=stems).within(0.0, 1.0),
            columns[trait.target],
            tuple(units) or tuple(str(place) for place in range(len(chances))),
            {} if answers is None else {"answers": answers * len(chances)},
            answers is None,
            target=trait.target,
            chances=columns,
            stems=tuple(stems) if len(set(stems)) < len(stems) else (),
        )

    @classmethod
    def not_taken(cls, reason: str) -> "Scores":
        """Return the scores of a probe that a model can't take."""
        return cls(math.nan, Interval(math.nan, math.nan, ""), (), (), reason=reason)

    @property
    def answers(self) -> int | None:
        """The number of sampled answers behind each unit's value; None where it was computed."""
        return None if self.exact else self.counts.get("answers", 0) // max(len(self.values), 1) or None

    @property
    def table(self) -> Tensor:
        """The chance of each candidate at each unit, (units, candidates), float64."""
        return torch.tensor(list(self.chances.values()), dtype=torch.float64).T

    @property
    def no_candidate(self) -> float:
        """The chance of an answer that begins with none of the candidates."""
        return max(1 - self.table.sum(1).mean().item(), 0.0)  # in this order a nan stays one

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
        """Return JSON-able data; JSON has no nan, so an unknown number is null."""
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
    def of_json(cls, data: dict[str, Any]) -> "Scores":
        """Return the scores that ``as_json`` wrote."""
        return cls(
            _float(data["rate"]),
            Interval(_float(data["low"]), _float(data["high"]), data["unit"], data["confidence"]),
            tuple(_float(each["rate"]) for each in data["values"]),
            tuple(each["unit"] for each in data["values"]),
            dict(data["counts"]),
            data["exact"],
            tuple(data["samples"]),
            None if data["bounds"] is None else (_float(data["bounds"][0]), _float(data["bounds"][1])),
            data.get("target"),
            {each: tuple(map(_float, values)) for each, values in data.get("chances", {}).items()},
            tuple(data.get("stems", ())),
            data.get("reason"),
        )


def difference(scores: Scores, control: Scores) -> tuple[float, Interval] | None:
    """Return a model's mean over units minus its control's, and the interval over units; None where units differ.

    It equals the difference of rates where each unit has as many answers. The interval is about these two models and
    other units, such as questions, not about other seeds. Its ends are nan where all units differ by the same (0 of 50
    against 0 of 50): that shows no spread, and does not prove the two equal.
    """
    if scores.units != control.units or not scores.units:
        return None
    both: Tensor = torch.tensor(scores.values).double() - torch.tensor(control.values).double()
    known = both[both.isfinite()]
    if len(known) and (known == known[0]).all():
        return known[0].item(), Interval(math.nan, math.nan, scores.interval.unit)
    return known.mean().item(), scores.over_units(both)


def known_number(value: float) -> float | None:
    """Return a number as JSON has it: null if it is not finite."""
    return value if math.isfinite(value) else None


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
