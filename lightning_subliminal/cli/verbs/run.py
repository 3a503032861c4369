"""run: a plan of experiments, every stage once, several at a time, to a report."""

from functools import partial
from pathlib import Path
from typing import Literal

from lightning_subliminal.cli.positional import Spelling, show_guide
from lightning_subliminal.core.errors import InputError

__all__ = ["COMMANDS", "guide", "run", "spelled"]

_GUIDE = """\
run: every stage of a plan once, several at a time, and a report of what was found.

usage: lightning-subliminal run --config FILE [options]

  --config FILE          a plan's YAML, or a shipped one by name (`configs list`), such as experiments/paper
  --dry-run              show what is there, what would be made and how long that should take; make nothing
  --seeds 0-9            instead of the plan's own; also 3 or 0,2,7-9
  --only ARM             run this arm alone; may be given again, and takes EXPERIMENT:ARM or an experiment's name, too
  --workers N            processes; auto (default) takes one a core, or a GPU, as far as memory goes
  --memory GIB           bound of each process; an equal part of what is free, by default
  --engine local|ray     where stages run; ray needs the extra [ray], and one cache that all nodes see
  --out DIR              where the report goes (default runs/NAME-DIGEST, by plan, seeds and arms)

In the plan "there" is what the cache holds, "of others" what an arm before it has asked for already, too.
A stage (teacher, completions, rows, student, evaluation) is kept in the cache under the digest of all that shapes it.
Arms share equal stages, and the same command goes on where a killed run was. A stage that fails stops what needs it,
and nothing else. What the stages say goes to DIR/log.txt.

examples:
  lightning-subliminal run --config experiments/paper --dry-run
  lightning-subliminal run --config experiments/preferences --seeds 0-9
  lightning-subliminal run --config experiments/paper --only same_base --only "dose:rank"
  lightning-subliminal report runs/paper-1a2b3c4d          # the report alone, again
  lightning-subliminal compare runs/paper-1a2b3c4d runs/paper-5e6f7a8b
"""


def run(
    plan: Path | None = None,  # --config, which jsonargparse takes for its own; with a default, so that it is an option
    dry_run: bool = False,
    seeds: str | None = None,
    only: list[str] | None = None,
    workers: str = "auto",
    memory: float | None = None,
    engine: Literal["local", "ray"] = "local",
    out: Path | None = None,
) -> None:
    """Run a plan.

    Args:
        plan: an experiment's YAML, or one that includes several; or the name of a shipped one.
        dry_run: show what would be made, and make nothing.
        seeds: instead of the plan's own.
        only: arms to run alone.
        workers: processes; auto takes one a core, or a GPU.
        memory: GiB that each may take.
        engine: where stages run.
        out: where the report goes.

    Raises:
        InputError: if the plan can't be read or built.
    """
    if plan is None:
        raise InputError("`config` is missing: give --config FILE, such as experiments/preferences.")
    if workers != "auto" and not (workers.isdigit() and int(workers) > 0):
        raise InputError(f"--workers is {workers!r}: expected a number of at least 1, or auto.")
    from lightning_subliminal.core.config.shipped import find_config
    from lightning_subliminal.plans.reading import parse_seeds
    from lightning_subliminal.plans.run import run_plan

    chosen = parse_seeds(seeds, "--seeds") if seeds is not None else None
    count = None if workers == "auto" else int(workers)
    run_plan(find_config(plan, "plan"), chosen, only or [], out, count, memory, engine, dry_run)


COMMANDS = run
guide = partial(show_guide, _GUIDE)
spelled = Spelling(
    repeated=("--only",),
    switches=("--dry_run",),
    renamed={"--config": "--plan", "-c": "--plan", "--dry-run": "--dry_run"},
)
