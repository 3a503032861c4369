"""Terminal output of a run of a plan: the plan as a tree, progress, summary and claims."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.tree import Tree

from lightning_subliminal.core.console import duration, progress, say
from lightning_subliminal.plans.execution.executors import StageResult
from lightning_subliminal.plans.execution.scheduler import StageGraph, Summary, Timings
from lightning_subliminal.plans.plan import Cell
from lightning_subliminal.plans.report.number_format import ends, estimate, signed, targeted, units
from lightning_subliminal.workflow.stages import Stage

__all__ = [
    "ShownProgress",
    "bars_table",
    "claims_table",
    "counted",
    "ending",
    "plan_tree",
    "short_seeds",
    "transfer_table",
]

_SIGNS = {
    **{"reproduced": "✓", "holds": "✓", "not reproduced": "✗", "does not hold": "✗"},
    **{"inconclusive": "~", "not measured": "-"},
}


def counted(graph: StageGraph) -> str:
    """Return the counts of stages as a line."""
    there = len(graph.stages) - len(graph.needed) - len(graph.damaged)
    damaged = f", {len(graph.damaged)} damaged" if graph.damaged else ""
    planned = f"{len(graph.stages)} stages planned ({graph.shared} shared)"
    return f"{planned}, {there} in the cache{damaged}, {len(graph.needed)} to run"


def short_seeds(seeds: Sequence[int]) -> str:
    """Return seeds as ranges, such as 0-4, 7."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def plan_tree(cells: Sequence[Cell], graph: StageGraph, workers: int) -> Tree:
    """Return what exists and what would be made: experiments, arms, and stages by kind, each counted once."""
    timings = Timings()
    seen: set[str] = set()
    total = sum(timings.estimate(stage) for stage in graph.needed.values())
    tree = Tree(f"about {duration(total / workers)} with {workers} workers ({duration(total)} of one)")
    branches: dict[str, Tree] = {}
    for experiment in dict.fromkeys(cell.experiment for cell in cells):
        branches[experiment] = tree.add(experiment, style="bold")
        for arm in dict.fromkeys(cell.arm for cell in cells if cell.experiment == experiment):
            mine = [cell for cell in cells if (cell.experiment, cell.arm) == (experiment, arm)]
            keys = _below([stage.key for cell in mine for stage in cell.stages.values()], graph)
            new, seen = keys - seen, seen | keys
            run = Counter(graph.stages[key].kind for key in new if key in graph.needed)
            there = sum(key not in graph.needed for key in new)
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(run.items())) or "nothing"
            seconds = sum(timings.estimate(graph.stages[key]) for key in new if key in graph.needed)
            branches[experiment].add(
                f"{arm}: {len(mine)} cells; run {kinds}; {there} in the cache, {len(keys) - len(new)} of others"
                + (f"; {duration(seconds)}" if run else ""),
                style="not bold",
            )
    for key, says in graph.damaged.items():
        tree.add(f"damaged: {graph.stages[key].title}: {says}", style="red")
    return tree


def _below(keys: Sequence[str], graph: StageGraph) -> set[str]:
    found, stack = set(), list(keys)
    while stack:
        key = stack.pop()
        if key not in found:
            found.add(key)
            stack += graph.parents[key]
    return found


class ShownProgress:
    """A bar with the running stages and the time left; without a terminal, a line each minute.

    Args:
        graph: the stages to make.
        workers: how many at once.
    """

    def __init__(self, graph: StageGraph, workers: int) -> None:
        self.timings = Timings()
        self.left = {key: self.timings.estimate(stage) for key, stage in graph.needed.items()}
        self.total = len(self.left)
        self.workers = workers
        self.running: dict[str, str] = {}
        self.kinds = {key: stage.kind for key, stage in graph.needed.items()}
        self.spent: defaultdict[str, float] = defaultdict(float)  # seconds, by kind of stage
        self.expected: defaultdict[str, float] = defaultdict(float)  # estimated before, for the same stages
        self.bar = progress(
            TextColumn("stages"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.description}", style="dim"),
        )
        self.task: TaskID | None = None

    def __enter__(self) -> "ShownProgress":
        """Show the bar."""
        self.bar.start()
        self.task = self.bar.add_task("", total=self.total, left=self._left(), label="stages")
        return self

    def __exit__(self, *args: object) -> None:
        """Remove the bar."""
        self.bar.stop()

    def __call__(self, what: str, stage: Stage, outcome: StageResult | None) -> None:
        """Update the bar for a stage that started, ended or failed."""
        if what == "start":
            self.running[stage.key] = stage.title
        else:
            self.running.pop(stage.key, None)
            if outcome is not None and outcome.error is None:
                self.spent[stage.kind] += outcome.seconds
                self.expected[stage.kind] += self.left.get(stage.key, 0.0)
            self.left.pop(stage.key, None)
        if what == "fail" and outcome is not None:
            say(f"failed: {stage.title} ({stage.key}): {outcome.error}")
        if self.task is not None:
            done = self.total - len(self.left)
            shown = "; ".join(self.running.values())[:80]
            self.bar.update(self.task, completed=done, description=shown, left=self._left())

    def _left(self) -> str:
        total = 0.0
        for key, seconds in self.left.items():
            kind = self.kinds[key]  # each kind has its own ratio of real to estimated time
            total += seconds * (self.spent[kind] / self.expected[kind] if self.expected[kind] > 1 else 1.0)
        return f"about {duration(total / self.workers)} left"


