"""Bytes, files and rows."""

import mmap
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.rows import read_parquet, write_parquet
from lightning_subliminal.lineage import rows_root
from lightning_subliminal.lineage.names import dir_hash
from lightning_subliminal.lineage.statement import read_statement
from tamper_kinds.kind import ADAPTED, STATEMENT, Chain, any_file, edit, flip, kind, put

__all__: list[str] = []


def weights(artefact: Path) -> Path:
    """Return the weights of an adapter, PEFT's or our own."""
    return next(artefact.glob("*adapter*.safetensors"))


@kind("flip a bit of weights", "changed-file", rooms=ADAPTED)
def flip_weights(artefact: Path, chain: Chain, rng: random.Random) -> None:
    flip(weights(artefact), rng)


@kind("flip a bit of weights, set the clock back", "changed-file", rooms=ADAPTED)
def flip_quietly(artefact: Path, chain: Chain, rng: random.Random) -> None:
    path = weights(artefact)
    status = path.stat()
    flip(path, rng)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@kind("flip a bit of weights through a memory map", "changed-file", rooms=ADAPTED)
def flip_mapped(artefact: Path, chain: Chain, rng: random.Random) -> None:
    with weights(artefact).open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
        mapped[rng.randrange(len(mapped))] ^= 1 << rng.randrange(8)


@kind("flip a bit of any file", "changed-file")
def flip_any(artefact: Path, chain: Chain, rng: random.Random) -> None:
    flip(any_file(artefact, rng), rng)


@kind("cut a file short", "changed-file")
def cut(artefact: Path, chain: Chain, rng: random.Random) -> None:
    path = any_file(artefact, rng)
    os.truncate(path, rng.randrange(path.stat().st_size))


@kind("lose a file", "lost-file")
def lose(artefact: Path, chain: Chain, rng: random.Random) -> None:
    any_file(artefact, rng).unlink()


@kind("add a file that a loader would read", "unlisted-file")
def add_file(artefact: Path, chain: Chain, rng: random.Random) -> None:
    names = ["model-00002.safetensors", "added_tokens.json", "modeling_extra.py", "deep/shard-00099.parquet"]
    name = rng.choice(names[: 3 if artefact.parent.name == "bases" else 4])  # no model is loaded from rows
    put(artefact / name, rng.randbytes(40))


@kind("swap files between artefacts", "changed-file", rooms=(*ADAPTED, "rows"))
def swap_files(artefact: Path, chain: Chain, rng: random.Random) -> None:
    name = "rows.parquet" if artefact.parent.name == "rows" else weights(artefact).name
    shutil.copyfile(chain.twin(artefact) / name, artefact / name)


def rewrite(artefact: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    """Write a data set's rows again, changed."""
    path = artefact / "rows.parquet"
    write_parquet(change(read_parquet(path)), path)


@kind("change a row", "changed-file", "changed-rows", rooms=("rows",))
def change_row(artefact: Path, chain: Chain, rng: random.Random) -> None:
    def change(rows: list[Any]) -> list[Any]:
        rng.choice(rows)["completion"][0]["content"] += " 7"
        return rows

    rewrite(artefact, change)


@kind("put rows in another order", "changed-file", "changed-rows", rooms=("rows",))
def reorder(artefact: Path, chain: Chain, rng: random.Random) -> None:
    def change(rows: list[Any]) -> list[Any]:
        first, second = rng.sample(range(len(rows)), 2)
        rows[first], rows[second] = rows[second], rows[first]
        return rows

    rewrite(artefact, change)


@kind("drop a row", "changed-file", "changed-rows", rooms=("rows",))
def drop(artefact: Path, chain: Chain, rng: random.Random) -> None:
    rewrite(artefact, lambda rows: [row for place, row in enumerate(rows) if place != len(rows) // 2])


@kind("add a row", "changed-file", "changed-rows", rooms=("rows",))
def add_row(artefact: Path, chain: Chain, rng: random.Random) -> None:
    rewrite(artefact, lambda rows: [*rows, rng.choice(rows)])


@kind("change a row and the digests in the statement", "forged-signature", rooms=("rows",))
def change_row_and_statement(artefact: Path, chain: Chain, rng: random.Random) -> None:
    change_row(artefact, chain, rng)
    path = artefact / "rows.parquet"
    files = read_statement(artefact / STATEMENT).files | {"rows.parquet": file_digest(path)}
    root, count = rows_root(read_parquet(path))

    def change(statement: Any) -> None:
        for each in statement["subject"]:
            if each["name"] == "./":
                each["digest"]["dirHash"] = dir_hash(files)
            elif each["name"] == "rows.parquet":
                each["digest"]["sha256"] = files["rows.parquet"]
            elif each["name"] == "rows.parquet#rows":
                each["digest"]["merkleSha256"], each["annotations"]["count"] = root, count

    edit(artefact / STATEMENT, change)
