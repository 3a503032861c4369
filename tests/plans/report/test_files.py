"""The folder of a report: what is written is read again, and damage is reported."""

import csv
import json
import shutil

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.report import read_report, render, write_report
from lightning_subliminal.plans.report.contents import checked

from .sample import sample_cells, sample_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    assert write_report(sample_report(), sample_cells(), path) == path / "report.html"
    return path


def test_report_and_cells_come_back_as_they_were(folder):
    report, cells = read_report(folder)
    assert report == checked(sample_report())
    assert cells == sample_cells()
    assert [type(value) for cell in cells for value in cell.values()] == [
        type(value) for cell in sample_cells() for value in cell.values()
    ]
    assert (folder / "report.html").read_text(encoding="utf-8") == render(report)


def test_claims_and_figures_are_plain_files(folder):
    with (folder / "claims.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 20
    assert float(rows[1]["value"]) == sample_report()["claims"][1]["value"]
    assert (rows[1]["range_low"], rows[0]["range_high"], rows[6]["value"]) == ("-0.6", "", "")
    names = {
        f"{stem}.{kind}"
        for stem in ("numbers-1", "numbers-2", "same-base-1", "mnist-1", "detection-1")
        for kind in ("svg", "png")
    }
    assert {path.name for path in (folder / "figures").iterdir()} == names


def test_a_name_leads_out_of_no_folder(tmp_path):
    report = sample_report()
    report["experiments"] = [report["experiments"][2] | {"name": "../../out"}]
    report["experiments"][0]["figures"][0]["values"][0][0] = float("inf")  # JSON has none
    write_report(report, [{"x": float("nan")}], tmp_path / "in")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert read_report(tmp_path / "in")[1] == [{"x": None}]


@cases(
    ("name", "text", "reported"),
    [
        ("report.json", None, "report.json is not there"),
        ("cells.csv", None, "cells.csv is not there"),
        ("report.json", '{"title": "half', "report.json is damaged"),
        ("report.json", '{"title": "t"}', "damaged .*'claims' is a required property"),
        ("report.json", "[" * 100_000, "report.json is damaged"),
        ("report.json", "\udcff", "report.json is damaged"),
        ("cells.csv", "a,b\n1\n", "cells.csv is damaged"),
        ("cells.csv", 'a,b\n"1', "cells.csv is damaged"),
    ],
)
def test_damage_is_reported_in_one_line(tmp_path, name, text, reported):
    (tmp_path / "report.json").write_text(json.dumps({"title": "t", "claims": [], "experiments": []}))
    (tmp_path / "cells.csv").write_text("a,b\n1,2\n")
    assert read_report(tmp_path)[1] == [{"a": 1, "b": 2}]
    (tmp_path / name).unlink()
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=reported) as caught:
        read_report(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_same_report_is_not_drawn_again(folder, tmp_path):
    copy = tmp_path / "report"
    shutil.copytree(folder, copy)
    page = copy / "report.html"
    page.write_text("kept")
    write_report(sample_report(), sample_cells(), copy, redraw=False)
    assert page.read_text() == "kept"
    write_report(sample_report() | {"title": "Another"}, sample_cells(), copy, redraw=False)
    assert "Another" in page.read_text()
