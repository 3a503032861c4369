"""The command line runs a tiny model on one thread, and leaves a number that somebody chose."""

from collections.abc import Iterator

import pytest
import torch
from cases import cases

from lightning_subliminal import bases
from lightning_subliminal.core.threads import CHOSEN_BY, TINY, choosing_threads, threads_for


class Large(torch.nn.Module):
    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:
        yield torch.nn.Parameter(torch.empty(TINY, device="meta"))


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_a_pocket_base_takes_one_and_the_number_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_subliminal.bases.loading._THREADS", 3)
    with choosing_threads():
        bases.load("pocket/a")
        assert torch.get_num_threads() == 1
        threads_for(Large(), 3)
        assert torch.get_num_threads() == 3, "a larger model needs them all"
    assert torch.get_num_threads() == 3


@cases("name", CHOSEN_BY)
def test_a_number_in_the_environment_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "3")
    with choosing_threads():
        threads_for(torch.nn.Linear(2, 2), 3)
        assert torch.get_num_threads() == 3


def test_a_number_that_code_set_stays() -> None:
    with choosing_threads():
        threads_for(torch.nn.Linear(2, 2), 8)  # torch's own was 8, somebody set 3
        assert torch.get_num_threads() == 3


def test_a_library_call_changes_nothing() -> None:
    threads_for(torch.nn.Linear(2, 2), 3)
    assert torch.get_num_threads() == 3


def test_the_number_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    small, large = torch.nn.Linear(2, 2), Large()
    with choosing_threads():
        for net in (small, small, large, large, small):
            threads_for(net, 3)
    lines = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["threads   1 of 3", "threads   3 of 3"]
    with choosing_threads():
        threads_for(large, 3)
    assert capsys.readouterr().out == "", "torch's own number needs no line"
