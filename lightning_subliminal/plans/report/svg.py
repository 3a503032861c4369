"""A matplotlib figure as SVG for the page, and as PNG.

The SVG takes its colour from the page (``currentColor``), keeps text as text, has a title and description for screen
readers, and has the same bytes for the same figure. Colours are Okabe and Ito's (2008), which colour-blind readers tell
apart; none is black, and a dark page lightens the darker ones.
"""

import io
import re
import warnings
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

__all__ = ["BLUE", "COLORS", "STYLE", "VERMILLION", "png", "svg"]

BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lightning-subliminal",
    "text.parse_math": False,  # a dollar in a label is a dollar
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the layout is the same everywhere
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
}
# Colours that a dark page lightens, as variables of its style; a file of its own has the colours above.
_VARIABLES = {BLUE: "blue", VERMILLION: "vermillion", GREEN: "green", SKY: "sky"}
_XLINK = "{http://www.w3.org/1999/xlink}href"


def png(canvas: Any) -> bytes:
    """Return a drawn figure as PNG on white, 200 dots an inch, without metadata."""
    return _saved(canvas, format="png", dpi=200, facecolor="white", metadata={"Software": None})


def svg(canvas: Any, key: str, title: str, caption: str) -> str:
    """Return a drawn figure as an ``<svg>`` element; ``key`` precedes each id, so that ids are unique in a page."""
    root = ElementTree.fromstring(_saved(canvas, format="svg", transparent=True, metadata={"Date": None}))  # noqa: S314 - matplotlib's own
    used = set(re.findall(r"#([\w-]+)", " ".join(value for each in root.iter() for value in each.attrib.values())))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = _attributes(element.attrib, key, used)
        for child in list(element):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):  # links to vocabularies; a rule for all elements
                element.remove(child)
    for place, (part, text) in enumerate((("title", title), ("desc", caption))):
        label = ElementTree.Element(part, {"id": f"{key}-{part}"})
        label.text = text
        root.insert(place, label)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": root.attrib["viewBox"],
        "width": f"{width * 4 / 3:.0f}",  # points to pixels
        "height": f"{height * 4 / 3:.0f}",
        "role": "img",
        "aria-labelledby": f"{key}-title {key}-desc",
        "fill": "currentColor",
        "style": "stroke-linejoin: round; stroke-linecap: butt",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _saved(canvas: Any, **settings: Any) -> bytes:
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")  # a box in the PNG; the page has the reader's fonts
        canvas.savefig(stream, **settings)
    return stream.getvalue()


def _attributes(attributes: Mapping[str, str], key: str, used: set[str]) -> dict[str, str]:
    made = {}
    for name, value in attributes.items():
        if name == "id":
            if value not in used:
                continue
            value = f"{key}-{value}"
        elif name == _XLINK:
            name, value = "href", value.replace("#", f"#{key}-", 1)
        else:
            value = re.sub(r"#000000\b", "currentColor", value.replace("url(#", f"url(#{key}-"))
            value = re.sub(r"#[0-9a-f]{6}\b", _variable, value)
        made[name] = value
    return made


def _variable(color: re.Match[str]) -> str:
    name = _VARIABLES.get(color[0])
    return f"var(--{name}, {color[0]})" if name else color[0]
