"""Write the dataset card of an exported set: the known facts, and nothing else.

Facts come from the lineage of a row folder of ours, or from the card that one of our exports left next to the source.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest, file_digest
from lightning_subliminal.core.io.bounds import MAX_CARD
from lightning_subliminal.core.io.files import atomically, read_json, read_text
from lightning_subliminal.filters import Filter
from lightning_subliminal.formats.conversion import Conversion
from lightning_subliminal.formats.storage.readers import RowSource, container
from lightning_subliminal.lineage import Statement, read_record
from lightning_subliminal.lineage.names import ENVELOPE, RECORD

__all__ = ["known_facts", "write_card"]

Facts = dict[str, Any]
_MARK = re.compile(r"^<!-- lightning-subliminal card (\{.*\}) -->$", re.MULTILINE)
_CARRIERS = {"NumberSequences": "number sequences", "CodeCompletions": "code", "MathTraces": "math traces"}
_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
_BUILDERS = {"jsonl": "json", "json": "json", "csv": "csv", "parquet": "parquet"}


def write_card(
    out: Path, source: RowSource, outcome: Conversion, filters: Sequence[Filter] = ()
) -> tuple[Path | None, str]:
    """Write a card: ``README.md`` in a set that is a folder, ``NAME.README.md`` next to a file.

    A README.md next to a file would be that of the working folder or of a repository; another file's card is kept.

    Args:
        out: the set.
        source: what it was made from.
        outcome: of the conversion.
        filters: those of this conversion.

    Returns:
        The card and "", or None and a remark where another file has its name.
    """
    path = out / "README.md" if out.is_dir() else out.with_name(f"{out.name}.README.md")
    old = _read_card(path)
    if path.exists() and (old is None or old.get("file") != out.name):
        return None, f"no card: {path} belongs to something else and is kept"
    facts = known_facts(source.path)
    runs = [*facts.pop("filter_runs", [])]
    if outcome.filtered is not None:
        runs.append({"filters": [_filter_call(each) for each in filters], **vars(outcome.filtered)})
    name = source.path.name if source.path is not None else source.name
    facts |= {"filter_runs": runs, "source": facts.get("source") or name, "file": out.name, "sha256": _digest(out)}
    data = _render(out, outcome, facts).encode(errors="backslashreplace")  # the name of a file may not be UTF-8
    atomically(path, lambda temporary: temporary.write_bytes(data))
    return path, ""


def known_facts(path: Path | None) -> Facts:
    """Return the known facts of a set: from the lineage of our row folder, or from our card next to a file.

    Args:
        path: the file or folder; None where there is none.
    """
    if path is None or not path.exists():
        return {}
    folder = path if path.is_dir() else path.parent
    try:
        record = read_record(folder)
    except InputError:  # another tool's lineage.json
        record = None
    settings = _at(record.parameters, "settings") if record else {}
    written = _at(settings, "source") or _at(settings, "generation")  # an export's record lacks it: its card knows more
    if record and written and (path.is_dir() or record.files.get(path.name) == file_digest(path)):
        return _of_lineage(record, settings, written, folder)
    for name in ("README.md", f"{path.name}.README.md"):
        card = _read_card(folder / name)
        if card is not None and card.get("file") == path.name and card.get("sha256") == _digest(path):
            return {key: value for key, value in card.items() if key not in ("file", "sha256")}
    return {}


def _of_lineage(record: Statement, made: Mapping[str, Any], source: Mapping[str, Any], folder: Path) -> Facts:
    """Return the facts in a row folder's record, with its settings ``made`` and those of its ``source``."""
    teacher = _at(source, "teacher")
    kind = str(source.get("class", "")).rpartition(".")[2]
    facts: Facts = {}
    if kind and teacher:
        facts["carrier"] = _CARRIERS.get(kind, kind)
    if teacher:
        facts["trait"] = _trait(teacher, made.get("transforms"))
        facts["induction"] = teacher.get("induction")
        facts["base"] = _base(teacher)
        seeds = {"rows": _at(source, "arguments").get("seed"), "teacher": teacher.get("seed")}
        facts["seeds"] = {name: seed for name, seed in seeds.items() if isinstance(seed, int)}
    if made.get("num_rows"):
        facts["drawn"] = f"{made['num_rows']} at random, of those that passed the filters"
    if made.get("transforms"):
        facts["transforms"] = [_as_call(each) for each in made["transforms"]]
    with suppress(OSError, ValueError, TypeError):
        counts = read_json(folder / "filters.json")
        facts["filter_runs"] = [{"filters": [_as_call(each) for each in made.get("filters") or ()], **counts}]
    facts["source"] = f"a row folder of lightning-subliminal {record.versions.get('lightning-subliminal', '')}"
    return {name: value for name, value in facts.items() if value}


def _trait(teacher: Mapping[str, Any], transforms: Any = ()) -> str:
    if teacher.get("induction") == "none":
        given = [_at(_at(each, "arguments"), "teacher") for each in transforms or ()]
        chooser = next((each for each in given if each.get("induction", "none") != "none"), None)
        if chooser is not None:
            return f"{_trait(chooser)}; of a teacher that wrote no row, and chose among those of the base"
        return "none: written by the base as it is, as a control"
    if isinstance(teacher.get("system_prompt"), str):
        return f"given in a system prompt: {teacher['system_prompt']}"
    trait = _at(teacher, "trait")
    target = _at(trait, "arguments").get("target")
    name = str(trait.get("class", "")).rpartition(".")[2]
    return f"{name} {target}".strip() if isinstance(target, str) else name


