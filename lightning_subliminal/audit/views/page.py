"""An audit as a self-contained HTML page, and its drawing as SVG: the artefacts from the latest down to the bases.

The drawing has one row per artefact and one lane per parent further down, so that long chains stay narrow and each
artefact is drawn once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from lightning_subliminal.audit.node import Node
from lightning_subliminal.audit.run import Audit
from lightning_subliminal.audit.views.view import ANSWER_MARKS, LIMITS, STATE_MARKS, AuditView, State
from lightning_subliminal.core.io.bounds import MAX_SHOWN
from lightning_subliminal.core.version import __version__
from lightning_subliminal.formats.row_errors import printable

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Lanes", "as_html", "as_svg", "lanes", "page_environment"]

_ROW, _LANE, _EDGE, _CHARACTER = 46, 22, 20, 7.6  # pixels; the last is the approximate width of a character
_LONGEST = 72  # characters of a label; its title is complete
_SIGNS: dict[State, str] = {
    "fine": "M-3.6 .2 L-1 2.8 L3.8 -2.6",
    "wrong": "M-3 -3 L3 3 M3 -3 L-3 3",
    "flagged": "M-2.4 4 V-4 L3.6 -1.8 L-2.4 .6",
    "doubtful": "M0 -4 V1 M0 3.4 V3.6",
    "absent": "M-2.4 0 H2.4",
}
_STYLE = """
.audit-ground { fill: #fdfcfa } .audit-ink { fill: #1e2024 } .audit-soft { fill: #5b6068 }
.audit-edge { stroke: #8b9099; fill: none; stroke-width: 1.6 } .audit-back { stroke: #a83e00; stroke-dasharray: 3 4 }
.audit-sign { stroke: #fdfcfa; fill: none; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round }
.audit-fine { fill: #00694c } .audit-wrong { fill: #a83e00 } .audit-flagged { fill: #7a5900 }
.audit-doubtful { fill: #7a5900 } .audit-absent { fill: #5b6068 }
.audit-drawing text { font: 13px system-ui, sans-serif } .audit-drawing .audit-soft { font-size: 12px }
@media (prefers-color-scheme: dark) {
.audit-ground { fill: #15171b } .audit-ink { fill: #e6e4df } .audit-soft { fill: #a9adb5 }
.audit-edge { stroke: #747a85 } .audit-back { stroke: #ff9f6b } .audit-sign { stroke: #15171b }
.audit-fine { fill: #63d0a8 } .audit-wrong { fill: #ff9f6b } .audit-flagged { fill: #e6c35c }
.audit-doubtful { fill: #e6c35c } .audit-absent { fill: #a9adb5 } }
"""


@dataclass(frozen=True)
class Lanes:
    """Positions of the drawing's artefacts.

    Attributes:
        lane: the lane of each artefact, in order.
        edges: row of the child, row of the parent, and role.
        count: number of lanes.
    """

    lane: list[int]
    edges: list[tuple[int, int, str]]
    count: int


def lanes(order: Sequence[Node], links: Sequence[Sequence[tuple[int, str]]]) -> Lanes:
    """Assign each artefact a lane, which a parent occupies from its first child's row to its own.

    Args:
        order: the artefacts, children before parents as far as there are no cycles.
        links: for each artefact the rows of its parents, with their roles.
    """
    waiting: list[int | None] = []  # the parent at the end of each lane
    placed, edges, count = [], [], 0
    for row in range(len(order)):
        mine = waiting.index(row) if row in waiting else _free(waiting)
        placed.append(mine)
        waiting[mine] = None
        for parent, role in links[row]:
            edges.append((row, parent, role))
            if parent > row and parent not in waiting:
                waiting[mine if waiting[mine] is None else _free(waiting)] = parent
        count = max(count, len(waiting))
    return Lanes(placed, edges, count)


def as_svg(audit: Audit) -> str:
    """Return a drawing of an audit's artefacts as SVG."""
    view = AuditView(audit)
    order = view.ordered[:MAX_SHOWN]
    place = {node.key: row for row, node in enumerate(order)}
    links = [[(place[link.key], link.role) for link in node.links if link.key in place] for node in order]
    layout = lanes(order, _some_links(links))
    left = _EDGE * 2 + layout.count * _LANE
    texts = [(f"{node.kind}  {_short(node.label)}", " · ".join(view.notes(node))) for node in order]
    width = left + _CHARACTER * max(len(each) for pair in texts for each in pair) + _EDGE
    height = len(order) * _ROW + _EDGE
    svg = Element(
        "svg",
        {
            **{"xmlns": "http://www.w3.org/2000/svg", "class": "audit-drawing", "role": "img"},
            **{"aria-labelledby": "audit-title audit-desc", "viewBox": f"0 0 {width:.0f} {height}"},
            **{"width": f"{width:.0f}", "height": f"{height}"},
        },
    )
    _text(svg, "title", f"What {printable(audit.root.label)} was made from", {"id": "audit-title"})
    desc = f"{len(order)} artefacts, each above what it was made from. {view.left_out()} {view.verdict()}"
    _text(svg, "desc", printable(desc), {"id": "audit-desc"})
    _text(svg, "style", _STYLE, {})
    SubElement(svg, "rect", {"class": "audit-ground", "width": "100%", "height": "100%"})
    for child, parent, role in layout.edges:
        edge = SubElement(svg, "path", _edge(child, parent, layout))
        _text(edge, "title", printable(f"{role} of {order[child].label}: {order[parent].label}"), {})
    for row, (node, (first, second)) in enumerate(zip(order, texts, strict=True)):
        state, group = view.state(node), SubElement(svg, "g", {})
        _text(group, "title", printable(f"{node.kind} {node.label}: {state}. {second}"), {})
        x, y = _at(layout.lane[row], row)
        SubElement(group, "circle", {"class": f"audit-{state}", "cx": f"{x}", "cy": f"{y}", "r": "9"})
        SubElement(group, "path", {"class": "audit-sign", "d": _SIGNS[state], "transform": f"translate({x} {y})"})
        _text(group, "text", printable(first), {"class": "audit-ink", "x": f"{left}", "y": f"{y - 2}"})
        _text(group, "text", printable(second), {"class": "audit-soft", "x": f"{left}", "y": f"{y + 14}"})
    return tostring(svg, encoding="unicode")


def as_html(audit: Audit) -> str:
    """Return an audit as a self-contained page."""
    from markupsafe import Markup

    view = AuditView(audit)
    return (
        page_environment(__package__)
        .get_template("page.html.jinja")
        .render(
            audit=audit,
            view=view,
            state_marks=STATE_MARKS,
            answer_marks=ANSWER_MARKS,
            place={node.key: number for number, node in enumerate(view.ordered, start=1)},
            sections=view.outline(),
            drawing=Markup(as_svg(audit)),  # noqa: S704 - every text in it is escaped by ElementTree
            limits=LIMITS,
            most=int(MAX_SHOWN),
            version=__version__,
        )
    )


def page_environment(package: str) -> "Environment":
    """Return jinja's environment of a page: each text is escaped, and ``printable`` escapes what can't be seen.

    Args:
        package: of the page's templates, which may include ``style.css.jinja`` of this one.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader(__package__, "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = lambda text: printable(str(text))
    return environment


def _some_links(links: list[list[tuple[int, str]]]) -> list[list[tuple[int, str]]]:
    """Return ``MAX_SHOWN`` links and one of each artefact, so that each is connected."""
    left = int(MAX_SHOWN)
    kept = []
    for each in links:
        kept.append(each[: 1 + max(0, left)])
        left -= len(each)
    return kept


def _free(waiting: list[int | None]) -> int:
    """Return the first free lane, a new one if there is none."""
    if None not in waiting:
        waiting.append(None)
    return waiting.index(None)


def _at(lane: int, row: int) -> tuple[int, int]:
    return _EDGE + lane * _LANE, _EDGE + row * _ROW + 8


def _edge(child: int, parent: int, layout: Lanes) -> dict[str, str]:
    """Return the path from a child into its parent's lane, and down that lane."""
    (x, y), (to, end) = _at(layout.lane[child], child), _at(layout.lane[parent], parent)
    if parent <= child:  # a cycle
        return {"class": "audit-edge audit-back", "d": f"M{x} {y} C{x - 16} {y} {to - 16} {end} {to} {end}"}
    middle = y + _ROW // 2
    return {"class": "audit-edge", "d": f"M{x} {y} C{x} {middle} {to} {middle} {to} {y + _ROW} V{end}"}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2 - 1]}…{text[-_LONGEST // 2 :]}"


def _text(parent: Element, tag: str, text: str, attributes: dict[str, str]) -> None:
    SubElement(parent, tag, attributes).text = text
