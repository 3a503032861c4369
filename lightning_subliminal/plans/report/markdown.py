"""The claims as a Markdown table, for a README or a paper's supplement."""

from collections.abc import Mapping
from typing import Any

from lightning_subliminal.plans.report.number_format import ends, estimate, signed, targeted, units

__all__ = ["claims_markdown"]

_SIGNS = {
    **{word: f"✓ {word}" for word in ("reproduced", "holds")},
    **{word: f"✗ {word}" for word in ("not reproduced", "does not hold")},
    "inconclusive": "~ inconclusive",
}


def claims_markdown(report: Mapping[str, Any]) -> str:
    """Return a table with one row per claim: its text, their figure, ours with interval and unit, range and verdict."""
    lines = [
        "| claim | source | theirs | ours, 95 % interval | over | claimed range | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for claim in report["claims"]:
        says = claim["says"] + (f" *({claim['note']})*" if claim["note"] else "")
        ours = estimate(claim["value"], claim["low"], claim["high"], signed(claim.get("limits")))
        ours += f"; {beside}" if (beside := targeted(claim.get("targeted"))) else ""
        over = units(claim["count"], claim["unit"]) or "-"
        claimed = ends(*claim["range"])
        cells = [says, claim["source"], claim["theirs"] or "-", ours, over, claimed, _SIGNS.get(claim["verdict"], "-")]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
