"""Processes that start with torch, Lightning and transformers imported: forks of one process that has imported them.

Most of what ``python -m lightning_subliminal fit`` costs on a small run is six seconds of other packages' imports, and
the tests start some forty of them. Here one process for each pytest worker imports those packages once, and each start
is a fork of it: a process with its own memory, working directory, environment, streams and exit status, which a signal
can end. Nothing of this package is imported before the fork, so it reads its settings as in a fresh process.

The further ranks that Lightning launches for ``devices: 2`` are such forks, too, and so are the workers of a plan.

Where the start itself is tested, a test takes ``subprocess``: which libraries a command imports, who reads its output,
what others launch. So does one of two runs whose bytes are compared, as all forks share the seed of ``hash()``.
"""

import atexit
import functools
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

__all__ = ["Fork", "context", "run", "start"]

TESTS = str(Path(__file__).parent)
# In the server: the module path of a fresh process without a PYTHONPATH.
SITE = [path for path in sys.path if path not in ("", TESTS)]
# What a fit, an evaluation and an export import of other packages.
LIBRARIES = [
    "lightning.pytorch.cli",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.generation.utils",
    "transformers.trainer_utils",
    "peft",
    "pyarrow.parquet",
    "forks",
]
# How the names of variables begin that those packages read when they are imported.
READ_ONCE = ("CUDA_", "HF_", "KMP_", "MKL_", "MPL", "OMP_", "OPENBLAS_", "TOKENIZERS_", "TRANSFORMERS_")
SET_BY_SKLEARN = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")  # in whatever process imports it


class Fork:
    """A running process, with the part of ``subprocess.Popen`` that the tests use.

    Attributes:
        pid: its number.
        returncode: its exit status, negative for a signal; None while it runs.
    """

    def __init__(self, words: Sequence[str], cwd: str, env: Mapping[str, str], files: Sequence[Path] = ()) -> None:
        server, then = _server()
        changed = {name for name, _ in then ^ _read_once(env)}
        assert not changed, f"{sorted(changed)}: read at import, so start this process with subprocess"
        self._streams = tempfile.TemporaryDirectory()
        self._files = list(files) or [Path(self._streams.name, name) for name in ("out", "err")]
        for file in self._files:
            file.touch()
        self._process = server.Process(target=_become, args=(words, cwd, dict(env), self._files))
        self._process.start()
        atexit.register(self.kill)  # before multiprocessing waits for those that a failed test has left
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status; raise ``subprocess.TimeoutExpired`` when time is up."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end and return what it wrote to its two streams."""
        self.wait(timeout)
        out, err = (file.read_text(encoding="utf-8") for file in self._files)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def start(
    words: Sequence[object], *, cwd: object = None, env: Mapping[str, str] | None = None, log: Path | None = None
) -> Fork:
    """Start ``[sys.executable, "-m", MODULE, ...]``, ``[..., "-c", CODE, ...]`` or ``[..., SCRIPT, ...]``.

    Args:
        words: as for ``subprocess.Popen``.
        cwd: where it runs; None for the current folder.
        env: its environment; None for that of this process.
        log: a file that gets all that it writes; None to read it with ``communicate``.
    """
    assert words[0] == sys.executable, "only Python is forked"
    given = [str(word) for word in words[1:]]
    return Fork(given, str(cwd or Path.cwd()), os.environ if env is None else env, [log] * 2 if log else ())


def run(
    words: Sequence[object],
    *,
    cwd: object = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    check: bool = False,
) -> "subprocess.CompletedProcess[str]":
    """Run to the end, as ``subprocess.run(..., capture_output=True, text=True)`` does."""
    fork = start(words, cwd=cwd, env=env)
    try:
        out, err = fork.communicate(timeout)
    except BaseException:
        fork.kill()
        raise
    done = subprocess.CompletedProcess(list(words), fork.wait(), out, err)
    if check:
        assert done.returncode == 0, err
    return done


def context() -> ForkServerContext:
    """Return the context of ``multiprocessing`` whose processes are such forks."""
    return _server()[0]


@functools.cache
def _server() -> tuple[ForkServerContext, set[tuple[str, str]]]:
    """Start the server; return its context, and what its packages have read of the environment."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(LIBRARIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", TESTS)
        forkserver.ensure_running()
    return found, _read_once(os.environ)


def _read_once(env: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(name, value) for name, value in env.items() if name.startswith(READ_ONCE) and name not in SET_BY_SKLEARN}


def _become(words: list[str], cwd: str, env: dict[str, str], files: list[Path]) -> None:
    """Do in a fork what the interpreter does after its start."""
    for number, file in enumerate([Path(os.devnull), *files]):
        opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    assert "lightning.pytorch.cli" in sys.modules, "the server could not import its packages"
    assert "lightning_subliminal" not in sys.modules, "the server has imported what is tested"
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    _fork_further_ranks(cwd, files)
    kind, rest = words[0], words[1:]
    first = {"-m": cwd, "-c": ""}.get(kind, str(Path(kind).parent))
    sys.path[:] = [first, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *SITE]
    if kind == "-m":
        sys.argv[:] = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv[:] = [kind, *rest[1:]]
        sys.modules["__main__"] = ModuleType("__main__")
        exec(rest[0], vars(sys.modules["__main__"]))  # noqa: S102 - as `python -c` does
    else:
        sys.argv[:] = words
        runpy.run_path(kind, run_name="__main__")


def _fork_further_ranks(cwd: str, files: list[Path]) -> None:
    """Have Lightning's launcher fork the server for a process that it would start, with the streams of this one."""
    # It runs: this process was forked from it.
    forkserver._forkserver.ensure_running = forkserver.ensure_running = lambda: None

    def popen(command: list[str], env: Mapping[str, str], cwd: str | None = None) -> Fork:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")  # which multiprocessing would import in the fork
        try:
            return Fork(command[1:], cwd or here, env, files)
        finally:
            sys.modules["__main__"] = main

    here, launcher = cwd, sys.modules["lightning.pytorch.strategies.launchers.subprocess_script"]
    launcher.subprocess = SimpleNamespace(Popen=popen)
