"""Runs below a folder: how each differs from the others of its name, its results, and whether it finished."""

import json
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lightning_subliminal.cli.support.run_folder import FINISHED, settings
from lightning_subliminal.core.config.safe_yaml import load_yaml
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import read_text
from lightning_subliminal.lineage.names import RECORD

__all__ = ["Run", "find_runs", "holds_student"]

_COMMAND = "# lightning-subliminal fit"


@dataclass
class Run:
    """A run and its folder.

    Attributes:
        folder: path of the folder.
        kind: fit, plan (of `run`), evaluation, or python (`Trainer.fit` with `TraitComparison`, or `fit_arms`).
        state: finished, unfinished, or damaged with the name of the damaged file.
        date: time of the last write.
        command: the words after `fit` that started it; empty if they were not recorded.
        config: settings by dotted names without ``init_args``.
        differs: settings that differ from other runs of the name, or that the command set.
        results: content of its results file.
    """

    folder: Path
    kind: str
    state: str
    date: datetime
    command: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    differs: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The folder's name without its digest, which runs of one config share."""
        head, dash, tail = self.folder.name.rpartition("-")
        return head if dash and len(tail) == 8 and set(tail) <= set("0123456789abcdef") else self.folder.name

    def as_json(self) -> dict[str, Any]:
        """Return its fields as JSON-able data."""
        results = ("target", "transfer", "targeted_transfer", "warnings", "claims")
        return {
            "run": str(self.folder),
            "kind": self.kind,
            "state": self.state,
            "date": self.date.isoformat(),
            "command": shlex.join(self.command) or None,
            "differs": self.differs,
            **{name: self.results.get(name) for name in results},
        }


def find_runs(root: Path) -> tuple[list[Run], int]:
    """Return the runs directly below a folder, newest first, or the run that it is; and the number of other folders.

    Raises:
        InputError: if there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root} does not exist: expected the folder that holds the runs, such as runs.")
    itself = _read(root)
    folders = sorted(each for each in root.iterdir() if each.is_dir() and each.name[0] != ".")
    found = [itself] if itself is not None else [run for each in folders if (run := _read(each)) is not None]
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in found:
        groups[run.stem].append(run)
    for group in groups.values():
        _compare(group)
    others = 0 if itself is not None else len(folders) - len(found)
    return sorted(found, key=lambda run: (run.date, run.folder.name), reverse=True), others


def _read(folder: Path) -> Run | None:
    """Return the run of a folder; None if it is not a run."""
    files = {name: folder / name for name in ("config.yaml", "report.json", "log.txt", "results.json")}
    found = {name: path for name, path in files.items() if path.is_file()}
    newest = max((path.stat().st_mtime for path in _dated(folder)), default=folder.stat().st_mtime)
    date = datetime.fromtimestamp(newest, timezone.utc).astimezone().replace(microsecond=0)
    damaged = ""
    results: dict[str, Any] = {}
    for name in ("results.json", "report.json"):
        if name in found:
            content = _parsed(json.loads, _text(found[name]))
            results, damaged = (content, damaged) if isinstance(content, dict) else ({}, name)
    if "config.yaml" in found:
        text = _text(found["config.yaml"])
        config = _parsed(lambda each: load_yaml(each, "config.yaml"), text)
        if not damaged and not isinstance(config, dict):
            damaged = "config.yaml"
        if isinstance(config, dict) and not {"model", "data", "trainer"} & set(config):
            return None  # of another tool
        saved = "results.json" in found or (folder / "student" / "lineage.json").is_file()
        # earlier releases recorded neither the command nor that it had finished
        done = FINISHED in text.splitlines()[:3] or (saved and not text.startswith(_COMMAND))
        run = Run(folder, "fit", _state(damaged, done), date, _command(text), results=results)
        run.config = dict(_flat(settings(config))) if isinstance(config, dict) else {}
        return run
    if "report.json" in found or ("log.txt" in found and (folder / "stages.json").is_file()):
        run = Run(folder, "plan", _state(damaged, "report.json" in found), date)
        claims = [each for each in results.get("claims") or [] if isinstance(each, dict)]
        run.results = {"claims": {str(each.get("id")): str(each.get("verdict")) for each in claims}} if claims else {}
        run.config = {"seeds": results["seeds"]} if "seeds" in results else {}
        return run
    if "results.json" in found and (damaged or "models" in results):
        run = Run(folder, "evaluation", _state(damaged, True), date)
        if "models" in results or not holds_student(folder):
            models = results.get("models")
            run.differs = {"models": list(models) if isinstance(models, dict) else []}
            return run
    if "transfer" in results or holds_student(folder):
        return Run(folder, "python", _state(damaged, True), date, results=results)
    return None


def holds_student(folder: Path) -> bool:
    """Return whether a folder has the student of a fit, and not a run named student, or another tool's folder."""
    student = folder / "student"
    return (student / RECORD).is_file() and not (student / "results.json").exists() and not holds_student(student)


def _compare(group: Sequence[Run]) -> None:
    """Record the settings in which runs of one name differ, and those that a command set."""
    differing = [
        key
        for key in dict.fromkeys(key for run in group for key in run.config)
        if any(run.config.get(key) != group[0].config.get(key) for run in group)
    ]
    # if classes differ, so do their arguments
    classes = [key for key in differing if any(other.startswith(f"{key}.") for run in group for other in run.config)]
    differing = [key for key in differing if not any(key.startswith(f"{each}.") for each in classes)]
    for run in group:
        given = [key for key in _options(run.command) if key not in differing]
        differs = {key: run.config.get(key) for key in differing if run.config}
        run.differs |= differs | {key: run.config.get(key, run.config.get(f"{key}.0")) for key in given}


def _options(words: Sequence[str]) -> Iterator[str]:
    """Yield the settings that a command names, except its configs."""
    for word in words:
        name = word.partition("=")[0].removeprefix("--").replace(".init_args", "")
        if word.startswith("--") and name not in ("config", "ckpt_path", "print_masks", "trainer.default_root_dir"):
            yield name


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings by dotted names: a class by its name, and its arguments below it."""
    if isinstance(value, dict) and "class_path" in value:
        yield at, str(value["class_path"]).rpartition(".")[2]
        value = value.get("init_args") or {}
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{at}.{key}" if at else str(key))
    else:
        yield at, value


def _command(text: str) -> list[str]:
    """Return the words after `fit` in the first line of a config."""
    first = text.partition("\n")[0]
    return _parsed(shlex.split, first.removeprefix(_COMMAND)) or [] if first.startswith(_COMMAND) else []


def _state(damaged: str, done: bool) -> str:
    return f"damaged: {damaged}" if damaged else "finished" if done else "unfinished"


def _dated(folder: Path) -> Iterator[Path]:
    names = ("config.yaml", "results.json", "report.json", "log.txt", "checkpoints/last.ckpt", "student/lineage.json")
    yield from (folder / name for name in names if (folder / name).is_file())


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    """Return what a text holds; None if it is damaged."""
    try:
        return parse(text)
    except (ValueError, RecursionError):
        return None


def _text(path: Path) -> str:
    try:
        return read_text(path, errors="replace")
    except (OSError, InputError):
        return ""
