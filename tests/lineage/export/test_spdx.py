import io
import json

import pytest

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.export import spdx_document

spdx = pytest.importorskip("spdx_python_model", reason="needs spdx-python-model").v3_0_1


@pytest.fixture(autouse=True)
def _when(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767323045")  # 2026-01-02T03:04:05Z


def read(text):
    """Read a document with the bindings, which refuse unknown properties and wrong types."""
    found = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(text.encode()), found)
    return found


def relations(found):
    kinds = {
        getattr(spdx.RelationshipType, kind): kind
        for kind in dir(spdx.RelationshipType)
        if kind[0] != "_" and isinstance(getattr(spdx.RelationshipType, kind), str)
    }
    return {
        (each.from_.name, kinds[each.relationshipType], to.name)
        for each in found.foreach_type(spdx.Relationship)
        for to in each.to
    }


def test_it_is_read_back_with_its_relations(student):
    found = read(spdx_document(student))
    assert not found.missing_ids, "every reference leads to an element of the document"
    reported = relations(found)
    assert {
        ("students/s", "trainedOn", "rows/r"),
        ("students/s", "descendantOf", "pocket/a"),
        ("teachers/t", "descendantOf", "pocket/a"),
        ("teachers/t", "generates", "rows/r"),
        ("students/s", "contains", "adapter_model.safetensors"),
    } <= reported
    assert not [each for each in reported if each[:2] == ("pocket/a", "generates")], "the base is the teacher's"


def test_each_build_has_its_inputs_and_its_output(student):
    found = read(spdx_document(student))
    builds = {each.build_buildId: each for each in found.foreach_type(spdx.build_Build)}
    build = builds[student[-1].statement.invocation]
    assert build.build_buildType == student[-1].statement.build_type
    reported = {
        each.relationshipType.rpartition("/")[2]: {to.name for to in each.to}
        for each in found.foreach_type(spdx.Relationship)
        if each.from_ is build
    }
    assert reported == {"hasInput": {"pocket/a", "rows/r"}, "hasOutput": {"students/s"}}


def test_packages_say_what_is_known(student):
    found = read(spdx_document(student))
    models = {each.name: each for each in found.foreach_type(spdx.ai_AIPackage)}
    assert set(models) == {"pocket/a", "teachers/t", "students/s"}
    student_of = models["students/s"]
    parameters = {each.key: each.value for each in student_of.ai_hyperparameter}
    assert parameters == {"student.objective": "sft", "student.seed": "3"}, "the rows' own seed is not the student's"
    assert "written by the model teachers/t" in student_of.ai_informationAboutTraining
    [data] = found.foreach_type(spdx.dataset_DatasetPackage)
    assert data.dataset_datasetSize == 3
    assert data.dataset_dataCollectionProcess == "Written by the model teachers/t."
    assert data.dataset_dataPreprocessing[0].startswith("filter lightning_subliminal.filters.numbers.NumberList")


def test_digests_of_files_are_sha256_and_that_of_a_folder_is_not(student):
    found = read(spdx_document(student))
    [weights] = [each for each in found.foreach_type(spdx.software_File) if each.name == "adapter_model.safetensors"]
    assert [(each.algorithm.rpartition("/")[2], each.hashValue) for each in weights.verifiedUsing] == [
        ("sha256", student[-1].statement.files["adapter_model.safetensors"])
    ]
    [model] = [each for each in found.foreach_type(spdx.ai_AIPackage) if each.name == "students/s"]
    [whole] = model.verifiedUsing
    assert (whole.algorithm.rpartition("/")[2], whole.hashValue) == ("other", student[-1].statement.whole)
    assert "dirHash" in whole.comment


def test_it_does_not_claim_profiles_whose_demands_it_can_not_meet(student):
    [document] = read(spdx_document(student)).foreach_type(spdx.SpdxDocument)
    reported = {each.rpartition("/")[2] for each in document.profileConformance}
    assert reported == {"core", "software", "build"}
    assert [each.name for each in document.rootElement] == ["students/s"]


def test_a_data_set_is_the_root_of_its_own_document(rows):
    [document] = read(spdx_document(rows)).foreach_type(spdx.SpdxDocument)
    [root] = document.rootElement
    assert isinstance(root, spdx.dataset_DatasetPackage)


def test_its_time_is_the_one_given(student, monkeypatch):
    def created(text):
        return next(each["created"] for each in json.loads(text)["@graph"] if each["type"] == "CreationInfo")

    assert created(spdx_document(student)) == "2026-01-02T03:04:05Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert created(spdx_document(student)) == "1970-01-02T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        spdx_document(student)


def test_the_error_says_what_to_install(student, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "spdx_python_model", None)
    with pytest.raises(InputError, match=r"pip install 'lightning-subliminal\[lineage\]'"):
        spdx_document(student)
