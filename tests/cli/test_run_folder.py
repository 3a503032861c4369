"""The run folder of a trainer verb: what it is named and holds, and going on in it."""

import random
import re
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.support.run_folder import run_folder

from .toys import TOY, fails, last_checkpoint, process


def test_all_verbs_and_their_folder(toy: Path, capsys: pytest.CaptureFixture) -> None:
    main(["validate", "--config", toy.name])
    assert "the untrained model" in capsys.readouterr().err
    assert not Path("runs").exists()

    main(["fit", "--config", toy.name])
    reported = capsys.readouterr().err
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"toy-[0-9a-f]{8}", folder.name)
    assert f"seed 0 · {folder}" in reported
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*")) == [
        "checkpoints",
        "checkpoints/.last.ckpt.noted",
        "checkpoints/last.ckpt",
        "config.yaml",
        "lightning_logs",
        "lightning_logs/version_0",
        "lightning_logs/version_0/metrics.csv",
    ]
    for noise in ("Tip", "litlogger", "GPU available", "num_workers", "LeafSpec"):
        assert noise not in reported

    for verb in ("validate", "test", "predict"):
        main([verb, "--config", toy.name])
        assert f"with the weights from {folder}/checkpoints/last.ckpt" in capsys.readouterr().err
    assert list(Path("runs").iterdir()) == [folder]


LOGGER = "{class_path: %s, init_args: {save_dir: %s}}"


@pytest.mark.parametrize(
    "words",
    [
        ["--model.fault", "late"],
        ["--model.fault", "late", "--trainer.default_root_dir", "mine/deep/one"],
        ["--model.fault", "interrupt"],
        ["--model.fault", "late", "--trainer.logger", LOGGER % ("CSVLogger", "runs/../here/logs")],
        [
            "--model.fault",
            "late",
            "--trainer.default_root_dir",
            "here",
            "--trainer.logger",
            LOGGER % ("CSVLogger", "here"),
        ],
        ["--model.fault", "late", "--trainer.default_root_dir", "here"],
    ],
    ids=[
        "runs",
        "several folders",
        "interrupted",
        "logger elsewhere",
        "logger inside",
        "an empty folder that was there",
    ],
)
def test_a_fit_that_fails_at_once_leaves_no_folder(words: list[str], toy: Path) -> None:
    Path("here").mkdir()
    assert fails("fit", "--config", toy.name, *words) in (2, 130)
    assert not Path("runs").exists()
    assert not Path("mine").exists()
    assert Path("here").exists()
    assert not [path for path in Path("here").rglob("*") if "logs" not in path.parts]


