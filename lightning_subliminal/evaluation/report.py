"""Report of an evaluation: the table, the results as JSON, and their lineage."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from lightning_subliminal import bases
from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.core.io.files import atomically
from lightning_subliminal.evaluation.adapter_folder import other_base
from lightning_subliminal.evaluation.guards import pair_doubts
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.evaluation.previous_results import FILES, keep_earlier
from lightning_subliminal.evaluation.probe import Probe
from lightning_subliminal.evaluation.run import figure
from lightning_subliminal.evaluation.scores import Scores, difference, known_number
from lightning_subliminal.evaluation.table import ScoreTable
from lightning_subliminal.lineage import Material, setting_material, tested_material, write_record, write_test_result
from lightning_subliminal.lineage.statement import invocation

__all__ = ["suite_table", "write_results"]


def suite_table(
    found: Mapping[str, Mapping[str, Scores]], control: str | None = None, probes: Sequence[Probe] = ()
) -> Table:
    """Return the table of results: a row a model, a column a probe, with 95 % intervals, and differences.

    Args:
        found: scores by model and by probe.
        control: the model that the others are compared with; none if None.
        probes: are explained below the table.
    """
    table = Table(title="Behaviour, rate with its 95 % interval" + (f"; below it, less {control}" if control else ""))
    table.add_column("model", overflow="fold")  # runs differ in the end of their names
    columns = list(next(iter(found.values()))) if found else []
    for name in columns:
        table.add_column(name, justify="right")
    units = {name: sorted({_unit(row[name]) for row in found.values()} - {""}) for name in columns}
    over = ", ".join(f"{' or '.join(unit)} ({name})" for name, unit in units.items() if unit)
    lines = [escape(f"{each.name}: {text}") for each in probes if (text := each.explain())]
    table.caption = "\n".join([*lines, *([f"Intervals over {over}"] if over else [])]) or None
    table.caption_justify = "left" if lines else "center"
    for model, row in found.items():
        table.add_row(model, *(figure(row[name]) for name in columns), style="bold")
        if control is not None and model != control:
            table.add_row("", *(_difference(row[name], found[control][name]) for name in columns))
    return table


def _unit(scores: Scores) -> str:
    """Return the unit of an interval, with their number where questions share stems."""
    if not scores.stems:
        return scores.interval.unit
    return f"{len(set(scores.stems))} {scores.interval.unit} of {len(scores.units)} questions"


def write_results(
    table: ScoreTable, probes: Sequence[Probe], models: Sequence[ModelRef], seed: int, control: str | None, out: Path
) -> None:
    """Write the results, all answers, and the folder's lineage record.

    ``results.json`` has the figures; ``answers.jsonl`` each answer with its model, its probe and its verdict. An
    earlier evaluation in the folder is moved (``keep_earlier``).
    """
    for model in models:
        model.check_same()
    lines: list[str] = []
    results: dict[str, Any] = {"seed": seed, "control": control, "models": {}}
    for model in models:
        mine = results["models"][model.name] = {"made_of": model.digest, "measures": {}}
        for name, scores in table[model.name].items():
            entry = mine["measures"][name] = scores.as_json()
            chances = entry.pop("chances")
            entry["rates"] = {each: _mean(values) for each, values in chances.items()}
            for sample in entry.pop("samples"):
                line = json.dumps({"model": model.name, "measure": name} | sample, ensure_ascii=False)
                lines.append(line + "\n")
            if control is not None and model.name != control:
                entry["less_control"] = _difference_json(scores, table[control][name])
                moved = table.contrast(model.name, control, name)
                entry |= moved.as_json() if moved is not None else {}
    results["warnings"] = table.warnings(control)
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    made_from: dict[str, Any] = {"measures": describe(list(probes)), "seed": seed, "control": control}
    made_from["models"] = {each.name: each.digest for each in models}
    keep_earlier(out, invocation("evaluation", made_from))
    atomically(out / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    atomically(out / "answers.jsonl", lambda path: path.write_text("".join(lines), encoding="utf-8"))
    materials = {each.name: _material(each) for each in models}
    here = sorted({each.base for each in models if each.engine is None})
    made_of = [*materials.values(), *(bases.material(name) for name in here)]
    asked = [setting_material("measure", each) for each in probes]
    write_record(out, "evaluation", made_from, [*made_of, *asked], files=FILES)
    for model in models:
        if model.name != control and model.system_prompt is None:  # prompted models are excluded
            other = table[control] if control is not None else {}
            taken = {name: scores for name, scores in table[model.name].items() if scores.reason is None}
            differences = {name: _ends(scores, other.get(name)) for name, scores in taken.items()}
            against = [materials[control]] if control is not None else []
            names = (model.name, control or "")
            doubts = {name: pair_doubts(scores, other.get(name), names) for name, scores in taken.items()}
            if model.folder is not None and (base := other_base(model.folder, model.base)):
                doubts = {name: [*why, base] for name, why in doubts.items()}
            write_test_result(out, model.name, materials[model.name], differences, [*against, *asked], doubts=doubts)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _material(model: ModelRef) -> Material:
    if model.engine is not None:
        return setting_material("model", model.engine)
    if model.folder is None:
        return bases.material(model.base, "model")
    return tested_material("model", model.folder, model.digest)


def _ends(scores: Scores, control: Scores | None) -> tuple[float, float] | None:
    change = difference(scores, control) if control is not None else None
    return (change[1].low, change[1].high) if change is not None else None


def _difference(scores: Scores, control: Scores) -> str:
    change = difference(scores, control)
    if change is None:
        return "-"
    middle, interval = change
    if not math.isfinite(interval.low):
        return f"{100 * middle:+.1f} (no spread to see)"
    return f"{100 * middle:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _difference_json(scores: Scores, control: Scores) -> dict[str, Any] | None:
    change = difference(scores, control)
    if change is None:
        return None
    middle, interval = change
    ends = map(known_number, (middle, interval.low, interval.high))
    return dict(zip(("rate", "low", "high"), ends, strict=True)) | {"unit": interval.unit}
