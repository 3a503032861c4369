"""A toy to train from the command line, and what it leaves."""

import os
import sys
from pathlib import Path

import forks
import pytest
import torch

from lightning_subliminal.cli.entry import main

ROOT = Path(__file__).parents[2]
TOY = {
    "model": {"class_path": "toy.Toy"},
    "data": {"class_path": "toy.ToyData"},
    "trainer": {"max_epochs": 3, "accelerator": "cpu"},
}


def fails(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code


def last_checkpoint(folder: Path) -> dict:
    return torch.load(next(folder.glob("runs/*/checkpoints/last.ckpt")), weights_only=True)


def process(*words: object, folder: Path) -> forks.Fork:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-m", "lightning_subliminal", *words]
    return forks.start(command, cwd=folder, env=os.environ | {"PYTHONPATH": path})
