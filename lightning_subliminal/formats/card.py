"""The dataset card that lies beside an exported set: what is known of it, and nothing else.

Facts come from the lineage of a row folder of ours, or from the card that one of our exports left beside the source.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest, file_digest
from lightning_subliminal.core.io.bounds import MAX_CARD
from lightning_subliminal.core.io.files import atomically, read_json, read_text
from lightning_subliminal.filters import Filter
from lightning_subliminal.lineage import Statement, read_record
from lightning_subliminal.lineage.names import ENVELOPE, RECORD

if TYPE_CHECKING:
    from lightning_subliminal.formats.filter_outcome import Outcome
    from lightning_subliminal.formats.storage.readers import Source

__all__ = ["known_facts", "write_card"]

Facts = dict[str, Any]
_MARK = re.compile(r"^<!-- lightning-subliminal card (\{.*\}) -->$", re.MULTILINE)
_CARRIERS = {"NumberSequences": "number sequences", "CodeCompletions": "code", "MathTraces": "math traces"}
_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
_BUILDERS = {"jsonl": "json", "json": "json", "csv": "csv", "parquet": "parquet"}


def write_card(
    out: Path, source: "Source", outcome: "Outcome", filters: Sequence[Filter] = ()
) -> tuple[Path | None, str]:
    """Write a card: ``README.md`` in a set that is a folder, ``NAME.README.md`` beside a file.

    A README.md beside a file would be that of the working folder or of a repository; a card of something else stays.

    Args:
        out: the set.
        source: what it was made from.
        outcome: how.
        filters: those that it was filtered with now.

    Returns:
        The card, or None where something else has its name; and a remark then.
    """
    path = out / "README.md" if out.is_dir() else out.with_name(f"{out.name}.README.md")
    old = _read_card(path)
    if path.exists() and (old is None or old.get("file") != out.name):
        return None, f"no card: {path} is of something else and stays as it is"
    facts = known_facts(source.path)
    runs = [*facts.pop("filter_runs", [])]
    if outcome.filtered is not None:
        runs.append({"filters": [_plain_filter(each) for each in filters], **vars(outcome.filtered)})
    kept = facts | {"filter_runs": runs, "source": facts.get("source") or _name(source)}
    kept |= {"file": out.name, "sha256": _digest(out)}
    data = _render(out, outcome, kept).encode(errors="backslashreplace")  # the name of a file may be no UTF-8
    atomically(path, lambda temporary: temporary.write_bytes(data))
    return path, ""


def known_facts(path: Path | None) -> Facts:
    """Return what is known of a set: from the lineage of our row folder, or from our card beside a file.

    Args:
        path: the file or folder; None where there is none.
    """
    if path is None or not path.exists():
        return {}
    folder = path if path.is_dir() else path.parent
    try:
        record = read_record(folder)
    except InputError:  # some other thing's lineage.json
        record = None
    if record and _is_of_a_stage(record) and (path.is_dir() or record.files.get(path.name) == file_digest(path)):
        return _of_lineage(record, folder)
    for name in ("README.md", f"{path.name}.README.md"):
        card = _read_card(folder / name)
        if card is not None and card.get("file") == path.name and card.get("sha256") == _digest(path):
            return {key: value for key, value in card.items() if key not in ("file", "sha256")}
    return {}


def _is_of_a_stage(record: Statement) -> bool:
    """Tell whether a record is a row folder's, and not that of an export, whose card knows more."""
    made = _at(record.parameters, "settings")
    return bool(_at(made, "source") or _at(made, "generation"))


def _of_lineage(record: Statement, folder: Path) -> Facts:
    """Read the facts out of a row folder's record."""
    made = _at(record.parameters, "settings")
    source = _at(made, "source") or _at(made, "generation")
    teacher = _at(source, "teacher")
    kind = str(source.get("class", "")).rpartition(".")[2]
    facts: Facts = {}
    if kind and teacher:
        facts["carrier"] = _CARRIERS.get(kind, kind)
    if teacher:
        facts["trait"] = _trait(teacher)
        facts["induction"] = teacher.get("induction")
        facts["base"] = _base(teacher)
        seeds = {"rows": _at(source, "arguments").get("seed"), "teacher": teacher.get("seed")}
        facts["seeds"] = {name: seed for name, seed in seeds.items() if isinstance(seed, int)}
    if made.get("num_rows"):
        facts["drawn"] = f"{made['num_rows']} at random, of those that passed the filters"
    if made.get("transforms"):
        facts["transforms"] = [_called(each) for each in made["transforms"]]
    try:
        counts = read_json(folder / "filters.json")
        runs = [{"filters": [_called(each) for each in made.get("filters") or ()], **counts}]
    except (OSError, ValueError, TypeError):
        runs = []
    facts["filter_runs"] = runs
    facts["source"] = f"a row folder of lightning-subliminal {record.versions.get('lightning-subliminal', '')}"
    return {name: value for name, value in facts.items() if value}


