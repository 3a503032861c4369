"""The figures: well-formed, with ids of their own, ink of the page, and each number of the report in them."""

import re
from xml.etree.ElementTree import fromstring

import pytest
from cases import cases

from lightning_subliminal.plans.report.contents import checked
from lightning_subliminal.plans.report.drawing import draw
from lightning_subliminal.plans.report.svg import png, svg

from .sample import DANGER, sample_report

FIGURES = [figure for experiment in checked(sample_report())["experiments"] for figure in experiment["figures"]]


def parse(text):
    return fromstring(text)  # noqa: S314 - our own drawings


@pytest.fixture(scope="module")
def drawn():
    return [svg(draw(figure), f"f{at}", figure["title"], figure["caption"]) for at, figure in enumerate(FIGURES)]


def test_is_a_named_image_with_ids_of_its_own(drawn):
    for at, text in enumerate(drawn):
        root = parse(text)
        assert root.attrib["role"] == "img"
        ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert len(ids) == len(set(ids))
        assert all(each.startswith(f"f{at}-") for each in ids)
        assert root.attrib["aria-labelledby"].split() == [root[0].attrib["id"], root[1].attrib["id"]]
        assert (root[0].text, root[1].text) == (FIGURES[at]["title"], FIGURES[at]["caption"])
        used = re.findall(r"(?:href=\"|url\()#([\w-]+)", text.replace("url(#a)", ""))
        assert set(used) <= set(ids)


def test_ink_is_the_page_s_and_nothing_says_when(drawn):
    for text in drawn:
        assert "currentColor" in text
        assert "#000000" not in text
        assert "<metadata" not in text
        assert "<style" not in text


def test_text_stays_text_and_a_dollar_is_a_dollar(drawn):
    words = [" ".join(parse(text).itertext()) for text in drawn]
    assert "numbers shuffled" in words[0]
    assert "$x_1$" in words[1]
    assert '<script>alert("x")</script>' in words[1]
    assert "\u22120.61" in words[2]  # a cell of the matrix
    assert "10,000" in words[3]  # a tick of the log axis
    assert "dolphin" in words[4]
    assert DANGER[:9] in words[1]


def test_same_figure_same_bytes_and_the_picture_is_one(drawn):
    again = draw(FIGURES[3])
    assert svg(again, "f3", FIGURES[3]["title"], FIGURES[3]["caption"]) == drawn[3]
    assert png(again) == png(draw(FIGURES[3]))
    assert png(again).startswith(b"\x89PNG")


@cases("kind", ["bars", "matrix", "curves", "scatter"])
def test_empty_and_lone_figures_are_drawn(kind):
    words = {"kind": kind, "title": "t", "caption": "c", "x": "x", "y": "y"}
    words |= {"row_title": "r", "column_title": "c", "value_title": "v"}
    for full in (False, True):
        bars = [{"label": "", "value": None}] * full
        curves = [{"label": "a", "points": [{"x": x, "value": None if x else 1.0} for x in (0, None, 5)]}] * full
        points = [{"label": "a", "x": None, "y": 1.0}, {"label": "b", "x": 0.0, "y": 0.0}] * full
        cells = {"rows": ["a"] * full, "columns": ["b"] * full, "values": [[None]] * full}
        figure = {**words, "bars": bars, "curves": curves, "points": points, "log_x": True, **cells}
        report = {"title": "t", "claims": [], "experiments": [{"name": "n", "title": "n", "figures": [figure]}]}
        (whole,) = checked(report)["experiments"][0]["figures"]
        parse(svg(draw(whole), "f", "t", "c"))
