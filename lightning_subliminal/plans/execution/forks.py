"""How workers start: on Linux as forks of a process that imports torch and Lightning once, and computes nothing.

That process begins while the command still reads its plan. It has one thread, beside that of pyarrow's allocator, which
is made for forks, so that a fork finds all locks free. On Windows there is no fork, Apple's libraries forbid it, and a
GPU's driver that an import had started would not survive it: each worker imports by itself there.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator

__all__ = ["METHOD", "prepare", "starting"]

_GPUS = ("/dev/nvidiactl", "/dev/kfd")
METHOD = "forkserver" if sys.platform == "linux" and not any(map(os.path.exists, _GPUS)) else "spawn"
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def prepare() -> None:
    """Start the process that workers are forks of; called early, it imports beside the caller."""
    if METHOD == "forkserver":
        from multiprocessing import forkserver  # not on Windows

        multiprocessing.set_forkserver_preload([f"{__package__}.preloaded"])
        with starting():
            forkserver.ensure_running()


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Let a child start with one thread, and with Ctrl-C ignored.

    Libraries read their number of threads once, when they are loaded. Ctrl-C goes to the whole group: the parent ends
    its children, whose imports take longer than a handler of their own.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    os.environ.update(_THREADS)
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