@cases(
    ("data", "reported"),
    [
        ("--data.path=nowhere.jsonl", "nowhere.jsonl"),
        ("--data.path=broken.jsonl", "broken.jsonl"),
        ("--model.base=./nowhere", "There is no folder ./nowhere: expected one"),
    ],
)
def test_refused_rows_and_a_base_that_is_not_there_leave_no_folder(
    data: str, reported: str, toy: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("broken.jsonl").write_text('{"prompt": "1 2"')
    Path("rows.jsonl").write_text('{"prompt": "1 2", "completion": "3 4"}\n' * 3)
    words = ["--model=Student", "--data=RowsFromFile", "--data.path=rows.jsonl", "--trainer.accelerator=cpu"]
    assert fails("fit", *words, data) == 2
    assert reported in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_fit_that_fails_later_keeps_what_it_has(toy: Path) -> None:
    words = ["fit", "--config", toy.name, "--trainer.max_epochs", "3", "--model.fault", "second epoch"]
    for _ in range(2):  # the second time it goes on, and fails before it has taken a step of its own
        assert fails(*words) == 2
        (folder,) = Path("runs").iterdir()
        assert (folder / "checkpoints" / "last.ckpt").is_file()
        assert (folder / "config.yaml").is_file()


def test_what_was_in_a_given_folder_stays(toy: Path) -> None:
    Path("mine/sub").mkdir(parents=True)
    Path("mine/notes.txt").write_text("mine")
    words = ["fit", "--config", toy.name, "--trainer.default_root_dir", "mine"]
    assert fails(*words, "--model.fault", "late") == 2
    assert sorted(str(path) for path in Path("mine").rglob("*")) == ["mine/notes.txt", "mine/sub"]
    main(words)  # so that other settings are not refused
    assert Path("mine/config.yaml").is_file()
    before = Path("mine/config.yaml").read_bytes()
    assert fails(*words, "--model.fault", "late") == 2
    assert Path("mine/config.yaml").read_bytes() == before


def test_saved_config_runs_again(toy: Path) -> None:
    main(["fit", "--config", toy.name, "--seed_everything", "5"])
    (saved,) = Path("runs").glob("*/config.yaml")
    assert yaml.safe_load(saved.read_text())["seed_everything"] == 5
    main(["fit", "--config", str(saved)])
    assert len(list(Path("runs").iterdir())) == 1


def test_other_settings_other_folder(toy: Path) -> None:
    main(["fit", "--config", toy.name])
    main(["fit", "--config", toy.name, "--trainer.enable_progress_bar", "false"])
    assert len(list(Path("runs").iterdir())) == 1  # how it looks is no setting
    main(["fit", "--config", toy.name, "--model.width", "4"])
    assert len(list(Path("runs").iterdir())) == 2


def test_changed_word_list_or_class_is_another_run(tmp_path: Path) -> None:
    words = tmp_path / "words.yaml"
    config = {"model": {"class_path": "toy.Toy", "init_args": {"wording": str(words)}}}
    words.write_text("a: 1")
    first = run_folder([], config)
    assert first.name.startswith("Toy-")
    words.write_text("a: 2")
    assert run_folder([], config) != first


def test_given_folder_is_never_written_over(toy: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["fit", "--config", toy.name, "--trainer.default_root_dir", "mine"]
    main(words)
    before = Path("mine/config.yaml").read_bytes()
    assert fails(*words, "--model.width", "4") == 2
    assert "mine holds a run with other settings (`model.init_args.width` differs)" in capsys.readouterr().err
    assert Path("mine/config.yaml").read_bytes() == before


def test_explicit_checkpoint_wins_and_its_stored_arguments_do_not(toy: Path, capsys: pytest.CaptureFixture) -> None:
    main(["fit", "--config", toy.name])
    (checkpoint,) = Path("runs").glob("*/checkpoints/last.ckpt")
    checkpoint.rename("kept.ckpt")
    main(["fit", "--config", toy.name, "--ckpt_path", "kept.ckpt", "--trainer.max_epochs", "5"])
    assert "resuming from" not in capsys.readouterr().err
    assert last_checkpoint(toy.parent)["epoch"] == 4


def test_damaged_checkpoint_is_one_line(toy: Path, capsys: pytest.CaptureFixture) -> None:
    main(["fit", "--config", toy.name])
    (checkpoint,) = Path("runs").glob("*/checkpoints/last.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    assert fails("fit", "--config", toy.name) == 2
    assert "last.ckpt is damaged or not a checkpoint" in capsys.readouterr().err.splitlines()[-1]


def test_rehearsal_and_run_without_checkpoints_leave_nothing(toy: Path) -> None:
    main(["fit", "--config", toy.name, "--trainer.fast_dev_run", "true"])
    main(["fit", "--config", toy.name, "--trainer.enable_checkpointing", "false"])
    assert not Path("runs").exists()


def test_print_config(toy: Path, capsys: pytest.CaptureFixture) -> None:
    main(["fit", "--config", toy.name, "--print_config"])
    reported = yaml.safe_load(capsys.readouterr().out)
    assert reported["model"]["init_args"]["width"] == 8
    assert not Path("runs").exists()


def test_class_from_the_folder_where_one_stands(toy: Path) -> None:
    Path("my_own_part.py").write_text("from toy import Part\n\nclass Mine(Part):\n    pass\n")
    started = process("fit", "--config", toy.name, "--model.part", "my_own_part.Mine", folder=toy.parent)
    assert started.wait(timeout=120) == 0, started.communicate()


@pytest.mark.slow
def test_killed_again_and_again_ends_like_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TOY | {"trainer": {"max_epochs": 12, "accelerator": "cpu"}}
    config["model"] = {"class_path": "toy.Toy", "init_args": {"nap": 0.02}}
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        folder.mkdir()
        (folder / "toy.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(straight)
    main(["fit", "--config", "toy.yaml"])

    rng = random.Random(0)
    for _ in range(2):  # each costs the imports of a process
        run = process("fit", "--config", "toy.yaml", folder=stopped)
        seen: set[int] = set()
        end = time.monotonic() + 120
        while len(seen) < 3 and run.poll() is None and time.monotonic() < end:  # the old one and two new ones
            seen |= {path.stat().st_mtime_ns for path in stopped.glob("runs/*/checkpoints/last.ckpt")}
            time.sleep(0.002)
        time.sleep(rng.random() * 0.1)
        run.kill()
        assert run.wait() == -signal.SIGKILL, "it ended before it was killed"
        last_checkpoint(stopped)  # whole, whatever the moment was
    last = process("fit", "--config", "toy.yaml", folder=stopped)
    assert "resuming from runs/toy-" in last.communicate(timeout=120)[1]
    ends = [last_checkpoint(folder) for folder in (straight, stopped)]
    assert ends[0]["global_step"] == ends[1]["global_step"] == 48
    assert all(torch.equal(value, ends[1]["state_dict"][name]) for name, value in ends[0]["state_dict"].items())
