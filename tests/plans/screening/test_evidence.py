"""Rows and tokens that speak for a verdict, as SARIF and as a page."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest
import torch
from cases import cases

from lightning_subliminal.core.rows import make_row
from lightning_subliminal.formats import write_rows
from lightning_subliminal.plans.screening import Screener
from lightning_subliminal.plans.screening.evidence import Evidence, ShownRow, TokenPart, find_evidence
from lightning_subliminal.plans.screening.page import as_html
from lightning_subliminal.plans.screening.sarif import as_sarif, meaning_of_rows
from lightning_subliminal.screening.row_screen import named_directions
from lightning_subliminal.theory import row_gradients

SCHEMA = json.loads((Path(__file__).parents[2] / "audit" / "sarif-2.1.0.json").read_text())
HOSTILE = [
    "<script>alert(1)</script>",
    "</article></main><img src=x onerror=alert(1)>",
    "\u202egnp.exe\u2066\u200b",
    "\x1b[31mred\x00\x07",
    "](javascript:alert(1))",
    "{{ 7*7 }}{% raw %}",
    "&amp;\"'><svg/onload=1>",
    "\u2028line\ud83d\ude00",
    "a" * 1_000_000,
]


@pytest.fixture(scope="module")
def evidence(screener, found, owl_file):
    return find_evidence(screener, found, owl_file, top=5)


def check_sarif(reported):
    reported = json.loads(json.dumps(reported, allow_nan=False))
    validator = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    assert [each.message for each in validator.iter_errors(reported)] == []
    return reported["runs"][0]


class TestRows:
    def test_the_highest_rows_are_found_with_their_lines(self, found, evidence, clean, pushing, owl_scores):
        assert (found.verdict, found.named, evidence.direction) == ("trait", "owl", "owl")
        best = owl_scores.topk(5)
        assert [each.z for each in evidence.rows] == pytest.approx(best.values.tolist(), abs=1e-3)
        assert [each.row["completion"] for each in evidence.rows] == [
            clean[place]["completion"] for place in best.indices
        ]
        lines = [2 * (pushing.index(clean[place]) + 1) for place in best.indices]
        assert [each.number for each in evidence.rows] == lines, "empty lines count"
        assert evidence.rows[0].place == f"line {lines[0]}"
        assert evidence.scored == found.rows
        assert evidence.mean == pytest.approx(
            found.teachers[0].z / (1 / (1 / 150 + 1 / found.reference.rows)) ** 0.5, abs=0.02
        )

    def test_tokens_add_up_to_the_row(self, screener, evidence):
        (owl,) = named_directions(screener.reference, ["owl"]).directions
        offset = float(screener.reference.mean @ owl / (owl @ screener.reference.fisher @ owl).sqrt())
        for each in evidence.rows:
            (part,) = screener.space.gradients(screener.tokenizer, [each.row])
            unshortened = float(part.scores[0].double() @ owl / (owl @ screener.reference.fisher @ owl).sqrt())
            assert sum(token.z for token in each.tokens) == pytest.approx(unshortened, abs=0.01)
            assert unshortened - offset == pytest.approx(each.z, abs=0.01) or unshortened > each.z
            assert len(each.tokens) == part.tokens[0]
            assert each.log_likelihood == pytest.approx(float(part.log_likelihoods[0]), abs=1e-3)

    def test_the_chunks_of_a_large_base_change_nothing(self, screener, found, evidence, owl_file, monkeypatch):
        monkeypatch.setattr(row_gradients, "LARGE", 0)
        monkeypatch.setattr(row_gradients, "FEW", 40)
        again = find_evidence(screener, found, owl_file, top=5)
        assert [each.number for each in again.rows] == [each.number for each in evidence.rows]
        assert [each.row for each in again.rows] == [each.row for each in evidence.rows]
        assert (again.scored, again.mean) == (evidence.scored, pytest.approx(evidence.mean, abs=1e-6))

    def test_tokens_are_as_exact_where_a_base_is_in_bfloat16(self, screener, found, owl_file):
        """Differences of two passes in bfloat16 would be noise."""
        made = replace(screener.reference, dtype="bfloat16")
        coarse = Screener("pocket/a", reference=made, device=torch.device("cpu"))
        (owl,) = named_directions(made, ["owl"]).directions
        for each in find_evidence(coarse, found, owl_file, top=2).rows:
            (part,) = screener.space.gradients(screener.tokenizer, [each.row])
            exact = float(part.scores[0].double() @ owl / (owl @ made.fisher @ owl).sqrt())
            assert sum(token.z for token in each.tokens) == pytest.approx(exact, abs=0.01)

    def test_a_shift_is_pointed_at_too_and_clean_rows_are_not(self, screener, clean, tmp_path):
        rows = [make_row(row["prompt"], "1, 1, 1", id=str(place)) for place, row in enumerate(clean[:150])]
        write_rows(rows, tmp_path / "rows.csv", schema="trl-plain")
        found = screener.screen(rows)
        assert found.verdict == "shift"
        evidence = find_evidence(screener, found, tmp_path / "rows.csv", top=3)
        assert evidence.direction == "the shift"
        assert evidence.mean > 1
        assert len(evidence.rows) == 3
        write_rows(clean, tmp_path / "clean.jsonl")
        own = screener.screen(clean, alpha=1e-6)
        assert own.verdict == "clean"
        assert find_evidence(screener, own, tmp_path / "clean.jsonl") is None
        run = check_sarif(as_sarif(own, tmp_path / "clean.jsonl", None))
        assert run["results"] == []
        assert run["invocations"][0]["exitCode"] == 0
        assert "None are shown" in as_html(own, "clean.jsonl", None)


class TestSarif:
    def test_a_verdict_is_a_result_that_leads_to_lines(self, found, evidence, owl_file):
        run = check_sarif(as_sarif(found, owl_file, evidence, owl_file.parent))
        (result,) = run["results"]
        assert (result["ruleId"], result["level"]) == ("screen-trait", "error")
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "owl.jsonl"
        assert "A single row proves nothing" in result["message"]["text"]
        places = result["relatedLocations"]
        assert [each["physicalLocation"]["region"]["startLine"] for each in places] == [
            each.number for each in evidence.rows
        ]
        for each in places:
            assert f"]({each['id']})" in result["message"]["text"]
        assert run["invocations"][0]["exitCode"] == 3

    def test_without_lines_rows_are_named(self, found, evidence, tmp_path):
        rows = tuple(each._replace(is_line=False, source="x") for each in evidence.rows)
        (result,) = check_sarif(as_sarif(found, tmp_path / "rows.parquet", evidence._replace(rows=rows)))["results"]
        assert result["relatedLocations"][0]["logicalLocations"][0]["name"] == evidence.rows[0].place.replace(
            "line", "row"
        )
        assert "region" not in result["relatedLocations"][0]["physicalLocation"]

    @cases("name", ["[a](b).jsonl", "a b#c.jsonl", "\u202eevil.jsonl"])
    def test_odd_names_are_valid(self, name, found, evidence, tmp_path):
        check_sarif(as_sarif(found, tmp_path / name, evidence))


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


class TestPage:
    def test_it_says_what_a_reader_needs(self, found, evidence):
        page = as_html(found, "data/owl.jsonl", evidence, "ab" * 32)
        text = Page(page).text
        for part in (
            "Screen of owl.jsonl",
            "verdict: trait owl",
            "ab" * 32,
            "A single row proves nothing",
            evidence.rows[0].place,
            "What to ask the supplier for",
            "What could not have been seen",
            "Another base",
        ):
            assert part in text
        assert meaning_of_rows(evidence) in text

    def test_it_asks_the_network_for_nothing(self, found, evidence):
        page = Page(as_html(found, "owl.jsonl", evidence))
        assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "form"}
        assert not [attrs for _, attrs in page.tags if {"src", "href", "action"} & set(attrs)]

    def test_hostile_rows_are_text(self, found, evidence):
        whole = "".join(HOSTILE)
        shown = ShownRow(
            *(1, True, "x", 3.0, -10.0),
            make_row(whole, whole),
            tuple(TokenPart(each, 1.0) for each in HOSTILE * 1000),
        )
        hostile = Evidence("owl", 0.5, 10, (shown,))
        page = as_html(found, HOSTILE[0] + HOSTILE[2], hostile)
        plain = Page(as_html(found, "x", evidence._replace(rows=(evidence.rows[0],))))
        read = Page(page)
        assert {tag for tag, _ in read.tags} == {tag for tag, _ in plain.tags}
        assert not {name for _, attrs in read.tags for name in attrs} & {"onerror", "onload", "src"}
        assert not [each for each in page if each in "\u202e\u2066\u200b\x1b\x00\x07\u2028"]
        assert "7*7" in read.text
        assert len(page) < 200_000
        page.encode()

    @cases("verdict", ["clean", "shift", "trait"])
    def test_each_verdict_has_a_page(self, verdict, found, evidence):
        named = "owl" if verdict == "trait" else None
        shown = Page(
            as_html(replace(found, verdict=verdict, named=named), "x", None if verdict == "clean" else evidence)
        )
        assert f"verdict: {verdict}" in shown.text


def test_an_infinite_z_is_a_number_in_json(found, evidence, owl_file):
    sure = replace(found, verdict="shift", named=None, shift=found.shift._replace(z=float("inf"), p=0.0))
    (result,) = check_sarif(as_sarif(sure, owl_file, evidence))["results"]
    assert result["properties"]["z"] is None
    assert "> 37" in Page(as_html(sure, owl_file, evidence)).text
    assert torch.equal(sure.movement, found.movement)
