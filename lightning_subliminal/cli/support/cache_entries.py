"""Entries of the cache: which runs need them, and how one is deleted."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from lightning_subliminal.cli.support.run_listing import find_runs, holds_student
from lightning_subliminal.core.cache import holding
from lightning_subliminal.core.config.safe_yaml import read_yaml
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.files import read_json, read_text
from lightning_subliminal.lineage.material import SCHEME
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.statement import read_statement

__all__ = ["ARTEFACTS", "KEPT_NOTES", "Entry", "Needs", "delete", "entries", "needs"]

ARTEFACTS = ("teachers", "completions", "rows", "students", "measured", "bases")  # artefacts of stages, a folder each
KEPT_NOTES = ("outcomes", "judges", "served", "digests")  # costly results and replies, which no run names
STAGES = "stages.json"  # in the folder of a plan: the entries that it needs
_NAMES = re.compile(r"[0-9a-f]{16}")
_OURS = re.compile(r"\.?[0-9a-f]{16}(\.\w+)*")  # complete and unfinished artefacts of stages


@dataclass
class Entry:
    """One artefact, or a file of notes.

    Attributes:
        kind: name of its folder in the cache.
        path: its folder or file.
        size: size in bytes.
        changed: time of the last write, in seconds since 1970.
        whole: whether its stage has finished.
        locked: whether a process holds its lock.
        ours: whether its name is one that stages give; others are never deleted.
        runs: the runs that need it.
    """

    kind: str
    path: Path
    size: int
    changed: float
    whole: bool
    locked: bool
    ours: bool = True
    runs: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return its fields as JSON-able data."""
        return {
            "kind": self.kind,
            "path": str(self.path),
            "bytes": self.size,
            "age_seconds": round(max(0.0, time.time() - self.changed)),
            "finished": self.whole,
            "locked": self.locked,
            "ours": self.ours,
            "runs": self.runs,
        }


@dataclass
class Needs:
    """What is known about runs.

    Attributes:
        runs: folders of the runs.
        unknown: unfinished runs whose needs are unknown, with the reason.
    """

    runs: list[Path] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)


def entries(root: Path) -> list[Entry]:
    """Return the entries of a cache by kind, in the order of the stages."""
    found = []
    for kind in (*ARTEFACTS, *KEPT_NOTES):
        for path in sorted((root / kind).iterdir()) if (root / kind).is_dir() else []:
            if path.name.endswith(".lock"):
                continue
            files = [path] if path.is_symlink() or path.is_file() else list(path.rglob("*"))
            stats = [each.lstat() for each in files if each.is_symlink() or each.is_file()]
            changed = max((each.st_mtime for each in stats), default=path.lstat().st_mtime)
            ended = kind not in ARTEFACTS or (path / RECORD).is_file() or (kind == "bases" and path.name[0] != ".")
            ours = kind not in ARTEFACTS[:-1] or _OURS.fullmatch(path.name) is not None  # bases have names of their own
            found.append(Entry(kind, path, sum(each.st_size for each in stats), changed, ended, _is_held(path), ours))
    return found


def needs(found: Sequence[Entry], folders: Iterable[Path]) -> Needs:
    """Add to each entry the runs that need it, by their lineage, and for unfinished runs by what they will make.

    Args:
        found: the entries.
        folders: the runs, or folders that hold some.
    """
    places = {f"{each.kind}/{each.path.name}": each for each in found if each.kind in ARTEFACTS}
    named = {each.path.name: each for each in places.values()}
    statements = {file_digest(each.path / RECORD): each for each in places.values() if (each.path / RECORD).is_file()}
    known = Needs()

    def visit(entry: Entry, run: str) -> None:
        if run not in entry.runs:
            entry.runs.append(run)
            walk(entry.path / RECORD, run)

    def walk(record: Path, run: str) -> None:
        with contextlib.suppress(InputError, OSError):  # another tool's lineage.json
            for made in read_statement(record).materials if record.is_file() else []:
                near = places.get(made.uri.removeprefix(SCHEME)) or statements.get(made.statement or "")
                if near is not None:
                    visit(near, run)

    for folder in _run_folders(folders):
        known.runs.append(folder)
        run = folder.name
        for pattern in (RECORD, f"*/{RECORD}", f"*/*/{RECORD}"):
            for record in folder.glob(pattern):
                walk(record, run)
        config = folder / "config.yaml"
        for name in _NAMES.findall(read_text(config, errors="replace")) if config.is_file() else []:
            if name in named:  # such as a teacher's `weights`
                visit(named[name], run)
        for place in _planned(folder, known):
            if place in places:
                visit(places[place], run)
    if known.unknown or any(each.state == "unfinished" for each in _runs(known.runs)):
        for each in places.values():  # an unfinished run may name its bases in other forms
            if each.kind == "bases":
                each.runs.append("an unfinished run, perhaps")
    return known


