"""`report` and `compare` believe a report only as far as its statement and its cells say the same."""

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cases import cases
from rich.text import Text

from lightning_subliminal.analysis.cells import CellResult
from lightning_subliminal.analysis.claims import read_claim
from lightning_subliminal.analysis.figures import make_figure
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.errors import InputError, TamperedError
from lightning_subliminal.lineage.signatures.keys import make_key, trusted_keys
from lightning_subliminal.plans.execution.progress import bars_table, claims_table
from lightning_subliminal.plans.plan import Experiment, Plan
from lightning_subliminal.plans.recompute import cells_of, check_claims
from lightning_subliminal.plans.report import read_report, record_report, write_report
from lightning_subliminal.plans.report_data import cell_table, report_data

CLAIMS = [
    {"id": "passes", "says": "It passes.", "arm": "same", "above": 0.1},
    {"id": "more", "says": "More than the other.", "arm": "same", "less": {"arm": "other"}, "above": 0},
    {"id": "one place", "says": "At one dose.", "arm": "same", "where": {"dose": 0.5}, "within": 5, "published": True},
    {"id": "list", "says": "x", "arm": "same", "where": {"dose": [2], "target": {"in": ["owl", "wolf"]}}, "below": 9},
    {"id": "chance", "says": "x", "arm": "same", "value": "student", "above": 0.2, "against": 0.5},
    {"id": "nowhere", "says": "Not measured.", "arm": "lost", "above": 0},
]
SLOW = [
    {"id": "questions", "says": "x", "arm": "same", "statistic": "bootstrap", "above": 0},
    {
        **{"id": "models", "says": "x", "arm": "same", "where": {"target": "owl"}, "statistic": "mixed model"},
        "above": 0,
    },
    {
        **{"id": "ordered", "says": "x", "arms": ["same", "other"], "beside": "student", "above": 0},
        "statistic": "rank correlation",
    },
]


def cells():
    rng = random.Random(3)
    made = []
    for arm, lift in (("same", 1.0), ("other", 0.1)):
        for target in ("owl", "wolf", "eagle"):
            for dose in (0.5, 2):
                for seed in range(2):
                    student = [rng.gauss(lift, 0.2) for _ in range(4)]
                    control = [rng.gauss(0.0, 0.2) for _ in range(4)]
                    moved = sum(student) / 4 - sum(control) / 4
                    numbers = {"transfer": moved, "student": 0.3 + rng.random() / 9, "rank": 1.0, "rank of": 5.0}
                    numbers |= {"targeted transfer": moved - 0.05}
                    vectors = {"student": student, "control": control}
                    vectors |= {"targeted transfer": [one - other for one, other in zip(student, control, strict=True)]}
                    where = ("plan", arm, {"target": target, "dose": dose}, seed)
                    limits, stems = {"student": (0.0, 1.0)}, ("a", "a", "b", "c")
                    made.append(CellResult(*where, numbers, vectors, (f"measured-{len(made)}",), limits, stems))
    return made


def written(path, reported):
    claims = tuple(read_claim(each, "plan", ("same", "other", "lost")) for each in reported)
    one = Experiment("plan", "A plan", "", "here", {}, (0, 1), (), claims)
    plan, found = Plan("plan", "A plan", "", (one,)), cells()
    report = report_data(plan, found, {}, {"planned": 1, "shared": 0, "failed": 0}, [0, 1], "run")
    write_report(report, cell_table(found, plan.experiments), path)
    record_report(path, plan.title, [0, 1], [])
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return written(tmp_path_factory.mktemp("made") / "plan-0", CLAIMS)


def copied(made, tmp_path, monkeypatch):
    """Stand where a copy of a report lies, with a cache of its own, and return the copy."""
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made, tmp_path / "runs" / "plan-0"))


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    return copied(made, tmp_path, monkeypatch)


def edit(folder, change):
    reported = json.loads((folder / "report.json").read_text())
    change({each["id"]: each for each in reported["claims"]})
    (folder / "report.json").write_text(json.dumps(reported, sort_keys=True, indent=1, ensure_ascii=False) + "\n")


