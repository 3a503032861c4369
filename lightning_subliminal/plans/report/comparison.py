"""Two reports compared: which claims agree, and which do not."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_subliminal.plans.report.contents import checked
from lightning_subliminal.plans.report.number_format import estimate, number

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["compare", "comparison_json"]

Claim = Mapping[str, Any]
_OUTCOMES = {"holds": "reproduced", "does not hold": "not reproduced"}  # the same outcome of an own claim


def comparison_json(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims of two reports by (experiment, id), as JSON-able data.

    ``difference`` is the second value minus the first. ``intervals_overlap`` and ``verdict_changed`` are None where
    they are unknown: an interval is missing, or the claim is in one report only (``only_in``). ``marked`` counts the
    claims whose intervals don't overlap or whose verdict changed.

    Raises:
        InputError: if one of them is not a valid report.
    """
    sides = [
        {(claim["experiment"], claim["id"]): claim for claim in checked(report)["claims"]} for report in (first, second)
    ]
    claims = [_pair(key, *(side.get(key) for side in sides)) for key in dict.fromkeys([*sides[0], *sides[1]])]
    marked = sum(bool(claim["verdict_changed"]) or claim["intervals_overlap"] is False for claim in claims)
    return {
        "first": str(first["title"]),
        "second": str(second["title"]),
        "claims": claims,
        "marked": marked,
        "only_in_first": sum(claim["only_in"] == "first" for claim in claims),
        "only_in_second": sum(claim["only_in"] == "second" for claim in claims),
    }


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> "Table":
    """Return the claims of two reports side by side, with a mark where they disagree; see ``comparison_json``."""
    from rich.table import Table
    from rich.text import Text

    compared = comparison_json(first, second)
    total = len(compared["claims"])
    table = Table(
        title=Text(f"{compared['first']} | {compared['second']}"),
        caption=Text(f"{compared['marked']} of {total} claims disagree: intervals apart, or another verdict."),
        show_lines=True,
    )
    for heading in ("claim", "first", "second", "difference", "mark"):
        table.add_column(heading, justify="right" if heading == "difference" else "left")
    for claim in compared["claims"]:
        mark = _mark(claim)
        cells = (
            f"{claim['experiment']}\n{claim['id']}",
            _side(claim["first"]),
            _side(claim["second"]),
            number(claim["difference"]),
            mark,
        )
        loud = bool(mark) and claim["only_in"] is None
        table.add_row(*map(Text, cells), style="bold" if loud else None)  # Text: a bracket in an id is not markup
    return table


def _pair(key: tuple[str, str], first: Claim | None, second: Claim | None) -> dict[str, Any]:
    made: dict[str, Any] = {"experiment": key[0], "id": key[1], "first": _kept(first), "second": _kept(second)}
    made |= {"difference": None, "intervals_overlap": None, "verdict_changed": None, "only_in": None}
    if first is None or second is None:
        return made | {"only_in": "second" if first is None else "first"}
    outcomes = [_OUTCOMES.get(claim["verdict"], claim["verdict"]) for claim in (first, second)]
    made["verdict_changed"] = outcomes[0] != outcomes[1]
    if first["value"] is not None and second["value"] is not None:
        made["difference"] = second["value"] - first["value"]
    ends = [claim[end] for claim in (first, second) for end in ("low", "high")]
    if None not in ends:
        made["intervals_overlap"] = ends[0] <= ends[3] and ends[2] <= ends[1]  # touching ends overlap
    return made


def _kept(claim: Claim | None) -> dict[str, Any] | None:
    keys = ("value", "low", "high", "unit", "count", "verdict")
    return None if claim is None else {key: claim[key] for key in keys}


def _side(claim: Claim | None) -> str:
    if claim is None:
        return "missing"
    return f"{estimate(claim['value'], claim['low'], claim['high'])}\n{claim['verdict']}"


def _mark(claim: Claim) -> str:
    if claim["only_in"] is not None:
        return f"only in {claim['only_in']}"
    marks = ["intervals apart"] if claim["intervals_overlap"] is False else []
    return "\n".join(["verdict changed", *marks] if claim["verdict_changed"] else marks)
