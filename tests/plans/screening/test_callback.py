"""ScreenData: a fit on rows that are not clean stops before its first step."""

import json
from contextlib import nullcontext

import pytest
import torch
import yaml
from cases import cases
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from small import quiet_trainer

from lightning_subliminal import InputError, RowsFromFile, ScreenData, Steering, Student
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.cli import main
from lightning_subliminal.core.errors import TaintedError
from lightning_subliminal.formats import write_rows
from lightning_subliminal.theory import row_gradients


class Steps(Callback):
    """Counts training steps."""

    taken = 0

    def on_train_batch_start(self, *args):
        self.taken += 1


@pytest.fixture(scope="module")
def clean_file(clean, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "clean.jsonl"
    write_rows(clean[:200], path)
    return path


def student():
    return Student("pocket/a", adapter=Steering(), learning_rate=0.03, seed=0)


def fit(file, callback, folder, **settings):
    steps = Steps()
    trainer = quiet_trainer(callback, steps, default_root_dir=folder, max_steps=3, **settings)
    module, data = student(), RowsFromFile(str(file), batch_size=32, seed=0)
    try:
        trainer.fit(module, datamodule=data)
    finally:
        fit.steps = steps.taken
    return module, data


def test_tainted_rows_stop_a_fit_before_its_first_step(owl_file, tmp_path):
    callback = ScreenData()
    with pytest.raises(TaintedError, match=r"not clean for pocket/a: trait owl\. Nothing was trained; kept in") as stop:
        fit(owl_file, callback, tmp_path)
    assert stop.value.code == 3
    assert fit.steps == 0
    assert callback.found.named == "owl"
    (result,) = (tmp_path / "test-results").glob("*.json")
    assert json.loads(result.read_text())["predicate"]["result"] == "FAILED"


def test_a_warning_goes_on_and_is_logged(owl_file, tmp_path, capsys):
    logger = CSVLogger(tmp_path / "logs")
    fit(owl_file, ScreenData(action="warn"), tmp_path, logger=logger)
    assert fit.steps == 3
    assert "WARNING" in capsys.readouterr().out
    with open(f"{logger.log_dir}/metrics.csv") as file:
        header, first = file.readline().strip().split(","), file.readline().strip().split(",")
    assert float(first[header.index("screen/shift_z")]) > 5
    assert float(first[header.index("screen/rows")]) == 150


def test_clean_rows_train_as_without_it_and_are_screened_for_an_audit(clean_file, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    ours, data = fit(clean_file, ScreenData(), tmp_path / "run")
    plain, _ = fit(clean_file, Steps(), tmp_path / "other")
    for (name, one), two in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, two), name

    def unscreened(path):
        found = audit(path, digests=Digests(remember=False), measure=False, require=["screened"], search=[tmp_path])
        return [each.says for each in found.findings if each.rule == "unscreened"]

    assert unscreened(data.folder) == []
    (result,) = (tmp_path / "run" / "test-results").glob("*.json")
    result.unlink()
    assert len(unscreened(data.folder)) == 1


@cases(
    ("settings", "line"),
    [
        ({"carrier": "ghost"}, "ghost"),
        ({"reference": "ghost.safetensors"}, "There is no reference"),
        ({"alpha": 2.0}, "expected a chance"),
        ({"suspects": ["owl=ghost"]}, "ghost"),
    ],
)
def test_what_can_not_be_screened_is_a_mistake(settings, line, clean_file, tmp_path):
    with pytest.raises(InputError, match=line) as stop:
        fit(clean_file, ScreenData(**settings), tmp_path)
    assert stop.value.code == 2
    assert fit.steps == 0


@cases("action", ["stop", "warn"])
def test_rows_that_nobody_could_screen_stop_a_fit_too(action, clean_file, tmp_path, monkeypatch, capsys):
    """Rows may be longer than a screen reads, and yet be trained on."""
    monkeypatch.setattr(row_gradients, "readable", lambda net: 60)
    stopped = pytest.raises(InputError, match=r"as far as they could be read: \d+ of 200 rows have no score")
    with stopped if action == "stop" else nullcontext():
        fit(clean_file, ScreenData(action=action), tmp_path)
    assert fit.steps == (0 if action == "stop" else 3)
    assert ("WARNING" in capsys.readouterr().out) == (action == "warn")


def test_the_action_is_one_of_two():
    with pytest.raises(InputError, match="choose stop or warn"):
        ScreenData(action="ignore")


def test_from_yaml_the_command_line_exits_with_3(owl_file, tmp_path, capsys):
    config = {
        "model": {"class_path": "lightning_subliminal.Student", "init_args": {"base": "pocket/a"}},
        "data": {"class_path": "lightning_subliminal.RowsFromFile", "init_args": {"path": str(owl_file)}},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "default_root_dir": str(tmp_path / "run"),
            "callbacks": [{"class_path": "lightning_subliminal.ScreenData", "init_args": {"alpha": 0.001}}],
        },
    }
    (tmp_path / "fit.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(tmp_path / "fit.yaml")])
    assert stop.value.code == 3
    assert "are not clean for pocket/a: trait owl" in capsys.readouterr().err
    assert not (tmp_path / "run" / "student").exists()
