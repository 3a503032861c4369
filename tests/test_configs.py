"""Every config parses as it stands, and runs small; one that is not listed fails."""

from pathlib import Path

import pytest
import yaml

from lightning_subliminal.cli import main

ROOT = Path(__file__).parent.parent
# The config, and the words that make it small.
RUNS: dict[str, list[str]] = {
    "mnist_mlp": [],
    "owl_numbers": [],
    "owl_numbers_control": [],
    "owl_numbers_cross_base": [],
    "owl_numbers_distill": [],
    "qwen2.5-7b_owl_numbers": [],  # its base is swapped for a tiny one of the same family
    "smollm2_owl_numbers": [],
}


def path_of(name: str) -> Path:
    return ROOT / "configs" / f"{name}.yaml"


def test_every_config_is_listed() -> None:
    assert sorted(path.name for path in (ROOT / "configs").glob("*.yaml")) == [f"{name}.yaml" for name in sorted(RUNS)]


def test_every_config_is_in_the_index() -> None:
    index = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    assert [name for name in RUNS if f"{name}.yaml" not in index] == []


@pytest.mark.parametrize("name", RUNS)
def test_config_parses(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["fit", "--config", str(path_of(name)), "--print_config"])
    told = yaml.safe_load(capsys.readouterr().out)
    assert {"model", "data", "trainer", "seed_everything"} <= set(told)
