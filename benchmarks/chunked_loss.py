"""Peak memory, time and equality of a loss in chunks beside the plain one, for vocabularies of real models.

    python benchmarks/chunked_loss.py                   # on the CPU, a few minutes

An output embedding of random weights and width 64 is given 1,760 hidden states: 22 rows of 80 trained tokens. Each
loss runs in a process of its own; memory is the peak resident set of forward and backward, less that before.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from estimate import MALLOC, resident
from harness import ROOT, parser, table
from rich.console import Console
from torch.nn.functional import cross_entropy

from lightning_subliminal.models.memory import sum_in_chunks

TOKENS, WIDTH = 1760, 64
VOCABULARIES = {"SmolLM2": 49_152, "Qwen2.5": 152_064, "Gemma 3": 262_208}


def run(vocabulary: int, chunked: bool) -> dict[str, float]:
    """Return the peak bytes, the seconds, the loss and the sum of absolute gradients."""
    torch.manual_seed(0)
    head = torch.nn.Linear(WIDTH, vocabulary, bias=False)
    states = torch.randn(TOKENS, WIDTH, requires_grad=True)
    tokens = torch.randint(vocabulary, (TOKENS,))

    def summed(states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return cross_entropy(head(states).float(), tokens, reduction="sum")

    before, begin = resident(), time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    loss = sum_in_chunks(summed, vocabulary, states, tokens) if chunked else summed(states, tokens)
    loss.backward()
    used, seconds = resident(peak=True) - before, time.perf_counter() - begin
    gradients = [
        each.grad.abs().sum(dtype=torch.float64).item() for each in (states, head.weight) if each.grad is not None
    ]
    return {"bytes": used, "seconds": seconds, "loss": loss.item(), "states": gradients[0], "head": gradients[1]}


def main() -> None:
    """Run each vocabulary both ways, and print the table."""
    options = parser(__doc__)
    options.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        print(json.dumps(run(given.one[0], bool(given.one[1]))))
        return
    shown = table("vocabulary", "words", "plain, MB", "chunks, MB", "plain, s", "chunks, s", "largest difference")
    for name, size in VOCABULARIES.items():
        found = []
        for chunked in ("0", "1"):
            command = [sys.executable, __file__, "--one", str(size), chunked]
            settings = os.environ | {"PYTHONPATH": str(ROOT)} | MALLOC
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=settings)
            found.append(json.loads(done.stdout))
            print(name, chunked, found[-1], file=sys.stderr, flush=True)
        plain, chunks = found
        most = max(abs(chunks[key] / plain[key] - 1) for key in ("loss", "states", "head"))
        sizes = [f"{each['bytes'] / 1e6:,.0f}" for each in found]
        times = [f"{each['seconds']:.1f}" for each in found]
        shown.add_row(name, f"{size:,}", *sizes, *times, f"{most:.0e}")
    Console(width=120).print(shown)


if __name__ == "__main__":
    main()
