"""An audit for machines: SARIF with what its specification requires, and plain data under keys that stay."""

import json
from pathlib import Path
from urllib.parse import unquote, urlparse

import jsonschema
import pytest

from audit.chains import generation, student, teacher
from lightning_subliminal import __version__
from lightning_subliminal.audit import RULES, Digests, audit
from lightning_subliminal.audit.views.sarif import as_json, as_sarif

# Ours, from the text of the specification: what it requires of the objects that we write, and no property besides.
MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
PLACE = {
    "type": "object",
    "required": ["uri"],
    "additionalProperties": False,
    "properties": {"uri": {"type": "string", "format": "uri-reference"}, "uriBaseId": {"type": "string"}},
}


def closed(required, **properties):
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def many(items, least=0):
    return {"type": "array", "items": items, "minItems": least}


RULE = closed(
    ["id"], id={"type": "string"}, shortDescription=MESSAGE, defaultConfiguration=closed(["level"], level=LEVEL)
)
LOCATION = closed(
    [],
    physicalLocation=closed(["artifactLocation"], artifactLocation=PLACE),
    logicalLocations=many(closed(["name"], name={"type": "string"}, kind={"type": "string"})),
)
RESULT = closed(
    ["message", "ruleId", "level", "locations"],
    ruleId={"enum": list(RULES)},
    ruleIndex={"type": "integer", "minimum": 0},
    level=LEVEL,
    message=MESSAGE,
    locations=many(LOCATION, 1),
    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}},
)
DRIVER = closed(["name"], name={"type": "string"}, version={"type": "string"}, rules=many(RULE))
INVOCATION = closed(
    ["executionSuccessful"],
    executionSuccessful={"type": "boolean"},
    exitCode={"type": "integer"},
    exitCodeDescription={"type": "string"},
)
RUN = closed(
    ["tool", "results"],
    tool=closed(["driver"], driver=DRIVER),
    invocations=many(INVOCATION),
    originalUriBaseIds={"type": "object", "additionalProperties": PLACE},
    results=many(RESULT),
)
LOG = closed(
    ["version", "runs"],
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"const": "2.1.0"},
    runs={**many(RUN, 1), "maxItems": 1},
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "a cache"))
    return tmp_path / "a cache"


@pytest.fixture
def last(cache):
    return student(cache, generation(cache, teacher(cache)))


def look(path, **settings):
    return audit(path, digests=Digests(remember=False), measure=False, **settings)


@pytest.fixture
def wrong(cache, last):
    (last / "adapter_model.safetensors").write_bytes(b"other")
    (last / "more #1.txt").write_text("?")
    (next((cache / "completions").iterdir()) / "lineage.json").write_text("{")
    return last


class TestSarif:
    def test_it_has_what_is_required_and_nothing_unknown(self, wrong):
        reported = json.loads(json.dumps(as_sarif(look(wrong)), allow_nan=False))
        jsonschema.Draft202012Validator(LOG).validate(reported)

    def test_one_result_a_finding_and_one_rule_a_rule(self, wrong):
        found = look(wrong)
        (run,) = as_sarif(found)["runs"]
        driver = run["tool"]["driver"]
        assert (driver["name"], driver["version"]) == ("lightning-subliminal", __version__)
        assert [each["id"] for each in driver["rules"]] == list(RULES)
        assert len(run["results"]) == len(found.findings) > 3
        for result, finding in zip(run["results"], found.findings, strict=True):
            assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == finding.rule
            assert result["level"] == finding.level
            assert finding.says in result["message"]["text"]

    def test_levels_of_the_auditor_are_those_of_results(self, last):
        (run,) = as_sarif(look(last, levels={"unsigned": "error"}))["runs"]
        assert {each["level"] for each in run["results"] if each["ruleId"] == "unsigned"} == {"error"}
        assert run["invocations"][0]["exitCode"] == 3

    @pytest.mark.parametrize(
        "name",
        [
            "[click](https:example.org)",
            "[a\\](1)",
            "![](x)",
            "[b\\[c\\]](sarif:1)",
            "[[d]][e](f) [g](h)",
            "](",
            "[plain] (i)",
        ],
    )
    def test_names_that_look_like_links_are_none(self, last, name):
        (last / name).write_text("?")
        (run,) = as_sarif(look(last))["runs"]
        texts = "\n".join(each["message"]["text"] for each in run["results"])
        assert "](" not in texts
        assert name in texts.replace(r"\]\(", "]("), "nothing is lost"

    def test_places_lead_to_the_files(self, wrong, tmp_path):
        found = look(wrong)
        for here in (tmp_path, Path("/nowhere/at all")):
            (run,) = as_sarif(found, here)["runs"]
            base = run["originalUriBaseIds"]["%SRCROOT%"]["uri"]
            assert base.endswith("/")
            places = []
            for each in run["results"]:
                location = each["locations"][0]["physicalLocation"]["artifactLocation"]
                whole = base + location["uri"] if "uriBaseId" in location else location["uri"]
                assert " " not in whole
                assert "#" not in whole
                places.append(unquote(urlparse(whole).path))
            assert [str(Path(each)) for each in places] == [finding.path for finding in found.findings]

    def test_a_finding_keeps_its_fingerprint(self, wrong):
        def prints():
            return [each["partialFingerprints"] for each in as_sarif(look(wrong))["runs"][0]["results"]]

        assert prints() == prints()
        assert len({each["finding/v1"] for each in prints()}) == len(prints())

    def test_a_finding_without_a_place_stands_at_the_artefact(self, cache, last):
        found = look(last)
        found.findings[0] = found.findings[0].of("unsigned", "somewhere", "no place")
        result = as_sarif(found, Path("/"))["runs"][0]["results"][0]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith(last.name)
        assert result["locations"][0]["logicalLocations"][0]["name"] == "somewhere"


class TestJson:
    def test_it_is_plain_and_has_each_documented_key(self, wrong):
        reported = as_json(look(wrong))
        assert json.loads(json.dumps(reported, allow_nan=False)) == reported
        documented = as_json.__doc__
        for key in reported:
            assert f"``{key}``" in documented
        for name in ("answers", "findings", "nodes"):
            for key in reported[name][0]:
                assert f"``{key}``" in documented, key

    def test_the_graph_can_be_walked(self, last):
        reported = as_json(look(last))
        nodes = {each["key"]: each for each in reported["nodes"]}
        assert nodes[reported["root"]]["kind"] == "student"
        assert {link["key"] for each in nodes.values() for link in each["links"]} <= set(nodes)
        (rows,) = [each for each in nodes.values() if each["kind"] == "rows"]
        assert [each["role"] for each in rows["links"]] == ["completions", "base", "teacher"]
        assert rows["rows"]["rows.parquet"]["count"] == 5
        assert reported["expect"] == {
            "whole": nodes[reported["root"]]["identity"],
            "statement": nodes[reported["root"]]["statement"],
        }

    def test_it_says_what_the_exit_code_says(self, last, wrong):
        reported = as_json(look(wrong))
        assert (reported["holds"], reported["exit_code"]) == (False, 3)
        assert reported["verdict"].startswith("Wrong")
        assert [each["level"] for each in reported["findings"]] == sorted(
            (each["level"] for each in reported["findings"]), key=["error", "warning", "note"].index
        )

    def test_what_it_tells_to_expect_is_what_expect_takes(self, last):
        reported = as_json(look(last))
        for sha in reported["expect"].values():
            assert look(last, expect=sha).holds
        assert not look(last, expect="0" * 64).holds
