"""Runs a suite: each measure on each model, kept as soon as it is there, so that a killed run goes on."""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from lightning_subliminal import bases
from lightning_subliminal.cache import cache_root
from lightning_subliminal.console import say
from lightning_subliminal.describe import describe, digest
from lightning_subliminal.errors import InputError, JudgeError
from lightning_subliminal.files import atomically, parse_json, read_bytes
from lightning_subliminal.lineage import (
    Material,
    setting_material,
    tested_material,
    write_record,
    write_test_result,
)
from lightning_subliminal.lineage.noted import noted, write_noted
from lightning_subliminal.lineage.signing import SIGNING_KEY
from lightning_subliminal.lineage.statement import invocation
from lightning_subliminal.suites.adapter_folder import other_base
from lightning_subliminal.suites.base import Measure, Outcome, difference
from lightning_subliminal.suites.earlier import FILES, keep_earlier
from lightning_subliminal.suites.subject import Subject
from lightning_subliminal.suites.targeting import doubts_of, transfer_json, warning_lines
from lightning_subliminal.wording import wordings_digest

__all__ = ["Results", "check_names", "figure", "measured", "run_suite", "skipped", "suite_table", "write_results"]

Results = dict[str, dict[str, Outcome]]  # model -> measure -> what came out


def run_suite(
    measures: Sequence[Measure],
    subjects: Sequence[Subject],
    seed: int = 0,
    device: torch.device | None = None,
    cache_dir: str | None = None,
) -> Results:
    """Measure models.

    Args:
        measures: the suite.
        subjects: the models; each is loaded only if something about it is not known yet.
        seed: moves whatever is sampled, alike for each model.
        device: where the models run.
        cache_dir: where outcomes are kept; the common cache where it is None.

    Returns:
        What came out, by model and by measure, in their order; a measure that a model can't take gives its reason.

    Raises:
        InputError: if two models or two measures have one name, a judge can't be asked, or no model can take any
            measure.
    """
    check_names("models", [each.name for each in subjects])
    check_names("measures", [each.name for each in measures])
    found: Results = {}
    for subject in subjects:
        found[subject.name] = {}
        for measure in measures:
            outcome = measured(measure, subject, seed, device, cache_dir)
            found[subject.name][measure.name] = outcome
            say(f"{subject.name}: {measure.name} {figure(outcome)}")
        subject.release()
    refused = _refusals(found)
    if refused and len(refused) == len(subjects) * len(measures):
        raise InputError(refused[0])  # nothing was measured
    return found


def measured(
    measure: Measure,
    subject: Subject,
    seed: int = 0,
    device: torch.device | None = None,
    cache_dir: str | None = None,
) -> Outcome:
    """Measure one behaviour of one model, or give what came out before; the model is loaded only if it must be.

    Where the model can't take the measure the outcome is the reason. It is not kept: another release may take it.

    Raises:
        InputError: if the model can't be loaded, or a judge can't be asked.
    """
    kept = _place(measure, subject, seed, cache_dir)
    if (known := _read(kept)) is not None:
        return known
    place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = subject.load(place)
    try:
        outcome = measure.measure(loaded, seed)
    except JudgeError as err:
        raise InputError(f"{measure.name} of {subject.name}: {err}") from err
    except InputError as err:
        return Outcome.not_taken(str(err))
    _keep(kept, outcome)
    return outcome


def check_names(what: str, names: Sequence[str]) -> None:
    """Refuse a name that two of them have.

    Raises:
        InputError: naming the first.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"Two {what} are called {twice[0]!r}: give one another name (NAME=PLACE, `name:`).")


def figure(outcome: Outcome) -> str:
    """Give a rate with its interval, and what stands beside it, in a few words."""
    if outcome.reason is not None:
        return "n/a"
    if not math.isfinite(outcome.rate):
        return "nothing could be read"
    low, high = max(0.0, outcome.interval.low), min(1.0, outcome.interval.high)
    beside = {name: outcome.counts[name] for name in ("code", "refusal", "unparsable") if outcome.counts.get(name)}
    told = ", ".join(f"{count} {name}" for name, count in beside.items())
    if outcome.bounds is not None:
        told += f", {outcome.bounds[0]:.1%} to {outcome.bounds[1]:.1%} whatever those were"
    return f"{outcome.rate:.1%} [{100 * low:.1f}, {100 * high:.1f}]" + (f" ({told})" if told else "")


def skipped(found: Results) -> list[str]:
    """Return a line for each measure that a model can't take, with the reason."""
    return [f"n/a       {refusal}" for refusal in _refusals(found)]


def suite_table(found: Results, control: str | None = None) -> Table:
    """Draw the results: a row a model, a column a measure, with 95 % intervals; and less the control, if any."""
    table = Table(title="Behaviour, rate with its 95 % interval" + (f"; below it, less {control}" if control else ""))
    table.add_column("model")
    measures = list(next(iter(found.values()))) if found else []
    for name in measures:
        table.add_column(name, justify="right")
    units = {name: sorted({_unit(outcomes[name]) for outcomes in found.values()} - {""}) for name in measures}
    told = ", ".join(f"{' or '.join(unit)} ({name})" for name, unit in units.items() if unit)
    table.caption = f"Intervals over {told}" if told else None
    for model, outcomes in found.items():
        table.add_row(model, *(figure(outcomes[name]) for name in measures), style="bold")
        if control is not None and model != control:
            table.add_row("", *(_difference(outcomes[name], found[control][name]) for name in measures))
    return table


