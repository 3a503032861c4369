"""A good line, and files to read rows from."""

from pathlib import Path
from typing import Any

from lightning_subliminal.formats import read_rows

GOOD = '{"prompt": "a", "completion": "b"}\n'


def put(name: str, data: str | bytes) -> str:
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return name


def texts(source: str, **options: Any) -> list[tuple[str, str]]:
    return [(row["prompt"][0]["content"], row["completion"][0]["content"]) for row in read_rows(source, **options)]
