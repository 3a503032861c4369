"""The local executor with real processes: results, deaths, bounds on memory, and workers that outlive nobody."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_stages import Toy, made

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.execution import forks
from lightning_subliminal.plans.execution.executors import LocalExecutor, auto_workers
from lightning_subliminal.plans.execution.scheduler import StageGraph, run_stages

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_worker_dies_one_is_hungry_and_the_rest_is_made(tmp_path):
    leaves = [
        Toy("dies", tmp_path, does="dies"),
        Toy("hungry", tmp_path, does="hungry"),
        Toy("child", tmp_path, (Toy("parent", tmp_path),)),
    ]
    with LocalExecutor(1, memory=1.5, log=tmp_path / "log.txt") as executor:
        summary = run_stages(StageGraph.of(leaves), executor)
    assert summary.run == 2
    assert leaves[2].result() == {"name": "child", "needs": ["parent"]}
    assert "killed by SIGKILL: likely out of memory" in summary.failed[leaves[0].key]
    assert "more memory than a worker may use" in summary.failed[leaves[1].key]
    assert sorted(made(tmp_path)) == ["child", "dies", "hungry", "parent"]


def test_a_worker_that_died_idle_is_replaced(tmp_path):
    with LocalExecutor(1) as executor:
        assert run_stages(StageGraph.of([Toy("one", tmp_path)]), executor).run == 1
        [worker] = executor._idle
        worker.process.kill()
        worker.process.join()
        assert run_stages(StageGraph.of([Toy("two", tmp_path)]), executor).run == 1


def test_workers_have_the_environment_and_the_folder_of_their_caller(tmp_path, monkeypatch):
    for word, method in (("one", "forkserver"), ("two", "forkserver"), ("three", "spawn")):
        monkeypatch.setattr(forks, "METHOD", method)  # the process that forks come from began with none of these
        monkeypatch.setenv("TOY_SAYS", word)
        (tmp_path / word).mkdir()
        monkeypatch.chdir(tmp_path / word)
        stage = Toy(word, tmp_path, does="tells")
        with LocalExecutor(1) as executor:
            run_stages(StageGraph.of([stage]), executor)
        assert stage.result() == {"said": word, "here": str(tmp_path / word)}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals of POSIX")
def test_workers_end_when_their_run_is_killed(tmp_path):
    script = (
        "import sys; sys.path[:0] = [{tests!r}]\n"
        "from pathlib import Path\nfrom sleeper import Sleeper\n"
        "from lightning_subliminal.plans.execution.executors import LocalExecutor\n"
        "if __name__ == '__main__':\n"
        "    executor = LocalExecutor(1)\n"
        "    executor.submit(Sleeper('sleeper', Path({root!r})))\n"
        "    executor.next()\n"
    )
    (tmp_path / "sleeper.py").write_text(
        "import os, time\nfrom pathlib import Path\nfrom toy_stages import Toy\n"
        "class Sleeper(Toy):\n"
        "    def measure(self, device):\n"
        "        threads = [each.read_text() for each in Path(f'/proc/{os.getppid()}/task').glob('*/comm')]\n"
        "        (Path(self.cache_dir) / 'pid').write_text(' '.join([str(os.getpid()), *threads]))\n"
        "        time.sleep(120)\n"
    )
    (tmp_path / "main.py").write_text(script.format(tests=str(Path(__file__).parents[1]), root=str(tmp_path)))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    run = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path, env=environment)
    try:
        _wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
        worker, *threads = (tmp_path / "pid").read_text().split()
    finally:
        run.kill()
        run.wait()
    _wait_for(lambda: not Path(f"/proc/{worker}").exists() or _is_zombie(worker), 10)
    # A fork of a process with more may wait for a lock for ever; jemalloc, of pyarrow, is made for forks.
    assert sum(not each.startswith("jemalloc") for each in threads) == 1, threads


def test_counts_and_bounds_are_checked():
    assert auto_workers() >= 1
    with pytest.raises(InputError, match="`workers` is 0"):
        LocalExecutor(0)
    with pytest.raises(InputError, match=r"`memory` is 0\.1"):
        LocalExecutor(1, memory=0.1)


def _is_zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _wait_for(holds, seconds):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
