"""Claims: a statement of a paper, the range that its figure is expected in, and the verdict on ours by one rule."""

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
    "Each claim states the range that its figure is expected in, best before anything is run. If the 95 % interval of "
    "our figure is wholly inside, the claim holds; if wholly outside, it does not; if it crosses the border or "
    "has no interval, that is inconclusive. A claim that others published is then reproduced, or not reproduced. Next "
    "to a figure of the target is its targeted one, less the mean change of the other answers; the verdict is on the "
    "figure that the claim names. Intervals are over the unit named with them, one claim at a time. p is two-sided, "
    "against no effect; the adjusted p is Holm's over all claims of the report."
)

_PLAIN = ("source", "theirs", "value", "beside", "arm", "where", "less", "over", "note", "published")
_KEYS = (*_PLAIN, "id", "says", "arms", "statistic", "above", "below", "within", "against")
STATISTICS = ("mean", "matrix", "columns", "bootstrap", "mixed model", "rank correlation")


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        id: short name, for `compare`.
        says: the claim in a sentence.
        source: who makes it.
        theirs: their figure, as text.
        value: which number of the cells, such as ``transfer``.
        beside: the other number of a ``rank correlation``.
        arm: of which arm.
        arms: of which arms, for a ``rank correlation``.
        where: values of axes that the cells must have.
        less: what is subtracted: keys ``arm``, ``value`` and ``where``; a key left out is as above.
        statistic: ``mean``; ``matrix``, diagonal less grand mean of the axes teacher and student, or of the two in
            ``over``; ``columns``, each diagonal cell less the others of its column; ``bootstrap`` and ``mixed model``,
            of student less control with questions within seeds; ``rank correlation``, Spearman's over cells, of
            ``value`` and ``beside``.
        over: the axis, or axes, that are the unit, such as target; seeds where the cells lack that axis.
        low: where the claimed range begins.
        high: where it ends.
        null: what p is against: no effect, such as 0.5 for an AUC.
        published: whether others made the claim, so that it is reproduced or not; otherwise it holds or does not.
        note: what a reader should know about it.
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
        """The arms that the figure is computed from, those that are subtracted left out."""
        return self.arms or (self.arm,)


def read_claim(fields: Any, experiment: str, arms: Collection[str], published: bool = False) -> Claim:
    """Read a claim of an experiment's YAML.

    Args:
        fields: the claim in the YAML.
        experiment: the experiment's name.
        arms: its arms.
        published: whether others made the claim, where the claim does not state it.

    Raises:
        InputError: naming the claim, if a key is missing or unknown, or the range is not valid.
    """
    if not isinstance(fields, Mapping) or not fields.get("id") or not fields.get("says"):
        raise InputError(f"A claim of {experiment} lacks `id` or `says`: add both.")
    name = f"claim {str(fields['id'])!r}"
    for key in fields:
        known_name(key, _KEYS, f"{name} takes no `{key}`")
    less = fields.get("less")
    if less is not None:
        if not isinstance(less, Mapping):
            raise InputError(f"{name}: `less` is {less!r}: expected keys arm, value or where.")
        for key in less:
            known_name(str(key), ("arm", "value", "where"), f"{name}: `less` takes no `{key}`")
    ranked = fields.get("statistic") == "rank correlation"
    if ranked != ("beside" in fields) or ranked != ("arms" in fields) or (ranked and {"arm", "less"} & set(fields)):
        raise InputError(f"{name}: `statistic: rank correlation` needs `beside` and `arms`, and takes no `arm`.")
    if ranked and not (isinstance(fields["arms"], list) and fields["arms"]):
        raise InputError(f"{name}: `arms` is {fields['arms']!r}: expected a list of arms.")
    named = list(fields["arms"]) if ranked else [fields.get("arm")]
    for each in [*named, *([less.get("arm", fields.get("arm"))] if less else [])]:
        known_name(str(each), arms, f"{name}: there is no arm {each!r}")
    statistic = str(fields.get("statistic", "mean"))
    known_name(statistic, STATISTICS, f"{name}: there is no statistic {statistic!r}")
    ranges = {"above", "below", "within"} & set(fields)
    if len(ranges) != 1 and ranges != {"above", "below"}:
        raise InputError(f"{name}: the claimed range is missing: add `above`, `below`, both, or `within`.")
    try:
        low, high = float(fields.get("above", -math.inf)), float(fields.get("below", math.inf))
        if "within" in fields:
            low, high = -abs(float(fields["within"])), abs(float(fields["within"]))
        null = float(fields.get("against", 0.0))
    except (TypeError, ValueError) as err:
        raise InputError(f"{name}: above, below, within and against must be numbers ({err}).") from err
    if not low < high:
        raise InputError(f"{name}: the range from {low} to {high} is empty.")
    plain = {"published": published} | {key: fields[key] for key in _PLAIN if key in fields}
    if not isinstance(plain["published"], bool):
        raise InputError(f"{name}: `published` is {plain['published']!r}: expected true or false.")
    says = " ".join(str(fields["says"]).split())
    arms_of = tuple(fields.get("arms", ()))
    return Claim(str(fields["id"]), says, arms=arms_of, statistic=statistic, low=low, high=high, null=null, **plain)


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
