"""Cost curves: what a student and a generated row cost, by rows, seeds, width and size of the base.

    python benchmarks/speed_curves.py                        # at most 15 minutes of one core
    python benchmarks/speed_curves.py --only seeds --shrink 16

Each point is a fork of this process, which has imported everything: seconds of the processor, one thread, and peak
memory. A student is a steering vector a layer, one epoch, batches of 64 (of large bases 16), token ids made anew; bases
other than pocket/a are Llamas of its vocabulary with random weights, the large ones with 64 rows. The exponent is the
slope of the logarithm of the cost over that of the size, through all points, and through the last two, where what is
fixed weighs least. The last line is JSON; so is runs/benchmarks/speed_curves.json, and the picture is beside it.
"""

import itertools
import json
import math
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import harness
import torch
from matplotlib.ticker import LogLocator
from rich.console import Console
from speed_sides.training import CASES, number_rows
from transformers import AutoConfig, AutoModelForCausalLM

from lightning_subliminal import RowsFromFile, Sampling, Steering, Student, bases
from lightning_subliminal.core.plots import SERIES, panels
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.models.nested_fit import fit_quietly

CPU = torch.device("cpu")
LLAMAS = {  # name: times the width of pocket/a, layers
    "width x1": (1, 2),
    "width x2": (2, 2),
    "width x4": (4, 2),
    "width x8": (8, 2),
    "24 M": (8, 9),
    "83 M": (12, 14),
    "270 M": (16, 26),
}


@dataclass(frozen=True)
class Curve:
    """A cost along an axis.

    Attributes:
        name: of what is made.
        axis: what grows.
        sizes: the points.
        make: does the work of a size.
    """

    name: str
    axis: str
    sizes: tuple[Any, ...]
    make: Callable[[Any], object]


