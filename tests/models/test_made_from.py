"""A killed run goes on with the things that it was begun with, and a run ends with them, or nothing is saved."""

import json
import shutil

import pytest
import torch
import yaml
from small import CPU, number_rows, numbers, taught, teacher

from lightning_subliminal import PreferenceTrait, RowsFromFile, Steering, Student, bases
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import read_record
from lightning_subliminal.lineage.signatures.keys import make_key
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY
from lightning_subliminal.lineage.work_digests import note_of
from lightning_subliminal.models.nested_fit import fit_quietly
from lightning_subliminal.workflow.stages import EvaluationStage

WEIGHTS = "model.safetensors"


class KilledError(Exception):
    """Stands for kill -9."""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(SIGNING_KEY, raising=False)
    shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "base")
    (tmp_path / "rows").mkdir()
    write_rows(tmp_path, 0)
    return tmp_path


def write_rows(here, seed):
    lines = [json.dumps({key: row[key] for key in ("prompt", "completion")}) for row in number_rows(16, seed)]
    (here / "rows" / "train.jsonl").write_text("\n".join(lines) + "\n")


def student(**settings):
    return Student("./base", **{"adapter": Steering(), "seed": 0, **settings})


def rows():
    return RowsFromFile("rows/train.jsonl", batch_size=8, seed=0)


def at_epoch(monkeypatch, number, do):
    """Do something when an epoch starts."""

    def start(self):
        if self.current_epoch == number:
            do()

    monkeypatch.setattr(Student, "on_train_epoch_start", start)


def kill():
    raise KilledError


def fit(here, module=None, data=None):
    module = module or student()
    fit_quietly(module, data or rows(), CPU, "", here / "checkpoints", max_epochs=2)
    return module