def ending(graph: StageGraph, summary: Summary) -> str:
    """Return how a run ended; failed stages were reported when they failed."""
    there = len(graph.stages) - len(graph.needed) - len(graph.damaged)
    counts = (
        f"stages: {len(graph.stages)} planned, {graph.shared} times shared, {there} in the cache, {summary.run} run, "
        f"{len(summary.failed)} failed, {len(summary.skipped)} not tried; {duration(summary.seconds)}"
    )
    lines = [f"damaged: {graph.stages[key].title}: {says}" for key, says in graph.damaged.items()]
    return "\n".join([*lines, *([f"stopped: {summary.stopped}"] if summary.stopped else []), counts])


def claims_table(claims: Sequence[Mapping[str, Any]]) -> Table | str:
    """Return the claims with our figures and verdicts; those of arms that were not run are counted, not listed.

    If no other is left, return a line that says so.
    """
    listed = [claim for claim in claims if claim["verdict"] != "not measured" or claim.get("note")]
    if not listed:
        return f"claims    none of the plan's {len(claims)} is about the arms that were run"
    columns = ("", "claim (plan: name)", "our figure [95 % interval] over its unit", "claimed range")
    title = (
        "Claims: ✓ if the whole interval lies in the claimed range, ✗ if it lies outside, ~ if it crosses the border"
    )
    table = Table(*columns, title=title, title_justify="left")
    table.columns[1].overflow = "fold"
    for claim in listed:
        value = claim["value"]
        form = "+.2f" if signed(claim.get("limits")) else ".2f"
        ours = "-" if value is None else f"{value:{form}}"
        if value is not None and claim["low"] is not None:
            ours += f" [{claim['low']:{form}}, {claim['high']:{form}}]"
        ours += f" over {over}" if (over := units(claim["count"], claim["unit"])) else ""
        ours += f"\n{beside}" if (beside := targeted(claim.get("targeted"))) else ""
        name = escape(f"{claim['says']} ({claim['experiment']}: {claim['id']})")
        table.add_row(_SIGNS[claim["verdict"]], name, ours, ends(*claim["range"]))
    counts = Counter(claim["verdict"] for claim in claims)
    verdicts = "; ".join(f"{_SIGNS[name]} {name} {counts[name]}" for name in _SIGNS if counts[name])
    means = "Targeted: less the mean change of the other answers; rank: of the target's change"
    table.caption = f"{verdicts}. {means}" if any(claim.get("targeted") for claim in claims) else verdicts
    return table


def transfer_table(experiment: Mapping[str, Any]) -> Table:
    """Return the table of transfer by arm of an experiment of a report."""
    data = experiment["table"]
    table = Table(*data["columns"], title=f"{experiment['title']}: {data['title']}", caption=data["caption"])
    for row in data["rows"]:
        table.add_row(*row)
    return table


def bars_table(experiment: Mapping[str, Any], figure: Mapping[str, Any]) -> Table:
    """Return the bars of a figure of a report as a table."""
    title = f"{experiment['title']}: {figure['title']}"
    table = Table("arm", "number", "mean [95 % interval]", "over", title=title)
    for bar in figure["bars"]:
        value = estimate(bar["value"], bar["low"], bar["high"], signed(figure["limits"]))
        name, over = escape(bar["group"] or figure["y"]), units(bar["count"], bar["unit"])
        table.add_row(escape(bar["label"]), name, value, over)
    return table
