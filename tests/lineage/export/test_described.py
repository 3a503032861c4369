import dataclasses

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import Material, read_record, write_record
from lightning_subliminal.lineage.export import FORMATS, Described, export
from lightning_subliminal.lineage.export.model import Family


def names(nodes):
    return [each.name for each in nodes]


def test_a_family_tells_who_wrote_what_a_student_was_trained_on(student):
    family = Family(student)
    assert names(family.nodes) == ["pocket/a", "teachers/t", "rows/r", "students/s"]
    assert names(family.bases(family.main)) == ["pocket/a"]
    [rows] = family.data(family.main)
    assert names(family.writers(rows)) == ["teachers/t"], "the base is the teacher's, it wrote nothing itself"
    assert [each.role for each in family.settings(rows)] == ["filter"]


def test_generations_are_counted_along_the_longest_line(lab):
    first = lab.student("s1", lab.rows("r1", lab.teacher()))
    lab.student("s2", lab.rows("r2", first, role="student"))
    family = Family(lab.nodes)
    counted = {node.name: family.generation(node) for node in family.nodes if node.is_model}
    assert counted == {"pocket/a": 0, "teachers/t": 0, "students/s1": 1, "students/s2": 2}
    said = family.origin(family.main)
    assert "The training data rows/r2 was written by the model students/s1." in said
    assert "That model and this one were trained from the same base." in said
    assert "Generations of models trained on text of a model: 2." in said


def test_another_base_is_not_called_the_same(lab):
    teacher = lab.teacher()
    lab.base = Material("base", "base:pocket/b", {"dirHash": "ef" * 32})
    rows = lab.add("rows", "r", [lab.made[teacher].material], {"a.txt": b""})
    lab.student("s", rows)
    family = Family(lab.nodes)
    assert family.origin(family.main) == [
        "The training data rows/r was written by the model teachers/t.",
        "Generations of models trained on text of a model: 1.",
    ]


def test_parents_that_are_not_given_are_still_reported(student):
    family = Family(student[-1:])
    assert names(family.nodes) == ["pocket/a", "rows/r", "students/s"]
    assert [each.statement is None for each in family.nodes] == [True, True, False]


def test_a_name_without_a_digest_is_matched_by_name_alone_and_never_to_what_has_one(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    write_record(tmp_path, "student", {}, [Material("base", "base:pocket/a", {})])
    main = Described(tmp_path, read_record(tmp_path), None)
    named = Described(None, None, Material("base", "base:pocket/a", {}))
    known = Described(None, None, Material("base", "base:pocket/a", {"dirHash": "cd" * 32}))
    assert len(Family([named, main]).nodes) == 2
    assert len(Family([known, main]).nodes) == 3


def test_statements_that_name_each_other_do_not_loop(student):
    """A forged one can: a folder's digest does not cover its record."""
    *others, last = student
    *_, rows = others
    turned = [dataclasses.replace(last, material=last.material), *others]
    family = Family([*turned, rows])
    assert family.main.name == rows.name
    assert family.generation(last) >= 0


@cases("format", FORMATS)
def test_what_has_no_record_is_refused(format):
    for nodes in ([], [Described(None, None, Material("base", "base:pocket/a", {}))]):
        with pytest.raises(InputError, match="no record to export"):
            export(nodes, format)


@cases("format", FORMATS)
def test_what_is_neither_model_nor_data_is_refused(format, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    write_record(tmp_path, "report", {})
    with pytest.raises(InputError, match="A report can't be exported as"):
        export([Described(tmp_path, read_record(tmp_path), None)], format)


def test_a_misspelt_format_is_reported(student):
    with pytest.raises(InputError, match="unknown format `cyclondx`; did you mean `cyclonedx`"):
        export(student, "cyclondx")


@cases("format", FORMATS)
def test_half_a_character_is_reported(format, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    write_record(tmp_path, "rows", {"note": "owl"})
    place = tmp_path / "lineage.json"
    place.write_text(place.read_text().replace('"owl"', '"\\ud800"'))
    with pytest.raises(InputError, match=r"half a character|no strict JSON|surrogate"):
        export([Described(tmp_path, read_record(tmp_path), None)], format)