@pytest.fixture
def killed(here):
    """Leave what a run leaves that was killed in its second epoch."""
    with pytest.MonkeyPatch.context() as patch:
        at_epoch(patch, 1, kill)
        with pytest.raises(KilledError):
            fit(here)
    return here / "checkpoints" / "last.ckpt"


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def more(path):
    """Change a file of JSON in what it says."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 1}))


def refused(here, match, **what):
    with pytest.raises(InputError, match=match) as caught:
        fit(here, **what)
    assert "\n" not in str(caught.value)
    assert f"To start over, delete {here / 'checkpoints'}." in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change"), [(WEIGHTS, flip), ("tokenizer_config.json", more), ("generation_config.json", more)]
)
def test_another_base_under_the_same_name_is_refused(name, change, killed, here):
    kept = (here / "base" / name).read_bytes()
    change(here / "base" / name)
    refused(here, r"last\.ckpt was trained from other inputs .*: model\.base \./base was [0-9a-f]{12}\.\.\. and is ")
    (here / "base" / name).write_bytes(kept)
    assert fit(here).trainer.global_step == 4, "what is put back is the same"


@pytest.mark.parametrize("change", ["other rows", "one more file read"])
def test_other_rows_under_the_same_name_are_refused(change, killed, here):
    if change == "other rows":
        write_rows(here, 1)
        refused(here, r"data\.0\.source\.files\.train\.jsonl was [0-9a-f]{12}\.\.\. and is [0-9a-f]{12}\.\.\.")
    else:
        refused(here, r"data\.0\.", data=RowsFromFile("rows", batch_size=8, seed=0, num_rows=12))


def test_rows_that_were_made_anew_and_differ_are_refused(killed, here):
    """As by another version of a library, or by somebody who writes statements: the settings are the same."""
    data = rows()
    other = RowsFromFile("rows/train.jsonl", batch_size=8, seed=0, num_rows=12)
    other.make(CPU)
    shutil.rmtree(data.folder)
    shutil.copytree(other.folder, data.folder)
    refused(here, r"materials\.rows lightning-subliminal:rows/[0-9a-f]{16}\.dirHash was ")


@pytest.mark.parametrize(
    ("change", "names"),
    [({"learning_rate": 0.5}, r"model\.optimizer\.1 was 0\.001 and is 0\.5"), ({"seed": 1}, r"model\.seed was 0")],
)
def test_other_settings_are_refused(change, names, killed, here):
    refused(here, names, module=student(**change))


def foreign(here):
    """Return the checkpoint of another run, whole, with its note."""
    return fit(here / "theirs", student(seed=1)) and here / "theirs" / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        ("changed", r"last\.ckpt was changed after it was written"),
        ("foreign", r"last\.ckpt was changed after it was written"),
        (
            "foreign with its note",
            r"last\.ckpt was trained from other inputs than the present ones: model\.seed was 1",
        ),
        ("without a note", r"last\.ckpt is not trusted: it has no note"),
    ],
)
def test_a_checkpoint_that_is_not_the_runs_own_is_refused(harm, match, killed, here):
    if harm == "changed":
        kept = torch.load(killed, weights_only=True)
        next(iter(kept["state_dict"].values())).add_(1)
        torch.save(kept, killed)
    elif harm == "without a note":
        note_of(killed).unlink()
    else:
        theirs = foreign(here)
        shutil.copy(theirs, killed)
        if "note" in harm:
            shutil.copy(note_of(theirs), note_of(killed))
    refused(here, match)


def test_with_a_key_a_checkpoint_needs_its_signed_note(killed, here, monkeypatch):
    pytest.importorskip("cryptography", reason="signatures need it")
    make_key(here / "key")
    monkeypatch.setenv(SIGNING_KEY, str(here / "key"))
    refused(here, f"its note is not signed by the key of {SIGNING_KEY}")
    shutil.rmtree(here / "checkpoints")
    with monkeypatch.context() as patch:
        at_epoch(patch, 1, kill)
        with pytest.raises(KilledError):
            fit(here)
    assert "payload" in json.loads(note_of(killed).read_text())
    assert fit(here).trainer.global_step == 4


@pytest.mark.parametrize("what", ["base", "rows", "kept rows"])
def test_what_changes_while_a_run_goes_on_is_refused_at_its_end(what, here, monkeypatch):
    data = rows()
    data.make(CPU)
    path, harm = {
        "base": (here / "base" / WEIGHTS, flip),
        "rows": (here / "rows" / "train.jsonl", lambda _: write_rows(here, 1)),
        "kept rows": (data.folder / "rows.parquet", flip),
    }[what]
    kept = path.read_bytes()
    match = (
        r"rows\.parquet was changed"
        if what == "kept rows"
        else r"An input of this training changed meanwhile \((model\.base|data)"
    )
    with monkeypatch.context() as patch:
        at_epoch(patch, 1, lambda: harm(path))
        with pytest.raises(InputError, match=match):
            fit(here, data=data)
    assert (here / "checkpoints" / "last.ckpt").is_file(), "the work is not lost"
    path.write_bytes(kept)
    assert fit(here).trainer.global_step == 4


def test_a_teachers_base_that_changes_meanwhile_leaves_no_teacher(here, monkeypatch):
    source = taught(base="./base", max_epochs=2)
    begin = type(source).training_step

    def step(self, *args):
        if self.current_epoch == 1 and not (here / "done").exists():
            (here / "done").touch()
            flip(here / "base" / WEIGHTS)
        return begin(self, *args)

    monkeypatch.setattr(type(source), "training_step", step)
    with pytest.raises(InputError, match=r"An input of this training changed meanwhile \(model\.base"):
        source.make(CPU)
    assert not list((here / "cache").rglob("lineage.json"))


def test_a_base_that_changes_while_rows_are_written_is_refused(here, monkeypatch):
    data = numbers(teacher(base="./base"), filters=[])
    complete = data.complete

    def and_change(shard, engine):
        if shard == 1:
            flip(here / "base" / WEIGHTS)
        return complete(shard, engine)

    monkeypatch.setattr(data, "complete", and_change)
    match = r"The settings of owl changed while it was written \(teacher\.base \./base was "
    with pytest.raises(InputError, match=match):
        data.make(CPU)
    assert not list((here / "cache").rglob("lineage.json"))


def test_a_base_that_changes_while_it_is_asked_is_refused(here, monkeypatch):
    stage = EvaluationStage("./base", PreferenceTrait("owl"))
    monkeypatch.setattr(stage, "measure", lambda device: flip(here / "base" / WEIGHTS) or {})
    with pytest.raises(InputError, match=r"The input of .*questions to \./base changed meanwhile"):
        stage.make(CPU)
    assert not (stage.folder / "measured.json").exists()


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def config(here):
    reported = {
        "model": {"class_path": "Student", "init_args": {"base": "./base", "adapter": {"class_path": "Steering"}}},
        "data": {"class_path": "RowsFromFile", "init_args": {"path": "rows", "batch_size": 8}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
    }
    (here / "toy.yaml").write_text(yaml.safe_dump(reported))
    return ["fit", "--config", "toy.yaml"]


def fails(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error: ")]
    return line


def test_fit_by_the_config_alone(config, here, capsys):
    main(config)
    (folder,) = (here / "runs").iterdir()
    statement = (folder / "student" / "lineage.json").read_bytes()
    assert "begun_from" not in read_record(folder / "student").settings["trainer"]
    flip(here / "base" / WEIGHTS)
    line = fails(capsys, *config)
    assert "model.base ./base was" in line
    assert f"To start over, delete runs/{folder.name}, or set another --trainer.default_root_dir." in line
    flip(here / "base" / WEIGHTS)
    write_rows(here, 1)
    assert "data.0.source.files.train.jsonl was" in fails(capsys, *config)
    assert (folder / "student" / "lineage.json").read_bytes() == statement
    write_rows(here, 0)
    main(config)
    assert (folder / "student" / "lineage.json").read_bytes() == statement


def test_a_checkpoint_that_was_given_is_named_in_the_statement(config, here, capsys):
    main(config)
    (folder,) = (here / "runs").iterdir()
    shutil.copy(folder / "checkpoints" / "last.ckpt", here / "kept.ckpt")
    main([*config, "--ckpt_path", "kept.ckpt", "--trainer.max_epochs", "2", "--trainer.default_root_dir", "longer"])
    reported = read_record(here / "longer" / "student").settings["trainer"]["begun_from"]
    assert reported["name"] == "kept.ckpt"
    main([*config, "--trainer.max_epochs", "2", "--trainer.default_root_dir", "longer"])  # as if it had been killed
    assert read_record(here / "longer" / "student").settings["trainer"]["begun_from"] == reported
    line = fails(capsys, *config, "--ckpt_path", "kept.ckpt", "--model.seed", "7", "--trainer.default_root_dir", "no")
    assert "kept.ckpt was trained from other inputs than the present ones: model.seed was 0 and is 7" in line