def refused(folder, capsys, *says, verb="report"):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as stop:
        main([verb, str(folder), *([str(folder)] if verb == "compare" else [])])
    reported = capsys.readouterr()
    assert stop.value.code == 3
    assert reported.err.count("\n") == 1
    assert all(each in reported.err for each in says), reported.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before, "nothing is written"


def look(folder, **settings):
    return audit(folder, digests=Digests(remember=False, workers=1), measure=False, **settings)


def test_an_untouched_one_is_made_again(folder, capsys):
    report, rows = read_report(folder)
    assert [claim["verdict"] for claim in report["claims"]].count("not measured") == 1
    assert check_claims(report, rows) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in (folder / "report.html", folder / "claims.csv"):
        path.unlink()
    main(["report", str(folder)])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert look(folder).holds
    assert "not computed again" not in capsys.readouterr().out


def test_claims_on_the_terminal_need_no_page_beside_them(folder):
    report, _ = read_report(folder)
    (claim,) = (each for each in report["claims"] if each["id"] == "more")
    table = claims_table([claim | {"says": "More [than] the other."}])
    _, says, figure, claimed = (next(iter(each.cells)) for each in table.columns)
    assert Text.from_markup(says).plain == "More [than] the other. (plan: more)"
    assert figure == "+0.93 [+0.89, +0.97] over 3 targets\ntargeted +0.926 [+0.885, +0.967], rank 1 of 5"
    assert claimed == "above 0"
    assert table.title.startswith("Claims: ✓ if the whole interval lies in the claimed range, ✗ if it lies outside")
    assert table.caption == (
        "✓ holds 1. Targeted: less the mean change of the other answers; rank: of the target's change"
    )


FIGURES = {
    "bars": {"value": "transfer"},
    "matrix": {"rows": "target", "columns": "dose"},
    "curves": {"x": "dose", "value": "transfer"},
    "scatter": {"x": "student", "y": "transfer"},
}


def test_bars_on_the_terminal():
    spec = {"kind": "bars", "title": "Bars", "arms": ["same", "other"], "value": "student", "over": "seed"}
    table = bars_table({"title": "A plan"}, make_figure(spec, cells()))
    arm, number, value, over = ([*each.cells] for each in table.columns)
    assert (arm, number, over) == (["same", "other"], ["student"] * 2, ["2 seeds"] * 2)
    assert re.fullmatch(r"0\.3\d* \[0\.\d+, 0\.\d+\]", value[0])
    assert table.title == "A plan: Bars"


@cases("kind", FIGURES)
def test_figures_of_arms_that_were_not_run_are_left_out(kind):
    def spec(arm):
        of = {"curves": {"curves": [{"arm": arm}]}, "matrix": {"arm": arm}}.get(kind, {"arms": [arm]})
        return {"kind": kind, "title": arm, **FIGURES[kind], **of}

    one = Experiment("plan", "A plan", "", "here", {}, (0, 1), (spec("same"), spec("lost")), ())
    counts = {"planned": 1, "shared": 0, "failed": 0}
    reported = report_data(Plan("plan", "A plan", "", (one,)), cells(), {}, counts, [0, 1], "run")
    assert [each["title"] for each in reported["experiments"][0]["figures"]] == ["same"]


def test_claims_of_arms_that_were_not_run_are_counted_alone(folder):
    report, _ = read_report(folder)
    found = {each["id"]: each for each in report["claims"]}
    (unrun,) = (each for each in report["claims"] if each["verdict"] == "not measured")
    table = claims_table([found["more"], unrun | {"note": None}])
    assert table.row_count == 1
    assert table.caption.startswith("✓ holds 1; - not measured 1.")
    assert claims_table([found["more"], unrun | {"note": "no questions"}]).row_count == 2
    line = claims_table([unrun | {"note": None}] * 3)
    assert line == "claims    none of the plan's 3 is about the arms that were run"


