"""Runs on two processes, with nothing in the cache: they end, and give what one process gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_subliminal.adapter_names import OWN_FILES

ROOT = Path(__file__).parent.parent.parent
LIMIT = 170  # seconds; without the mend they would wait for ever
SCRIPT = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import torch
torch.set_num_threads(1)
from lightning.pytorch import Trainer
from small import numbers, taught
from lightning_subliminal import Steering, Student, TraitComparison
from lightning_subliminal.callbacks import ShardWriter

if __name__ == "__main__":
    verb, devices, strategy = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    data = numbers(taught(), num_prompts=32, shard_size=int(sys.argv[4]))
    student = Student("pocket/a", Steering(), learning_rate=0.06, seed=0)
    calls = [TraitComparison()] if verb == "fit" else [ShardWriter()]
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(accelerator="cpu", devices=devices, strategy=strategy, max_epochs=1, callbacks=calls,
                      default_root_dir=sys.argv[5], **quiet)
    if verb == "fit":
        trainer.fit(student, data)
    else:
        trainer.predict(student, data, return_predictions=False)
    print("rank", trainer.global_rank, "ended", flush=True)
"""


def run(tmp_path, verb, devices, strategy, shard_size=8):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT), tests=str(ROOT / "tests")))
    environment = os.environ | {
        "LIGHTNING_SUBLIMINAL_CACHE": str(tmp_path / f"cache{devices}"),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
    }
    environment.pop("PYTEST_CURRENT_TEST", None)
    words = [
        sys.executable,
        str(script),
        verb,
        str(devices),
        strategy,
        str(shard_size),
        str(tmp_path / f"run{devices}"),
    ]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def made(tmp_path, devices, kind):
    """Give the bytes of the files of a kind that a run has left in its cache."""
    cache = tmp_path / f"cache{devices}"
    return {str(path.relative_to(cache)): path.read_bytes() for path in sorted(cache.rglob(kind))}


@pytest.mark.slow
def test_fit_with_a_teacher_to_make_ends(tmp_path):
    shown = run(tmp_path, "fit", 2, "ddp")
    assert "rank 0 ended" in shown
    assert "rank 1 ended" in shown
    assert "control not trained: the student saw the batches of 2 devices" in " ".join(shown.split())
    assert (tmp_path / "run2" / "results.json").is_file()
    run(tmp_path, "fit", 1, "auto")
    for kind in ("rows.parquet", OWN_FILES.weights):
        both = made(tmp_path, 2, kind)
        assert both
        assert both.items() <= made(tmp_path, 1, kind).items(), "teacher and rows are those of one process"


@pytest.mark.parametrize("shard_size", [8, 32], ids=["four shards", "one shard for two processes"])
@pytest.mark.slow
def test_predict_with_a_teacher_to_make_ends(tmp_path, shard_size):
    shown = run(tmp_path, "predict", 2, "ddp", shard_size)
    assert "rank 0 ended" in shown
    assert "rank 1 ended" in shown
    assert len(made(tmp_path, 2, "*.parquet")) == 32 // shard_size
