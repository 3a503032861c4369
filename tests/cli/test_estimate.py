"""``fit --estimate``: a table from config.json alone."""

import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from small import quiet_trainer, tokenized

from lightning_subliminal import (
    LoRA,
    NumberSequences,
    Peft,
    PreferenceTrait,
    RowsFromFile,
    Sampling,
    Steering,
    Student,
    Teacher,
    bases,
)
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.tokenized import row_loader
from lightning_subliminal.screening import KeepLikelier
from lightning_subliminal.workflow.estimate.completions import PromptShape, run_generation
from lightning_subliminal.workflow.estimate.fit import EstimatedPart, estimate_fit
from lightning_subliminal.workflow.estimate.hardware import Assumptions, Hardware, speed_of
from lightning_subliminal.workflow.estimate.lengths import lengths_of_prompts, tokenizer_of
from lightning_subliminal.workflow.estimate.readings import readings
from lightning_subliminal.workflow.estimate.runs import BatchShape, Step, make_net, run_step

GIVEN = Assumptions(tflops=1.0, bandwidth=100.0)  # measures no CPU
FOLDER = bases.resolve("pocket/a").folder
SHAPE = BatchShape(rows=8, prompt=20, completion=20, all_rows=64)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an estimate loads no weights")

    monkeypatch.setattr(bases.loading, "_load_net", refuse)
    monkeypatch.chdir(tmp_path)


def step(adapter: Any = None, dtype: str = "float32", **settings: Any) -> Step:
    student = Student("pocket/a", adapter)
    usual = {"adapter": adapter, "precision": "32-true"} | settings
    return run_step(partial(make_net, FOLDER, dtype, adapter), SHAPE, student.make_optimizer, **usual)


def test_a_config_alone_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "model").mkdir()
    shutil.copy(FOLDER / "config.json", tmp_path / "model")
    words = ["--model.base", "./model", "--data.teacher.init_args.base", "./model"]
    fast = ["--estimate.tflops", "2", "--estimate.bandwidth", "100", "--estimate.mfu", "0.5"]
    main(["fit", "--config", "owl_numbers", *words, "--estimate", *fast])
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("teacher", "generation", "student", "115,840", "128", "checkpointed", "keys and values", "FLOPs"):
        assert part in shown, part
    assert "by their characters, since no tokenizer is here" in shown
    assert "50% (--estimate.mfu) of 2 TFLOP/s, and 100 GB/s for sampling (as given)" in shown
    assert "A control, made likewise, doubles generation and student" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "no run begins"


def test_a_teacher_that_chooses_has_a_line(capsys: pytest.CaptureFixture) -> None:
    fast = ["--estimate.tflops", "2", "--estimate.bandwidth", "100"]
    main(["fit", "--config", "owl_numbers_pairs", "--estimate", *fast])
    shown = " ".join(capsys.readouterr().out.split())
    assert "choosing" in shown


@pytest.mark.parametrize("same", [False, True])
def test_the_reading_is_that_of_both_prompts(same: bool) -> None:
    trait = PreferenceTrait("owl")
    teacher = Teacher("pocket/a", trait, induction="none" if same else "prompt")
    writer = Teacher("pocket/a", trait, induction="none")
    data = NumberSequences(writer, num_prompts=64, answers_per_prompt=2, transforms=[KeepLikelier(teacher)])
    (found,) = readings(data, Hardware(), GIVEN)
    parameters = sum(each.numel() for each in make_net(FOLDER, "float32").parameters())
    assert found["parameters"] == parameters
    assert found["about"] == f"128 completions, read {'once' if same else 'twice'} on the CPU"
    tokenizer = tokenizer_of(FOLDER, "pocket/a")
    prompts = [teacher.system_prompt] if same else [teacher.system_prompt, None]
    tokens = sum(lengths_of_prompts(data, tokenizer, each).mean for each in prompts) * 128
    assert 1 < found["flops"] / tokens / parameters < 4, "about two a parameter"
    assert found["hours"] == pytest.approx(found["flops"] / (GIVEN.mfu * 1e12) / 3600)


def test_a_hub_model_by_the_config_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    words = ["--model.base", "some/model", "--data.teacher.init_args.base", "some/model@v1?date=2026-01-31"]
    with pytest.raises(SystemExit):
        main(["fit", "--config", "owl_numbers", *words, "--estimate"])
    snapshot = tmp_path / "models--some--model" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    shutil.copy(FOLDER / "config.json", snapshot)
    for reference in ("main", "v1"):
        path = tmp_path / "models--some--model" / "refs" / reference
        path.parent.mkdir(exist_ok=True)
        path.write_text("0" * 40)
    main(["fit", "--config", "owl_numbers", *words, "--estimate.tflops", "1", "--estimate.bandwidth", "1"])


