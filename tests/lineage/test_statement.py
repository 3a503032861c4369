import hashlib
import json
import os
import re

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import Material, provenance, read_statement, result_statement
from lightning_subliminal.lineage.statement import BUILD_TYPE, DECLARED_TYPE, as_bytes

FILES = {"b.txt": "ab" * 32, "a/c.bin": "cd" * 32}
BASE = Material("base", "base:pocket/a", {"dirHash": "12" * 32}, "34" * 32)
FILTER = Material("filter", "lightning_subliminal.filters.numbers.NumberList", {"sha256": "56" * 32})
SECRETS = {
    "OPENAI_API_KEY": "sk-proj-openai-secret",
    "HF_TOKEN": "hf_hub-secret",
    "AWS_SECRET_ACCESS_KEY": "aws-secret",
    "LIGHTNING_SUBLIMINAL_KEY_PASSPHRASE": "passphrase-secret",
}


def made(**changes):
    given = {"kind": "student", "settings": {"seed": 3, "text": "é"}, "files": FILES, "materials": [BASE, FILTER]}
    return provenance(**given | changes)


def read(reported, name="it.json"):
    return read_statement(name, reported if isinstance(reported, bytes) else json.dumps(reported).encode())


def refused(reported, message):
    with pytest.raises(InputError, match=message) as caught:
        read(reported)
    assert str(caught.value).startswith("it.json ")
    assert "\n" not in str(caught.value)


