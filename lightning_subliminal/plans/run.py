"""A plan run from its YAML to its report."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_subliminal import bases
from lightning_subliminal.core.cache import cache_root, note_run, writable_folder
from lightning_subliminal.core.config.building import known_name
from lightning_subliminal.core.console import hush, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.lineage import Material
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.plans.default_figures import default_notes
from lightning_subliminal.plans.execution.executors import LocalExecutor, auto_workers
from lightning_subliminal.plans.execution.progress import (
    ShownProgress,
    bars_table,
    claims_table,
    counted,
    ending,
    plan_tree,
    short_seeds,
    transfer_table,
)
from lightning_subliminal.plans.execution.receipt import Receipt
from lightning_subliminal.plans.execution.scheduler import StageGraph, Summary, run_stages
from lightning_subliminal.plans.plan import Cell, Plan
from lightning_subliminal.plans.reading import read_plan
from lightning_subliminal.plans.report import record_report, write_report
from lightning_subliminal.plans.report_data import cell_table, read_cells, report_data
from lightning_subliminal.workflow.stages import MeasureStage, stage_materials

if TYPE_CHECKING:
    from lightning_subliminal.plans.execution.executors import Executor

__all__ = ["plan_cells", "run_plan"]


def run_plan(
    config: Path,
    seeds: tuple[int, ...] | None = None,
    only: Sequence[str] = (),
    out: Path | None = None,
    workers: int | None = None,
    memory: float | None = None,
    engine: Literal["local", "ray"] = "local",
    dry_run: bool = False,
    receipt: Receipt | None = None,
) -> Path | None:
    """Run a plan: each stage that the cache lacks, then the report.

    Args:
        config: the plan's YAML.
        seeds: instead of the plan's own.
        only: arms, ``experiment:arm``, or experiments; all where it is empty.
        out: where the report goes; ``runs/NAME-DIGEST``, by plan, seeds and arms, where it is None.
        workers: processes; as many as fit where it is None.
        memory: GiB that each may use.
        engine: where stages run.
        dry_run: only show the plan.
        receipt: to write, so that the same command need not build the plan again.

    Returns:
        The report's folder; None after a dry run.

    Raises:
        InputError: if the plan can't be read or built, or a folder can't be written.
        SystemExit: with 1 if a stage failed; the report of the others is written.
    """
    hush()
    with bases.remembering(), receipt.watching() if receipt is not None else nullcontext():
        plan = read_plan(config)
        cells = plan_cells(plan, seeds, only)
        graph = StageGraph.of(stage for cell in cells for stage in cell.stages.values())
    used = sorted({cell.seed for cell in cells})
    begins = f"{plan.title}: {len(cells)} cells, seeds {short_seeds(used)}; "
    say(f"{begins}{counted(graph)}")
    count = workers or auto_workers()
    used_experiments = {cell.experiment for cell in cells}
    said: list[Any] = []
    for each in plan.experiments:
        said += [f"{each.name}: {line}" for line in (default_notes(each) if each.name in used_experiments else ())]
    for note in said:
        say(note)
    lacks = _lacking()
    if dry_run:
        say(plan_tree(cells, graph, count))
        if lacks is not None:
            say(lacks)
        return None
    if lacks is not None:
        raise InputError(lacks)
    folder = out or Path("runs") / f"{plan.name}-{_plan_digest(plan, graph, cells)}"
    writable_folder(cache_root())
    writable_folder(folder)
    _note(folder, graph)
    with (
        _engine(engine, workers, count, memory, folder / "log.txt") as running,
        ShownProgress(graph, running.slots) as shown,
    ):
        summary = run_stages(graph, running, shown)
    broken = summary.failed | {
        key: f"not tried, since it needs {graph.stages[need].title}, which failed: {summary.failed[need]}"
        for key, need in summary.skipped.items()
    }
    results, missing = read_cells(cells, broken)
    stages = {"planned": len(graph.stages), "shared": graph.shared, "failed": len(summary.failed)}
    command = _command(config, seeds, only)
    plan = replace(plan, experiments=tuple(each for each in plan.experiments if each.name in used_experiments))
    report = report_data(plan, results, missing, stages, used, command)
    write_report(report, cell_table(results, plan.experiments), folder, redraw=False)
    record_report(folder, plan.title, used, _read_stages(graph))
    findings = list(_findings(report))
    for finding in findings:
        say(finding)
    say(ending(graph, summary))
    last = f"seeds {short_seeds(used)}; {folder / 'report.html'}"
    say(last)
    if summary.failed or summary.stopped:
        raise SystemExit(1)
    if receipt is not None:
        there = replace(graph, needed={})
        leaves = {stage.folder for cell in cells for stage in cell.stages.values()}
        said = [f"{begins}{counted(there)}", *said, *findings, ending(there, Summary()), last]
        receipt.write(folder, sorted(leaves), said)
    return folder


def _findings(report: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the lines and tables that a run prints of its report."""
    for found in report["experiments"]:
        for warning in found["warnings"]:
            yield f"WARNING   {found['name']}: {warning}"
        mine = [claim for claim in report["claims"] if claim["experiment"] == found["name"]]
        claimed = any(claim["verdict"] != "not measured" for claim in mine)
        if not claimed:  # so that a run of any arm prints what it measured
            bars = [bars_table(found, each) for each in found["figures"] if each["kind"] == "bars"]
            yield from bars if found["table"] is None else [transfer_table(found)]
        for figure in found["figures"]:
            if figure.get("statistic"):
                yield f"{found['name']}: {figure['title']}: {figure['statistic']}"
    if report["claims"]:
        yield claims_table(report["claims"])


