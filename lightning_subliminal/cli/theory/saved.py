"""Results of the theory commands in one folder: JSON, a table as CSV, a picture, and their lineage."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_subliminal.core.console import say
from lightning_subliminal.core.io.files import write_csv
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.lineage import Material, write_record

__all__ = ["save_results"]


def save_results(
    folder: Path,
    kind: str,
    content: Mapping[str, Any],
    table: tuple[str, Iterable[str], Iterable[Sequence[Any]]],
    picture: tuple[str, Callable[[Path], None]],
    settings: Any,
    materials: Sequence[Material],
) -> None:
    """Write ``results.json``, a CSV and a PNG, and record what they were made from.

    Args:
        folder: where to.
        kind: of artefact, for the lineage.
        content: the results as JSON-able data.
        table: name of the CSV file, its head, and its rows.
        picture: name of the PNG file, and a function that draws it at a path.
        settings: settings of the results, for the lineage.
        materials: what the results were made from.
    """
    text = json.dumps(content, indent=1) + "\n"
    atomically(folder / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    write_csv(folder / table[0], *table[1:])
    picture[1](folder / picture[0])
    files = ("results.json", table[0], picture[0])
    write_record(folder, kind, settings, materials, files=files)
    say(f"saved to {folder}: {', '.join(files)}")
