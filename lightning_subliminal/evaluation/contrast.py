"""Contrast: the difference of two models in log-odds, plain and targeted."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.evaluation.scores import Scores, known_number
from lightning_subliminal.metrics import Transfer
from lightning_subliminal.metrics.functional import Interval, Targeted, targeted_transfer, transfer, why_untargeted

__all__ = ["Contrast", "shown"]

_PAIRED = "the two were asked different questions, or for other answers"


@dataclass(frozen=True)
class Contrast:
    """The difference of two models at one probe: transfer.

    Attributes:
        scores: of the model.
        control: scores of the other model.
        by_unit: log-odds of the target, model less control, (units,), float64; None where the two can't be paired.
        targeted: the same less the mean change of the other candidates, with the target's rank; None where it does not
            exist.
        reason: why there is no targeted transfer; empty where there is one.
    """

    scores: Scores
    control: Scores
    by_unit: Tensor | None
    targeted: Targeted | None
    reason: str = ""

    @classmethod
    def of(cls, scores: Scores, control: Scores) -> "Contrast | None":
        """Return the contrast of two scores at one probe; None where the probe has no candidates."""
        if not scores.chances or not control.chances:
            return None
        if scores.units != control.units or list(scores.chances) != list(control.chances):
            return cls(scores, control, None, None, _PAIRED)
        pair = (scores.table, control.table)
        target, answers = list(scores.chances).index(str(scores.target)), scores.answers
        moved = Transfer("questions", answers, sync_on_compute=False)
        moved.set_dtype(torch.float64)
        moved.update(pair[0][:, target], pair[1][:, target])
        found = targeted_transfer(*pair, target, answers)
        reason = "" if found else why_untargeted(*pair, target, answers)
        return cls(scores, control, moved.by_unit()[:, 0], found, reason)

    @property
    def log_odds(self) -> float:
        """The mean over units; nan where the two can't be paired."""
        return math.nan if self.by_unit is None else self.by_unit.mean().item()

    @property
    def changes(self) -> dict[str, float]:
        """The mean change of each candidate; infinite or nan where a model can't say it."""
        change = transfer(self.scores.table, self.control.table, self.scores.answers)
        return dict(zip(self.scores.chances, change.mean(0).tolist(), strict=True))

    @property
    def off_target(self) -> float:
        """The mean change of the other candidates that both models can say; 0 without one."""
        known = [each for name, each in self.changes.items() if name != self.scores.target and math.isfinite(each)]
        return sum(known) / max(1, len(known))

    @property
    def interval(self) -> Interval:
        """The 95 % interval of ``log_odds`` over units, those of one stem counted as one."""
        return self._over(self.by_unit)

    def as_json(self) -> dict[str, Any]:
        """Return JSON-able data: ``transfer`` and ``targeted_transfer``, each with log-odds, interval and unit.

        The targeted one has the target's rank among the answers, or the reason why it does not exist.
        """
        plain = None if self.by_unit is None else self._figure(self.by_unit)
        found = self.targeted
        if found is None:
            empty: dict[str, Any] = dict.fromkeys(("log_odds", "low", "high", "rank", "of"))
            return {"transfer": plain, "targeted_transfer": empty | {"reason": self.reason}}
        left_out = [list(self.scores.chances)[place] for place in found.left_out]
        rank = {"rank": found.rank, "of": found.of, "off_target": found.off_target, "left_out": left_out}
        return {"transfer": plain, "targeted_transfer": self._figure(found.by_question) | rank}

    def line(self) -> str:
        """Return both as a line of text."""
        figures, found = self.as_json(), self.targeted
        if found is None:
            line = f"targeted transfer n/a, {self.reason}"
        else:
            place = "first" if found.rank == 1 else f"number {found.rank}"
            rank = f"{self.scores.target} is {place} of {found.of}"
            line = f"targeted transfer {shown(figures['targeted_transfer'])}, {rank}"
        return line + (f"; transfer {shown(figures['transfer'])}" if figures["transfer"] is not None else "")

    def _over(self, values: Tensor | None) -> Interval:
        if values is None or not bool(values.isfinite().all()):  # a chance of 0 has no odds
            return Interval(math.nan, math.nan, self.scores.interval.unit)
        return self.scores.over_units(values)

    def _figure(self, values: Tensor) -> dict[str, Any]:
        ends = self._over(values)
        figure = {"log_odds": values.mean().item(), "low": ends.low, "high": ends.high}
        return {key: known_number(each) for key, each in figure.items()} | {"unit": ends.unit}


def shown(figure: dict[str, Any]) -> str:
    """Return a figure of ``Contrast.as_json`` with its interval, as text."""
    low, high = figure["low"], figure["high"]
    if figure["log_odds"] is None:
        return "n/a, a chance of 0 has no odds"
    ends = "" if low is None else f" (95 % over {figure['unit']} {low:+.2f} to {high:+.2f})"
    return f"{figure['log_odds']:+.2f}{ends}"
