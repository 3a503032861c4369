"""Seconds until something is there, each run a process of its own: claims without another side.

Modules are compiled and files read once before, by the run that warms up. The plan that is all there is
`benchmarks/kill_plan_small.yaml`; it is made while the side is prepared.
"""

import sys
from functools import partial
from pathlib import Path

from speed_sides.claims import Claim, Run, command

PLAN = str(Path(__file__).resolve().parents[1] / "kill_plan_small.yaml")
VERB = (sys.executable, "-m", "lightning_subliminal")
CLAIMS = [
    Claim("import lightning_subliminal", "imported", "", 0.2),
    Claim("--help", "helped", "", 0.2),
    Claim("fit to its first line", "first_line", "", 3),
    Claim("a plan that is all there", "all_there", "", 2),
]


def _side(words: tuple[str, ...], until: str, prepare: tuple[str, ...], folder: Path) -> Run:
    if prepare:
        command([*prepare], folder)

    def run() -> dict[str, str]:
        return {"last": command([*words], folder, until).splitlines()[-1]}

    return run


_RUN = (*VERB, "run", "--config", PLAN, "--workers", "1")
imported = partial(_side, (sys.executable, "-c", "import lightning_subliminal; print('there')"), "", ())
helped = partial(_side, (*VERB, "--help"), "", ())
first_line = partial(_side, (*VERB, "fit", "--config", "owl_numbers"), "\n", ())
all_there = partial(_side, _RUN, "", _RUN)