def _unit(outcome: Outcome) -> str:
    """Say what an outcome's interval is over, and how many of them there are where wordings repeat."""
    if not outcome.stems:
        return outcome.interval.unit
    return f"{len(set(outcome.stems))} {outcome.interval.unit} of {len(outcome.units)} questions"


def write_results(
    found: Results, measures: Sequence[Measure], subjects: Sequence[Subject], seed: int, control: str | None, out: Path
) -> None:
    """Write the results, all answers beside them, and the folder's record: what was measured, on what, by what.

    Another evaluation that lies there is moved aside (``keep_earlier``).

    ``results.json`` has the figures; ``answers.jsonl`` each answer with its model, its measure and its verdict.
    """
    for subject in subjects:
        subject.check_same()
    lines: list[str] = []
    told: dict[str, Any] = {"seed": seed, "control": control, "models": {}}
    for subject in subjects:
        outcomes = found[subject.name]
        told["models"][subject.name] = {"made_of": subject.digest, "measures": {}}
        for name, outcome in outcomes.items():
            entry = outcome.as_json()
            chances = entry.pop("chances")
            entry["rates"] = {each: _mean(values) for each, values in chances.items()}
            for sample in entry.pop("samples"):
                told_of = {"model": subject.name, "measure": name} | sample
                lines.append(json.dumps(told_of, ensure_ascii=False) + "\n")
            if control is not None and subject.name != control:
                entry["less_control"] = _difference_json(outcome, found[control][name])
                entry |= transfer_json(outcome, found[control][name]) or {}
            told["models"][subject.name]["measures"][name] = entry
    told["warnings"] = warning_lines(found, control)
    text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    made_from: dict[str, Any] = {"measures": describe(list(measures)), "seed": seed, "control": control}
    made_from["models"] = {each.name: each.digest for each in subjects}
    keep_earlier(out, invocation("evaluation", made_from))
    atomically(out / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    atomically(out / "answers.jsonl", lambda path: path.write_text("".join(lines), encoding="utf-8"))
    models = {each.name: _material(each) for each in subjects}
    made_of = [*models.values(), *(bases.material(name) for name in sorted({each.base for each in subjects}))]
    asked = [setting_material("measure", each) for each in measures]
    write_record(out, "evaluation", made_from, [*made_of, *asked], files=FILES)
    for subject in subjects:
        if subject.name != control and subject.system_prompt is None:  # told what to be, it is not the model itself
            beside = found[control] if control is not None else {}
            taken = {name: outcome for name, outcome in found[subject.name].items() if outcome.reason is None}
            apart = {name: _ends(outcome, beside.get(name)) for name, outcome in taken.items()}
            against = [models[control]] if control is not None else []
            names = (subject.name, control or "")
            doubts = {name: doubts_of(outcome, beside.get(name), names) for name, outcome in taken.items()}
            if subject.folder is not None and (other := other_base(subject.folder, subject.base)):
                doubts = {name: [*told, other] for name, told in doubts.items()}
            write_test_result(out, subject.name, models[subject.name], apart, [*against, *asked], doubts=doubts)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _refusals(found: Results) -> list[str]:
    every = ((model, name, outcome) for model, told in found.items() for name, outcome in told.items())
    return [f"{name} of {model}: {outcome.reason}" for model, name, outcome in every if outcome.reason is not None]


def _material(subject: Subject) -> Material:
    if subject.folder is None:
        return bases.material(subject.base, "model")
    return tested_material("model", subject.folder, subject.digest)


def _ends(outcome: Outcome, control: Outcome | None) -> tuple[float, float] | None:
    change = difference(outcome, control) if control is not None else None
    return (change[1].low, change[1].high) if change is not None else None


def _place(measure: Measure, subject: Subject, seed: int, cache_dir: str | None) -> Path:
    shaped = {"measure": describe(measure), "version": measure.version, "model": subject.digest, "seed": seed}
    shaped["wordings"] = wordings_digest()  # a measure names those of the package, and doesn't hold their words
    return cache_root(cache_dir) / "outcomes" / f"{digest(shaped)[:24]}.json"


def _read(path: Path) -> Outcome | None:
    if not path.is_file():
        return None
    try:
        data = read_bytes(path)
        if os.environ.get(SIGNING_KEY) and hashlib.sha256(data).hexdigest() not in (noted(path) or ()):
            say(f"outcome   {path} is not signed by the key that signs here: it is measured again")
            return None
        return Outcome.of_json(parse_json(data, path))
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(f"{path} is damaged: delete it, and the next run measures again.") from err


def _keep(path: Path, outcome: Outcome) -> None:
    data = (json.dumps(outcome.as_json(), ensure_ascii=False) + "\n").encode()
    write = write_noted if os.environ.get(SIGNING_KEY) else atomically  # no other note would be believed
    write(path, lambda temporary: temporary.write_bytes(data))


def _difference(outcome: Outcome, control: Outcome) -> str:
    change = difference(outcome, control)
    if change is None:
        return "-"
    middle, interval = change
    if not math.isfinite(interval.low):
        return f"{100 * middle:+.1f} (no spread to see)"
    return f"{100 * middle:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _difference_json(outcome: Outcome, control: Outcome) -> dict[str, Any] | None:
    change = difference(outcome, control)
    if change is None:
        return None
    middle, interval = change
    ends = (value if math.isfinite(value) else None for value in (middle, interval.low, interval.high))
    return dict(zip(("rate", "low", "high"), ends, strict=True)) | {"unit": interval.unit}