def plan_cells(plan: Plan, seeds: tuple[int, ...] | None = None, only: Sequence[str] = ()) -> list[Cell]:
    """Return the cells of a plan, or of some of its arms.

    Args:
        plan: the plan.
        seeds: instead of its own.
        only: arms, ``experiment:arm``, or experiments; all where it is empty.

    Raises:
        InputError: if a name is neither.
    """
    known = {name for each in plan.experiments for arm in each.arms for name in (arm, each.name, f"{each.name}:{arm}")}
    for name in only:
        inside = next((each for each in plan.experiments if name.startswith(f"{each.name}:")), None)
        near = [f"{inside.name}:{arm}" for arm in inside.arms] if inside is not None else sorted(known)
        known_name(name, near if name not in known else known, f"--only {name!r} is not an arm of the plan")
    cells = []
    for each in plan.experiments:
        chosen = [arm for arm in each.arms if not only or {arm, each.name, f"{each.name}:{arm}"} & set(only)]
        if chosen:
            cells += list(each.cells(seeds, tuple(chosen)))
    return cells


def _note(folder: Path, graph: StageGraph) -> None:
    """Record what a run needs of the cache, for ``cache clean``."""
    places = sorted(f"{each.folder.parent.name}/{each.folder.name}" for each in graph.stages.values())
    atomically(folder / "stages.json", lambda path: path.write_text(json.dumps(places, indent=0) + "\n"))
    note_run(folder)


def _read_stages(graph: StageGraph) -> list[Material]:
    """Return the measurements that a report is made from."""
    measured = (each for each in graph.stages.values() if isinstance(each, MeasureStage))
    return stage_materials(each for each in measured if (each.folder / RECORD).is_file())


def _engine(name: str, asked: int | None, workers: int, memory: float | None, log: Path) -> "Executor":
    if name == "ray":
        from lightning_subliminal.plans.execution.ray_executor import RayExecutor

        return RayExecutor(asked, memory)  # by default as many as the cluster has cores
    return LocalExecutor(workers, memory, log)


def _plan_digest(plan: Plan, graph: StageGraph, cells: Sequence[Cell]) -> str:
    """Return 8 digits that differ for other seeds, arms or settings, so that no report is overwritten."""
    shown = [
        [each.title, each.about, each.figures, [vars(claim) for claim in each.claims]] for each in plan.experiments
    ]
    return digest([sorted(graph.stages), [cell.name for cell in cells], shown])[:8]


def _command(config: Path, seeds: tuple[int, ...] | None, only: Sequence[str]) -> str:
    words = ["lightning-subliminal run --config", str(config)]
    words += ["--seeds", ",".join(map(str, seeds))] if seeds is not None else []
    return " ".join([*words, *(f'--only "{name}"' for name in only)])


def _lacking() -> str | None:
    """Return what to install for the extra that the report needs; None if all of it is there."""
    for package in ("statsmodels", "sklearn", "jsonschema"):
        if find_spec(package) is None:
            return f"`run` needs {package}: pip install 'lightning-subliminal[report]'."
    return None
