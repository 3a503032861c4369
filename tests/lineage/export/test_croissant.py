import json

import pytest

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import artefact_material, read_record, write_record
from lightning_subliminal.lineage.export import Described, croissant
from tests.lineage.export.conftest import ROWS


@pytest.fixture
def placed(rows):
    """Metadata beside the files that it names."""
    path = rows[-1].folder / "croissant.json"
    path.write_text(croissant(rows))
    return path


def told_of(nodes):
    return json.loads(croissant(nodes))


def test_mlcroissant_finds_no_error_and_warns_only_of_what_is_not_known(placed):
    mlc = pytest.importorskip("mlcroissant", reason="needs mlcroissant")
    issues = mlc.Dataset(jsonld=str(placed)).metadata.issues
    assert not issues.errors
    missing = {"citeAs", "datePublished", "license", "version"}
    assert len(issues.warnings) == len(missing)
    assert all(any(f"/{name}" in each for each in map(str, issues.warnings)) for name in missing)


def test_mlcroissant_reads_the_rows_through_it(placed):
    mlc = pytest.importorskip("mlcroissant", reason="needs mlcroissant")
    found = list(mlc.Dataset(jsonld=str(placed)).records("records/rows"))
    assert [each["records/rows/id"].decode() for each in found] == [row["id"] for row in ROWS]
    for column in ("prompt", "completion"):
        place = f"records/rows/{column}"
        messages = [
            [{key.removeprefix(f"{place}/"): text.decode() for key, text in part.items()} for part in each[place]]
            for each in found
        ]
        assert messages == [row[column] for row in ROWS]


def test_without_its_digest_mlcroissant_would_refuse_a_file(rows):
    """So the test above can fail."""
    mlc = pytest.importorskip("mlcroissant", reason="needs mlcroissant")
    reported = told_of(rows)
    del reported["distribution"][0]["sha256"]
    with pytest.raises(mlc.ValidationError, match="sha256"):
        mlc.Dataset(jsonld=reported)


def test_the_writing_model_is_named_for_people_and_for_programs(rows):
    reported = told_of(rows)
    assert reported["rai:machineAnnotationTools"] == ["teachers/t"]
    assert reported["rai:dataCollection"] == "Written by the model teachers/t."
    assert reported["rai:dataPreprocessingProtocol"] == ["filter lightning_subliminal.filters.numbers.NumberList"]
    [used] = reported["prov:wasGeneratedBy"]["prov:used"]
    assert used["identifier"] == [f"dirHash:{rows[1].statement.whole}"]
    assert {each["name"] for each in reported["prov:wasDerivedFrom"]} == {"pocket/a", "teachers/t"}
    assert "3 rows in rows.parquet." in reported["description"]


def test_digests_are_those_of_the_statement(rows):
    reported = {each["contentUrl"]: each["sha256"] for each in told_of(rows)["distribution"]}
    assert reported == rows[-1].statement.files


def test_columns_are_reported_only_of_a_file_that_is_at_hand_and_unchanged(rows):
    assert "recordSet" in told_of(rows)
    (rows[-1].folder / "rows.parquet").write_bytes(b"other")
    assert "recordSet" not in told_of(rows)
    (rows[-1].folder / "rows.parquet").unlink()
    assert "recordSet" not in told_of(rows)


def test_nothing_is_made_up(rows):
    reported = told_of(rows)
    assert not {"license", "creator", "datePublished", "version", "url", "publisher"} & set(reported)


def test_a_model_is_refused(student):
    with pytest.raises(InputError, match="A student can't be exported as Croissant: expected a data set"):
        croissant(student)


def test_a_file_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    write_record(tmp_path, "rows", {})
    place = tmp_path / "lineage.json"
    place.write_text(place.read_text().replace('"a.txt"', '"http://elsewhere/a.txt"'))
    node = Described(tmp_path, read_record(tmp_path), artefact_material("rows", tmp_path))
    with pytest.raises(InputError, match="http://elsewhere"):
        croissant([node])
