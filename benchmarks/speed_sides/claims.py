"""What a claim about speed is, and the process that runs one of its sides again and again.

python benchmarks/speed_sides/claims.py MODULE FUNCTION FOLDER   # started by benchmarks/speed.py
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["Claim", "Result", "Run", "agree", "command"]

# JSON; `flops` counts the multiplications and additions of the work, if known; `cpu` and `wall` are the seconds of the
# part of it that the claim is about, if not of all.
Result = dict[str, Any]
Run = Callable[[], Result]  # does the whole work once


@dataclass(frozen=True)
class Claim:
    """Two sides that do the same work, and the ratio of their times that is asked for.

    Attributes:
        name: of the row in the table.
        ours: function of the module which takes the folder of inputs, prepares, and returns a ``Run``.
        other: the same for the other side; without one, the claim is about seconds.
        asked: the ratio other / ours, at least; with ``at_most``, ours / other, at most; or seconds, at most.
        check: ends the program if the two results are not of the same quality.
        peer: whether the other side runs in the environment of the peers.
        clock: seconds of the processor, children's included, or those that pass.
        at_most: the ratio is ours / other, and has an upper bound.
        threads: of both sides; None leaves the number to them.
    """

    name: str
    ours: str
    other: str
    asked: float
    check: Callable[[Result, Result], None] = lambda ours, other: None
    peer: bool = True
    clock: Literal["cpu", "wall"] = "cpu"
    at_most: bool = False
    threads: int | None = 1


def agree(name: str, tolerance: float) -> Callable[[Result, Result], None]:
    """Return a check that a number, or each of a list, differs by at most ``tolerance`` between the sides."""

    def check(ours: Result, other: Result) -> None:
        pairs = [each[name] if isinstance(each[name], list) else [each[name]] for each in (ours, other)]
        apart = max(abs(one - two) for one, two in zip(*pairs, strict=True))
        if apart > tolerance:
            raise SystemExit(f"{name} differs by {apart:.3g} between the sides: expected at most {tolerance:g}.")

    return check


def command(words: list[str], folder: Path, until: str = "", env: Mapping[str, str] = MappingProxyType({})) -> str:
    """Run a command in a folder; return its output, or kill it once a line (also of errors) holds ``until``.

    Compiled modules are kept in the folder's ``compiled``: only a first run compiles.
    """
    own = {"PYTHONPYCACHEPREFIX": str(folder / "compiled"), "LIGHTNING_SUBLIMINAL_CACHE": str(folder / "cache")}
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | own | dict(env)
    lines = []
    errors = subprocess.STDOUT if until else None
    with subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            if until and until in line:
                process.kill()
                break
    if process.returncode and not until:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return "".join(lines)


def _used() -> list[resource.struct_rusage]:
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def _processor_seconds() -> float:
    return sum(each.ru_utime + each.ru_stime for each in _used())


def main(module: str, function: str, folder: str) -> None:
    """Prepare a side; then run it for each line of the input, and print its times and result as a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    run: Run = getattr(importlib.import_module(f"speed_sides.{module}"), function)(Path(folder))
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), _processor_seconds()
        result = run()
        times = {"wall": time.perf_counter() - wall, "cpu": _processor_seconds() - cpu}
        times |= {clock: result.pop(clock) for clock in times if clock in result}
        peak = max(each.ru_maxrss for each in _used()) / 1024
        print(json.dumps({**times, "peak_mib": peak, "result": result}), file=answers, flush=True)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # `speed_sides`, in an environment without this package too
    main(*sys.argv[1:])
