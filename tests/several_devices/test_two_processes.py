"""Runs on two processes, with nothing in the cache: they end, and give what one process gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import forks
import pytest
from safetensors.torch import load_file

from lightning_subliminal.core.io.adapter_names import OWN_FILES

ROOT = Path(__file__).parent.parent.parent
LIMIT = 300  # seconds; where one process waits for another that does not come, it would be for ever
ROWS = 8  # that all processes see together in a step
SCRIPT = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import torch
torch.set_num_threads(1)
from lightning.pytorch import Trainer
from small import CPU, numbers, taught
from lightning_subliminal import Steering, Student, TraitComparison, fit_arms
from lightning_subliminal.callbacks import ShardWriter
from lightning_subliminal.plans.screening import ScreenData

if __name__ == "__main__":
    verb, devices, prompts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    kept = {{"filters": []}} if verb == "screened fit" else {{}}  # for which few rows would not do
    data = numbers(taught(), num_prompts=prompts, shard_size=8, batch_size={rows} // devices, **kept)
    student = Student("pocket/a", Steering(), learning_rate=0.06, seed=0)
    calls = {{"predict": [ShardWriter()], "screened fit": [ScreenData(action="warn")]}}.get(verb, [TraitComparison()])
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=2,
                      callbacks=calls, default_root_dir=sys.argv[4], **quiet)
    if verb == "fit_arms":
        fit_arms(trainer, student, data)
    elif verb == "predict":
        trainer.predict(student, data, return_predictions=False)
    else:
        if verb != "fit":
            data.make()
        trainer.fit(student, data)
    print("rank " + str(trainer.global_rank) + " ended", flush=True)  # one write: two processes share the pipe
    trainer.strategy.barrier()  # the output is read when the first process has ended
"""


def start(tmp_path, devices, *words, fresh=False):
    """Run python on a number of processes, within the limit; the first is a fork unless it is to be a fresh one."""
    environment = os.environ | {
        "LIGHTNING_SUBLIMINAL_CACHE": str(tmp_path / f"cache{devices}"),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
    }
    environment.pop("PYTEST_CURRENT_TEST", None)
    words = [sys.executable, *map(str, words)]
    if not fresh:
        return forks.run(words, env=environment, cwd=tmp_path, timeout=LIMIT)
    return subprocess.run(
        words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def run(tmp_path, verb, devices, prompts=32, *, fresh=False):
    """Run the script; of two runs whose bytes are compared one is fresh, with a seed of ``hash()`` of its own."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT), tests=str(ROOT / "tests"), rows=ROWS))
    place = tmp_path / f"run{devices}"
    return start(tmp_path, devices, script, verb, devices, prompts, place, fresh=fresh)


def ended(done, devices):
    assert done.returncode == 0, done.stdout + done.stderr
    assert [rank for rank in range(devices) if f"rank {rank} ended" in done.stdout] == list(range(devices))
    return " ".join(done.stdout.split())


def made(tmp_path, devices, kind, root="cache"):
    """Return the files of a kind that a run has left."""
    folder = tmp_path / f"{root}{devices}"
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob(kind))}


def assert_same_bytes(tmp_path, kind, root="cache"):
    one, two = (made(tmp_path, devices, kind, root) for devices in (1, 2))
    assert one
    assert {name: path.read_bytes() for name, path in one.items()} == {
        name: path.read_bytes() for name, path in two.items()
    }


def assert_same_weights(tmp_path, least):
    one, two = (made(tmp_path, devices, OWN_FILES.weights) for devices in (1, 2))
    assert one.keys() == two.keys(), "each has the same settings"
    assert len(one) >= least
    for name, path in one.items():
        ours, theirs = load_file(path), load_file(two[name])
        assert max((ours[key] - theirs[key]).abs().max().item() for key in ours) < 1e-5, name


@pytest.mark.parametrize("prompts", [32, 33], ids=["even", "one row more on one of them"])
@pytest.mark.slow
def test_fit_from_nothing(tmp_path, prompts):
    """Teacher, control and student are there at the end, made of the same rows, by the same steps."""
    shown = ended(run(tmp_path, "fit_arms", 2, prompts, fresh=True), 2)
    assert "control: trained for" in shown
    assert list(json.loads((tmp_path / "run2" / "results.json").read_text())["arms"]) == [
        "base",
        "teacher",
        "control",
        "student",
    ]
    ended(run(tmp_path, "fit_arms", 1, prompts), 1)
    assert_same_bytes(tmp_path, "*.parquet")
    assert_same_weights(tmp_path, 3)


@pytest.mark.slow
def test_a_plain_fit_says_to_make_the_rows_before(tmp_path):
    done = run(tmp_path, "fit", 2)
    assert done.returncode != 0
    assert "call `data.make()` before `Trainer.fit`" in done.stderr
    assert not (tmp_path / "cache2" / "rows").exists()
    shown = ended(run(tmp_path, "fit what is made", 2), 2)
    assert "control not shown: it is not in the cache" in shown


@pytest.mark.slow
def test_one_process_screens_and_both_train(tmp_path):
    shown = ended(run(tmp_path, "screened fit", 2, 160), 2)
    assert shown.count("by 160 rows, if they are like a steering teacher's") == 1
    assert len(made(tmp_path, 2, "test-results/*", "run")) == 1


@pytest.mark.slow
def test_predict_lets_the_student_write(tmp_path):
    for devices in (1, 2):
        shown = ended(run(tmp_path, "predict", devices, 40, fresh=devices == 2), devices)
        assert "5 of Student, kept in" in shown
    assert_same_bytes(tmp_path, "*.parquet", "run")
    assert not (tmp_path / "cache2" / "completions").exists()


@pytest.mark.slow
def test_verbs(tmp_path):
    """The verbs on two devices, one after the other, from nothing."""
    words = ["--config", "owl_numbers", "--data.num_prompts", 48, "--data.shard_size", 16, "--trainer.max_epochs", 1]
    words += ["--data.teacher.max_epochs", 20, "--data.batch_size", 8, "--trainer.default_root_dir", "run"]
    words += ["--trainer.devices", 2, "--trainer.strategy", "ddp"]
    for verb, line in (
        ("predict --by teacher", "shards owl: all 3 are in the cache"),
        ("fit", "kept in run: student/, results.json"),
        ("test", "owl, sampled"),
        ("predict", "3 of Student, kept in run/completions"),
    ):
        done = start(tmp_path, 2, "-m", "lightning_subliminal", *verb.split(), *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert line in " ".join(done.stdout.split()), verb
    done = start(tmp_path, 2, "-m", "lightning_subliminal", "evaluate", "run", "--suite", "preference")
    assert done.returncode == 0, done.stdout + done.stderr
