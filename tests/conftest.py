"""What all tests share: a cache of their own, no network, one thread, no litter."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before any test module imports a library that reads them.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", MPLBACKEND="Agg", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("LIGHTNING_SUBLIMINAL_TRACEBACK", None)

ROOT = Path(__file__).parent.parent
# What tools leave there, whoever runs them.
TOOLS = (".", "__pycache__", "build", "dist", "htmlcov")


def root_entries() -> set[str]:
    """Name what lies in the repository's root, tools' own files left out."""
    return {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(TOOLS) and entry.suffix != ".egg-info"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with a slow test first: with `-n auto` no process is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the whole run one empty cache: what one test made, another may find, but nothing from yesterday."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(folder))
        patch.setenv("LIGHTNING_SUBLIMINAL_AUDIT_NOTES", str(folder / "digests.json"))  # not in the home of who tests
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # the order of a sum, and with it the last bit, depends on the threads


@pytest.fixture(scope="session", autouse=True)
def _workers_are_forks() -> Iterator[None]:
    """Let workers of plans be forks of the tests' own server, which has imported nothing of this package."""
    import forks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning_subliminal.plans.execution.forks.prepare", forks.context)
        yield


@pytest.fixture(autouse=True)
def _no_litter() -> Iterator[None]:
    """Fail a test that leaves files in the repository's root."""
    before = root_entries()
    yield
    left = root_entries() - before
    assert not left, f"left in {ROOT}: {sorted(left)}; use tmp_path and monkeypatch.chdir"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses between tries at a fake server, which take no time here; set the key that it expects."""
    import asyncio

    from judges.fake_server import KEY

    from lightning_subliminal.generation.servers import calls

    reported: list[float] = []

    async def pause(seconds: float) -> None:
        reported.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(calls, "_pause", pause)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return reported


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache of the test's own."""
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
