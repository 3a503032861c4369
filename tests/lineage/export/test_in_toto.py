"""Our files are in-toto's already: they fit a schema written from its rules, and its own package's messages."""

import copy
import json
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.lineage import Material, provenance, result_statement, write_test_result
from lightning_subliminal.lineage.statement import PROVENANCE

SCHEMA = json.loads((Path(__file__).parent.parent / "in_toto.schema.json").read_text())


@pytest.fixture
def statements(student, tmp_path):
    """Statements as stages write them: teacher, rows, student, one declared, a test's result."""
    reported = [json.loads(each.statement.raw) for each in student if each.statement is not None]
    reported.append(json.loads(json.dumps(provenance("rows", {}, {"a.txt": "ab" * 32}, declared={"by": "somebody"}))))
    model = Material("model", "lightning-subliminal:students/s", {"dirHash": student[-1].statement.whole})
    write_test_result(
        tmp_path, "s", model, {"owl": (0.3, 0.4), "truth": (-0.01, 0.02), "code": None}, [student[0].material]
    )
    reported.append(json.loads((tmp_path / "test-results" / "s.json").read_text()))
    return reported


def errors(statement):
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
    return [each.message for each in jsonschema.Draft202012Validator(SCHEMA).iter_errors(statement)]


def test_the_schema_is_one():
    pytest.importorskip("jsonschema", reason="needs jsonschema").Draft202012Validator.check_schema(SCHEMA)


def test_every_statement_of_ours_fits_the_schema(statements):
    assert len(statements) == 5
    assert [errors(each) for each in statements] == [[], [], [], [], []]


@cases(
    ("path", "value"),
    [
        (["_type"], "https://in-toto.io/Statement/v0.1"),
        (["subject"], []),
        (["subject", 0, "digest"], {}),
        (["subject", 1, "digest", "sha256"], "AB" * 32),
        (["predicateType"], "provenance"),
        (["predicate"], {}),
        (["predicate", "buildDefinition", "buildType"], "stage"),
        (["predicate", "buildDefinition", "resolvedDependency"], []),
        (["predicate", "buildDefinition", "resolvedDependencies", 0], {"name": "base"}),
        (["predicate", "runDetails", "builder", "id"], None),
        (["predicate", "runDetails", "builder", "version"], {"torch": 2.1}),
        (["predicate", "runDetails", "metadata", "startedOn"], "yesterday"),
    ],
)
def test_the_schema_refuses_what_the_rules_forbid(statements, path, value):
    broken = copy.deepcopy(statements[0])
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert errors(broken)


def test_the_schema_takes_extensions_by_slsas_rule(statements):
    statements[0]["predicate"]["runDetails"]["metadata"]["acme_host"] = "x"
    assert not errors(statements[0])


@cases("change", [{"result": "passed"}, {"configuration": None}, {"passedTests": "owl"}])
def test_the_schema_refuses_what_is_no_test_result(statements, change):
    statements[-1]["predicate"] |= change
    assert errors(statements[-1])


def test_in_totos_package_takes_every_statement(statements):
    """Its Struct turns whole numbers into floats: the parts are compared, never bytes that it wrote."""
    statement = pytest.importorskip("in_toto_attestation.v1.statement", reason="needs in-toto-attestation")
    from google.protobuf.json_format import MessageToDict, ParseDict
    from in_toto_attestation.v1.statement_pb2 import Statement

    for each in statements:
        message = ParseDict(each, Statement())  # refuses fields that it doesn't know
        statement.Statement.copy_from_pb(message).validate()
        assert MessageToDict(message) == each, "3 equals 3.0"


def test_in_totos_package_takes_every_predicate(statements):
    pytest.importorskip("in_toto_attestation", reason="needs in-toto-attestation")
    from google.protobuf.json_format import MessageToDict, ParseDict
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult

    for each in statements:
        kind = Provenance if each["predicateType"] == PROVENANCE else TestResult
        reported = MessageToDict(ParseDict(each["predicate"], kind()))
        assert set(reported) == {name for name, value in each["predicate"].items() if value}


def test_an_empty_result_is_a_statement_too():
    assert not errors(result_statement([{"name": "m", "digest": {"sha256": "ab" * 32}}]))
