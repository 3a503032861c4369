"""The runs below a folder: what each differs in from its neighbours, what came out, whether it finished."""

import json
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
    """One run's folder.

    Attributes:
        folder: where it is.
        kind: fit, plan (of `run`), evaluation, or python (`Trainer.fit` with `TraitComparison` or `SaveStudent`).
        state: finished, unfinished, or damaged with the file that is.
        date: when something was last written into it.
        command: the words of `fit` that began it; none where they were not kept.
        config: its settings, by dotted names without ``init_args``.
        differs: those in which it differs from runs of the same name beside it, or that its command set.
        results: what came out of it, as its file has it.
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
        """The name without its digest: what runs of one config have in common."""
        head, dash, tail = self.folder.name.rpartition("-")
        return head if dash and len(tail) == 8 and set(tail) <= set("0123456789abcdef") else self.folder.name

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        told: dict[str, Any] = {
            "run": str(self.folder),
            "kind": self.kind,
            "state": self.state,
            "date": self.date.isoformat(),
        }
        told |= {"command": shlex.join(self.command) or None, "differs": self.differs}
        return told | {
            name: self.results.get(name) for name in ("target", "transfer", "targeted_transfer", "warnings", "claims")
        }


def find_runs(root: Path) -> tuple[list[Run], int]:
    """Return the runs directly below a folder, newest first, or the one that it is; and how many folders are none.

    Raises:
        InputError: if there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not there: give the folder that holds the runs, such as runs.")
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
    """Read a folder; None where it is no run."""
    files = {name: folder / name for name in ("config.yaml", "report.json", "log.txt", "results.json")}
    there = {name: path for name, path in files.items() if path.is_file()}
    newest = max((path.stat().st_mtime for path in _dated(folder)), default=folder.stat().st_mtime)
    date = datetime.fromtimestamp(newest, timezone.utc).astimezone().replace(microsecond=0)
    damaged = ""
    results: dict[str, Any] = {}
    for name in ("results.json", "report.json"):
        if name in there:
            told = _mapping(there[name])
            results, damaged = told or {}, damaged if told is not None else name
    if "config.yaml" in there:
        text = _text(there["config.yaml"])
        config = _yaml(text)
        if not damaged and not isinstance(config, dict):
            damaged = "config.yaml"
        if isinstance(config, dict) and not {"model", "data", "trainer"} & set(config):
            return None  # somebody else's
        saved = "results.json" in there or (folder / "student" / "lineage.json").is_file()
        # an earlier release kept no command, and did not say that it had finished
        done = FINISHED in text.splitlines()[:3] or (saved and not text.startswith(_COMMAND))
        run = Run(folder, "fit", _state(damaged, done), date, _command(text), results=results)
        run.config = dict(_flat(settings(config))) if isinstance(config, dict) else {}
        return run
    if "report.json" in there or ("log.txt" in there and (folder / "stages.json").is_file()):
        run = Run(folder, "plan", _state(damaged, "report.json" in there), date, results={})
        claims = [each for each in results.get("claims") or [] if isinstance(each, dict)]
        run.results = {"claims": {str(each.get("id")): str(each.get("verdict")) for each in claims}} if claims else {}
        run.config = {"seeds": results["seeds"]} if "seeds" in results else {}
        return run
    if "results.json" in there and (damaged or "models" in results):
        run = Run(folder, "evaluation", _state(damaged, True), date)
        if "models" in results or not holds_student(folder):
            models = results.get("models")
            run.differs = {"models": list(models) if isinstance(models, dict) else []}
            return run
    if "transfer" in results or holds_student(folder):
        return Run(folder, "python", _state(damaged, True), date, results=results)
    return None


def holds_student(folder: Path) -> bool:
    """Tell whether a fit has left its student there; a run of that name, or another tool's folder, is none."""
    student = folder / "student"
    return (student / RECORD).is_file() and not (student / "results.json").exists() and not holds_student(student)


def _compare(group: Sequence[Run]) -> None:
    """Note what each run of one name has that not all have, and what its command set."""
    differing = [
        key
        for key in dict.fromkeys(key for run in group for key in run.config)
        if any(run.config.get(key) != group[0].config.get(key) for run in group)
    ]
    # where the classes differ, so do their arguments
    classes = [key for key in differing if any(_is_class(run, key) for run in group)]
    differing = [key for key in differing if not any(key.startswith(f"{each}.") for each in classes)]
    for run in group:
        given = [key for key in _options(run.command) if key not in differing]
        told = {key: run.config.get(key) for key in differing if run.config}
        run.differs |= told | {key: run.config.get(key, run.config.get(f"{key}.0")) for key in given}


def _options(words: Sequence[str]) -> Iterator[str]:
    """Yield the settings that a command names, but for its configs."""
    for word in words:
        name = word.partition("=")[0].removeprefix("--").replace(".init_args", "")
        if word.startswith("--") and name not in ("config", "ckpt_path", "print_masks", "trainer.default_root_dir"):
            yield name


def _is_class(run: Run, key: str) -> bool:
    return any(other.startswith(f"{key}.") for other in run.config)


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings by dotted names; a class by its own name, its arguments below it."""
    if isinstance(value, dict) and "class_path" in value:
        yield at, str(value["class_path"]).rpartition(".")[2]
        value = value.get("init_args") or {}
    items = value.items() if isinstance(value, dict) else enumerate(value) if _is_parts(value) else None
    if items is None:
        yield at, value
        return
    for key, each in items:
        yield from _flat(each, f"{at}.{key}" if at else str(key))


def _is_parts(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)


def _command(text: str) -> list[str]:
    """Return the words after the verb that the first line of a config tells."""
    first = text.partition("\n")[0]
    if not first.startswith(_COMMAND):
        return []
    try:
        return shlex.split(first.removeprefix(_COMMAND))
    except ValueError:  # somebody has edited it
        return []


def _state(damaged: str, done: bool) -> str:
    return f"damaged: {damaged}" if damaged else "finished" if done else "unfinished"


def _dated(folder: Path) -> Iterator[Path]:
    names = ("config.yaml", "results.json", "report.json", "log.txt", "checkpoints/last.ckpt", "student/lineage.json")
    yield from (folder / name for name in names if (folder / name).is_file())


def _text(path: Path) -> str:
    try:
        return read_text(path, errors="replace")
    except (OSError, InputError):
        return ""


def _yaml(text: str) -> Any:
    try:
        return load_yaml(text, "config.yaml")
    except InputError:
        return None


def _mapping(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(_text(path))
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
