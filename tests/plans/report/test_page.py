"""The page: whole, safe with any text, the same each time, and loading nothing."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.report import render
from lightning_subliminal.plans.report.contents import VERDICTS, checked
from lightning_subliminal.plans.report.number_format import bounds, chance, estimate, number

from .sample import sample_report

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """Follows the tags of a page, and keeps what a test asks for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.scripts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def page():
    return render(sample_report())


@pytest.fixture(scope="module")
def read(page):
    return Reader(page)


def test_is_well_formed_with_unique_ids_and_links_that_lead_somewhere(read):
    assert not read.open
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in read.tags:
        for value in attributes.values():
            for target in re.findall(r"^#(.+)|url\(#([^)]+)\)", value or ""):
                assert max(target) in ids
        assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids)


def test_loads_nothing_and_runs_only_its_own_script(page, read):
    for tag, attributes in read.tags:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form", "image", "audio", "video")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#") or (tag, attributes["href"]) == ("link", "data:,")
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page.replace("url(#a)", ""))
    (script,) = read.scripts
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(attributes["content"] for tag, attributes in read.tags if "http-equiv" in attributes)
    assert f"script-src 'sha256-{allowed}'" in policy
    assert "default-src 'none'" in policy


def test_dangerous_text_is_only_text(page, read):
    assert page.count("<script") == 1
    assert "\x00" not in page
    assert any('<script>alert("x")</script> & "quotes"' in word for word in read.words)


def test_says_all_that_the_report_holds(read):
    text = " ".join(" ".join(read.words).split())
    for claim in sample_report()["claims"][1:]:
        assert claim["says"] in text
        assert estimate(claim["value"], claim["low"], claim["high"]).split()[0] in text
    assert "What failed" in text
    assert "students/code-eagle-3" in text
    assert sum(tag == "figure" for tag, _ in read.tags) == 5
    assert [tag for tag, _ in read.tags if tag in ("h1", "h2")] == ["h1"] + 7 * ["h2"]


def test_same_report_same_bytes(page):
    assert render(sample_report()) == page


def test_a_report_of_nothing_is_a_page_too():
    Reader(render({"title": "None", "claims": [], "experiments": [{"name": "x", "title": "X"}]}))


@cases(
    ("value", "shown"),
    [
        ((1.234, 1.101, 1.357), "+1.23 [+1.10, +1.36]"),
        ((-0.0312, -0.0333, -0.0291), f"{MINUS}0.0312 [{MINUS}0.0333, {MINUS}0.0291]"),
        ((1234.0, 1200.0, 1268.0), "+1,234 [+1,200, +1,268]"),
        ((1.0, 1.0, 1.0), "+1.00 [+1.00, +1.00]"),
        ((0.5, None, None), "+0.50"),
        ((0.0012, None, 3.0), "+0.0012"),
        ((-0.001, -0.2, 0.2), f"0.00 [{MINUS}0.20, +0.20]"),
        ((None, 1.0, 2.0), DASH),
        ((float("nan"), None, None), DASH),
    ],
)
def test_numbers_have_the_digits_that_they_bear(value, shown):
    assert estimate(*value) == shown


def test_other_numbers():
    assert number(2.5e-9) == f"+2.50e{MINUS}09"
    assert number(3000, signed=False) == "3,000"
    assert [bounds(*each) for each in ((None, None), (0, None), (None, 1), (-1, 1))] == [
        *(None, "at least 0", "at most +1.00", f"{MINUS}1.00 to +1.00"),
    ]
    assert [chance(p) for p in (None, 0.0001, 0.0123, 0.5)] == [None, "< 0.001", "0.012", "0.50"]


@cases(
    ("change", "message"),
    [
        (lambda report: report.pop("claims"), "report: 'claims' is a required property"),
        (
            lambda report: report["claims"][3].update(value="much"),
            r"report.claims\[3\].value: 'much' is not of type 'number'",
        ),
        (
            lambda report: report["claims"][3].update(verdict="yes"),
            r"report.claims\[3\].verdict: 'yes' is not one of \['reproduced'",
        ),
        (lambda report: report["claims"].append(report["claims"][0]), "again"),
        (lambda report: report["experiments"].append(report["experiments"][0]), "'numbers' twice"),
        (
            lambda report: report["experiments"][0]["figures"][0].update(kind="pie"),
            r"figures\[0\].kind: 'pie' is not one of \['bars'",
        ),
        (lambda report: report["experiments"][2]["figures"][0]["low"].pop(), "low is not 5 x 5"),
    ],
)
def test_an_invalid_report_is_refused_with_its_place(change, message):
    report = sample_report()
    change(report)
    with pytest.raises(InputError, match=message):
        checked(report)


@cases(
    ("verdicts", "counted"),
    [
        (["holds", "inconclusive"], ["holds", "does not hold", "inconclusive", "not measured"]),
        (["reproduced"], ["reproduced", "not reproduced", "inconclusive", "not measured"]),
        (["does not hold", "not reproduced"], list(VERDICTS)),
        ([], []),
    ],
)
def test_the_words_that_are_counted_are_those_of_the_claims(verdicts, counted):
    claims = [{"id": str(at), "experiment": "x", "says": "s", "verdict": word} for at, word in enumerate(verdicts)]
    text = render({"title": "t", "claims": claims, "experiments": [{"name": "x", "title": "X"}]})
    strip = text.partition('<ul class="strip">')[2].partition("</ul>")[0]
    assert re.findall(r"</svg>([a-z ]+)</span>", strip) == counted


def test_a_warning_and_the_targeted_figure_stand_on_the_page():
    beside = {"value": 1.5, "low": 1.0, "high": 2.0, "rank": 1.5, "rank_of": 20}
    claim = {"id": "a", "experiment": "x", "says": "s", "verdict": "holds", "value": 1.0, "targeted": beside}
    missing = claim | {"id": "b", "targeted": {"reason": "two share one chance"}}
    experiment = {"name": "x", "title": "X", "warnings": ["60% are none of the 20"]}
    text = " ".join(render({"title": "t", "claims": [claim, missing], "experiments": [experiment]}).split())
    assert "targeted +1.50 [+1.00, +2.00], rank 1.5 of 20" in text
    assert "targeted: n/a, two share one chance" in text
    assert "<strong>Warning:</strong> 60% are none of the 20." in text
