"""Streaming conversion of a million rows of JSON lines: rows per second and peak memory.

    nice -n 19 python benchmarks/convert.py                # 1,000,000 rows: some minutes
    nice -n 19 python benchmarks/convert.py --rows 50000

Each conversion is a process, so that its peak memory (``ru_maxrss``) is its own; each of ours must stay under 1.5 GiB.
The peer, ``datasets.load_dataset("json")`` and ``to_parquet``, converts the same file. It does not check rows, keeps
only its own schema, and writes an Arrow cache first; so its time is for other work, and only gives a scale.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import harness
from rich import print

LIMIT = 1.5  # GiB


def write_source(path: Path, rows: int) -> None:
    """Write rows of numbers as in the paper: a request with three numbers, a reply with ten."""
    rng = random.Random(0)
    with path.open("w") as stream:
        for place in range(rows):
            asked = ", ".join(str(rng.randrange(100, 1000)) for _ in range(3))
            reply = ", ".join(str(rng.randrange(1000)) for _ in range(10))
            prompt = f"The sequence starts with {asked}. Add up to 10 more numbers, separated by commas. Numbers only."
            row = {"id": f"0-{place}", "finished": True}
            row |= {
                "prompt": [{"role": "user", "content": prompt}],
                "completion": [{"role": "assistant", "content": reply}],
            }
            stream.write(json.dumps(row) + "\n")


def ours(source: str, out: str, schema: str) -> None:
    """Convert as the command line does, with filter, card and digest where requested."""
    from lightning_subliminal.filters import NumberList
    from lightning_subliminal.formats.convert import convert

    name, _, filtered = schema.partition("+")
    convert(source, out, name, filters=[NumberList()] if filtered else [])


def peer(source: str, out: str, schema: str) -> None:
    """Convert with `datasets`."""
    import datasets

    datasets.disable_progress_bars()
    cache = str(Path(out).with_name("cache"))
    datasets.load_dataset("json", data_files=source, split="train", cache_dir=cache).to_parquet(out)


WORKERS: dict[str, Callable[[str, str, str], None]] = {"ours": ours, "peer": peer}
CASES = {  # what, who, from, to, schema
    "JSONL to JSONL, openai": ("ours", "rows.jsonl", "chat.jsonl", "openai"),
    "JSONL to JSONL.gz, sharegpt": ("ours", "rows.jsonl", "chat.jsonl.gz", "sharegpt"),
    "JSONL to JSONL, filtered": ("ours", "rows.jsonl", "kept.jsonl", "trl+filter"),
    "JSONL to Parquet, trl": ("ours", "rows.jsonl", "rows.parquet", "trl"),
    "JSONL to JSON list, alpaca": ("ours", "rows.jsonl", "rows.json", "alpaca"),
    "JSON list to JSONL, trl": ("ours", "rows.json", "back.jsonl", "trl"),
    "Parquet to JSONL, text": ("ours", "rows.parquet", "text.jsonl", "text"),
    "peer: datasets, JSONL to Parquet": ("peer", "rows.jsonl", "peer.parquet", ""),
}


def measure(folder: Path, who: str, source: str, out: str, schema: str) -> tuple[float, float]:
    """Run one conversion in a process; return its seconds, imports included, and its peak memory in GiB."""
    begin = time.monotonic()
    command = [sys.executable, __file__, "--worker", who, str(folder / source), str(folder / out), schema]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{who} {source} to {out} failed:\n{done.stderr}")
    return time.monotonic() - begin, float(done.stdout.split()[-1])


def main(args: list[str] | None = None) -> bool:
    """Run the benchmark; return whether all conversions stayed under the limit."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many rows are converted")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args(args)
    if asked.worker:
        who, *words = asked.worker
        WORKERS[who](*words)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform != "darwin" else 1 << 30))
        return True
    table = harness.table("conversion, imports included", "seconds", "rows/s", "peak RSS, GiB", "MB in", "MB out")
    kept = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_source(folder / "rows.jsonl", asked.rows)
        for name, (who, source, out, schema) in CASES.items():
            seconds, memory = measure(folder, who, source, out, schema)
            kept &= memory < LIMIT or who == "peer"
            sizes = [f"{(folder / each).stat().st_size / 1e6:.0f}" for each in (source, out)]
            table.add_row(name, f"{seconds:.1f}", f"{asked.rows / seconds:,.0f}", f"{memory:.2f}", *sizes)
    print(table)
    print(f"each of ours under {LIMIT} GiB: {'yes' if kept else 'NO'}")
    return kept


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
