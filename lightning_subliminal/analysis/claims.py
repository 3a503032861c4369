"""Claims: what a paper says, the range that its figure should lie in, and the verdict on ours, by one rule."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lightning_subliminal.analysis.statistics import Estimate
from lightning_subliminal.core.config.building import known_name
from lightning_subliminal.core.errors import InputError

__all__ = ["RULE", "Claim", "Verdict", "read_claim", "verdict"]

Verdict = Literal["reproduced", "not reproduced", "holds", "does not hold", "inconclusive", "not measured"]

RULE = (
    "Each claim names the range in which its figure should lie, best before anything is run. If the 95 % interval of "
    "ours lies wholly inside, the claim holds; if wholly outside, it does not; if it crosses the border, or there is "
    "no interval, that is inconclusive. A claim that others published is then reproduced, or not reproduced. Beside a "
    "figure of the target stands its targeted one, less the mean change of the other answers; the verdict is on the "
    "figure that the claim names. Intervals are over the unit named beside them, one claim at a time; p "
    "is two-sided against no effect, and beside it stands p adjusted by Holm over all claims of the report."
)

_KEYS = (
    "id",
    "says",
    "source",
    "theirs",
    "value",
    "beside",
    "arm",
    "arms",
    "where",
    "less",
    "statistic",
    "over",
    "above",
    "below",
    "within",
    "against",
    "published",
    "note",
)
STATISTICS = ("mean", "matrix", "columns", "bootstrap", "mixed model", "rank correlation")


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        id: short name, for `compare`.
        says: the claim in a sentence.
        source: who says so.
        theirs: their figure, as text.
        value: which number of the cells, such as ``transfer``.
        beside: the other number of a ``rank correlation``.
        arm: of which arm.
        arms: of which arms, for a ``rank correlation``.
        where: values of axes that the cells must have.
        less: what is subtracted: keys ``arm``, ``value`` and ``where``; what is not named is as above.
        statistic: ``mean``; ``matrix``, diagonal less grand mean of the axes teacher and student, or of the two in
            ``over``; ``columns``, each diagonal cell less the others of its column; ``bootstrap`` and ``mixed model``,
            of student less control with questions within seeds; ``rank correlation``, Spearman's over cells, of
            ``value`` and ``beside``.
        over: the axis, or axes, that are the unit, such as target; seeds where the cells have no such axis.
        low: where the claimed range begins.
        high: where it ends.
        null: what p is against: no effect, such as 0.5 for an AUC.
        published: whether others made the claim, so that it is reproduced or not; else it holds or does not.
        note: what a reader should know beside it.
    """

    id: str
    says: str
    source: str = ""
    theirs: str | None = None
    value: str = "transfer"
    beside: str | None = None
    arm: str = ""
    arms: tuple[str, ...] = ()
    where: dict[str, Any] = field(default_factory=dict)
    less: dict[str, Any] | None = None
    statistic: str = "mean"
    over: str | list[str] = "target"
    low: float = -math.inf
    high: float = math.inf
    null: float = 0.0
    published: bool = False
    note: str | None = None

    @property
    def of_arms(self) -> tuple[str, ...]:
        """The arms that the figure is read from, those that are subtracted left out."""
        return self.arms or (self.arm,)


def read_claim(told: Any, experiment: str, arms: Collection[str], published: bool = False) -> Claim:
    """Read a claim of an experiment's YAML.

    Args:
        told: what the YAML says.
        experiment: the experiment's name.
        arms: its arms.
        published: whether others made the claim, where it does not say so itself.

    Raises:
        InputError: naming the claim, if a key is missing, unknown or makes no range.
    """
    if not isinstance(told, Mapping) or not told.get("id") or not told.get("says"):
        raise InputError(f"A claim of {experiment} lacks `id` or `says`: give both.")
    name = str(told["id"])
    for key in told:
        known_name(key, _KEYS, f"claim {name!r} takes no `{key}`")
    if told.get("less") is not None:
        if not isinstance(told["less"], Mapping):
            raise InputError(f"claim {name!r}: `less` is {told['less']!r}: expected keys arm, value or where.")
        for key in told["less"]:
            known_name(str(key), ("arm", "value", "where"), f"claim {name!r}: `less` takes no `{key}`")
    ranked = told.get("statistic") == "rank correlation"
    if ranked != ("beside" in told) or ranked != ("arms" in told) or (ranked and ("arm" in told or "less" in told)):
        raise InputError(f"claim {name!r}: `statistic: rank correlation` goes with `beside` and `arms`, and no `arm`.")
    if ranked and not (isinstance(told["arms"], list) and told["arms"]):
        raise InputError(f"claim {name!r}: `arms` is {told['arms']!r}: give a list of arms.")
    named = list(told["arms"]) if ranked else [told.get("arm")]
    names = [*named, *([told["less"].get("arm", told.get("arm"))] if told.get("less") else [])]
    for each in names:
        known_name(str(each), arms, f"claim {name!r}: there is no arm {each!r}")
    if (statistic := str(told.get("statistic", "mean"))) not in STATISTICS:
        known_name(statistic, STATISTICS, f"claim {name!r}: there is no statistic {statistic!r}")
    ranges = [key for key in ("above", "below", "within") if key in told]
    if len(ranges) != 1 and set(ranges) != {"above", "below"}:
        raise InputError(f"claim {name!r}: give the claimed range: `above`, `below`, both, or `within`.")
    try:
        low, high = float(told.get("above", -math.inf)), float(told.get("below", math.inf))
        if "within" in told:
            low, high = -abs(float(told["within"])), abs(float(told["within"]))
        null = float(told.get("against", 0.0))
    except (TypeError, ValueError) as err:
        raise InputError(f"claim {name!r}: above, below, within and against are numbers ({err}).") from err
    if not low < high:
        raise InputError(f"claim {name!r}: the range from {low} to {high} is empty.")
    if not isinstance(told.get("published", published), bool):
        raise InputError(f"claim {name!r}: `published` is {told['published']!r}: expected true or false.")
    keys = ("source", "theirs", "value", "beside", "arm", "where", "less", "over", "note")
    plain = {key: told[key] for key in keys if key in told} | {"arms": tuple(told.get("arms", ()))}
    plain["published"] = told.get("published", published)
    return Claim(
        id=name, says=" ".join(str(told["says"]).split()), statistic=statistic, low=low, high=high, null=null, **plain
    )


def verdict(estimate: Estimate | None, claim: Claim) -> Verdict:
    """Return the verdict by ``RULE``."""
    if estimate is None or math.isnan(estimate.value):
        return "not measured"
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return "inconclusive"
    if claim.low <= estimate.low and estimate.high <= claim.high:
        return "reproduced" if claim.published else "holds"
    if estimate.high < claim.low or estimate.low > claim.high:
        return "not reproduced" if claim.published else "does not hold"
    return "inconclusive"
