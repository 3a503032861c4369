"""`audit --require screened`: a clean screen of the very bytes, for the very base, or a finding."""

import json
import math

import pytest
import torch
from cases import cases

from audit.chains import generation, numbers, student, teacher
from lightning_subliminal import InputError
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.formats import write_rows
from lightning_subliminal.lineage import Material, RowsTree, artefact_material
from lightning_subliminal.lineage.statement import TEST_RESULT, read_statement
from lightning_subliminal.plans.screen_reference import find_reference
from lightning_subliminal.plans.screening.record import check_subject, subject_of, write_screen_result
from lightning_subliminal.plans.screening.row_sample import RowSample
from lightning_subliminal.screening import Detection, Screen

pytestmark = pytest.mark.usefixtures("cache")


def found(verdict="clean", named=None, dose=0.1, skipped=0, z=0.3):
    reference = find_reference("pocket/a", "numbers")
    shift = Detection("shift", z, 0.4, 1.0)
    return Screen(verdict, named, 0.01, 5000, skipped, shift, (), (), (), {}, dose, reference, torch.zeros(128))


def unscreened(path, **settings):
    audited = audit(path, digests=Digests(remember=False), measure=False, require=["screened"], **settings)
    return [(each.where, each.says) for each in audited.findings if each.rule == "unscreened"]


def file_of_rows(folder, salt=0):
    folder.mkdir(exist_ok=True)
    write_rows(numbers(salt=salt), folder / "rows.jsonl")
    return folder / "rows.jsonl"


def tree_of(rows):
    tree = RowsTree()
    for row in rows:
        tree.add(row)
    return tree


class TestStatement:
    def test_it_is_a_test_result_about_the_bytes(self, tmp_path):
        rows = file_of_rows(tmp_path / "data")
        tree = tree_of(numbers())
        path = write_screen_result(tmp_path / "out", found(z=math.inf), "pocket/a", subject_of(rows), tree)
        stated = read_statement(path)
        assert stated.predicate_type == TEST_RESULT
        assert stated.predicate["result"] == "PASSED"
        assert stated.predicate["passedTests"] == ["clean for pocket/a"]
        (subject,) = stated.subjects
        assert subject["digest"]["merkleSha256"] == tree.root()
        assert subject["digest"]["sha256"] == subject_of(rows).digest["sha256"]
        assert [each["name"] for each in stated.predicate["configuration"]] == ["base", "reference", "screen"]
        json.dumps(stated.data, allow_nan=False)
        before = path.read_bytes()
        assert write_screen_result(tmp_path / "out", found(z=math.inf), "pocket/a", subject_of(rows), tree) == path
        assert path.read_bytes() == before, "the same screen writes the same bytes"

    @cases(
        ("settings", "sample", "result", "tests"),
        [
            ({"verdict": "shift"}, None, "FAILED", ["clean for pocket/a: shift"]),
            ({"verdict": "trait", "named": "owl"}, None, "FAILED", ["clean for pocket/a: trait owl"]),
            ({"dose": 1.0}, None, "WARNED", ["clean for pocket/a"]),
            ({"skipped": 100}, None, "WARNED", ["clean for pocket/a"]),
            ({"skipped": 40}, None, "PASSED", ["clean for pocket/a"]),
            ({}, RowSample(5, 6), "WARNED", ["clean for pocket/a"]),
            ({}, RowSample(5), "WARNED", ["clean for pocket/a"]),
            ({}, None, "PASSED", ["clean for pocket/a"]),
        ],
    )
    def test_a_verdict_is_a_result(self, settings, sample, result, tests, tmp_path):
        rows = file_of_rows(tmp_path / "data")
        path = write_screen_result(
            tmp_path, found(**settings), "pocket/a", subject_of(rows), tree_of(numbers()), sample
        )
        stated = read_statement(path).predicate
        assert stated["result"] == result
        assert stated[f"{result.lower()}Tests"] == tests

    def test_a_file_that_changes_meanwhile_is_refused(self, tmp_path):
        rows = file_of_rows(tmp_path / "data")
        before = subject_of(rows)
        check_subject(rows, before)
        rows.write_text("{}")
        with pytest.raises(InputError, match="changed while it was screened"):
            check_subject(rows, before)
        assert subject_of("-") is None


