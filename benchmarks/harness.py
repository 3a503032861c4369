"""Command lines, tables, processes and result files that the benchmarks share."""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
OUT = Path("runs/benchmarks")
QUIET: dict[str, Any] = dict.fromkeys(  # of a Trainer
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is a module's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def table(*columns: str, title: str | None = None, left: int = 1) -> Table:
    """Return a table whose first ``left`` columns are aligned to the left, and the others to the right."""
    made = Table(title=title)
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place < left else "right")
    return made


def write_json(path: Path, value: Any) -> None:
    """Write a result, in a new folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, default=float) + "\n", encoding="utf-8")


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Set variables of the environment, or remove those that are None, and restore them at the end."""
    before = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def start(folder: Path, words: list[str], cwd: Path | None = None) -> "subprocess.Popen[bytes]":
    """Start the command line in a session of its own, with its cache and ``log.txt`` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"PYTHONPATH": str(ROOT), "LIGHTNING_SUBLIMINAL_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "lightning_subliminal", *words]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command, cwd=cwd or folder, env=os.environ | settings, stdout=log, stderr=log, start_new_session=True
        )


def tail(folder: Path) -> str:
    """Return the end of the log of a process that ``start`` started."""
    return "\n".join((folder / "log.txt").read_text(errors="replace").splitlines()[-5:])


@dataclass(frozen=True)
class Forked:
    """The cost of a function in a fork: seconds, seconds of the processor, peak memory in GiB, and the exit code."""

    seconds: float
    cpu: float
    memory: float
    code: int


def fork(function: Callable[[], object], log: Path | str = os.devnull) -> Forked:
    """Run a function in a fork of this process, with its output in a file."""
    begin, pid = time.monotonic(), os.fork()
    if pid == 0:
        code = 1
        try:
            stream = os.open(log, os.O_WRONLY | os.O_CREAT)
            os.dup2(stream, 1)
            os.dup2(stream, 2)
            function()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except Exception:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status, used = os.wait4(pid, 0)
    cpu = used.ru_utime + used.ru_stime
    return Forked(time.monotonic() - begin, cpu, used.ru_maxrss / 2**20, os.waitstatus_to_exitcode(status))
