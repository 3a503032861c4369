"""The claims of a report computed again from its cells, so that a changed file is detected."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from lightning_subliminal.analysis import statistics
from lightning_subliminal.analysis.cells import CellResult
from lightning_subliminal.analysis.claims import Claim, verdict
from lightning_subliminal.analysis.estimates import claim_estimate
from lightning_subliminal.analysis.statistics import Estimate
from lightning_subliminal.core.errors import InputError, TamperedError
from lightning_subliminal.plans.report_data import BY_QUESTION, QUESTION_LEVEL, targeted_beside

__all__ = ["cells_of", "check_claims"]

_NUMBERS = ("value", "low", "high", "p", "count")
_BESIDE = ("value", "low", "high", "count", "rank", "rank_of")
_SAME = 1e-6  # relative: two machines' sums differ in the last digits
_OWN = ("experiment", "arm", "seed", "lineage", "unit")


def check_claims(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], place: str = "report.json") -> int:
    """Compute each claim again from the cells, and refuse a report that differs.

    Args:
        report: as ``read_report`` returns it.
        rows: its cells.
        place: the name of the report in errors.

    Returns:
        How many claims could not be computed again, since the report does not state their cells, as in an earlier
        version; their verdicts are those of their intervals.

    Raises:
        TamperedError: naming the claim, with the value in the file and that of the cells.
    """
    unknown, chances = 0, []
    with _readable(f"{place}: its cells"):
        cells = cells_of(rows)
    for stored in report["claims"]:
        where = f"{place}, claim {stored['experiment']}/{stored['id']}: its "
        mine = [cell for cell in cells if cell.experiment == stored["experiment"]]
        found: dict[str, Any] | None = None
        with _readable(f"{where}`of`, or its cells"):
            claim = _claim(stored)
            if stored["of"] is not None and _can(claim, mine):
                estimate, found = _computed(claim, mine, stored["limits"])
                beside = targeted_beside(claim, mine) or {}
            else:
                estimate, unknown = _stored_estimate(stored), unknown + 1
            expected = verdict(estimate, claim)
        if found is not None:
            _compare(stored, found, _NUMBERS, where)
            _compare(stored["targeted"] or {}, beside, _BESIDE, f"{where}targeted ")
        if stored["verdict"] != expected:
            raise _other(f"{where}verdict", stored["verdict"], expected)
        chances.append(math.nan if stored["p"] is None else stored["p"])
    if not unknown:
        for stored, adjusted in zip(report["claims"], statistics.adjust(chances, "holm"), strict=True):
            where = f"{place}, claim {stored['experiment']}/{stored['id']}: its "
            _compare(stored, {"p_adjusted": float(adjusted)}, ("p_adjusted",), where)
    return unknown


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Report in one line a value of another kind than `run` writes."""
    try:
        yield
    except InputError:
        raise
    except (TypeError, AttributeError, KeyError, IndexError, ValueError) as err:
        raise InputError(f"{what} are not as `run` writes them ({type(err).__name__}: {err}): make it again.") from err


def _can(claim: Claim, cells: Sequence[CellResult]) -> bool:
    """Return whether a claim's figure can be computed; statsmodels is an extra."""
    if claim.statistic == "mixed model" and find_spec("statsmodels") is None:
        return False
    return claim.statistic not in QUESTION_LEVEL or not cells or any(cell.vectors for cell in cells)


def cells_of(rows: Sequence[Mapping[str, Any]]) -> list[CellResult]:
    """Return the cells of rows that ``cell_table`` made; values of axes are texts."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        axes = tuple((key, each) for key, each in row.items() if key.startswith("axis ") and each is not None)
        key = (row.get("experiment"), row.get("arm"), axes, row.get("seed"), row.get("lineage"))
        found.setdefault(key, []).append(row)
    return [_cell(key, each) for key, each in found.items()]


def _cell(key: tuple[Any, ...], rows: list[Mapping[str, Any]]) -> CellResult:
    experiment, arm, axes, seed, lineage = key
    numbers: dict[str, Any] = {}
    vectors: dict[str, list[float]] = {}
    for name, value in rows[0].items():
        if name in _OWN or name.startswith("axis ") or value is None:
            continue
        if name.endswith(BY_QUESTION):
            vectors[name.removesuffix(BY_QUESTION)] = value
        else:
            several = [row[name] for row in rows if row[name] is not None]
            numbers[name] = value if rows[0].get("unit") is None else several
    where = {axis.removeprefix("axis "): str(value) for axis, value in axes}
    return CellResult(str(experiment), str(arm), where, seed, numbers, vectors, tuple(str(lineage or "").split()))


def _claim(stored: Mapping[str, Any]) -> Claim:
    low, high = stored["range"]
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    of = dict(stored["of"] or {"published": stored["verdict"] in ("reproduced", "not reproduced")})
    of["where"] = _texts(of.get("where") or {})
    if of.get("less"):
        of["less"] = {key: _texts(each) if key == "where" else each for key, each in of["less"].items()}
    return Claim(stored["id"], stored["says"], low=ends[0], high=ends[1], **of)


def _texts(where: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of axes as texts, as cells of a table have them; names of axes stay."""

    def text(wanted: Any) -> Any:
        if isinstance(wanted, Mapping):
            return {key: [str(one) for one in each] if key == "in" else each for key, each in wanted.items()}
        return [str(each) for each in wanted] if isinstance(wanted, (list, tuple)) else str(wanted)

    return {axis: text(wanted) for axis, wanted in where.items()}


def _computed(claim: Claim, cells: list[CellResult], limits: Any) -> tuple[Estimate | None, dict[str, Any]]:
    try:
        found, _ = claim_estimate(claim, cells)
    except InputError:  # stated in a note of the report
        found = None
    if found is None:
        return None, dict.fromkeys(_NUMBERS)
    if claim.statistic == "mean" and limits is not None:
        found = statistics.within(found, (limits[0], limits[1]))
    return found, found.as_json()


def _stored_estimate(stored: Mapping[str, Any]) -> Estimate | None:
    if stored["value"] is None:
        return None
    low, high = (math.nan if stored[end] is None else stored[end] for end in ("low", "high"))
    return Estimate(stored["value"], low, high, stored["unit"] or "", stored["count"] or 0)


def _compare(stored: Mapping[str, Any], found: Mapping[str, Any], names: Sequence[str], what: str) -> None:
    for name in names:
        before, now = stored.get(name), found.get(name)
        now = None if now is None or not math.isfinite(now) else now
        if before is None and now is None:
            continue
        if before is None or now is None or not math.isclose(before, now, rel_tol=_SAME, abs_tol=1e-9):
            raise _other(f"{what}{name}", before, now)


def _other(what: str, stored: Any, found: Any) -> TamperedError:
    return TamperedError(f"{what} is {stored}, but its cells give {found}: make the report again with `run`.")