def delete(entry: Entry) -> bool:
    """Delete an entry unless a process holds its lock; return whether it was deleted."""
    lock = _lock(entry.path)
    with holding(lock, wait=False) as held:
        if not held:
            return False
        if entry.path.is_symlink() or entry.path.is_file():
            entry.path.unlink()
        else:
            doomed = entry.path.with_name(f".{entry.path.name.lstrip('.')}.{os.getpid()}.part")
            os.replace(entry.path, doomed)  # so that no process finds half of it under its name
            shutil.rmtree(doomed)
        lock.unlink(missing_ok=True)
    return True


def _run_folders(folders: Iterable[Path]) -> list[Path]:
    """Return the folders that are runs, or that are directly below a folder, each once."""
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            continue
        inner = [each for each in sorted(folder.iterdir()) if each.is_dir() and each.name[0] != "."]
        runs = [folder] if _is_run(folder) else list(filter(_is_run, inner))
        found |= dict.fromkeys(each.resolve() for each in runs)
    return list(found)


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.yaml", RECORD, STAGES)) or holds_student(folder)


def _runs(folders: Iterable[Path]) -> Iterator[Any]:
    for folder in folders:
        yield from (run for run in find_runs(folder)[0] if run.folder == folder)


def _planned(folder: Path, known: Needs) -> set[str]:
    """Return the entries, as ``kind/name``, that a plan or an unfinished fit makes."""
    if (folder / STAGES).is_file():
        with contextlib.suppress(ValueError, OSError):
            return {str(each) for each in read_json(folder / STAGES)}
    unfinished = [run for run in _runs([folder]) if run.state == "unfinished"]
    if not unfinished:
        return set()
    if unfinished[0].kind == "plan":
        known.unknown[str(folder)] = f"it has no readable {STAGES}"
        return set()
    return _of_config(folder / "config.yaml", known)


def _of_config(config: Path, known: Needs) -> set[str]:
    from lightning_subliminal.core.error_messages import one_line

    try:
        from lightning.pytorch import Trainer

        from lightning_subliminal.core.console import hush
        from lightning_subliminal.data import TrainingRows
        from lightning_subliminal.models import Student
        from lightning_subliminal.plans.from_config import read_setting
        from lightning_subliminal.workflow.arms import SHAPING, shaping
        from lightning_subliminal.workflow.stages import RowsStage, Stage, StudentStage, walk

        hush()
        whole = read_yaml(config)
        with TemporaryDirectory() as place:
            part = Path(place) / config.name
            shown = {key: whole[key] for key in ("seed_everything", "model", "data") if key in whole}
            part.write_text(yaml.safe_dump(shown), encoding="utf-8")
            setting = read_setting(part)
        if not isinstance(setting.data, TrainingRows):
            return set()
        given = {key: each for key, each in (whole.get("trainer") or {}).items() if key in SHAPING and each is not None}
        quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
        trainer = shaping(Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **given))
        stages: list[Stage] = []
        for each in (setting, setting.control()):
            if each is not None:
                student = isinstance(each.model, Student)
                stages.append(StudentStage(each.model, each.rows(), trainer) if student else RowsStage(each.rows()))  # type: ignore[arg-type]
        return {f"{stage.folder.parent.name}/{stage.folder.name}" for stage in walk(stages)}
    except Exception as err:  # a user's class may raise anything: then nothing is known
        known.unknown[str(config.parent)] = one_line(err)[0]
        return set()


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name.lstrip('.').removesuffix('.part')}.lock")


def _is_held(path: Path) -> bool:
    lock = _lock(path)
    if not lock.is_file():
        return False
    with holding(lock, wait=False) as held:
        return not held