def test_it_has_what_in_toto_and_slsa_require():
    reported = made(rows={"b.txt": ("78" * 32, 5)})
    assert reported["_type"] == "https://in-toto.io/Statement/v1"
    assert reported["predicateType"] == "https://slsa.dev/provenance/v1"
    assert set(reported) == {"_type", "subject", "predicateType", "predicate"}
    names = [each["name"] for each in reported["subject"]]
    assert len(set(names)) == len(names) == 4
    for each in reported["subject"]:
        assert each["digest"]
        assert all(re.fullmatch("[0-9a-f]{64}", sha) for sha in each["digest"].values())
    definition, details = reported["predicate"]["buildDefinition"], reported["predicate"]["runDetails"]
    assert definition["buildType"] == BUILD_TYPE
    assert re.match("[a-z]+:", BUILD_TYPE), "a URI"
    assert definition["externalParameters"] == {"kind": "student", "settings": {"seed": 3, "text": "é"}}
    assert re.match("[a-z]+:", details["builder"]["id"])
    assert all(isinstance(value, str) for value in details["builder"]["version"].values())
    for each in definition["resolvedDependencies"] + details["builder"]["builderDependencies"]:
        assert any(each.get(key) for key in ("uri", "digest", "content")), "a ResourceDescriptor has one of these"
    assert set(reported["predicate"]) == {"buildDefinition", "runDetails"}
    assert set(definition) == {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"}


def test_in_toto_s_own_reader_takes_it():
    reader = pytest.importorskip("in_toto_attestation.v1.statement", reason="in-toto's own implementation")
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2

    for reported in (
        made(rows={"b.txt": ("78" * 32, 5)}),
        result_statement([BASE.as_json()], ["a"], ["b"], ["c"], [FILTER.as_json()]),
    ):
        found = json_format.ParseDict(reported, statement_pb2.Statement())
        reader.Statement.copy_from_pb(found).validate()
        assert [dict(each.digest) for each in found.subject] == [each["digest"] for each in reported["subject"]]


def test_it_is_read_back_as_it_was_written():
    statement = read(as_bytes(made(rows={"b.txt": ("78" * 32, 5)})))
    assert (statement.kind, statement.build_type) == ("student", BUILD_TYPE)
    assert statement.files == FILES
    assert statement.rows == {"b.txt": ("78" * 32, 5)}
    assert statement.materials == [BASE, FILTER]
    assert statement.settings == {"seed": 3, "text": "é"}
    lines = "".join(f"{FILES[name]}  {name}\n" for name in sorted(FILES))
    assert statement.whole == hashlib.sha256(lines.encode()).hexdigest()
    assert statement.sha256 == hashlib.sha256(statement.raw).hexdigest()
    assert {"python", "system", "threads"} <= set(
        statement.predicate["buildDefinition"]["internalParameters"]["environment"]
    )


def test_the_invocation_is_the_digest_of_the_parameters():
    text = '{"kind":"student","settings":{"seed":3,"text":"é"}}'
    assert read(as_bytes(made())).invocation == hashlib.sha256(text.encode()).hexdigest()
    assert read(as_bytes(made(files={}, materials=[]))).invocation == read(as_bytes(made())).invocation
    assert read(as_bytes(made(kind="teacher"))).invocation != read(as_bytes(made())).invocation


def test_the_same_stage_gives_the_same_bytes():
    again = made(settings={"text": "é", "seed": 3}, files=dict(reversed(FILES.items())), rows={"b.txt": ("78" * 32, 5)})
    assert as_bytes(again) == as_bytes(made(rows={"b.txt": ("78" * 32, 5)}))
    for changes in ({"settings": {"seed": 4}}, {"files": {"b.txt": "ab" * 32}}, {"materials": [FILTER, BASE]}):
        assert as_bytes(made(**changes)) != as_bytes(made()), changes


def test_no_secret_and_nobody_s_name_gets_into_it(monkeypatch):
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("USER", "ada-lovelace")
    from lightning_subliminal.lineage import environment

    for part in ("package_versions", "environment"):
        getattr(environment, part).cache_clear()  # of before the secrets were there
    text = as_bytes(made()).decode()
    assert not [secret for secret in SECRETS.values() if secret in text]
    assert "ada-lovelace" not in text
    assert os.path.expanduser("~/") not in text
    assert os.uname().nodename not in text


def test_a_judge_s_key_is_not_among_its_settings(monkeypatch):
    from lightning_subliminal.judges import OpenAICompatibleJudge
    from lightning_subliminal.lineage import setting_material

    monkeypatch.setenv("OPENAI_API_KEY", SECRETS["OPENAI_API_KEY"])
    judge = OpenAICompatibleJudge(model="gpt-x")
    text = as_bytes(made(settings={"judge": judge}, materials=[setting_material("judge", judge)])).decode()
    assert "gpt-x" in text
    assert SECRETS["OPENAI_API_KEY"] not in text


def test_who_declares_says_so_and_claims_no_versions():
    reported = made(declared={"by": "Ada", "note": "from memory"})
    statement = read(as_bytes(reported))
    assert statement.build_type == DECLARED_TYPE != BUILD_TYPE
    assert statement.versions == {}
    assert reported["predicate"]["runDetails"]["builder"] == {"id": DECLARED_TYPE}
    assert reported["predicate"]["buildDefinition"]["internalParameters"] == {
        "declared": {"by": "Ada", "note": "from memory"}
    }


def test_unknown_fields_are_ignored():
    reported = made() | {"signedBy": "x"}
    reported["subject"][1] |= {"mediaType": "text/plain", "x_y": [1]}
    reported["predicate"] |= {"x_more": {}}
    reported["predicate"]["buildDefinition"] |= {"x_y": 3}
    reported["predicate"]["buildDefinition"]["resolvedDependencies"][0] |= {"downloadLocation": "https://example.org"}
    statement = read(reported)
    assert statement.files == FILES
    assert statement.materials == [BASE, FILTER]


@cases(
    "predicate",
    [
        {},
        {"buildDefinition": 3, "runDetails": []},
        {"buildDefinition": {"externalParameters": [], "resolvedDependencies": {"a": 1}}, "runDetails": {"builder": 1}},
        {"buildDefinition": {"resolvedDependencies": [3, None, [], {}]}},
        {"buildDefinition": {"resolvedDependencies": [{"name": 3, "digest": [], "annotations": "x"}]}},
        {"buildDefinition": {"resolvedDependencies": [{"annotations": {"statementSha256": 3}}]}},
    ],
)
def test_a_predicate_of_any_shape_can_be_looked_at(predicate):
    """Others write statements, too, and an attacker may; what is not understood says nothing."""
    statement = read(made() | {"predicate": predicate})
    assert statement.files == FILES
    assert statement.kind == "artefact"
    assert (statement.settings, statement.invocation, statement.build_type) == (None, None, "")
    assert dict(statement.versions) == {}
    assert all(each.statement is None and not each.digest for each in statement.materials)
    del (reported := made())["predicate"]
    assert read(reported).materials == [], "it is optional"


def subject(*descriptors):
    return made() | {"subject": list(descriptors)}


GOOD = {"name": "a", "digest": {"sha256": "ab" * 32}}


@cases(
    ("reported", "message"),
    [
        (made() | {"_type": "https://in-toto.io/Statement/v0.1"}, "not an in-toto Statement v1: its `_type` is 'https"),
        (made() | {"_type": None}, "is not an in-toto Statement v1"),
        (made() | {"_type": ["https://in-toto.io/Statement/v1"]}, "is not an in-toto Statement v1"),
        (subject(), "has no `subject`"),
        (made() | {"subject": GOOD}, "has no `subject`"),
        (made() | {"predicateType": 3}, "has no `predicateType`"),
        (made() | {"predicate": []}, "a `predicate` that is not an object"),
        (made() | {"predicate": None}, "a `predicate` that is not an object"),
        (subject("a"), "has a subject without a digest"),
        (subject({"name": "a"}), "has a subject without a digest"),
        (subject({"name": "a", "digest": {}}), "has a subject without a digest"),
        (subject({"name": "a", "digest": ["ab"]}), "has a subject without a digest"),
        (subject({"name": "a", "digest": {"sha256": 3}}), "has a subject without a digest"),
        (subject({"name": "a", "digest": {"sha256": None}}), "has a subject without a digest"),
        (subject({"name": "a", "digest": {"sha256": "ab"}}), "not 64 lower-case hexadecimal digits"),
        (subject({"name": "a", "digest": {"sha256": "AB" * 32}}), "not 64 lower-case hexadecimal digits"),
        (subject({"name": "a", "digest": {"sha256": "xy" * 32}}), "not 64 lower-case hexadecimal digits"),
        (subject({"name": "a", "digest": {"sha256": "٣" * 64}}), "not 64 lower-case hexadecimal digits"),
        (subject(GOOD, {"name": "b", "digest": {"sha256": ""}}), "not 64 lower-case hexadecimal digits"),
        (subject(GOOD, GOOD), "has two subjects named 'a'"),
        (subject(GOOD, {"name": "a", "digest": {"sha256": "cd" * 32}}), "has two subjects named 'a'"),
        (subject({"name": 3, "digest": {"sha256": "ab" * 32}}), "or one whose name is not a text"),
        (subject({"name": ["a"], "digest": {"sha256": "ab" * 32}}), "or one whose name is not a text"),
        (b'{"_type": "x", "_type": "https://in-toto.io/Statement/v1"}', "is not strict JSON .duplicate key '_type'"),
    ],
)
def test_what_is_no_statement_is_reported(reported, message):
    refused(reported, message)


@cases("algorithm", ["dirHash", "merkleSha256"])
def test_the_other_digests_of_ours_are_hexadecimal_too(algorithm):
    refused(subject({"name": "a", "digest": {algorithm: "not hexadecimal"}}), "hexadecimal digits")


def test_subjects_without_a_name_may_be_several():
    statement = read(subject({"digest": {"sha256": "ab" * 32}}, {"digest": {"sha512": "of another algorithm"}}))
    assert statement.files == {}
    assert statement.whole is None


def test_a_missing_part_is_reported():
    for name in ("_type", "subject", "predicateType"):
        reported = made()
        del reported[name]
        refused(reported, f"`{name}`")


@cases(
    ("tests", "result"),
    [
        ({"passed": ["a"]}, "PASSED"),
        ({"passed": ["a"], "warned": ["b"]}, "WARNED"),
        ({"passed": ["a"], "warned": ["b"], "failed": ["c"]}, "FAILED"),
        ({}, "WARNED"),
    ],
)
def test_a_result_is_reported_as_in_toto_s_test_result(tests, result):
    reported = result_statement([BASE.as_json()], configuration=[FILTER.as_json()], **tests)
    assert reported["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert reported["predicate"]["result"] == result
    assert reported["predicate"]["configuration"] == [FILTER.as_json()]
    assert {name: reported["predicate"].get(f"{name}Tests", []) for name in ("passed", "warned", "failed")} == (
        {"passed": [], "warned": [], "failed": []} | tests
    )
    assert read(reported).predicate_type == reported["predicateType"]
