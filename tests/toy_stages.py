"""Stages that do next to nothing, for tests of what runs them."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import torch

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.execution.executors import Executor, StageResult, make_stage
from lightning_subliminal.workflow.stages import MeasureStage, Stage


class Toy(MeasureStage):
    """A measurement of nothing: it notes that it was made, and may fail."""

    kind = "toy"

    def __init__(self, name: str, root: Path, needs: "tuple[Toy, ...]" = (), does: str = "") -> None:
        self.name = name
        self.cache_dir = str(root)
        self.needs = needs
        self.does = does

    @property
    def title(self) -> str:
        return self.name

    def parents(self) -> list[Stage]:
        return list(self.needs)

    def shaped(self) -> Any:
        return {"name": self.name, "needs": [each.key for each in self.needs]}

    def measure(self, device: torch.device) -> dict[str, Any]:
        with (Path(self.cache_dir or ".") / "made.txt").open("a") as stream:
            stream.write(self.name + "\n")
        if self.does == "raises":
            raise InputError("The toy is broken: mend it.")
        if self.does == "surprise":
            raise RuntimeError("first line\nsecond line")
        if self.does == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "hungry":
            return {"sum": torch.ones(2**30).sum().item()}  # 4 GiB
        if self.does == "tells":
            return {"said": os.environ.get("TOY_SAYS"), "here": os.getcwd()}
        if self.does == "disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return {"name": self.name, "needs": [each.result()["name"] for each in self.needs]}


class InProcess(Executor):
    """Runs a stage when it is asked how it ended."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.given: list[Stage] = []
        self.most = 0

    def submit(self, stage: Stage) -> None:
        self.given.append(stage)
        self.most = max(self.most, len(self.given))

    def next(self) -> tuple[str, StageResult]:
        stage = self.given.pop(0)
        return stage.key, make_stage(stage, torch.device("cpu"))


def made(root: Path) -> list[str]:
    """Return the names of the toys that were made, in their order."""
    path = root / "made.txt"
    return path.read_text().split() if path.exists() else []
