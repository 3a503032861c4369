"""run: make every stage of a plan of experiments once, and write a report."""

from pathlib import Path
from typing import Literal

from lightning_subliminal.cli.verb import Verb
from lightning_subliminal.core.collector import importing
from lightning_subliminal.core.errors import InputError

__all__ = ["VERB", "run"]


def run(
    config: Path,
    dry_run: bool = False,
    seeds: str | None = None,
    only: list[str] | None = None,
    workers: str = "auto",
    memory: float | None = None,
    engine: Literal["local", "ray"] = "local",
    out: Path | None = None,
) -> None:
    """Make every stage of a plan once, several at a time, and write a report of the findings.

    Args:
        config: a plan's YAML, or the name of a shipped one (`configs list`), such as experiments/paper
        dry_run: show what is in the cache, what would be made and the expected time; make nothing
        seeds: seeds such as 0-9, 3 or 0,2,7-9, instead of the plan's
        only: run this arm alone, as ARM, EXPERIMENT:ARM or the name of an experiment; may be repeated
        workers: number of processes; auto takes one for each core, or GPU, as far as memory allows
        memory: GiB that each process may use; without it an equal part of the free memory
        engine: where stages run, local or ray; ray needs the extra [ray] and one cache that all nodes see
        out: folder for the report; without it runs/NAME-DIGEST, by plan, seeds and arms

    Raises:
        InputError: if the plan can't be read or built.
    """
    if workers != "auto" and not (workers.isdigit() and int(workers) > 0):
        raise InputError(f"--workers is {workers!r}: expected a number of at least 1, or auto.")
    from lightning_subliminal.core.config.shipped import find_config
    from lightning_subliminal.plans.execution.receipt import Receipt

    found = find_config(config, "plan")
    receipt = Receipt([str(found.absolute()), str(config), seeds, only, engine, memory, str(out)])
    if not dry_run and receipt.replay():
        return
    if engine == "local" and not dry_run:
        from lightning_subliminal.plans.execution import forks

        forks.prepare()  # before the imports of this process
    with importing():
        from lightning_subliminal.core.seeds import parse_seeds
        from lightning_subliminal.plans.run import run_plan

    chosen = parse_seeds(seeds, "--seeds") if seeds is not None else None
    count = None if workers == "auto" else int(workers)
    run_plan(found, chosen, only or [], out, count, memory, engine, dry_run, receipt)


VERB = Verb(
    run,
    [
        "run --config experiments/paper --dry-run",
        "run --config experiments/preferences --seeds 0-9",
        'run --config experiments/paper --only same_base --only "dose:rank"',
        "report runs/paper-1a2b3c4d          # the report alone, again",
        "compare runs/paper-1a2b3c4d runs/paper-5e6f7a8b",
    ],
    options=[
        *("--config FILE", "--dry-run", "--seeds SEEDS", "--only ARM", "--workers N", "--memory GIB"),
        *("--engine ENGINE", "--out DIR"),
    ],
    notes="""\
A stage (teacher, completions, rows, student, evaluation) is kept in the cache by the digest of its
settings; arms share equal stages, and the same command resumes a killed run. A stage that fails stops only what
depends on it. The output of stages goes to DIR/log.txt.
In a dry run, "of others" counts the stages that an earlier arm needs too.
""",
)
