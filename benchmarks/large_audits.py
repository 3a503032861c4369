"""Time of an audit of very many materials, links or generations, with each of its outputs.

    python benchmarks/large_audits.py                          # about three minutes on one core, mostly for writing
    python benchmarks/large_audits.py --chain 1000 --all 100 --materials 3000

Three shapes that once took hours: a statement of 30,000 materials that are missing, 400 artefacts each made from all
previous ones (79,800 links), and a chain of 10,000 artefacts. Each is audited once for every kind of output, in a fork.
"""

import resource
import tempfile
from functools import partial
from pathlib import Path

import harness
from hostile_kinds.work import artefact

from lightning_subliminal.cli.entry import main as command_line
from lightning_subliminal.core.console import console

OUTPUTS = ("terminal", "html", "svg", "json", "sarif")


def materials(folder: Path, count: int) -> Path:
    """Write one artefact made from many that are missing."""
    artefact(folder / "models" / "it", [(f"models/{place}", "0" * 64) for place in range(count)])
    return folder / "models" / "it"


def each_of_all(folder: Path, count: int) -> Path:
    """Write artefacts each of which was made from all previous ones."""
    made: list[tuple[str, str]] = []
    for place in range(count):
        made.append(artefact(folder / "models" / f"m{place}", made))
    return folder / made[-1][0]


def chain(folder: Path, count: int) -> Path:
    """Write artefacts each of which was made from the previous one."""
    last: list[tuple[str, str]] = []
    for place in range(count):
        last = [artefact(folder / "models" / f"m{place}", last)]
    return folder / last[0][0]


def main() -> None:
    """Write the shapes, audit each, and print the seconds."""
    parser = harness.parser(__doc__)
    parser.add_argument("--materials", type=int, default=30_000)
    parser.add_argument("--all", type=int, default=400)
    parser.add_argument("--chain", type=int, default=10_000)
    options = parser.parse_args()
    shapes = {
        f"{options.materials:,} materials": (materials, options.materials),
        f"{options.all:,} artefacts each made from all previous ones": (each_of_all, options.all),
        f"a chain of {options.chain:,}": (chain, options.chain),
    }
    table = harness.table("audit of", "output", "seconds", "cpu s", "GiB", "MB written", "exit code", left=2)
    bad = False
    for name, (make, count) in shapes.items():
        with tempfile.TemporaryDirectory() as place:
            path = make(Path(place), count)
            for output in OUTPUTS:
                more = [] if output == "terminal" else [f"--{output}", str(Path(place) / f"out.{output}")]
                words = ["audit", str(path), "--no-cache", "--no-measure", *more]
                cost = harness.fork(partial(command_line, words))
                written = Path(place) / f"out.{output}"
                size = written.stat().st_size / 1e6 if written.exists() else 0
                figures = [f"{each:.1f}" for each in (cost.seconds, cost.cpu, cost.memory, size)]
                table.add_row(name, output, *figures, str(cost.code))
                console.print(f"{name}, {output}: {cost.seconds:.1f} s", highlight=False)
                bad = bad or cost.code not in (0, 3)
    console.print(table)
    own = resource.getrusage(resource.RUSAGE_SELF)
    console.print(f"for writing: {own.ru_utime + own.ru_stime:.0f} s of the processor")
    raise SystemExit(bad)


if __name__ == "__main__":
    main()
