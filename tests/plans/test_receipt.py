"""The receipt of a run of a plan: used while nothing has changed, and after no change of what it depends on."""

import os
from pathlib import Path

import pytest
from cases import cases
from rich.table import Table

from lightning_subliminal.core.cache import note_run
from lightning_subliminal.plans.execution.receipt import NAME, Receipt

SAID = ["all there", "[not] markup"]


def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Receipt:
    """Write the receipt of a run that read a config and a missing file, and made a measurement and a report."""
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    for name in ("here", "cache/measured/0", "report/figures", "configs"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("configs/plan.yaml", "cache/measured/0/measured.json", "report/report.html", "report/figures/1.svg"):
        (tmp_path / name).write_text("abc")
    monkeypatch.chdir(tmp_path / "here")
    note_run(tmp_path / "report")
    receipt = Receipt(["plan"])
    with receipt.watching():
        (tmp_path / "configs/plan.yaml").read_text()
        with pytest.raises(FileNotFoundError):
            (tmp_path / "configs/other.yaml").read_text()
    receipt.write(tmp_path / "report", [tmp_path / "cache/measured/0"], SAID)
    return receipt


def test_it_says_the_same_while_nothing_changes(tmp_path, monkeypatch, capsys):
    receipt = written(tmp_path, monkeypatch)
    (tmp_path / "report/log.txt").write_text("a stage")
    (tmp_path / "here/second.log").write_text("the output, say")
    assert Receipt(["plan"]).replay()
    assert receipt.replay()
    assert capsys.readouterr().out.splitlines() == 2 * SAID


def same_size_and_time(path: Path) -> None:
    status = path.stat()
    path.write_text("xyz")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


@cases(
    "change",
    [
        lambda folder: (folder / "configs/plan.yaml").write_text("abcd"),
        lambda folder: same_size_and_time(folder / "configs/plan.yaml"),
        lambda folder: same_size_and_time(folder / "cache/measured/0/measured.json"),
        lambda folder: (folder / "configs/other.yaml").write_text("it is there now"),
        lambda folder: (folder / "cache/measured/0/measured.json").unlink(),
        lambda folder: (folder / "report/figures/1.svg").unlink(),
        lambda folder: (folder / "report/report.html").replace(folder / "report/page.html"),
        lambda folder: (folder / "here/pocket").mkdir(),
        *[lambda folder, name=name: (folder / "here" / name).touch() for name in ("torch.py", "a.yaml", "experiments")],
        lambda folder: os.chdir(folder),
        lambda folder: (folder / "report" / NAME).write_text("["),
        lambda folder: (folder / "report" / NAME).write_text("[]"),
        lambda folder: (folder / "report" / NAME).unlink(),
    ],
)
def test_a_change_leads_to_the_long_way(change, tmp_path, monkeypatch):
    receipt = written(tmp_path, monkeypatch)
    change(tmp_path)
    assert not receipt.replay()


@cases(
    ("name", "value"),
    [("HF_HOME", "elsewhere"), ("LIGHTNING_SUBLIMINAL_SIGNING_KEY", "key"), ("LOCAL_RANK", "1")],
)
def test_another_environment_leads_to_the_long_way(name, value, tmp_path, monkeypatch):
    receipt = written(tmp_path, monkeypatch)
    monkeypatch.setenv(name, value)
    assert not receipt.replay()
    monkeypatch.delenv(name)
    assert receipt.replay()


def test_other_words_python_or_code_lead_to_the_long_way(tmp_path, monkeypatch):
    receipt = written(tmp_path, monkeypatch)
    assert not Receipt(["another"]).replay()
    with monkeypatch.context() as patch:
        patch.setattr("sys.version", "4.0")
        assert not receipt.replay()
    with monkeypatch.context() as patch:
        patch.setattr("lightning_subliminal.plans.execution.receipt._PACKAGE", tmp_path / "configs")
        assert not receipt.replay()
    assert receipt.replay()


def test_a_table_is_printed_again(tmp_path, monkeypatch, capsys):
    receipt = written(tmp_path, monkeypatch)
    table = Table("arm", "transfer", title="Transfer [by arm]", caption="Log-odds")
    table.add_row("same", "+1.76")
    receipt.write(tmp_path / "report", [], [table])
    assert receipt.replay()
    reported = capsys.readouterr().out
    assert all(part in reported for part in ("Transfer [by arm]\n", "\u2502 same \u2502 +1.76", "Log-odds"))
