import dataclasses
import json

import pytest

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import Material
from lightning_subliminal.lineage.export import cyclonedx_bom

pytest.importorskip("cyclonedx", reason="needs cyclonedx-python-lib")
pytest.importorskip("jsonschema", reason="needs cyclonedx-python-lib[json-validation]")


def bom_of(nodes):
    return json.loads(cyclonedx_bom(nodes))


def properties(component):
    return {each["name"].removeprefix("lightning-subliminal:"): each["value"] for each in component["properties"]}


def test_the_standards_own_validator_takes_it(student, rows):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for nodes in (student, rows, student[:2]):
        assert validator.validate_str(cyclonedx_bom(nodes)) is None


def test_the_library_reads_it_again(student):
    from cyclonedx.model.bom import Bom

    bom = Bom.from_json(bom_of(student))
    assert {each.name for each in bom.components} == {"pocket/a", "teachers/t", "rows/r"}


def test_a_model_has_its_files_digests_and_its_base_as_ancestor(student):
    model = bom_of(student)["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "students/s")
    reported = {each["name"]: each["hashes"][0]["content"] for each in model["components"]}
    assert reported == student[-1].statement.files
    assert "hashes" not in model, "a dirHash is no file's SHA-256"
    assert properties(model)["dirHash"] == student[-1].statement.whole
    assert properties(model)["statementSha256"] == student[-1].statement.sha256
    assert [each["name"] for each in model["pedigree"]["ancestors"]] == ["pocket/a"]


def test_dependencies_lead_from_the_student_to_the_teacher(student):
    bom = bom_of(student)
    names = {each["bom-ref"]: each["name"] for each in [bom["metadata"]["component"], *bom["components"]]}
    needs = {
        names[each["ref"]]: {names[ref] for ref in each.get("dependsOn", [])}
        for each in bom["dependencies"]
        if each["ref"] in names
    }
    assert needs["students/s"] == {"pocket/a", "rows/r"}
    assert needs["rows/r"] == {"pocket/a", "teachers/t"}
    assert needs["pocket/a"] == set()


def test_the_card_names_data_and_says_that_a_model_wrote_it(student):
    bom = bom_of(student)
    card = bom["metadata"]["component"]["modelCard"]
    [data] = [each for each in bom["components"] if each["type"] == "data"]
    assert card["modelParameters"]["datasets"] == [{"ref": data["bom-ref"]}]
    assert card["modelParameters"]["approach"] == {"type": "supervised"}
    assert any("written by the model teachers/t" in each for each in card["considerations"]["technicalLimitations"])
    assert data["data"][0]["description"] == "Written by the model teachers/t."
    assert properties(data["data"][0]["contents"])["rows:rows.parquet"] == "3"
    assert properties(data)["filter"].startswith("lightning_subliminal.filters.numbers.NumberList sha256:abab")


def test_the_architecture_comes_from_a_config_that_is_as_it_was_recorded(student):
    teacher = student[:2]
    parameters = bom_of(teacher)["metadata"]["component"]["modelCard"]["modelParameters"]
    assert parameters == {"modelArchitecture": "LlamaForCausalLM", "architectureFamily": "llama"}
    (teacher[-1].folder / "config.json").write_text('{"architectures": ["Other"]}')
    assert "modelCard" not in bom_of(teacher)["metadata"]["component"], "what changed since is not known"


def test_the_same_lineage_gives_the_same_bytes(student):
    assert cyclonedx_bom(student) == cyclonedx_bom(student)
    assert "timestamp" not in bom_of(student)["metadata"]


def test_nothing_is_made_up(student):
    text = cyclonedx_bom(student)
    assert not [word for word in ("license", "author", "supplier", "publisher", "copyright") if f'"{word}' in text]


def test_a_file_of_data_that_is_only_named_keeps_its_digest(lab):
    lab.add("student", "s", [lab.base, Material("rows", "mine.jsonl", {"sha256": "12" * 32})], {"a.bin": b""})
    [data] = [each for each in bom_of(lab.nodes)["components"] if each["type"] == "data"]
    assert data["hashes"] == [{"alg": "SHA-256", "content": "12" * 32}]


def test_a_digest_that_is_none_is_reported(lab):
    lab.add("student", "s", [Material("rows", "mine.jsonl", {"sha256": "no digest"})], {"a.bin": b""})
    with pytest.raises(InputError, match=r"can't be exported as CycloneDX 1\.6: .*no digest") as caught:
        cyclonedx_bom(lab.nodes[1:])
    assert "\n" not in str(caught.value)


def test_a_teacher_of_settings_gets_no_files_digest(lab):
    lab.add("rows", "r", [Material("teacher", "my.Api", {"sha256": "12" * 32})], {"a.txt": b""})
    [model] = bom_of(lab.nodes[1:])["components"]
    assert "hashes" not in model
    assert properties(model)["sha256"] == "12" * 32


def test_the_error_says_what_to_install(student, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cyclonedx", None)
    with pytest.raises(InputError, match=r"pip install 'lightning-subliminal\[lineage\]'"):
        cyclonedx_bom(student)


def test_names_of_others_are_kept_as_they_are(lab):
    odd = 'a "quoted" \u202e name </script>\n'
    lab.add("student", "s", [dataclasses.replace(lab.base, uri=odd, digest={})], {"a.bin": b""})
    assert [each["name"] for each in bom_of(lab.nodes[1:])["components"]] == [odd]
