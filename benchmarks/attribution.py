"""Row scores beside a public attribution library (bergson, EleutherAI): rows a second and memory, in one run.

    python -m venv attrvenv && attrvenv/bin/pip install torch bergson
    python benchmarks/attribution.py --python attrvenv/bin/python

Same model, same rows, same tokens, batches of 2,048 tokens, one thread, CPU seconds; the tools take turns, each in a
process of its own, and each is warmed up on 64 rows, after which memory is counted (Linux). The two do not compute the
same numbers: ours are gradients by one vector a layer, bergson's those of each weight matrix, projected from both sides
or whole. Both are a row's features for attribution. Our time has the encoding of the rows in it, bergson's starts from
tokens.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from bergson_rows import memory
from harness import parser, table, write_json
from rich.console import Console

from lightning_subliminal import bases
from lightning_subliminal.formats import read_rows, write_rows
from lightning_subliminal.plans.screen_reference import clean_data, load_space
from lightning_subliminal.plans.screening.suspects import CLEAN_PROMPTS, SEED
from lightning_subliminal.theory.row_scores import encode_rows

CPU = torch.device("cpu")
MAX_LENGTH = 2048


def ours(folder: Path, base: str) -> None:
    """Print seconds, peak memory and size of our gradients as JSON."""
    torch.set_num_threads(1)
    space, tokenizer = load_space(base, None, CPU)
    rows = list(read_rows(folder / "rows.jsonl"))
    list(space.gradients(tokenizer, rows[:64]))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before, start = memory("VmRSS"), time.process_time()
    found = torch.cat([part.scores for part in space.gradients(tokenizer, rows)])
    seconds = time.process_time() - start
    peak = memory("VmHWM")
    start = time.process_time()
    encode_rows(tokenizer, rows, MAX_LENGTH)
    encoding = time.process_time() - start
    figures = {"seconds": seconds, "encoding": encoding, "peak": peak, "grown": peak - before}
    print(json.dumps(figures | {"size": found.shape[1]}))


def prepare(folder: Path, base: str, count: int) -> None:
    """Write the model, and the base's own rows as text and as tokens with labels."""
    data = clean_data(base, "numbers", CLEAN_PROMPTS, SEED)
    data.make(CPU)
    _, tokenizer = load_space(base, None, CPU)
    rows = data.rows()[:count]
    write_rows(rows, folder / "rows.jsonl")
    pairs = [each for each in encode_rows(tokenizer, rows, MAX_LENGTH) if each]
    tokens = {
        "input_ids": [prompt + completion for prompt, completion in pairs],
        "labels": [[-100] * len(prompt) + completion for prompt, completion in pairs],
    }
    write_json(folder / "rows.json", tokens)
    shutil.copytree(bases.resolve(base).folder, folder / "model")


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--python", type=Path, help="of an environment with bergson")
    options.add_argument("--base", default="pocket/a")
    options.add_argument("--rows", type=int, default=2048)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--ours", type=Path, help="internal: measure ours on a prepared folder")
    given = options.parse_args()
    if given.ours is not None:
        ours(given.ours, given.base)
        return
    if given.python is None:
        options.error("--python is missing: name the Python of an environment with bergson")
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        prepare(folder, given.base, given.rows)
        tools = {
            "ours": [sys.executable, __file__, "--base", given.base, "--ours", made],
            "bergson, projected to 16 x 16 a matrix": [given.python, here / "bergson_rows.py", made, "--dim", "16"],
            "bergson, not projected (its default)": [given.python, here / "bergson_rows.py", made],
        }
        found = defaultdict(list)
        for _ in range(given.repeats):
            for name, command in tools.items():
                done = subprocess.run([str(each) for each in command], check=True, capture_output=True, text=True)
                found[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
                print(name, found[name][-1], flush=True)
    shown = table("tool", "numbers a row", "CPU s", "rows/s", "peak MB", "grown by MB", "time / ours", "grown / ours")
    shown.title = f"{given.rows:,} number rows, {given.base}, one thread, median of {given.repeats} (range)"
    middle = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    for name, runs in found.items():
        each, own = middle[name], middle["ours"]
        times = sorted(run["seconds"] for run in runs)
        shown.add_row(
            *(name, f"{each['size']:,.0f}", f"{each['seconds']:.2f} ({times[0]:.2f}-{times[-1]:.2f})"),
            *(f"{given.rows / each['seconds']:,.0f}", f"{each['peak']:,.0f}", f"{each['grown']:,.0f}"),
            *(f"{each['seconds'] / own['seconds']:.2f}", f"{each['grown'] / own['grown']:.2f}"),
        )
    console = Console(width=150)
    console.print(shown)
    console.print(f"of our seconds, encoding the rows: {middle['ours']['encoding']:.2f}")


if __name__ == "__main__":
    main()
