"""The judge behind a real server, `transformers serve`: killed midway, refused, kept waiting."""

import importlib.util
from pathlib import Path

import pytest

from lightning_subliminal.bases import resolve
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.judges.openai_compatible import OpenAICompatibleJudge

pytest.importorskip("httpx", reason="the extra [judge] is not installed")

ROOT = Path(__file__).parent.parent.parent
ANSWERS = 100


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("judge_server", ROOT / "benchmarks" / "judge_server.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_real_server_is_asked_nothing_twice(benchmark, tmp_path):
    for name in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(name, reason="transformers[serving] is not installed")
    model, cache = str(resolve(benchmark.BASE).folder), tmp_path / "cache"
    with benchmark.serve(Path(model), tmp_path / "log.txt") as port, benchmark.Proxy(port) as proxy:
        figures = benchmark.kill_and_resume(proxy, model, cache, ANSWERS)
        assert sum(figures.kinds.values()) == ANSWERS
        assert 0 < figures.kept < figures.needed
        assert figures.twice_though_kept == 0
        assert figures.twice <= benchmark.CONCURRENCY
        assert figures.requests <= figures.needed + benchmark.CONCURRENCY

        judge = benchmark.judge(proxy.url, model, cache)
        assert all(verdict.raw for verdict in judge.judge(benchmark.pairs(ANSWERS)))
        assert (judge.calls, judge.reused) == (0, figures.needed)

        assert benchmark.survive(proxy, model, cache) >= 2  # a 429, and a silence; a slow machine is another

        pairs = benchmark.pairs(1, seed=2)
        with pytest.raises(InputError, match=r"no log-probabilities .* use `mode: text`"):  # which this server has not
            OpenAICompatibleJudge(model, proxy.url, mode="expected", cache_dir=str(cache)).judge(pairs)
        with pytest.raises(InputError, match=r"refused with 400 \(Server is pinned to .*`model` \('another'\)"):
            OpenAICompatibleJudge("another", proxy.url, cache_dir=str(cache)).judge(pairs)
