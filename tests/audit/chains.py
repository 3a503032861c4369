"""A chain of artefacts as stages record them, without a model: small enough to make one for each test."""

from pathlib import Path
from typing import Any

from lightning_subliminal import bases
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import make_row, write_parquet
from lightning_subliminal.lineage import Material, artefact_material, rows_root, write_record

__all__ = ["artefact", "generation", "numbers", "student", "teacher"]


def numbers(count: int = 5, salt: int = 0) -> list[dict[str, Any]]:
    """Make rows."""
    return [make_row("Go on: 3, 9", f"{place}, {salt}", id=str(place)) for place in range(count)]


def artefact(cache: Path, kind: str, settings: Any, materials: list[Material], content: bytes = b"weights") -> Path:
    """Write an artefact in the place that its settings have in a cache."""
    room = {"teacher": "teachers", "student": "students", "evaluation": "measured"}.get(kind, kind)
    folder = cache / room / digest(settings)[:16]
    folder.mkdir(parents=True)
    rows = None
    if kind in ("rows", "completions"):
        name = "rows.parquet" if kind == "rows" else "shard-00000.parquet"
        write_parquet(numbers(salt=len(content)), folder / name)
        rows = {name: rows_root(numbers(salt=len(content)))} if kind == "rows" else None
    else:
        (folder / "adapter_model.safetensors").write_bytes(content)
    write_record(folder, kind, settings, materials, rows)
    return folder


def teacher(cache: Path, base: str = "pocket/a", seed: int = 0) -> Path:
    return artefact(cache, "teacher", {"teacher": base, "seed": seed}, [bases.material(base)], bytes([seed]) * 9)


def generation(cache: Path, writer: Path | None, base: str = "pocket/a", number: int = 0) -> Path:
    """Let a model write completions, and keep rows of them; the base itself where there is no writer."""
    role = "teacher" if writer is None or writer.parent.name == "teachers" else "student"
    by = [bases.material(base), *([artefact_material(role, writer)] if writer is not None else [])]
    completions = artefact(cache, "completions", {"completions": number, "base": base}, by)
    made_from = [artefact_material("completions", completions), *by]
    return artefact(cache, "rows", {"rows": number, "base": base, "source": {"teacher": {}}}, made_from)


def student(cache: Path, rows: Path, base: str = "pocket/a", seed: int = 0) -> Path:
    made_from = [bases.material(base), artefact_material("rows", rows)]
    return artefact(cache, "student", {"student": base, "of": rows.name, "seed": seed}, made_from, bytes([seed]) * 11)
