"""The whole of owl_numbers, from an empty cache, each run a process of its own.

Beside the script `benchmarks/owl_numbers_trl.py` on transformers and TRL, by one thread; and beside itself while
another process keeps a core busy, with as many threads as each side takes by itself.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from speed_sides.claims import Claim, Result, Run, command

SCRIPT = str(Path(__file__).resolve().parents[1] / "owl_numbers_trl.py")
BUSY = "import os\nwhile True: sum(range(10**5)); os.kill({}, 0)"  # ends with our side


def _same_work(ours: Result, other: Result) -> None:
    """Check that both took the same steps on as many rows, agree on the base, and found the trait passed on."""
    one, two = ours["shown"], other["shown"]
    rows = [abs(one["rows"][arm] / two["rows"][arm] - 1) for arm in two["rows"]]
    base = abs(one["rates"]["base"] - two["rates"]["base"])
    if base > 1e-4 or max(rows) > 0.02 or min(one["targeted"], two["targeted"]) < 1:
        raise SystemExit(f"not the same work: {one} beside {two}")


CLAIMS = [
    Claim("owl_numbers beside a script on TRL", "whole", "by_trl", 4, _same_work),
    Claim(
        "owl_numbers beside a busy process",
        "beside_busy",
        "whole",
        1.3,
        peer=False,
        clock="wall",
        at_most=True,
        threads=None,
    ),
]


def by_trl(folder: Path) -> Run:
    """Run the script, in its own environment, on the inputs that our side has left."""

    def run() -> Result:
        found = command([sys.executable, SCRIPT, str(folder / "inputs")], folder, env={"PYTHONPATH": ""})
        return {"shown": json.loads(found.splitlines()[-1])}

    return run


def fit(busy: bool, folder: Path) -> Run:
    """Run ``fit``, alone or with a busy process beside it."""
    place = folder / f"fit_{busy}"
    place.mkdir(exist_ok=True)
    subprocess.run([sys.executable, SCRIPT, "export", str(folder / "inputs")], check=True)

    def run() -> Result:
        for each in ("runs", "cache"):
            shutil.rmtree(place / each, ignore_errors=True)
        with _beside() if busy else contextlib.nullcontext():
            said = command([sys.executable, "-m", "lightning_subliminal", "fit", "--config", "owl_numbers"], place)
        (results,) = place.glob("runs/*/results.json")
        found = json.loads(results.read_text())
        rows = dict(re.findall(r"rows +(\w+): .* (\d+) used", said))
        return {
            "shown": {
                "rates": {arm: each["rates"]["owl"]["rate"] for arm, each in found["arms"].items()},
                "transfer": found["transfer"]["log_odds"],
                "targeted": found["targeted_transfer"]["log_odds"],
                "rows": {"student": int(rows["owl"]), "control": int(rows["control"])},
            }
        }

    return run


whole, beside_busy = partial(fit, False), partial(fit, True)


@contextlib.contextmanager
def _beside() -> Iterator[None]:
    """Keep a core busy, in a process that is no child, so that its seconds are not counted."""
    start = ["sh", "-c", '"$@" >/dev/null 2>&1 & echo $!', "sh", sys.executable, "-c", BUSY.format(os.getpid())]
    busy = int(subprocess.run(start, check=True, capture_output=True, text=True).stdout)
    try:
        yield
    finally:
        os.kill(busy, signal.SIGKILL)