def test_cells_come_back_from_the_table(folder):
    made, back = cells(), cells_of(read_report(folder)[1])
    assert [each.numbers for each in back] == [each.numbers for each in made]
    assert [each.lineage for each in back] == [each.lineage for each in made]
    assert back[0].axes == {"target": "owl", "dose": "0.5"}
    lists = [replace(made[0], numbers={"accuracy": [1.0, 2.0], "other": [3.0, 4.0]}, vectors={})]
    assert [each.numbers for each in cells_of(cell_table(lists))] == [lists[0].numbers]


EDITS = {
    "a verdict": ("passes", {"verdict": "does not hold"}, "verdict is does not hold", "cells give holds"),
    "another word": ("one place", {"verdict": "holds"}, "verdict is holds", "cells give reproduced"),
    "measured": ("nowhere", {"verdict": "holds"}, "verdict is holds", "cells give not measured"),
    "a figure": ("passes", {"value": 9.0}, "its value is 9.0", "cells give"),
    "an end": ("more", {"low": -1.0}, "its low is -1.0", "cells give"),
    "no end": ("more", {"high": None}, "its high is None"),
    "a count": ("list", {"count": 300}, "its count is 300", "cells give 2"),
    "p": ("chance", {"p": 0.5}, "its p is 0.5"),
    "p, adjusted": ("chance", {"p_adjusted": 0.5}, "its p_adjusted is 0.5"),
}


@cases("name", EDITS)
def test_an_edited_claim_is_refused_with_both_values(made, tmp_path, monkeypatch, name):
    folder = copied(made, tmp_path, monkeypatch)
    claim, change, *says = EDITS[name]
    edit(folder, lambda claims: claims[claim].update(change))
    with pytest.raises(TamperedError) as caught:
        check_claims(*read_report(folder), "runs/x/report.json")
    assert all(each in str(caught.value) for each in (f"runs/x/report.json, claim plan/{claim}: its", *says))


@cases("stated", ["stated", "restated", "no statement"])
def test_with_and_without_its_statement(made, tmp_path, monkeypatch, stated, capsys):
    folder = copied(made, tmp_path, monkeypatch)
    edit(folder, lambda claims: claims["more"].update(verdict="does not hold", low=-1.0))
    if stated == "stated":
        refused(folder, capsys, "report.json has the SHA-256", "its statement has")
        assert not look(folder).holds
        return
    if stated == "restated":  # by somebody without a key
        record_report(folder, "A plan", [0, 1], [])
        assert look(folder).holds
    else:
        (folder / "lineage.json").unlink()
    refused(folder, capsys, "claim plan/more: its low is -1.0, but its cells give 0.88")


def test_statistics_over_questions_and_ranks_are_computed_again_too(tmp_path):
    report, rows = read_report(written(tmp_path / "slow", SLOW))
    assert check_claims(report, rows) == 0
    for place, change in enumerate(({"low": 5.0}, {"value": 7.0}, {"value": 0.99})):
        claims = [each | change if at == place else each for at, each in enumerate(report["claims"])]
        with pytest.raises(TamperedError, match=f"claim plan/{SLOW[place]['id']}: its {next(iter(change))} is"):
            check_claims({**report, "claims": claims[: place + 1]}, rows)


def test_the_targeted_figure_beside_it_too(folder, capsys):
    edit(folder, lambda claims: claims["passes"]["targeted"].update(rank=3.0))
    (folder / "lineage.json").unlink()
    refused(folder, capsys, "claim plan/passes: its targeted rank is 3.0, but its cells give 1.0")


@cases("verb", ["report", "compare"])
def test_edited_cells(made, tmp_path, monkeypatch, verb, capsys):
    folder = copied(made, tmp_path, monkeypatch)
    text = (folder / "cells.csv").read_text()
    (folder / "cells.csv").write_text(text.replace("plan,same,owl", "plan,other,owl", 1))
    refused(folder, capsys, "cells.csv has the SHA-256", verb=verb)
    (folder / "lineage.json").unlink()
    refused(folder, capsys, "but its cells give", verb=verb)