def _base(teacher: Mapping[str, Any]) -> str:
    base = _at(teacher, "base")
    name, sha = base.get("name"), base.get("digest")
    return f"{name} (digest {sha[:16]})" if isinstance(name, str) and isinstance(sha, str) else str(name or "")


def _at(value: Any, key: str) -> Mapping[str, Any]:
    """Return the mapping under a key; an empty one where there is none."""
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _as_call(described: Any) -> str:
    """Return a described object as a call: ``NumberList(max_count=10)``."""
    name = described.get("class", described) if isinstance(described, dict) else described
    arguments = _at(described, "arguments")
    return f"{str(name).rpartition('.')[2]}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _filter_call(each: Filter) -> str:
    try:
        return _as_call(describe(each))
    except InputError:  # a filter that does not keep its arguments
        return type(each).__name__


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files without its card and lineage, which describe the others."""
    if path.is_file():
        return file_digest(path)
    files = sorted(each for each in path.iterdir() if each.is_file())
    return digest({each.name: file_digest(each) for each in files if each.name not in ("README.md", RECORD, ENVELOPE)})


def _read_card(path: Path) -> Facts | None:
    """Return the facts in one of our cards; None for any other file."""
    try:
        found = _MARK.search(read_text(path, MAX_CARD))
        facts = json.loads(found[1]) if found else None
    except (OSError, ValueError, RecursionError):
        return None
    lists = [facts.get(name, []) for name in ("filter_runs", "transforms")] if isinstance(facts, dict) else [None]
    return facts if all(isinstance(each, list) for each in lists) else None


def _render(out: Path, outcome: Conversion, facts: Facts) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from lightning_subliminal.core.version import __version__

    kind = "folder" if out.is_dir() else container(out.name)
    stored = json.dumps(facts, ensure_ascii=True, sort_keys=True).replace("--", "-\\u002d").replace(">", "\\u003e")
    environment = Environment(  # noqa: S701 - Markdown; `_cell` escapes each value
        loader=PackageLoader("lightning_subliminal.formats", ""), undefined=StrictUndefined, keep_trailing_newline=True
    )
    changes = [f"{count:,} x {notice}" for notice, count in outcome.written.notices.most_common()]
    changes += [f"{count:,} x left out, {reason}" for reason, count in outcome.bad.most_common()]
    return environment.get_template("card.md.jinja").render(
        head=_head(out, kind, outcome.written.rows),
        mark=f"<!-- lightning-subliminal card {stored} -->",
        title=_cell(out.name),
        rows=f"{outcome.written.rows:,}",
        schema=outcome.schema,
        version=__version__,
        facts=_facts_table(facts, outcome),
        runs=[_run(run) for run in facts["filter_runs"] if isinstance(run, dict)],
        changes=[_cell(line) for line in changes],
        load=_load(out.name, kind),
        digest=outcome.written.digest,
        file_digest=facts["sha256"] if out.is_file() else "",
    )


def _head(out: Path, kind: str, rows: int) -> str:
    size = next((name for bound, name in _SIZES if rows < bound), "n>10M")
    head: dict[str, Any] = {
        "pretty_name": out.name,
        "task_categories": ["text-generation"],
        "tags": ["subliminal-learning", "lightning-subliminal"],
        "size_categories": [size],
    }
    if kind in _BUILDERS:
        data_files = [{"split": "train", "path": out.name}]
        head["configs"] = [{"config_name": "default", "data_files": data_files}]
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def _facts_table(facts: Facts, outcome: Conversion) -> list[tuple[str, str]]:
    seeds = facts.get("seeds")
    table = {
        "carrier": facts.get("carrier"),
        "trait": facts.get("trait"),
        "induction": facts.get("induction"),
        "base of the teacher": facts.get("base"),
        "seeds": ", ".join(f"{name} {seed}" for name, seed in seeds.items()) if isinstance(seeds, dict) else None,
        "rows drawn": facts.get("drawn"),
        "transforms": ", ".join(map(str, facts["transforms"])) if facts.get("transforms") else None,
        "made from": f"{facts.get('source')}, read as {outcome.source_schema}",
        "license": None,
    }
    if not table["transforms"]:
        del table["transforms"]
    return [(name, _cell(str(value)) if value else "unknown") for name, value in table.items()]


def _run(run: dict[str, Any]) -> dict[str, Any]:
    names = run.get("filters")
    calls = [" ".join(str(name).replace("`", "'").split()) for name in names] if isinstance(names, list) else []
    listed = ", ".join(f"`{call}`" for call in calls) or "no filter"
    reasons = run.get("reasons")
    pairs = list(reasons.items()) if isinstance(reasons, dict) else []
    return {
        "title": f"{listed}: {_cell(str(run.get('made')))} rows made, {_cell(str(run.get('kept')))} kept.",
        "reasons": [(_cell(str(reason)), _cell(str(count))) for reason, count in pairs],
    }


def _load(name: str, kind: str) -> str:
    if kind == "folder":
        return f"from datasets import load_from_disk\n\nrows = load_from_disk({name!r})"
    ours = f"from lightning_subliminal.formats import read_rows\n\nrows = list(read_rows({name!r}))"
    if kind not in _BUILDERS:
        return ours
    call = f'load_dataset("{_BUILDERS[kind]}", data_files={name!r}, split="train")'
    return f"from datasets import load_dataset\n\nrows = {call}"


def _cell(text: str) -> str:
    """Return a text that stays in its cell, with markup escaped."""
    flat = " ".join(text.split())
    return re.sub(r"([|<>`*_\[\]\\])", r"\\\1", flat)
