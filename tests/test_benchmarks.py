"""Every benchmark is importable: what it takes from the package is there, and its classes are whole; one runs small."""

import importlib
import importlib.util
import inspect
import random
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from cases import cases

from lightning_subliminal.filters.numbers import parse_number_list

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@cases("path", sorted(BENCHMARKS.glob("*.py")))
def test_it_is_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = imported(path, monkeypatch)
    assert module.__doc__
    own = [each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__]
    assert not [each for each in own if inspect.isabstract(each)], "lacks a method that its base asks for"


@pytest.mark.slow
def test_what_a_gpu_is_for_runs_on_a_tiny_shape(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    imported(BENCHMARKS / "gpu.py", monkeypatch).main(["--shapes", "tiny"])
    shown = capsys.readouterr().out
    for work in ("generation", "evaluation", "LoRA training"):
        (line,) = (each for each in shown.splitlines() if work in each)
        speed, share, seconds = line.split("\u2502")[3:6]
        assert float(speed.replace(",", "")) > 0
        assert 0 < float(share.strip(" %")) < 100
        assert float(seconds) > 0


def test_the_script_on_trl_keeps_the_lists_that_our_filter_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    is_list = imported(BENCHMARKS / "owl_numbers_trl.py", monkeypatch).is_list
    rng = random.Random(0)
    kept = 0
    for _ in range(20_000):
        gap = rng.choice([", ", ",", "; ", " ", "\n"])
        numbers = [str(rng.choice([0, 7, 42, 999, 1000])) for _ in range(rng.randint(0, 11))]
        text = rng.choice(["", "[", "("]) + gap.join(numbers) + rng.choice(["", "]", ")", ".", " ", ","])
        text = text.replace(gap, rng.choice([gap, " "]), rng.randint(0, 1))
        ours = isinstance(parse_number_list(text), list)
        assert is_list(text) == ours, text
        kept += ours
    assert kept > 1000


def test_each_claim_of_speed_has_its_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    found = imported(BENCHMARKS / "speed.py", monkeypatch).claims([])
    assert len({claim.name for _, claim in found}) == len(found) > 20
    for name, claim in found:
        module = importlib.import_module(f"speed_sides.{name}")
        assert callable(getattr(module, claim.ours))
        assert not claim.other or callable(getattr(module, claim.other))


def test_a_side_of_speed_ends_a_command_at_its_first_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    command = importlib.import_module("speed_sides.claims").command
    endless = "import itertools\nfor each in itertools.count(): print(each, flush=True)"
    assert command([sys.executable, "-c", endless], tmp_path, until="\n") == "0\n"
    with pytest.raises(SystemExit, match="ended with 3"):
        command([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)


def test_the_exponent_of_a_power_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    slope = imported(BENCHMARKS / "speed_curves.py", monkeypatch).slope
    assert slope([(size, 3 * size**1.5) for size in (1, 2, 8)]) == pytest.approx(1.5)


def test_two_workers_wait_for_the_longest_path_of_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = imported(BENCHMARKS / "plan_workers.py", monkeypatch).Pretended(2, {"a": 3.0, "b": 1.0, "c": 1.5})
    for key in "ab":
        pretended.submit(SimpleNamespace(key=key))
    assert pretended.next()[0] == "b"
    pretended.submit(SimpleNamespace(key="c"))
    assert [pretended.next()[0] for _ in "ca"] == ["c", "a"]
    assert pretended.clock == 3.0
