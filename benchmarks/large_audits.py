"""How long does an audit of very many materials, links or generations take, with each of its outputs?

    python benchmarks/large_audits.py                          # about three minutes on one core, mostly to write them
    python benchmarks/large_audits.py --chain 1000 --all 100 --materials 3000

Three shapes that once took hours: a statement of 30,000 materials that are not at hand, 400 artefacts each made from
all before (79,800 links), and a chain of 10,000 artefacts. Each is audited once for every kind of output, in a fork.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from hostile_kinds.work import artefact
from rich.table import Table

from lightning_subliminal.cli.entry import main as command_line
from lightning_subliminal.core.console import console

OUTPUTS = ("terminal", "html", "svg", "json", "sarif")


def materials(folder: Path, count: int) -> Path:
    """Write one artefact made from many that are not there."""
    artefact(folder / "models" / "it", [(f"models/{place}", "0" * 64) for place in range(count)])
    return folder / "models" / "it"


def each_of_all(folder: Path, count: int) -> Path:
    """Write artefacts each of which was made from all before it."""
    made: list[tuple[str, str]] = []
    for place in range(count):
        made.append(artefact(folder / "models" / f"m{place}", made))
    return folder / made[-1][0]


def chain(folder: Path, count: int) -> Path:
    """Write artefacts each of which was made from the one before it."""
    last: list[tuple[str, str]] = []
    for place in range(count):
        last = [artefact(folder / "models" / f"m{place}", last)]
    return folder / last[0][0]


def timed(path: Path, output: str, out: Path) -> tuple[float, float, float, int]:
    """Audit in a fork; return seconds, seconds of the processor, GiB at the most, and the exit code."""
    begin, pid = time.monotonic(), os.fork()
    if pid == 0:
        code = 0
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            more = [] if output == "terminal" else [f"--{output}", str(out / f"out.{output}")]
            command_line(["audit", str(path), "--no-cache", "--no-measure", *more])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        finally:
            os._exit(code)
    _, status, used = os.wait4(pid, 0)
    seconds = time.monotonic() - begin
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, os.waitstatus_to_exitcode(status)


def main() -> None:
    """Write the shapes, audit each, and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--materials", type=int, default=30_000)
    parser.add_argument("--all", type=int, default=400)
    parser.add_argument("--chain", type=int, default=10_000)
    options = parser.parse_args()
    shapes = {
        f"{options.materials:,} materials": (materials, options.materials),
        f"{options.all:,} artefacts each made from all before": (each_of_all, options.all),
        f"a chain of {options.chain:,}": (chain, options.chain),
    }
    table = Table("audit of", "output", "seconds", "cpu s", "GiB", "MB written", "exit code")
    bad = False
    for name, (make, count) in shapes.items():
        with tempfile.TemporaryDirectory() as place:
            path = make(Path(place), count)
            for output in OUTPUTS:
                seconds, cpu, memory, code = timed(path, output, Path(place))
                written = Path(place) / f"out.{output}"
                size = written.stat().st_size / 1e6 if written.exists() else 0
                table.add_row(name, output, f"{seconds:.1f}", f"{cpu:.1f}", f"{memory:.2f}", f"{size:.1f}", str(code))
                console.print(f"{name}, {output}: {seconds:.1f} s", highlight=False)
                bad = bad or code not in (0, 3)
    console.print(table)
    own = resource.getrusage(resource.RUSAGE_SELF)
    console.print(f"to write them: {own.ru_utime + own.ru_stime:.0f} s of the processor")
    raise SystemExit(bad)


if __name__ == "__main__":
    main()
