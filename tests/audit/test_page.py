"""The page of an audit and its drawing: valid, self-contained, safe with others' text, and narrow for long chains."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from audit.chains import artefact, generation, student, teacher
from lightning_subliminal import bases
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.audit.views.page import as_html, as_svg, lanes
from lightning_subliminal.audit.views.view import AuditView
from lightning_subliminal.lineage import Material

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "br", "link", "img", "hr", "input"}
ODD = "<script>alert(1)</script>&\x1b[0m\x00\ud800"

pytestmark = pytest.mark.usefixtures("cache")


def look(path):
    return audit(path, digests=Digests(remember=False), measure=False)


@pytest.fixture
def found(cache):
    return look(student(cache, generation(cache, teacher(cache))))


def chain(cache, number):
    writer = teacher(cache)
    for each in range(number):
        writer = student(cache, generation(cache, writer, number=each), seed=each)
    return look(writer)


def drawn(found):
    return ElementTree.fromstring(as_svg(found))  # noqa: S314 - our own


class Page(HTMLParser):
    """Elements with their attributes; fails where a tag is closed that is not open, or stays open."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.deepest = [], [], 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.deepest = max(self.deepest, len(self.open))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


class TestPage:
    def test_it_is_well_formed_and_its_links_lead_somewhere(self, found):
        page = Page(as_html(found))
        ids = [each["id"] for _, each in page.elements if "id" in each]
        assert len(ids) == len(set(ids))
        links = [each["href"] for each in page.all("a")]
        assert links
        assert {each.removeprefix("#") for each in links} <= set(ids)

    def test_it_needs_nothing_else(self, found):
        text = as_html(found)
        page = Page(text)
        assert not any(page.all(each) for each in ("script", "link", "img", "iframe"))
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)
        (policy,) = [each["content"] for each in page.all("meta") if "http-equiv" in each]
        assert policy.startswith("default-src 'none'")

    def test_it_speaks_to_screen_readers_and_small_windows(self, found):
        page = Page(as_html(found))
        assert page.all("html")[0]["lang"] == "en"
        assert any(
            each.get("name") == "viewport" and "width=device-width" in each["content"] for each in page.all("meta")
        )
        assert len(page.all("caption")) == len(page.all("table")) == 2
        assert all(each.get("scope") in ("col", "row") for each in page.all("th"))
        (drawing,) = page.all("svg")
        assert drawing["role"] == "img"
        assert {each["id"] for tag, each in page.elements if tag in ("title", "desc") and "id" in each} == set(
            drawing["aria-labelledby"].split()
        )
        # What scrolls can be reached by the keyboard, and has a name.
        (scroll,) = [each for each in page.all("div") if each.get("class") == "scroll"]
        assert (scroll["tabindex"], scroll["role"]) == ("0", "region")
        assert scroll["aria-label"]
        assert "prefers-color-scheme: dark" in as_html(found)

    def test_it_has_verdict_answers_findings_and_every_digest(self, found):
        text = as_html(found)
        shown = AuditView(found)
        for each in shown.answers():
            assert each.question in text
            assert all(says in text for says in each.says)
        assert shown.verdict() in text
        assert all(f"<br>{group.rule}" in text for group in shown.groups())
        for node in shown.nodes:
            assert node.statement.sha256 in text
            assert all(sha in text for sha in node.statement.files.values())
        assert len(Page(text).all("details")) == len(shown.nodes)

    def test_a_wrong_artefact_looks_wrong(self, cache, found):
        assert 'class="verdict"' in as_html(found)
        (found.root.path / "adapter_model.safetensors").write_bytes(b"other")
        assert 'class="verdict wrong"' in as_html(look(found.root.path))

    def test_text_of_others_is_text(self, cache):
        odd = [
            bases.material("pocket/a"),
            Material("rows", ODD.encode("utf-8", "replace").decode(), {"sha256": "1" * 64}),
        ]
        folder = artefact(cache, "student", {"of": "odd"}, odd)
        found = look(folder)
        for node in found.graph.nodes.values():
            node.label = node.label if node.kind != "rows" else ODD  # a name may hold what JSON can't
        text = as_html(found)
        assert not Page(text).all("script")
        assert "&lt;script&gt;" in text
        text.encode()
        drawn(found)

    def test_a_long_chain_does_not_nest_without_end(self, cache):
        short, long = Page(as_html(chain(cache / "1", 3))), Page(as_html(chain(cache / "2", 30)))
        assert long.deepest == short.deepest
        assert len(long.all("details")) == 3 * 30 + 2


