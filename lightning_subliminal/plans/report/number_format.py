"""Numbers as text: as many digits as the interval supports, and a true minus sign."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bounds", "chance", "ends", "estimate", "number", "signed", "targeted", "units"]


def number(value: float | None, decimals: int | None = None, signed: bool = True) -> str:
    """Return a number as text, by default with three significant digits; None is a dash."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    if value == 0:
        return "0" if decimals is None else f"{0:.{decimals}f}"
    if not 1e-5 <= abs(value) < 1e7:
        return f"{value:{'+' if signed else ''}.2e}".replace("-", "\N{MINUS SIGN}")
    if decimals is None:
        decimals = min(6, max(0, (2 if abs(value) >= 1 else 1) - math.floor(math.log10(abs(value)))))
    text = f"{abs(value):,.{decimals}f}"
    if not text.strip("0.,"):
        return text  # what rounds to 0 has no sign
    return ("\N{MINUS SIGN}" if value < 0 else "+" if signed else "") + text


def estimate(value: float | None, low: float | None = None, high: float | None = None, signed: bool = True) -> str:
    """Return a value with its interval, ``+1.23 [+1.10, +1.36]``: two significant digits of the half width."""
    if value is None:
        return number(None)
    if low is None or high is None:
        return number(value, signed=signed)
    half = abs(high - low) / 2
    decimals = min(6, max(0, 1 - math.floor(math.log10(half)))) if half > 0 else None
    middle, left, right = (number(each, decimals, signed) for each in (value, low, high))
    return f"{middle} [{left}, {right}]"


def signed(limits: Sequence[float] | None) -> bool:
    """Return whether a number is written with its sign: not one that can't be below 0, such as a probability."""
    return limits is None or limits[0] < 0


def targeted(figure: Mapping[str, Any] | None) -> str:
    """Return the targeted counterpart of a claim's figure with the target's rank, or why it is missing."""
    if figure is None:
        return ""
    if figure.get("value") is None:
        return f"targeted: n/a, {figure.get('reason') or 'not measured'}"
    rank = ""
    if figure.get("rank") is not None:
        of = f" of {figure['rank_of']:g}" if figure.get("rank_of") is not None else ""
        rank = f", rank {figure['rank']:.3g}{of}"
    return f"targeted {estimate(figure['value'], figure.get('low'), figure.get('high'))}{rank}"


def units(count: int | None, unit: str | None) -> str:
    """Return how many units a figure is over, such as ``5 targets`` or ``1 seed``."""
    if count is None:
        return unit or ""
    one = (unit or "").removesuffix("s")
    many = unit if not unit or " " in unit else f"{one}s"
    return f"{count:,} {one if count == 1 else many or ''}".rstrip()


def ends(low: float | None, high: float | None) -> str:
    """Return the range of a claim in short, as in its YAML: ``above 0.1``, ``-0.3 to 0.3``."""
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"above {low:g}" if low is not None else f"below {high:g}"


def bounds(low: float | None, high: float | None) -> str | None:
    """Return the range of a claim in words; None where neither end is claimed."""
    if low is None and high is None:
        return None
    if low is None:
        return f"at most {number(high)}"
    if high is None:
        return f"at least {number(low)}"
    return f"{number(low)} to {number(high)}"


def chance(p: float | None) -> str | None:
    """Return a p-value as text, ``< 0.001`` below that; None stays None."""
    if p is None:
        return None
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