@cases("change", ["[]", '{"_type": 1}', None])
def test_a_statement_that_is_none(made, tmp_path, monkeypatch, change, capsys):
    folder = copied(made, tmp_path, monkeypatch)
    place = folder / "lineage.json"
    reported = json.loads(place.read_text())
    reported["subject"] = [each for each in reported["subject"] if each["name"] != "cells.csv"]
    place.write_text(json.dumps(reported) if change is None else change)
    refused(folder, capsys)


def test_a_report_of_an_early_version_is_made_and_said_so(folder, capsys):
    edit(folder, lambda claims: [claim.pop("of") for claim in claims.values()])
    (folder / "lineage.json").unlink()
    main(["report", str(folder)])
    assert "6 of 6 claims do not name their cells" in capsys.readouterr().out
    assert not (folder / "lineage.json").exists()
    edit(folder, lambda claims: claims["passes"].update(verdict="inconclusive"))
    refused(folder, capsys, "claim plan/passes: its verdict is inconclusive, but its cells give holds")


@cases("change", [{"nonsense": 1}, {"where": 3}, {"less": [1]}, {"over": 7}, {"where": {"dose": {"x": 1}}}])
def test_a_broken_specification_is_one_line(made, tmp_path, monkeypatch, change):
    folder = copied(made, tmp_path, monkeypatch)
    report, rows = read_report(folder)
    report["claims"][0]["of"] |= change
    with pytest.raises(InputError):
        check_claims(report, rows)
    report, rows = read_report(folder)
    with pytest.raises(InputError, match="not as `run` writes them"):
        check_claims(report, [{**rows[0], "seed": [1]}])
    report["claims"][0]["of"] = None
    report["claims"][0]["verdict"] = "does not hold"
    with pytest.raises(TamperedError):
        check_claims(report, rows)


class TestSigned:
    @pytest.fixture
    def keys(self, folder, tmp_path, monkeypatch):
        public = make_key(tmp_path / "key")
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", str(tmp_path / "key"))
        return trusted_keys([public])

    def test_what_the_key_signed_is_signed_again(self, folder, keys, tmp_path):
        record_report(folder, "A plan", [0, 1], [])
        (folder / "report.html").unlink()
        main(["report", str(folder), "--out", str(tmp_path / "out")])
        for each in (folder, tmp_path / "out"):
            shutil.rmtree(folder / "figures", ignore_errors=True)
            main(["report", str(each)])
            assert look(each, keys=keys).holds

    @pytest.mark.parametrize("envelope", ["none", "another's"])
    def test_what_it_had_not_signed_is_not(self, folder, keys, envelope, tmp_path, monkeypatch, capsys):
        if envelope == "another's":
            make_key(tmp_path / "other")
            with monkeypatch.context() as patch:
                patch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", str(tmp_path / "other"))
                record_report(folder, "A plan", [0, 1], [])
        main(["report", str(folder)])
        assert "not signed: its statement was not signed by this key" in " ".join(capsys.readouterr().out.split())
        assert "untrusted-signer" in {each.rule for each in look(folder, keys=keys).findings}

    def test_an_edited_one_leaves_without_a_signature(self, folder, keys, capsys):
        record_report(folder, "A plan", [0, 1], [])
        edit(folder, lambda claims: claims["passes"].update(note="proven"))
        refused(folder, capsys, "report.json has the SHA-256")
        record = (folder / "lineage.json").read_text()
        (folder / "lineage.json").write_text(record.replace("A plan", "A proof"))
        refused(folder, capsys)

    def test_what_fails_its_audit_is_not_signed(self, folder, keys, cache_of, capsys):
        record_report(folder, "A plan", [0, 1], [cache_of])
        main(["report", str(folder)])
        assert "not signed: " in capsys.readouterr().out
        assert not look(folder, keys=keys).holds

    @pytest.fixture
    def cache_of(self):
        from lightning_subliminal.lineage import Material

        return Material("evaluation", "lightning-subliminal:measured/0123456789abcdef", {"dirHash": "0" * 64}, "1" * 64)
