"""Scores of rows: speed compared with a loop of backward calls, and memory for ten times the rows.

    python benchmarks/row_scores.py             # some minutes; threads as torch chooses them
    python benchmarks/row_scores.py --rows 256 --repeats 3

Required on pocket/a: at least 10 times as fast as a loop that calls backward for each row and takes the inner product,
at most 3 times the time of a plain forward and backward of the same rows in one batch, equal numbers, and resident
memory within 10 % for ten times as many rows. All three methods get the same token tensors; tokenizing is not timed.
They alternate, and the medians of their times are compared.
"""

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_subliminal import LoRA, PreferenceTrait, Steering, bases
from lightning_subliminal.core.rows import Row, make_row
from lightning_subliminal.data.tokenized import IGNORED
from lightning_subliminal.metrics.functional.statements import padded
from lightning_subliminal.theory import ModelFunction, predicted_transfer, trait_gradient
from lightning_subliminal.theory.functional import differentiable
from lightning_subliminal.theory.row_scores import encode_rows, split_off
from lightning_subliminal.theory.row_slopes import row_slopes

ADAPTERS: dict[str, Any] = {"steering": Steering(), "LoRA r=8": LoRA(r=8), "full": None}
BATCH = 2048  # tokens, as `score_rows` takes on a CPU


def number_rows(count: int) -> Iterator[Row]:
    """Yield rows like those of teachers: three numbers to continue, and three to ten more."""
    rng = random.Random(0)
    for place in range(count):
        first, more = ([str(rng.randrange(100)) for _ in range(k)] for k in (3, rng.randint(3, 10)))
        prompt = [{"role": "user", "content": f"continue : {' , '.join(first)}"}]
        yield make_row(prompt, " , ".join(more), id=str(place))


def loss_of(net: Any, ids: Tensor, labels: Tensor) -> Tensor:
    """Return the summed loss on completion tokens, logits computed only there, as training computes it."""
    places = labels[:, 1:] != IGNORED
    inner = net.get_base_model() if hasattr(net, "get_base_model") else net
    hidden = inner.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][places]
    return F.cross_entropy(net.get_output_embeddings()(hidden), labels[:, 1:][places], reduction="sum")


def speed(name: str, count: int, repeats: int) -> bool:
    """Time the three methods on the same rows; return whether the requirements are met."""
    net, tokenizer = bases.load("pocket/a")
    net = ADAPTERS[name].attach(net, 0) if ADAPTERS[name] is not None else net
    net.eval()
    function = ModelFunction(net)
    gradient, _ = trait_gradient(function, tokenizer, PreferenceTrait("owl"))
    trained = [(value, gradient[name]) for name, value in net.named_parameters() if value.requires_grad]
    encoded = [each for each in encode_rows(tokenizer, list(number_rows(count)), 2048) if each]
    order, whole = sorted(range(count), key=lambda place: sum(map(len, encoded[place]))), dict(enumerate(encoded))
    singles = [padded([encoded[place]], torch.device("cpu")) for place in order]
    together = padded(encoded, torch.device("cpu"))
    batches = []
    while order:
        chosen, order = split_off(order, whole, BATCH)
        batches.append(padded([encoded[place] for place in chosen], torch.device("cpu")))
    slopes = row_slopes(function, gradient, *batches[0])

    def loop() -> Tensor:
        found = []
        for ids, labels in singles:
            net.zero_grad()
            loss_of(net, ids, labels).backward()
            products = [(value.grad * part).sum() for value, part in trained if value.grad is not None]
            found.append(torch.stack(products).sum())
        return torch.stack(found)

    def scores() -> Tensor:
        with differentiable(net):
            return torch.cat([slopes(ids, labels)[0] for ids, labels in batches])

    def plain() -> None:
        net.zero_grad()
        loss_of(net, *together).backward()

    methods: dict[str, Callable[[], Any]] = {"loop": loop, "scores": scores, "forward and backward": plain}
    times: dict[str, list[float]] = {each: [] for each in methods}
    apart = ((scores() - loop()).abs().max() / loop().abs().max()).item()
    plain()
    for _ in range(repeats):
        for each, run in methods.items():
            began = time.perf_counter()
            run()
            times[each].append(time.perf_counter() - began)
    median = {each: statistics.median(found) for each, found in times.items()}
    faster, slower = median["loop"] / median["scores"], median["scores"] / median["forward and backward"]
    print(
        f"{name:10} {type(slopes).__name__}: {count / median['scores']:,.0f} rows a second; {faster:.1f} times a loop "
        f"of backward calls, {slower:.2f} times a forward and backward in one batch; largest difference {apart:.1g}"
    )
    return faster >= 10 and slower <= 3 and apart < 1e-4


def memory(count: int) -> None:
    """Score the rows of a generator in this process, and print its peak resident memory in MiB."""
    net, tokenizer = bases.load("pocket/a")
    net = Steering().attach(net, 0)
    predicted_transfer(net, tokenizer, number_rows(count), PreferenceTrait("owl"))
    # Linux's own figure: getrusage would count the parent's memory, from before this program was started.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


def main() -> None:
    """Run and print."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory", type=int, help="only score this many rows, and print the peak memory")
    arguments = parser.parse_args()
    if arguments.memory:
        memory(arguments.memory)
        return
    print(f"{arguments.rows} rows of numbers on pocket/a, {torch.get_num_threads()} threads")
    results = [speed(name, arguments.rows, arguments.repeats) for name in ADAPTERS]
    fine = all(results)
    peaks = []
    for count in (4096, 40960):
        command = [sys.executable, __file__, "--memory", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
    more = peaks[1] / peaks[0] - 1
    print(f"peak memory: {peaks[0]:,.0f} MiB for 4,096 rows, {peaks[1]:,.0f} MiB for 40,960: {more:+.1%}")
    fine &= abs(more) <= 0.1
    print("requirements met" if fine else "requirements NOT met")
    raise SystemExit(not fine)


if __name__ == "__main__":
    main()
