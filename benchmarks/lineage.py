"""Cost of lineage: digests compared with sha256sum, an audit of a long chain, and the recording of a fit.

    python benchmarks/lineage.py                      # all three: 6 minutes on 2 cores, 2 GB of disk
    python benchmarks/lineage.py --only digests --rounds 7
    python benchmarks/lineage.py --only chain --artefacts 200
    python benchmarks/lineage.py --only recording

digests: the same 2 GB, from the page cache, by `Digests`, sha256sum and openssl (one per core), alternating; and memory
of the process for 2 GB and for a quarter of it. chain: seconds of a first audit, of a second with remembered digests,
and of one with --no-cache. recording: processor time of a whole `fit` with an empty cache that is spent on recording:
statements, digests, roots over rows, materials.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from rich.table import Table

MIB = 1 << 20


def digests(rounds: int, size: int) -> bool:
    """Compare throughput with that of sha256sum on all cores, and memory for two sizes."""
    from lightning_subliminal.audit import Digests
    from lightning_subliminal.core.console import console

    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as place:
        block = random.Random(0).randbytes(MIB)
        paths = [Path(place) / f"{number}.bin" for number in range(8)]
        for number, path in enumerate(paths):
            with path.open("wb") as stream:
                for count in range(size // 8):
                    stream.write(count.to_bytes(4, "big") + number.to_bytes(4, "big") + block[8:])
        times: dict[str, list[float]] = {"sha256sum": [], "Digests": []}
        if shutil.which("openssl"):
            times["openssl dgst"] = []  # uses the processor's own instructions, which some versions of sha256sum do not
        names = "\0".join(map(str, paths))
        for turn in range(rounds):
            for name in sorted(times, reverse=bool(turn % 2)):
                begun = time.perf_counter()
                if name == "openssl dgst":
                    command = ["xargs", "-0", "-P", str(cores), "-n", "1", "openssl", "dgst", "-sha256"]
                    subprocess.run(command, input=names, capture_output=True, text=True, check=True)
                elif name == "sha256sum":
                    command = ["xargs", "-0", "-P", str(cores), "-n", "1", "sha256sum"]
                    done = subprocess.run(command, input=names, capture_output=True, text=True, check=True)
                    lines = (line.split("  ") for line in done.stdout.splitlines())
                    theirs = {path: sha for sha, path in lines}
                else:
                    ours = Digests(remember=False)
                    ours.add(paths)
                    same = {str(path): ours.get(path) for path in paths}
                times[name].append(time.perf_counter() - begun)
        if same != theirs:
            raise SystemExit("the digests differ")
        ratios = [theirs / ours for theirs, ours in zip(times["sha256sum"], times["Digests"], strict=True)]
        peaks = [_peak(paths[:2]), _peak(paths)]
    table = Table(
        "", "seconds, median", "MB/s", title=f"Digests of {size:,} MiB in 8 files, {cores} cores, {rounds} rounds"
    )
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        table.add_row(name, f"{middle:.2f}", f"{size * MIB / 1e6 / middle:,.0f}")
    console.print(table)
    ratio = statistics.median(ratios)
    console.print(f"speed relative to sha256sum: {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f} by round)")
    console.print(
        f"peak memory of a process: {peaks[0]:.1f} MiB for {size // 4} MiB, {peaks[1]:.1f} MiB for {size} MiB"
    )
    return ratio >= 0.8


def _peak(paths: list[Path]) -> float:
    """Return the peak memory of a process that digests files, in MiB."""
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom lightning_subliminal.audit.digests import Digests\n"
        "Digests(remember=False).add(map(Path, sys.argv[1:]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, *map(str, paths)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(harness.ROOT)}
    )
    return int(done.stdout) / 1024


def chain(artefacts: int, rounds: int) -> bool:
    """Time audits of a chain of generations."""
    from lightning_subliminal.audit import Digests, audit
    from lightning_subliminal.core.console import console

    with tempfile.TemporaryDirectory() as place:
        cache = Path(place) / "cache"
        last = make_chain(cache, artefacts)
        times: dict[str, list[float]] = {"first": [], "remembered": [], "--no-cache": []}
        for _ in range(rounds):
            notes = Path(place) / "notes.json"
            notes.unlink(missing_ok=True)
            for name, given in (("first", notes), ("remembered", notes), ("--no-cache", None)):
                begun = time.perf_counter()
                found = audit(last, measure=False, digests=Digests(given, remember=given is not None))
                times[name].append(time.perf_counter() - begun)
                if not found.holds or len(found.graph.nodes) != artefacts + 1:
                    raise SystemExit(f"{len(found.graph.nodes)} nodes, {found.findings[:1]}")
        size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 1e6
    table = Table(
        "audit",
        "seconds, median",
        title=f"A chain of {artefacts} artefacts, {size:.0f} MB, {found.generations} generations",
    )
    for name, seconds in times.items():
        table.add_row(name, f"{statistics.median(seconds):.2f}")
    console.print(table)
    return True


def make_chain(cache: Path, artefacts: int) -> Path:
    """Write generations of completions, rows and student by the recorder; the files have random contents."""
    from lightning_subliminal import bases
    from lightning_subliminal.core.fingerprint import digest
    from lightning_subliminal.core.rows import make_row, write_parquet
    from lightning_subliminal.lineage import artefact_material, rows_root, write_record

    rng = random.Random(0)
    writer: list[Any] = [bases.material("pocket/a")]
    folder = cache
    for number in range(artefacts):
        kind = ("completions", "rows", "student")[number % 3]
        settings = {"number": number}
        room = {"student": "students"}.get(kind, kind)
        before, folder = folder, cache / room / digest(settings)[:16]
        folder.mkdir(parents=True)
        if kind == "student":
            (folder / "adapter_model.safetensors").write_bytes(rng.randbytes(70_000))
            materials = [bases.material("pocket/a"), artefact_material("rows", before)]
            write_record(folder, kind, settings, materials)
            writer = [bases.material("pocket/a"), artefact_material("student", folder)]
            continue
        name = "rows.parquet" if kind == "rows" else "shard-00000.parquet"
        rows = [
            make_row("Go on: 3, 9", ", ".join(str(rng.randrange(1000)) for _ in range(8)), id=str(n))
            for n in range(500)
        ]
        write_parquet(rows, folder / name)
        if kind == "rows":
            write_record(
                folder, kind, settings, [artefact_material("completions", before), *writer], {name: rows_root(rows)}
            )
        else:
            write_record(folder, kind, settings, writer)
    return folder


def recording() -> bool:
    """Measure the processor time that a fit spends on recording."""
    from lightning_subliminal import lineage
    from lightning_subliminal.core.console import console

    spent = {"inside": 0.0, "depth": 0.0, "calls": 0.0}

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **settings: Any) -> Any:
            spent["depth"] += 1
            begun = time.process_time()
            try:
                return function(*args, **settings)
            finally:
                spent["depth"] -= 1
                if not spent["depth"]:
                    spent["inside"] += time.process_time() - begun
                    spent["calls"] += 1

        return call

    # Before other modules import them by name.
    for name in ("artefact_material", "rows_root", "setting_material", "source_material", "write_record"):
        setattr(lineage, name, timed(getattr(lineage, name)))
    lineage.write_test_result = timed(lineage.write_test_result)
    from lightning_subliminal import bases
    from lightning_subliminal.cli.entry import main
    from lightning_subliminal.data import TrainingRows
    from lightning_subliminal.workflow import TraitComparison

    bases.material = timed(bases.material)
    TrainingRows.materials = timed(TrainingRows.materials)  # type: ignore[method-assign]
    TraitComparison._record = timed(TraitComparison._record)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as place:
        os.environ["LIGHTNING_SUBLIMINAL_CACHE"] = f"{place}/cache"
        os.chdir(place)
        begun, wall = time.process_time(), time.perf_counter()
        main(["fit", "--config", str(harness.ROOT / "configs" / "owl_numbers.yaml")])
        total, wall = time.process_time() - begun, time.perf_counter() - wall
        os.chdir(harness.ROOT)
    share = spent["inside"] / total
    console.print(
        f"recording: {spent['inside']:.2f} s of {total:.1f} s of processor time ({share:.2%}) in {spent['calls']:.0f} "
        f"calls; {wall:.0f} s by the clock"
    )
    return share < 0.02


def main() -> None:
    """Run the chosen parts."""
    parser = harness.parser(__doc__)
    parser.add_argument("--only", choices=["recording", "digests", "chain"], default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=2048, help="MiB to digest")
    parser.add_argument("--artefacts", type=int, default=200)
    options = parser.parse_args()
    parts: dict[str, Callable[[], bool]] = {
        "recording": recording,  # first: it wraps functions before others import them
        "digests": lambda: digests(options.rounds, options.size),
        "chain": lambda: chain(options.artefacts, options.rounds),
    }
    good = [part() for name, part in parts.items() if options.only in (None, name)]
    if not all(good):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
