"""`run`, `report` and `compare` on a plan of seconds: one report, nothing made twice, mistakes in a line."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from cases import cases

from lightning_subliminal.cli.entry import main

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = {
    "title": "A small plan",
    "about": "Two arms.",
    "source": "here",
    "common": str(CONFIGS / "owl_numbers.yaml"),
    "change": {
        "data.num_prompts": 96,
        "trainer.max_epochs": 1,
        "data.teacher.max_epochs": 3,
        "data.teacher.retain": None,
    },
    "seeds": 0,
    "axes": {"target": {"set": "data.teacher.trait.target", "to": ["owl", "wolf"]}},
    "arms": {"same": {}, "other": {"model.base": "pocket/b"}},
    "figures": [{"kind": "bars", "title": "Transfer", "caption": "By arm.", "y": "log-odds"}],
    "claims": [{"id": "passes", "says": "It passes.", "arm": "same", "above": 0.1}],
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run the plan once; give its folder."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(folder / "cache"))
        main(["run", "--config", str(folder / "small.yaml"), "--workers", "1", "--out", str(folder / "out")])
    return folder


@pytest.fixture
def again(ran, tmp_path, monkeypatch):
    """Return a copy of what was run, with its cache set."""
    shutil.copytree(ran, tmp_path / "ran")
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "ran" / "cache"))
    return tmp_path / "ran"


def run(folder, *words, out="again"):
    main(["run", "--config", str(folder / "small.yaml"), "--workers", "1", "--out", str(folder / out), *words])


def test_the_report_is_whole(ran):
    report = json.loads((ran / "out" / "report.json").read_text())
    assert report["stages"] == {"planned": 20, "shared": 5, "failed": 0}
    [claim] = report["claims"]
    assert (claim["unit"], claim["count"]) == ("targets", 2)
    assert claim["lineage"]
    assert {path.suffix for path in (ran / "out" / "figures").iterdir()} == {".svg", ".png"}
    assert "Transfer" in (ran / "out" / "report.html").read_text()
    assert len((ran / "out" / "cells.csv").read_text().splitlines()) == 1 + 4


def test_again_makes_nothing_and_the_same_report(again, capsys):
    run(again)
    assert "0 to run" in capsys.readouterr().out
    for name in ("report.json", "cells.csv", "claims.csv", "report.html"):
        # the file of the plan is named in the report, and is another one here
        one, other = ((again / which / name).read_text() for which in ("out", "again"))
        assert one.replace("ran0/small.yaml", "") == other.replace("ran0/small.yaml", "") or "small.yaml" in one


def test_what_is_all_there_is_said_without_building_the_plan(again, capsys, monkeypatch):
    (again / "here").mkdir()
    monkeypatch.chdir(again / "here")
    run(again)
    said = capsys.readouterr().out
    read = json.loads((again / "again" / "receipt.json").read_text())["files"]
    assert {str(again / "small.yaml"), str(CONFIGS / "owl_numbers.yaml")} <= set(read)
    monkeypatch.setattr("lightning_subliminal.plans.run.read_plan", None)
    run(again)
    assert capsys.readouterr().out == re.sub(r"; \d+ s\n", "; 0 s\n", said)
    with pytest.raises(SystemExit):  # it would build the plan
        run(again, "--only", "same")
    shutil.rmtree(next((again / "cache" / "measured").iterdir()))
    with pytest.raises(SystemExit):
        run(again)


def test_a_dry_run_makes_nothing(again, capsys):
    run(again, "--dry-run", "--seeds", "0-1")
    reported = capsys.readouterr().out
    assert "20 in the cache" in reported
    assert "20 to run" in reported
    assert "about" in reported
    assert not (again / "again").exists()


def silent(folder, **further):
    """Write a plan that asks for no figures and claims nothing."""
    reported = {key: value for key, value in SMALL.items() if key not in ("figures", "claims")} | further
    (folder / "small.yaml").write_text(yaml.safe_dump(reported))


def test_a_plan_without_figures_and_claims_gets_table_and_bars(again, capsys):
    silent(again)
    run(again, "--dry-run")
    reported = " ".join(capsys.readouterr().out.split())
    assert (
        "the plan has no `figures`; the default ones are: a table and bars of transfer, targeted and plain" in reported
    )
    assert "the plan has no `claims`, so there are no verdicts" in reported
    run(again)
    reported = capsys.readouterr().out
    report = json.loads((again / "again" / "report.json").read_text())
    [experiment] = report["experiments"]
    assert {row[0] for row in experiment["table"]["rows"]} == {"same", "other"}
    row = dict(zip(experiment["table"]["columns"], experiment["table"]["rows"][0], strict=True))
    assert row["over"] == "2 targets"
    assert re.fullmatch(r"[\d.]+ of 20, first in [012] of 2", row["rank"])
    assert all(re.fullmatch(r"[+\u22120].* \[.+, .+\]", row[name]) for name in ("targeted transfer", "transfer"))
    first, second = experiment["figures"]
    assert {(bar["group"], bar["label"]) for bar in first["bars"]} == {
        *(("targeted transfer", "same"), ("targeted transfer", "other"), ("transfer", "same"), ("transfer", "other"))
    }
    assert second["limits"] == [0.0, 1.0]
    assert all(bar["low"] is None or 0 <= bar["low"] <= bar["high"] <= 1 for bar in second["bars"])
    page = (again / "again" / "report.html").read_text()
    assert "Transfer by arm" in page
    assert "No figures." not in page
    assert "The plan makes no claims" in page
    assert "first in" in reported


def test_one_unit_alone_has_intervals_over_its_questions(again):
    silent(again, axes={}, seeds=0)
    run(again)
    report = json.loads((again / "again" / "report.json").read_text())
    table = report["experiments"][0]["table"]
    row = dict(zip(table["columns"], table["rows"][0], strict=True))
    assert row["over"] == "50 questions of 1 seed"
    assert "[" in row["targeted transfer"]
    assert row["rank"].endswith(" of 20")


def test_claims_alone_get_the_default_figures_and_figures_alone_stay(again, capsys):
    silent(again, claims=SMALL["claims"])
    run(again, "--dry-run")
    reported = capsys.readouterr().out
    assert "no `figures`" in reported
    assert "no `claims`" not in reported
    silent(again, figures=SMALL["figures"])
    run(again, "--dry-run")
    reported = capsys.readouterr().out
    assert "no `figures`" not in reported
    assert "no `claims`" in reported


def test_no_verdict_without_the_targeted_figure(ran):
    [claim] = json.loads((ran / "out" / "report.json").read_text())["claims"]
    assert claim["verdict"] in ("holds", "does not hold", "inconclusive"), "it is the user's own"
    assert {"value", "low", "high", "rank", "rank_of"} <= set(claim["targeted"])
    assert claim["targeted"]["rank_of"] == 20
    assert "targeted" in (ran / "out" / "report.html").read_text()
    assert "targeted" in (ran / "out" / "claims.csv").read_text().splitlines()[0]


def test_one_arm_alone(again):
    run(again, "--only", "same")
    report = json.loads((again / "again" / "report.json").read_text())
    assert [bar["label"] for bar in report["experiments"][0]["figures"][0]["bars"]] == ["same"]


def test_a_damaged_file_is_reported_and_the_rest_is_reported(again, capsys):
    evaluation = next(iter((again / "cache" / "measured").glob("*/measured.json")))
    evaluation.write_text("{}")
    with pytest.raises(SystemExit) as stop:
        run(again)
    assert stop.value.code == 1
    assert f"was changed after it was made: delete {evaluation.parent}" in capsys.readouterr().out.replace("\n", "")
    report = json.loads((again / "again" / "report.json").read_text())
    assert report["stages"]["failed"] == 1
    assert report["experiments"][0]["failures"]
    assert report["experiments"][0]["figures"][0]["bars"]


def test_a_report_is_made_again_and_compared(again, capsys):
    page = again / "out" / "report.html"
    before = page.read_text()
    page.unlink()
    main(["report", str(again / "out"), "--markdown", str(again / "claims.md")])
    assert page.read_text() == before
    assert "| It passes." in (again / "claims.md").read_text()
    main(["compare", str(again / "out"), str(again / "out"), "--json", str(again / "compared.json")])
    assert "0 of 1 claims disagree" in capsys.readouterr().out
    assert json.loads((again / "compared.json").read_text())


@cases(
    ("words", "says"),
    [
        (["run", "--config", "nowhere.yaml"], "nowhere.yaml is not there"),
        (["run", "--dry-run"], "--config is missing: expected `run --config FILE [options]`."),
        (["run", "paper"], "unexpected word 'paper': did you mean `--config paper`?"),
        (["run", "--config", "small.yaml", "--workers", "none"], "--workers is 'none'"),
        (["run", "--config", "small.yaml", "--seeds", "x"], "`--seeds` is 'x'"),
        (["run", "--config", "small.yaml", "--only", "smae"], "--only 'smae' is not an arm"),
        (["run", "--config", "small.yaml", "--engine", "slurm"], "slurm"),
        (["report", "nowhere"], "nowhere"),
        (["compare", "nowhere"], "RUN2 is missing: expected `compare RUN1 RUN2 [options]`."),
    ],
)
def test_mistakes_in_a_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    with pytest.raises(SystemExit) as stop:
        main(words)
    reported = capsys.readouterr().err
    assert stop.value.code == 2
    assert says in reported
    assert reported.count("\n") == 1