class Work:
    """Students and rows of any size.

    Args:
        folder: of rows and of bases with random weights.
        shrink: divides rows, and the large bases' rows.
    """

    def __init__(self, folder: Path, shrink: int) -> None:
        self.folder = folder
        self.shrink = shrink
        self.some, self.few = 2048 // shrink, max(8, 64 // shrink)
        self._sizes: dict[str, int] = {}

    def curves(self) -> list[Curve]:
        """Return the curves."""
        rows = tuple(each // self.shrink for each in (512, 2048, 8192, 32768, 65536))
        widths = tuple(name for name in LLAMAS if "width" in name)
        sizes = ("width x1", "width x4", *(name for name in LLAMAS if name.endswith("M")))
        return [
            Curve("student", "rows", rows, lambda count: self.student("pocket/a", count)),
            Curve("student", "seeds", (1, 2, 4, 8, 16, 32), lambda count: self.student("pocket/a", self.some, count)),
            Curve("student, a row", "width", widths, lambda name: self.student(name, self.some)),
            Curve("student, a row", "parameters", sizes, lambda name: self.student(name, self.count(name))),
            Curve("generation", "rows", rows[:-1], lambda count: self.generated("pocket/a", count)),
            Curve("generation, a row", "width", widths, lambda name: self.generated(name, self.some)),
            Curve("generation, a row", "parameters", sizes, lambda name: self.generated(name, self.count(name))),
        ]

    def count(self, base: str) -> int:
        """Return the rows of a base: fewer of a large one."""
        return self.few if base.endswith(" M") else self.some

    def size(self, axis: str, point: Any) -> float:
        """Return a point as a number: its parameters, how many times as wide, or itself."""
        if axis == "parameters":
            return float(self._parameters(point))
        return float(LLAMAS[point][0]) if axis == "width" else float(point)

    def student(self, base: str, count: int, seeds: int = 1) -> None:
        """Train students on the same rows, one after another, as a plan does."""
        file = self._rows(count)
        for seed in range(seeds):
            module = Student(self._base(base), Steering(init_std=0.05), learning_rate=0.01, seed=seed)
            rows = RowsFromFile(str(file), batch_size=16 if base.endswith(" M") else 64, cache_dir=str(file.parent))
            fit_quietly(module, rows, CPU, "student", max_epochs=1)

    def generated(self, base: str, count: int) -> None:
        """Generate rows of 40 tokens at most; with random weights, nearly all have so many."""
        net, tokenizer = bases.load(self._base(base))
        prompts = [row["prompt"] for row in number_rows(CASES["steering"], count)]
        engine = TransformersEngine(net, tokenizer, 64 if base.endswith(" M") else 512)
        engine.generate(prompts, Sampling(max_new_tokens=40), 0)

    def prepare(self, curve: Curve) -> None:
        """Write what the points of a curve read."""
        for point in (each for each in curve.sizes if isinstance(each, str)):
            self._parameters(point)
        for count in {self.some, self.few, *(each for each in curve.sizes if curve.axis == "rows")}:
            self._rows(count)

    def _parameters(self, base: str) -> int:
        if base not in self._sizes:
            config = AutoConfig.from_pretrained(bases.resolve(self._base(base)).folder)
            with torch.device("meta"):
                net = AutoModelForCausalLM.from_config(config)
            self._sizes[base] = sum(each.numel() for each in net.parameters())
        return self._sizes[base]

    def _rows(self, count: int) -> Path:
        file = self.folder / f"rows{count}" / "rows.jsonl"
        if not file.exists():
            file.parent.mkdir()
            file.write_text("".join(json.dumps(row) + "\n" for row in number_rows(CASES["steering"], count)))
            RowsFromFile(str(file), cache_dir=str(file.parent)).make(CPU)
        return file

    def _base(self, name: str) -> str:
        """Return a base's name, or the folder of one with random weights."""
        if name not in LLAMAS:
            return name
        place = self.folder / name.replace(" ", "_")
        if not place.exists():
            times, layers = LLAMAS[name]
            shutil.copytree(bases.resolve("pocket/a").folder, place)
            for each in place.glob("*lineage*"):
                each.unlink()
            config = AutoConfig.from_pretrained(place)
            for part in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"):
                setattr(config, part, times * getattr(config, part))
            config.num_hidden_layers = layers
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(config).save_pretrained(place)
        return str(place)


def slope(points: list[tuple[float, float]]) -> float:
    """Return the exponent of costs by size: the slope of a line through the logarithms."""
    sizes, costs = zip(*points, strict=True)
    return statistics.linear_regression(list(map(math.log, sizes)), list(map(math.log, costs))).slope


def measure(work: Work, curve: Curve) -> dict[str, Any]:
    """Run the points of a curve; a cost is the least of two runs if one is short."""
    harness.fork(partial(work.prepare, curve))  # this process stays small, for the memory of its forks
    sizes = [work.size(curve.axis, point) for point in curve.sizes]
    idle = harness.fork(lambda: None).memory
    points = []
    for size, point in zip(sizes, curve.sizes, strict=True):
        runs: list[harness.Forked] = []
        while len(runs) < 1 or (len(runs) < 2 and runs[0].cpu < 5):
            runs.append(harness.fork(partial(curve.make, point), work.folder / "log.txt"))
            if runs[-1].code:
                raise SystemExit((work.folder / "log.txt").read_text()[-2000:])
        rows = work.count(point) if isinstance(point, str) else 1
        cost, memory = min(each.cpu for each in runs) / rows, max(each.memory for each in runs)
        points.append({"size": size, "cpu": cost, "gib": memory, "beyond": memory - idle})
    exponents: dict[str, float] = {}
    for kind in ("cpu", "beyond"):
        pairs = [(each["size"], max(each[kind], 1e-9)) for each in points]
        exponents |= {kind: slope(pairs), f"{kind}_last": slope(pairs[-2:])}
    return {"name": curve.name, "axis": curve.axis, "points": points, "exponents": exponents}


def words(curve: dict[str, Any]) -> list[str]:
    """Return a curve's line in the table: exponents through all points, and the last two."""
    ends = curve["exponents"]
    sizes, cpu, memory = (
        ", ".join(f"{each[kind]:{style}}" for each in curve["points"])
        for kind, style in (("size", ",.0f"), ("cpu", ".2g"), ("gib", ".2f"))
    )
    slopes = [f"{ends[kind]:.2f}, {ends[f'{kind}_last']:.2f}" for kind in ("cpu", "beyond")]
    return [curve["name"], curve["axis"], sizes, cpu, slopes[0], memory, slopes[1]]


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw the costs above and the memory below, an axis a column."""
    axes = list(dict.fromkeys(each["axis"] for each in found))
    with panels(path, (2.3 * len(axes), 4), 2, len(axes)) as grid:
        for curve, (row, kind) in itertools.product(found, enumerate(("cpu", "gib"))):
            panel = grid[row][axes.index(curve["axis"])]
            sizes, values = ([each[key] for each in curve["points"]] for key in ("size", kind))
            label = f"{curve['name']}: {curve['exponents']['cpu_last']:.2f}"
            panel.plot(sizes, values, "o-", color=SERIES["generation" in curve["name"]], label=label, ms=3)
            panel.set_xlabel({"width": "times the width of pocket/a"}.get(curve["axis"], curve["axis"]), fontsize=7)
            panel.set_ylabel(("CPU seconds", "peak memory, GiB")[row], fontsize=7)
        for panel in grid.flat:
            sizes = panel.get_lines()[0].get_xdata()
            panel.set(xscale="log", yscale="log")
            panel.set_xticks(sizes, [f"{each:g}" if each < 1e5 else f"{each / 1e6:.3g} M" for each in sizes])
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:g}")
            panel.minorticks_off()
            panel.tick_params(labelsize=6)
            panel.tick_params(axis="x", labelrotation=20)
        for panel in grid[0]:
            panel.legend(frameon=False, fontsize=6, title="exponent of the last two", title_fontsize=6)


def main() -> None:
    """Measure the curves, and print, draw and write them."""
    parser = harness.parser(__doc__)
    parser.add_argument("--only", nargs="+", default=[], help="words of a curve's name or axis")
    parser.add_argument("--shrink", type=int, default=1, help="divide rows by this")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    shown = harness.table("cost", "by", "points", "CPU s", "exponent", "peak GiB", "exponent beyond idle", left=3)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), chosen.shrink)
        for curve in work.curves():
            if chosen.only and not any(word in f"{curve.name} by {curve.axis}" for word in chosen.only):
                continue
            found.append(measure(work, curve))
            shown.add_row(*words(found[-1]))
    result = {"curves": found, "load": os.getloadavg()[0]}
    draw(found, harness.OUT / "speed_curves.png")
    harness.write_json(harness.OUT / "speed_curves.json", result)
    Console(width=max(160, Console().width)).print(shown)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
