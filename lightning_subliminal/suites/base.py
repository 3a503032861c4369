"""What a measurement of a model's behaviour is, and what it gives."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_subliminal.metrics.functional import Interval, question_interval

if TYPE_CHECKING:
    from lightning_subliminal.suites.subject import Subject

__all__ = ["Measure", "Outcome", "difference"]


@dataclass(frozen=True)
class Outcome:
    """What one measure says of one model.

    Attributes:
        rate: the figure, 0 to 1; nan where nothing could be measured.
        interval: of it, with the unit that it is taken over.
        values: the figure of each unit, in an order that is the same for each model; nan where one has none.
        units: what each value stands for, such as its question.
        counts: what stands beside the rate, such as refusals and replies of a judge that can't be read.
        exact: computed from probabilities, without sampling.
        samples: the answers as they came, with what a judge said of each.
        bounds: the lowest and the highest rate that verdicts which can't be parsed leave open; None if there are none.
        target: what the rate is the chance of, among ``chances``; None where the measure has no candidates.
        chances: of each candidate, one a unit as ``values`` are; empty where the measure has none.
        stems: what each unit asks, without its wording: intervals count units of one stem as one. Each is its own
            where it is empty.
        reason: why the model can't take the measure; then there is no figure. None where it was measured.
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
    def not_taken(cls, reason: str) -> "Outcome":
        """Return what stands for a measure that a model can't take."""
        return cls(math.nan, Interval(math.nan, math.nan, ""), (), (), reason=reason)

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON-able data; JSON has no nan, so what is not known is null."""
        return {
            "rate": _number(self.rate),
            "low": _number(self.interval.low),
            "high": _number(self.interval.high),
            "unit": self.interval.unit,
            "confidence": self.interval.confidence,
            "exact": self.exact,
            "counts": self.counts,
            "values": [
                {"unit": unit, "rate": _number(value)} for unit, value in zip(self.units, self.values, strict=True)
            ],
            "samples": list(self.samples),
            "bounds": None if self.bounds is None else [_number(each) for each in self.bounds],
            "target": self.target,
            "chances": {each: [_number(value) for value in values] for each, values in self.chances.items()},
            "stems": list(self.stems),
        } | ({} if self.reason is None else {"reason": self.reason})

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> "Outcome":
        """Read what ``as_json`` gave."""
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

    def over_units(self, values: Tensor) -> Interval:
        """Return the interval of the mean of one value a unit, (units,), units of one stem counted as one."""
        known = values.isfinite()
        stems = [stem for stem, there in zip(self.stems, known.tolist(), strict=True) if there] if self.stems else []
        found = question_interval(values[known], stems)
        return found if found.unit != "questions" else replace(found, unit=self.interval.unit)


class Measure(ABC):
    """Measures one behaviour of a model. Override ``measure``; set ``name`` in __init__.

    Keep each constructor argument under its own name: they are part of the digest that results are kept by.

    Attributes:
        name: what tables call it.
        version: of its code: raise it when the same settings would give another figure.
    """

    name: str
    version = 1

    @abstractmethod
    def measure(self, subject: "Subject", seed: int) -> Outcome:
        """Measure a model.

        Args:
            subject: the model, loaded.
            seed: moves whatever is sampled; the same one for each model, so that they are asked alike.

        Raises:
            InputError: if the model can't take it, such as one without a word of its questions; the model's other
                measures go on, and the reason stands in the results.
        """


def difference(outcome: Outcome, control: Outcome) -> tuple[float, Interval] | None:
    """Give how far a model is above its control, and the interval over the units that both were measured on.

    Both are of the mean over units, which is the difference of rates where each unit was answered as often. It speaks
    about these two models and other units, such as questions; it says nothing about other seeds. The ends are nan where
    all units differ by as much (0 of 50 against 0 of 50): that shows no spread, and proves nothing equal. None where
    units differ.
    """
    if outcome.units != control.units or not outcome.units:
        return None
    both: Tensor = torch.tensor(outcome.values).double() - torch.tensor(control.values).double()
    known = both[both.isfinite()]
    if len(known) and (known == known[0]).all():
        return known[0].item(), Interval(math.nan, math.nan, outcome.interval.unit)
    return known.mean().item(), outcome.over_units(both)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