class TestDrawing:
    def test_it_is_xml_with_a_row_an_artefact_and_a_line_a_link(self, found):
        svg = drawn(found)
        assert svg.tag == f"{SVG}svg"
        assert svg.find(f"{SVG}title").text.startswith("What students/")
        assert svg.find(f"{SVG}desc").text.startswith("5 artefacts, each above what it was made from.")
        groups = svg.findall(f"{SVG}g")
        assert [each.find(f"{SVG}title").text.split()[0] for each in groups] == [
            *("student", "rows", "completions", "teacher", "base"),
        ]
        heights = [float(each.find(f"{SVG}circle").get("cy")) for each in groups]
        assert heights == sorted(set(heights))
        edges = [each.find(f"{SVG}title").text for each in svg.findall(f"{SVG}path")]
        assert len(edges) == sum(len(node.links) for node in found.graph.nodes.values())
        assert any(each.startswith("teacher of completions/") for each in edges)

    def test_the_state_is_in_shape_and_words_and_not_in_colour_alone(self, cache, found):
        (found.root.path / "adapter_model.safetensors").write_bytes(b"other")
        groups = drawn(look(found.root.path)).findall(f"{SVG}g")
        signs = [each.find(f"{SVG}path").get("d") for each in groups]
        assert signs[0] != signs[1]
        assert "wrong" in groups[0].find(f"{SVG}title").text
        assert "changed-file" in "".join(groups[0].itertext())

    def test_a_chain_of_many_is_long_and_not_wide(self, cache):
        short, long = (drawn(chain(cache / str(number), number)) for number in (2, 40))
        assert float(long.get("width")) == pytest.approx(float(short.get("width")), abs=10)
        assert float(long.get("height")) > 10 * float(short.get("height"))
        assert float(long.get("width")) < 800

    def test_all_that_is_drawn_lies_inside(self, found):
        svg = drawn(found)
        for each in svg.iter(f"{SVG}path"):
            if each.get("class") == "audit-sign":
                continue
            numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", each.get("d"))]
            assert min(numbers) >= 0
            assert max(numbers) <= max(float(svg.get("width")), float(svg.get("height")))


class TestLanes:
    def test_no_line_runs_through_an_artefact_that_is_not_its_end(self):
        # A diamond with a short cut, a line beside it, and a parent that all share.
        links = [[(1, "a"), (2, "b"), (5, "c")], [(3, "a"), (5, "c")], [(3, "a"), (4, "b")], [(5, "c")], [(5, "c")], []]
        layout = lanes([None] * 6, links)
        assert len(layout.edges) == sum(map(len, links))
        for child, parent, _ in layout.edges:
            between = range(child + 1, parent)
            assert all(layout.lane[row] != layout.lane[parent] for row in between), (child, parent)

    def test_children_of_one_parent_share_its_lane(self):
        links = [[(row + 1, "a"), (50, "base")] for row in range(49)] + [[(50, "base")], []]
        assert lanes([None] * 51, links).count == 2

    def test_a_link_back_takes_no_lane(self):
        layout = lanes([None] * 2, [[(1, "a")], [(0, "back")]])
        assert layout.count == 1
        assert layout.edges == [(0, 1, "a"), (1, 0, "back")]


def test_the_list_nests_each_parent_under_its_child(found):
    def parents(item):
        return {each.findall("span")[1].text: each for each in item.findall("ul/li")}

    page = as_html(found)
    outline = page[page.index('<ul class="outline">') : page.index('<h2 id="findings">')]
    root = ElementTree.fromstring(outline)  # noqa: S314 - our own page
    assert list(parents(root.find("li"))) == ["base", "rows"]
    rows = parents(parents(root.find("li"))["rows"])
    assert list(rows) == ["completions", "base", "teacher"]
    assert list(parents(rows["completions"])) == ["base", "teacher"]
