"""The page: one HTML file with its pictures inside, which loads nothing from a network."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lightning_subliminal.plans.report.contents import VERDICTS, checked
from lightning_subliminal.plans.report.drawing import draw
from lightning_subliminal.plans.report.number_format import bounds, chance, estimate, number, signed, targeted, units
from lightning_subliminal.plans.report.svg import svg

__all__ = ["Drawings", "draw_all", "page", "render"]

# By the name of an experiment: its figures as matplotlib's and as an SVG element.
Drawings = dict[str, list[tuple[Any, str]]]

SPAN = 120  # pixels that a claim's interval is drawn on


def render(report: Mapping[str, Any]) -> str:
    """Return a report as one HTML page; the same report gives the same bytes.

    Raises:
        InputError: if the report is not valid.
    """
    whole = checked(report)
    return page(whole, draw_all(whole))


def draw_all(report: Mapping[str, Any]) -> Drawings:
    """Draw all figures of a checked report; their ids begin with ``f1``, ``f2`` and so on through the page."""
    drawn: Drawings = {}
    count = 0
    for experiment in report["experiments"]:
        drawn[experiment["name"]] = []
        for figure in experiment["figures"]:
            count += 1
            canvas = draw(figure)
            drawn[experiment["name"]].append((canvas, svg(canvas, f"f{count}", figure["title"], figure["caption"])))
    return drawn


def page(report: Mapping[str, Any], drawn: Drawings) -> str:
    """Return a checked report and its drawings as one HTML page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lightning_subliminal.plans.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        estimate=estimate,
        number=number,
        bounds=bounds,
        chance=chance,
        signed=signed,
        targeted=targeted,
        units=units,
        short=_short,
    )
    script = environment.get_template("theme.js.jinja").render()
    counts = Counter(claim["verdict"] for claim in report["claims"])
    names = {experiment["name"]: f"e{at}" for at, experiment in enumerate(report["experiments"], start=1)}
    return environment.get_template("page.html.jinja").render(
        report=report,
        counts=[(verdict, counts[verdict]) for verdict in _words(report)],
        claims=[
            {**claim, "key": f"c{at}", "place": names.get(claim["experiment"]), "span": _span(claim)}
            for at, claim in enumerate(report["claims"], start=1)
        ],
        titles={experiment["name"]: experiment["title"] for experiment in report["experiments"]},
        names=names,
        drawn={name: [element for _, element in each] for name, each in drawn.items()},
        script=script,
        # The page allows this one script, and no other source.
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _words(report: Mapping[str, Any]) -> list[str]:
    """Return the verdicts to count: those of published claims, of own claims, or both; none without claims."""
    there = {claim["verdict"] for claim in report["claims"]}
    if not there:
        return []
    own, theirs = ("holds", "does not hold"), ("reproduced", "not reproduced")
    left_out = theirs if there & set(own) and not there & set(theirs) else () if there & set(own) else own
    return [verdict for verdict in VERDICTS if verdict not in left_out]


def _short(digest: str) -> str:
    """Return the beginning of a digest, which is enough to identify it."""
    return digest.rpartition(":")[2][:12]


def _span(claim: Mapping[str, Any]) -> dict[str, float | None] | None:
    """Place a claim's interval, its value, the claimed range and 0 on a line of ``SPAN`` pixels; None without a value.

    An open end of the range is at the line's end; 0 is None where it is not on the line.
    """
    value = claim["value"]
    if value is None:
        return None
    low, high = claim["low"], claim["high"]
    lower, upper = claim["range"]
    known = [each for each in (value, low, high, lower, upper) if each is not None]
    near = max(known) - min(known)
    if min(abs(each) for each in known) <= 2 * near or near == 0:
        known.append(0.0)  # no effect
    least, most = min(known), max(known)
    margin = 0.12 * (most - least) or 1.0
    left, scale = least - margin, (SPAN - 4) / (most - least + 2 * margin)

    def at(number: float) -> float:
        return round(2 + (number - left) * scale, 1)

    claimed = (lower, upper) != (None, None)
    return {
        "value": at(value),
        "low": None if low is None or high is None else at(low),
        "high": None if low is None or high is None else at(high),
        "lower": (0.0 if lower is None else at(lower)) if claimed else None,
        "upper": (float(SPAN) if upper is None else at(upper)) if claimed else None,
        "zero": at(0.0) if 0.0 in known else None,
    }
