"""Commands and `fit_arms` run a tiny model on one thread, and leave a number that somebody chose."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cases import cases
from lightning.pytorch import Callback, LightningModule, Trainer
from small import numbers, quiet_trainer

from lightning_subliminal import Steering, Student, bases, fit_arms
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


def test_fit_arms_takes_one_for_a_pocket_base_and_puts_the_number_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Watch(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            seen.append(torch.get_num_threads())

    seen: list[int] = []
    monkeypatch.setattr("lightning_subliminal.bases.loading._THREADS", 3)
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    trainer = quiet_trainer(Watch(), default_root_dir=tmp_path)
    with choosing_threads():  # a command
        fit_arms(trainer, Student("pocket/a", adapter=Steering()), numbers())
        assert torch.get_num_threads() == 1
    fit_arms(quiet_trainer(Watch(), default_root_dir=tmp_path), Student("pocket/a", adapter=Steering()), numbers())
    assert seen == [1, 1]
    assert torch.get_num_threads() == 3
    assert capsys.readouterr().out.count("threads   1 of 3") == 2


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