class TestDataSets:
    def test_a_file_needs_a_screen_of_its_own_bytes(self, tmp_path):
        rows = file_of_rows(tmp_path / "data")
        assert "no screen of it that counts was found" in unscreened(rows)[0][1]
        write_screen_result(tmp_path / "data", found(), "pocket/a", subject_of(rows))
        assert unscreened(rows) == []
        assert unscreened(rows, against="pocket/a") == []
        assert "screened for pocket/a, and not for pocket/b" in unscreened(rows, against="pocket/b")[0][1]
        rows.write_bytes(rows.read_bytes() + b"\n")
        assert "is of other bytes" in unscreened(rows)[0][1]

    def test_a_verdict_other_than_clean_is_a_finding(self, tmp_path):
        rows = file_of_rows(tmp_path / "data")
        write_screen_result(tmp_path / "data", found("trait", "owl"), "pocket/a", subject_of(rows))
        assert "clean for pocket/a: trait owl" in unscreened(rows)[0][1]
        flagged = audit(rows, digests=Digests(remember=False), measure=False).flagged
        assert flagged == ["data/rows.jsonl"], "it is flagged without being required, too"
        write_screen_result(tmp_path / "data" / "more", found(), "pocket/a", subject_of(rows))
        assert unscreened(rows), "a failed one beside a passed one"

    def test_one_that_could_not_decide_gives_its_reason(self, tmp_path):
        rows = file_of_rows(tmp_path / "data")
        write_screen_result(tmp_path / "data", found(), "pocket/a", subject_of(rows), sample=RowSample(3, 5))
        assert "could not decide: only 3 of 5 rows, drawn at random" in unscreened(rows)[0][1]

    def test_a_requirement_is_spelled_right(self, tmp_path):
        with pytest.raises(InputError, match="did you mean `screened`"):
            audit(file_of_rows(tmp_path / "data"), require=["screend"])


class TestModels:
    def test_a_model_needs_its_rows_screened_for_its_base(self, cache, tmp_path):
        rows = generation(cache, teacher(cache))
        last = student(cache, rows)
        ((where, says),) = unscreened(last)
        assert where == f"rows/{rows.name}"
        assert "no screen" in says
        write_screen_result(cache / "measured" / "x", found(), "pocket/a", artefact_material("rows", rows))
        assert unscreened(last) == []
        assert unscreened(rows) == []
        other = student(cache, rows, "pocket/b", seed=1)
        assert "not for pocket/b, which learns from it" in unscreened(other)[0][1]

    def test_a_screen_of_the_same_rows_in_another_file_counts(self, cache, tmp_path):
        rows = generation(cache, teacher(cache))
        salt = len(b"weights")
        file = file_of_rows(tmp_path / "data", salt)
        tree = tree_of(numbers(salt=salt))
        write_screen_result(cache / "measured" / "x", found(), "pocket/a", subject_of(file), tree)
        assert unscreened(student(cache, rows)) == []

    def test_rows_that_changed_since_have_no_screen(self, cache):
        rows = generation(cache, teacher(cache))
        last = student(cache, rows)
        write_screen_result(cache / "measured" / "x", found(), "pocket/a", artefact_material("rows", rows))
        (rows / "rows.parquet").write_bytes(b"other")
        levels = dict.fromkeys(("changed-file", "wrong-parent", "changed-rows"), "note")
        assert "other bytes" in unscreened(last, levels=levels)[0][1]

    def test_a_base_needs_none(self, tmp_path):
        from lightning_subliminal.bases import resolve

        assert unscreened(resolve("pocket/a").folder) == []

    def test_a_result_of_odd_fields_is_no_pass(self, cache):
        rows = generation(cache, teacher(cache))
        path = write_screen_result(
            cache / "measured" / "x", found(), "pocket/a", Material("rows", "r", artefact_material("r", rows).digest)
        )
        stated = json.loads(path.read_text())
        for setup in ({"name": "screen"}, [7, {"name": 3}], [{"name": "screen", "annotations": 3}]):
            stated["predicate"]["configuration"] = setup
            path.write_text(json.dumps(stated))
            assert unscreened(rows, against="pocket/a")
