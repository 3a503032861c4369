"""What the metrics of this package share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torchmetrics import Metric

if TYPE_CHECKING:
    from torchmetrics.utilities.plot import _AX_TYPE, _PLOT_OUT_TYPE

__all__ = ["PlottedMetric", "Share"]


class PlottedMetric(Metric):
    """A metric of sums over units, whose value can be plotted."""

    is_differentiable = False
    full_state_update = False  # so that two of them can merge_state

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: "_AX_TYPE | None" = None) -> "_PLOT_OUT_TYPE":
        """Plot values, as each metric of torchmetrics does.

        Args:
            val: one value, or several as a curve; what ``compute`` returns where it is None.
            ax: of matplotlib, to draw on; a new figure where it is None.

        Returns:
            Figure and axes.
        """
        return self._plot(val, ax)


class Share(PlottedMetric):
    """A metric from 0 to 1."""

    plot_lower_bound: float | None = 0.0
    plot_upper_bound: float | None = 1.0
