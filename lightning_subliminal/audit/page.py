"""An audit as one self-contained page, and its drawing: the artefacts from the latest down to the bases, as SVG.

The drawing has a row for each artefact and a lane for each parent that is still to come, so that a chain of hundreds is
long and not wide, and each artefact stands in it once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from lightning_subliminal.audit.node import Node
from lightning_subliminal.audit.run import Audit
from lightning_subliminal.audit.view import LIMITS, Line, Showing, State
from lightning_subliminal.core.io.bounds import MAX_SHOWN
from lightning_subliminal.core.version import __version__
from lightning_subliminal.formats.row_errors import printable

__all__ = ["Lanes", "Nested", "as_html", "as_svg", "lanes", "nested"]

_ROW, _LANE, _EDGE, _CHARACTER = 46, 22, 20, 7.6  # pixels; the last is about the width of a character
_LONGEST = 72  # characters of a label; its title has all of it
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
    """Where the drawing's artefacts stand.

    Attributes:
        lane: of each artefact, in their order.
        edges: child, parent and role, as places in that order.
        count: how many lanes there are.
    """

    lane: list[int]
    edges: list[tuple[int, int, str]]
    count: int


@dataclass(frozen=True)
class Nested:
    """A line of the outline with those that stand under it.

    Attributes:
        line: the line.
        inner: the lines under it.
    """

    line: Line
    inner: list["Nested"]


def lanes(order: Sequence[Node], links: Sequence[Sequence[tuple[int, str]]]) -> Lanes:
    """Return each artefact a lane: a parent keeps one from its first child's row to its own.

    Args:
        order: the artefacts, children before parents as far as there are no cycles.
        links: of each artefact, places of its parents, with their roles.
    """
    waiting: list[int | None] = []  # the parent that each lane leads to
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
    """Draw an audit's artefacts as SVG, for a page or as a file of its own.

    Args:
        audit: what was found.
    """
    shown = Showing(audit)
    order = shown.ordered[:MAX_SHOWN]
    place = {node.key: row for row, node in enumerate(order)}
    links = [[(place[link.key], link.role) for link in node.links if link.key in place] for node in order]
    links = _some_links(links)
    layout = lanes(order, links)
    left = _EDGE * 2 + layout.count * _LANE
    texts = [(f"{node.kind}  {_short(node.label)}", " · ".join(shown.notes(node))) for node in order]
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
    desc = f"{len(order)} artefacts, each above what it was made from. {shown.left_out()} {shown.verdict()}"
    _text(svg, "desc", printable(desc), {"id": "audit-desc"})
    _text(svg, "style", _STYLE, {})
    SubElement(svg, "rect", {"class": "audit-ground", "width": "100%", "height": "100%"})
    for child, parent, role in layout.edges:
        edge = SubElement(svg, "path", _edge(child, parent, layout))
        _text(edge, "title", printable(f"{role} of {order[child].label}: {order[parent].label}"), {})
    for row, (node, (first, second)) in enumerate(zip(order, texts, strict=True)):
        state, group = shown.state(node), SubElement(svg, "g", {})
        _text(group, "title", printable(f"{node.kind} {node.label}: {state}. {second}"), {})
        x, y = _at(layout.lane[row], row)
        SubElement(group, "circle", {"class": f"audit-{state}", "cx": f"{x}", "cy": f"{y}", "r": "9"})
        SubElement(group, "path", {"class": "audit-sign", "d": _SIGNS[state], "transform": f"translate({x} {y})"})
        _text(group, "text", printable(first), {"class": "audit-ink", "x": f"{left}", "y": f"{y - 2}"})
        _text(group, "text", printable(second), {"class": "audit-soft", "x": f"{left}", "y": f"{y + 14}"})
    return tostring(svg, encoding="unicode")


def nested(lines: Sequence[Line]) -> Nested:
    """Put the lines of a section of the outline into each other."""
    root = Nested(lines[0], [])
    stack = [root]
    for line in lines[1:]:
        del stack[line.depth :]
        inner = Nested(line, [])
        stack[-1].inner.append(inner)
        stack.append(inner)
    return root


def as_html(audit: Audit) -> str:
    """Return an audit as a page that needs nothing but itself.

    Args:
        audit: what was found.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("lightning_subliminal.audit", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = lambda text: printable(str(text))
    shown = Showing(audit)
    return environment.get_template("page.html.jinja").render(
        audit=audit,
        shown=shown,
        place={node.key: number for number, node in enumerate(shown.ordered, start=1)},
        sections=[nested(each) for each in shown.outline()],
        drawing=Markup(as_svg(audit)),  # noqa: S704 - every text in it is escaped by ElementTree
        limits=LIMITS,
        most=int(MAX_SHOWN),
        version=__version__,
    )


def _some_links(links: list[list[tuple[int, str]]]) -> list[list[tuple[int, str]]]:
    """Return ``MAX_SHOWN`` links and one of each artefact, so that none stands alone."""
    left = int(MAX_SHOWN)
    kept = []
    for each in links:
        kept.append(each[: 1 + max(0, left)])
        left -= len(each)
    return kept


def _free(waiting: list[int | None]) -> int:
    """Return the first lane that leads nowhere, a new one where there is none."""
    if None not in waiting:
        waiting.append(None)
    return waiting.index(None)


def _at(lane: int, row: int) -> tuple[int, int]:
    return _EDGE + lane * _LANE, _EDGE + row * _ROW + 8


def _edge(child: int, parent: int, layout: Lanes) -> dict[str, str]:
    """Return a line from a child into its parent's lane, and down that lane."""
    (x, y), (to, end) = _at(layout.lane[child], child), _at(layout.lane[parent], parent)
    if parent <= child:  # a cycle
        return {"class": "audit-edge audit-back", "d": f"M{x} {y} C{x - 16} {y} {to - 16} {end} {to} {end}"}
    bend = y + _ROW
    return {"class": "audit-edge", "d": f"M{x} {y} C{x} {y + _ROW // 2} {to} {y + _ROW // 2} {to} {bend} V{end}"}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2 - 1]}…{text[-_LONGEST // 2 :]}"


def _text(parent: Element, tag: str, text: str, attributes: dict[str, str]) -> None:
    SubElement(parent, tag, attributes).text = text
