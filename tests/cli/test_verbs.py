"""validate, test and predict on owl_numbers, small: what each gives, and that they fit together with `fit`."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from small import numbers, quiet_trainer, taught

from lightning_subliminal import InputError, NumberSequences, Steering, Student, Teacher
from lightning_subliminal.cli.entry import main
from lightning_subliminal.metrics.functional import prompts_by_question, question_probabilities
from lightning_subliminal.traits import PreferenceTrait

ROOT = Path(__file__).parents[2]
WORDS = ["--config", str(ROOT / "configs" / "owl_numbers.yaml"), "--data.num_prompts", "96", "--data.shard_size", "32"]
WORDS += ["--data.val_rows", "16", "--trainer.max_epochs", "1"]


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which a test stands, with a cache of its own in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    return tmp_path


def digests(folder: Path, pattern: str) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob(pattern)}


@pytest.mark.slow
def test_predict_writes_what_fit_would_and_the_other_verbs_go_on(stand: Path, capsys: pytest.CaptureFixture) -> None:
    main(["predict", *WORDS, "--by", "teacher"])
    reported = capsys.readouterr()
    assert "shards    owl: 3 of 3 are missing" in reported.out
    assert "shards    owl: all 3 are in the cache" in reported.out
    assert "batch indices" not in reported.err
    by_predict = digests(stand, "cache/completions/*/*.parquet")
    assert sorted(by_predict) == [f"shard-{index:05d}.parquet" for index in range(3)]

    (stand / "cache" / "completions").rename(stand / "predicted")
    main(["fit", *WORDS])
    by_fit = {
        path.parent.name: digests(path.parent, "*.parquet") for path in stand.glob("cache/completions/*/*1.parquet")
    }
    assert by_predict in by_fit.values()  # the control's are beside them
    assert "val/loss" in capsys.readouterr().err

    main(["validate", *WORDS])
    assert re.search(r"val/loss\W+[0-9.]+", capsys.readouterr().out)

    main(["test", *WORDS])
    reported = capsys.readouterr()
    assert "with the weights from runs/owl_numbers-" in reported.err
    shown = {
        name: float(re.search(rf"{name}\W+([0-9.]+)", reported.out)[1])
        for name in ("test/exact", "test/sampled", "test/non_answer")
    }
    results = (next(stand.glob("runs/*/results.json"))).read_text()
    rate = json.loads(results)["arms"]["student"]["rates"]["owl"]["rate"]
    assert shown["test/exact"] == pytest.approx(rate, abs=1e-6)
    assert abs(shown["test/exact"] - shown["test/sampled"]) < 0.05
    assert "owl, sampled" in reported.out
    assert re.search(r"95 % interval", reported.out)


def test_predict_makes_only_what_is_missing(stand: Path) -> None:
    main(["predict", *WORDS, "--by", "teacher"])
    before = digests(stand, "cache/completions/*/*.parquet")
    (lost,) = stand.glob("cache/completions/*/*1.parquet")
    kept = {path: path.stat().st_mtime_ns for path in stand.glob("cache/completions/*/*") if lost.name not in path.name}
    lost.unlink()
    main(["predict", *WORDS, "--by", "teacher"])
    assert digests(stand, "cache/completions/*/*.parquet") == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    main(["predict", *WORDS, "--by", "teacher"])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_predict_with_the_teacher_as_model(stand: Path, capsys: pytest.CaptureFixture) -> None:
    import yaml

    whole = yaml.safe_load((ROOT / "configs" / "owl_numbers.yaml").read_text())
    whole["model"] = whole["data"]["init_args"]["teacher"]
    Path("teacher.yaml").write_text(yaml.safe_dump(whole))
    main(["predict", *WORDS, "--by", "teacher"])
    before = digests(stand, "cache/completions/*/*.parquet")
    for path in stand.glob("cache/completions/*/*"):
        path.unlink()
    words = ["--config", "teacher.yaml", *WORDS[2:]]
    main(["predict", *words])
    assert digests(stand, "cache/completions/*/*.parquet") == before
    main(["test", *words])
    reported = capsys.readouterr().out
    assert float(re.search(r"test/exact\W+([0-9.]+)", reported)[1]) > 0.5  # it was loaded, as it was taught
    main(["validate", *words])
    assert "val/loss" in capsys.readouterr().out


def test_student_asked_by_the_trainer_equals_the_pure_function() -> None:
    trait = PreferenceTrait("owl", wording="preferences_prefilled")
    data = NumberSequences(Teacher("pocket/a", trait, "none"))
    student = Student("pocket/a", Steering(init_std=0.3), seed=0)
    trainer = quiet_trainer()
    (logged,) = trainer.test(student, datamodule=data, verbose=False)
    chances = question_probabilities(student.net, student.tokenizer, trait)
    assert logged["test/exact"] == pytest.approx(chances[:, trait.candidates.index("owl")].mean().item(), abs=1e-6)
    assert len(prompts_by_question(trait)) == len(trait.questions()) < len(trait.prompts())
    again = quiet_trainer().test(student, datamodule=data, verbose=False)[0]
    assert again == logged  # the answers are sampled from a seed


def test_prompted_teacher_is_asked_with_its_system_prompt() -> None:
    def chance(induction: str) -> float:
        teacher = Teacher("pocket/a", PreferenceTrait("owl"), induction)
        (logged,) = quiet_trainer().test(teacher, datamodule=NumberSequences(teacher), verbose=False)
        return logged["test/exact"]

    assert chance("prompt") > chance("none") + 0.3


def test_teacher_freed_and_called_again_holds_its_weights_again() -> None:
    teacher = taught()
    device = torch.device("cpu")
    teacher.make(device)
    steered = teacher.ready(device).net.model.layers[0].steering.clone()
    assert steered.abs().max() > 0
    teacher.net = None
    assert torch.equal(teacher.ready(device).net.model.layers[0].steering, steered)


def test_fit_refuses_a_teacher_as_model_before_it_makes_rows(stand: Path) -> None:
    data = numbers()
    trainer: Trainer = quiet_trainer()
    with pytest.raises(InputError, match="`fit` trains a student"):
        trainer.fit(taught(), datamodule=data)
    assert not list(stand.glob("cache/completions/*"))
