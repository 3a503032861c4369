"""Base classes of the metrics."""

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_subliminal.metrics.functional.intervals import Interval, question_interval

if TYPE_CHECKING:
    from torchmetrics.utilities.plot import _AX_TYPE, _PLOT_OUT_TYPE

__all__ = ["PlottedMetric", "Share", "UnitMean"]

_SERIAL = itertools.count()


class PlottedMetric(Metric):
    """A metric of sums or lists over units, whose value can be plotted.

    Methods other than ``compute`` that read the metric reduce over processes, too: each process must call them.
    """

    is_differentiable = False
    full_state_update = False  # so that two of them can merge_state

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # A MetricCollection updates one of several metrics whose states are equal after the first batch, as the counts
        # of two traits may be. So each metric has a state of its own: two numbers below 1,000, which are compared with
        # a relative tolerance.
        self.add_state("serial", torch.tensor(divmod(next(_SERIAL) % 10**6, 1000)), dist_reduce_fx="max")

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: "_AX_TYPE | None" = None) -> "_PLOT_OUT_TYPE":
        """Plot values, as each metric of torchmetrics does.

        Args:
            val: one value, or several as a curve; the result of ``compute`` where it is None.
            ax: axes of matplotlib; a new figure where it is None.

        Returns:
            Figure and axes.
        """
        return self._plot(val, ax)

    def _reduced(self, state: str) -> Any:
        """Return a state reduced over all processes."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            return getattr(self, state)


class UnitMean(PlottedMetric):
    """Mean over units, such as questions, of a row of values each.

    It keeps all values in its ``dtype`` (``set_dtype(torch.float64)`` keeps every digit), so its intervals are those of
    ``metrics.functional``.

    Args:
        unit: what a row is of.
        columns: values of a row.
        target: the column that ``compute`` averages.
        **kwargs: passed to torchmetrics' Metric.
    """

    values: list[Tensor]

    def __init__(self, unit: str, columns: int = 1, target: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unit = unit
        self.columns = columns
        self.target = target
        self.add_state("values", [], dist_reduce_fx="cat")  # flat, as torchmetrics fills in for a process without data

    def compute(self) -> Tensor:
        """Return the mean over units; nan where there are none."""
        return self._rows(self.values)[:, self.target].mean()

    def by_unit(self) -> Tensor:
        """Return the values of each unit, (units, columns). Each process must call it."""
        return self._rows(self._reduced("values")).cpu()

    def interval(self, confidence: float = 0.95, stems: Sequence[Hashable] = ()) -> Interval:
        """Return the t interval of ``compute`` over units. Each process must call it.

        Args:
            confidence: the share of such intervals that hold the true mean.
            stems: the question that each unit asks, without its wording: units of one stem count as one. Each unit
                counts where it is empty.
        """
        found = question_interval(self.by_unit()[:, self.target], stems, confidence)
        return replace(found, unit=self.unit) if found.unit == "questions" else found

    def _add(self, values: Tensor) -> None:
        self.values.append(values.detach().to(self.device, self.dtype).flatten())

    def _rows(self, values: list[Tensor] | Tensor) -> Tensor:
        flat = dim_zero_cat(values) if len(values) else torch.zeros(0, device=self.device, dtype=self.dtype)
        return flat.reshape(-1, self.columns)


class Share(PlottedMetric):
    """A metric from 0 to 1."""

    plot_lower_bound: float | None = 0.0
    plot_upper_bound: float | None = 1.0