def _trait(teacher: Mapping[str, Any]) -> str:
    if teacher.get("induction") == "none":
        return "none: written by the base as it is, as a control"
    if isinstance(teacher.get("system_prompt"), str):
        return f"told in a system prompt: {teacher['system_prompt']}"
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


def _called(thing: Any) -> str:
    """Return a described object as a call: ``NumberList(max_count=10)``."""
    name = str(_at({"it": thing}, "it").get("class", thing)).rpartition(".")[2]
    arguments = _at(thing, "arguments")
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _plain_filter(each: Filter) -> str:
    try:
        return _called(describe(each))
    except InputError:  # a filter that does not keep its arguments
        return type(each).__name__


def _name(source: "Source") -> str:
    return source.path.name if source.path is not None else source.name


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files but for its card: a card tells of no other content."""
    if path.is_file():
        return file_digest(path)
    told = ("README.md", RECORD, ENVELOPE)  # these tell of the others
    files = sorted(each for each in path.iterdir() if each.is_file() and each.name not in told)
    return digest({each.name: file_digest(each) for each in files})


def _read_card(path: Path) -> Facts | None:
    """Return what one of our cards knows; None where it is none of ours."""
    try:
        found = _MARK.search(read_text(path, MAX_CARD))
        facts = json.loads(found[1]) if found else None
    except (OSError, ValueError, RecursionError):
        return None
    lists = [facts.get(name, []) for name in ("filter_runs", "transforms")] if isinstance(facts, dict) else [None]
    return facts if all(isinstance(each, list) for each in lists) else None


def _render(out: Path, outcome: "Outcome", facts: Facts) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from lightning_subliminal.core.version import __version__
    from lightning_subliminal.formats.storage.readers import container

    kind = "folder" if out.is_dir() else container(out.name)
    told = json.dumps(facts, ensure_ascii=True, sort_keys=True).replace("--", "-\\u002d").replace(">", "\\u003e")
    environment = Environment(  # noqa: S701 - Markdown; `_cell` takes the teeth out of each value
        loader=PackageLoader("lightning_subliminal.formats", ""), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template("card.md.jinja").render(
        head=_head(out, kind, outcome.written.rows),
        mark=f"<!-- lightning-subliminal card {told} -->",
        title=_cell(out.name),
        rows=f"{outcome.written.rows:,}",
        schema=outcome.schema,
        version=__version__,
        facts=_facts_table(facts, outcome),
        runs=[_run(run) for run in facts["filter_runs"] if isinstance(run, dict)],
        changes=[_cell(line) for line in _changes(outcome)],
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


def _facts_table(facts: Facts, outcome: "Outcome") -> list[tuple[str, str]]:
    seeds = facts.get("seeds")
    told = {
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
    return [
        (name, _cell(str(value)) if value else "unknown")
        for name, value in told.items()
        if name != "transforms" or value
    ]


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


def _changes(outcome: "Outcome") -> list[str]:
    lines = [f"{count:,} x {notice}" for notice, count in outcome.written.notices.most_common()]
    return lines + [f"{count:,} x left out, {reason}" for reason, count in outcome.bad.most_common()]


def _load(name: str, kind: str) -> str:
    if kind == "folder":
        return f"from datasets import load_from_disk\n\nrows = load_from_disk({name!r})"
    ours = f"from lightning_subliminal.formats import read_rows\n\nrows = list(read_rows({name!r}))"
    if kind not in _BUILDERS:
        return ours
    call = f'load_dataset("{_BUILDERS[kind]}", data_files={name!r}, split="train")'
    return f"from datasets import load_dataset\n\nrows = {call}"


def _cell(text: str) -> str:
    """Return a text that stays in its cell and is no markup."""
    flat = " ".join(text.split())
    return re.sub(r"([|<>`*_\[\]\\])", r"\\\1", flat)