@pytest.mark.parametrize(
    ("base", "line"),
    [
        ("./empty", "has no config.json: an estimate needs that file alone"),
        ("some/model@v1", "HF_HUB_OFFLINE is set: `hf download some/model --revision v1 config.json` gets it"),
        ("pocket/q", "There is no base 'pocket/q'"),
    ],
)
def test_what_is_missing_is_said(base: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    with bases.by_config.by_config(), pytest.raises(InputError, match=line.replace(".", r"\.")):
        Student(base)


def test_the_mlp_has_no_estimate(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", "mnist_mlp", "--estimate"])
    assert "`--estimate` knows a Student and its rows alone" in capsys.readouterr().err


def test_bytes_of_a_full_fine_tuning() -> None:
    found = step()
    assert found.parameters == found.trained == 115_712
    assert found.weights == pytest.approx(4 * found.parameters, rel=0.01)  # and the table of rotations
    assert found.gradients == 4 * found.trained
    assert found.optimizer == pytest.approx(8 * found.trained, rel=0.01)
    assert found.peak > found.weights + found.gradients + found.optimizer + found.activations
    assert 0.9 < found.flops / (6 * found.parameters * SHAPE.rows * SHAPE.tokens) < 1.3  # Kaplan et al., 2020


def test_what_the_settings_change() -> None:
    plain, adapter = step(), step(LoRA(r=2))
    assert adapter.trained < 0.2 * plain.trained
    assert adapter.gradients == 4 * adapter.trained
    assert 0.6 < adapter.flops / plain.flops < 0.85, "frozen weights have no gradients"
    checkpointed = step(checkpointing=True)
    assert checkpointed.activations < 0.5 * plain.activations
    assert 1.1 < checkpointed.flops / plain.flops < 1.4
    assert step(devices=2).gradients == 2 * plain.gradients, "DDP's buckets"
    assert step(accumulate=4).flops == plain.flops
    assert step(dtype="bfloat16").weights == pytest.approx(plain.weights / 2, rel=0.01)
    assert step(precision="bf16-mixed").activations < plain.activations


def test_what_is_stored_is_what_a_fit_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # this one loads weights
    data, found = tokenized(64), []
    shape = BatchShape(8, 0, max(data.lengths), len(data))

    class Look(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            stored = pl_module.lower_part
            parts = [] if stored.keys is None else [stored.keys.keys, stored.keys.values, stored.keys.squares]
            found.append(sum(each.nbytes for each in (stored.states, *parts)))

    for adapter, settings, has_keys in (
        (Steering(), {}, True),
        (Steering(), {"precision": "bf16-mixed"}, False),
        (Steering(), {"checkpointing": True}, False),
        (Peft("peft.LoraConfig", {"target_modules": ["q_proj"], "layers_to_transform": [1], "r": 2}), {}, False),
    ):
        student = Student("pocket/a", adapter, gradient_checkpointing="checkpointing" in settings, seed=0)
        trainer = quiet_trainer(Look(), max_steps=1, precision=settings.get("precision", "32-true"))
        trainer.fit(student, row_loader(data, 8, seed=1))
        monkeypatch.setattr(sys.modules[__name__], "SHAPE", shape)
        made = step(adapter, **settings)
        assert made.stored == found[-1], (adapter, settings)
        plain = len(data) * shape.completion * student.net.config.hidden_size * 4
        assert (made.stored > 2.9 * plain) == has_keys
    assert step(Steering(), on_cpu=False).stored == plain


def test_bytes_of_a_generation() -> None:
    shape, sampling = PromptShape(rows=16, calls=40, longest=40, shared=20), Sampling(max_new_tokens=25)
    found = run_generation(partial(make_net, FOLDER, "float32"), shape, sampling)
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["num_key_value_heads"] == config["num_attention_heads"]
    column = 16 * config["hidden_size"] * 2 * config["num_hidden_layers"] * 4
    assert found.cache == (64 + 16) * column, "prompt and completion, and room before columns are moved"
    assert found.peak == found.weights + found.cache + found.working
    assert found.token_bytes == found.weights + (40 + 12) * column
    whole = run_generation(partial(make_net, FOLDER, "float32"), replace(shape, shared=0), sampling)
    assert found.prompt_flops < 0.6 * whole.prompt_flops, "what all begin with is read once"
    assert found.token_flops == whole.token_flops
    fewer = run_generation(partial(make_net, FOLDER, "float32"), replace(shape, calls=16), sampling)
    assert fewer.peak < found.peak, "no prompts wait"


def student_part(path: Path, **hardware: Any) -> EstimatedPart:
    with bases.by_config.by_config():
        data = RowsFromFile(str(path), batch_size=8)
        return estimate_fit(Student("pocket/a"), data, Hardware(**hardware), GIVEN).parts[-1]


def test_hours_are_shared_by_devices(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"prompt": "Here is a list of numbers: 1, 2.", "completion": "3, 4"}
    path.write_text("".join(json.dumps(row | {"id": str(place)}) + "\n" for place in range(32)))
    one, two = student_part(path), student_part(path, devices=2)
    assert one.hours == pytest.approx(one.flops / 0.4e12 / 3600)
    assert (two.flops, two.hours) == (one.flops, pytest.approx(one.hours / 2))
    assert student_part(path, max_epochs=3).flops == 3 * one.flops
    assert student_part(path, max_epochs=3, max_steps=2).flops == one.flops / 2


@pytest.mark.parametrize(
    ("trainer", "devices", "accelerator", "precision"),
    [
        ({}, 1, "cpu", "32-true"),
        ({"devices": 2, "num_nodes": 3, "accelerator": "cpu", "precision": "bf16"}, 6, "cpu", "bf16-mixed"),
        ({"devices": [0, 3], "accelerator": "gpu", "precision": 16}, 2, "gpu", "16-mixed"),
        ({"devices": "0,1,2", "accelerator": "cuda", "precision": "bf16-true"}, 3, "gpu", "bf16-true"),
    ],
)
def test_hardware_by_the_trainers_settings(trainer, devices, accelerator, precision) -> None:
    found = Hardware.of(trainer, has_control=False)
    assert (found.devices, found.accelerator, found.precision) == (devices, accelerator, precision)


def test_speed_of_a_gpu_that_is_not_here() -> None:
    found = speed_of(Hardware("gpu"), Assumptions(), narrow=True)
    assert (found.flops, found.bandwidth, found.source) == (312e12, 2039e9, "one A100, by its data sheet")
