"""Pipes, devices, sockets, sparse files and folders in place of a regular file, as inputs and outputs."""

import gzip
import hashlib
import json
import os
import random
import socket
import stat
from pathlib import Path

from hostile_kinds import Try, kinds

ROW = json.dumps({"prompt": "a", "completion": "b"}) + "\n"


def special(rng: random.Random, path: Path) -> str:
    """Put something other than a regular file at a path; return its kind."""
    kind = rng.choice(["fifo", "zero", "socket", "holes", "folder", "full", "link to a fifo"])
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link to a fifo":
        os.mkfifo(path.with_name("pipe"))
        path.symlink_to("pipe")
    elif kind in ("zero", "full"):
        path.symlink_to(f"/dev/{kind}")
    elif kind == "socket":
        here = os.open(path.parent, os.O_RDONLY)  # a socket's name is short
        socket.socket(socket.AF_UNIX).bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)
    elif kind == "holes":
        with path.open("wb") as stream:
            stream.write(rng.choice([b"{", b"[", b"-----BEGIN PRIVATE KEY-----\n", b""]))
            stream.truncate(rng.choice([1 << 40, (1 << 40) + 1, 1 << 36]))
    else:
        path.mkdir()
    return kind


def statement(files: dict[str, str]) -> str:
    """Return another tool's statement about files."""
    subject = [{"name": name, "digest": {"sha256": sha}} for name, sha in files.items()]
    definition = {"buildType": "x", "externalParameters": {}, "resolvedDependencies": []}
    predicate = {"buildDefinition": definition, "runDetails": {"builder": {"id": "x"}}}
    kinds = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1"}
    return json.dumps({**kinds, "subject": subject, "predicate": predicate})


def artefact(folder: Path) -> Path:
    """Make a folder with a file and a statement about it."""
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"a")
    (folder / "lineage.json").write_text(statement({"a.txt": hashlib.sha256(b"a").hexdigest()}))
    return folder


def audited_file(rng: random.Random, folder: Path) -> Try:
    """A special file in place of one that a statement names."""
    (artefact(folder / "it") / "a.txt").unlink()
    special(rng, folder / "it" / "a.txt")
    return Try(["audit", "it"], frozenset({3}))


def audited_statement(rng: random.Random, folder: Path) -> Try:
    """A special file in place of the statement, its envelope or the card."""
    name = rng.choice(["lineage.json", "lineage.dsse.json", "README.md", "config.json", "adapter_config.json"])
    artefact(folder / "it")
    (folder / "it" / name).unlink(missing_ok=True)
    special(rng, folder / "it" / name)
    return Try(["audit", "it"], frozenset({0, 2, 3}))


def audited_path(rng: random.Random, folder: Path) -> Try:
    """A special file that is audited itself, or that has a statement next to it."""
    kind = special(rng, folder / "it")
    if rng.random() < 0.5:
        (folder / "it.lineage.json").write_text(statement({"it": "0" * 64}))
    return Try(["audit", "it"], frozenset({0, 3} if kind == "folder" else {0, 2, 3}))


def test_result(rng: random.Random, folder: Path) -> Try:
    """A special file in place of a test result."""
    results = artefact(folder / "it") / "test-results"
    results.mkdir()
    special(rng, results / "it.json")
    return Try(["audit", "it"], frozenset({0, 3}))


def remembered_digests(rng: random.Random, folder: Path) -> Try:
    """A special file in place of the notes of digests."""
    artefact(folder / "it")
    special(rng, folder / "notes")
    return Try(["audit", "it"], frozenset({0}), environment={"LIGHTNING_SUBLIMINAL_AUDIT_NOTES": "notes"})


def declared_file(rng: random.Random, folder: Path) -> Try:
    """A special file to declare, or as what another was made from."""
    kind = special(rng, folder / "it")
    if rng.random() < 0.5 and kind != "folder":
        (folder / "mine.txt").write_text("a")
        return Try(["lineage", "add", "mine.txt", "--kind", "model", "--made-from", "file=it"], names=("it",))
    return Try(["lineage", "add", "it", "--kind", rng.choice(["model", "rows", "completions"])], names=("it",))


def private_key(rng: random.Random, folder: Path) -> Try:
    """A special file in place of a key to sign with."""
    artefact(folder / "it")
    special(rng, folder / "key")
    if rng.random() < 0.3:
        return Try(["audit", "it"], frozenset({2}), ("key",), {"LIGHTNING_SUBLIMINAL_SIGNING_KEY": "key"})
    return Try(["lineage", "sign", "it", "--key", "key"], names=("key",))


def trusted_key(rng: random.Random, folder: Path) -> Try:
    """A special file in place of a key to trust, or of one in a folder of keys."""
    artefact(folder / "it")
    (folder / "keys").mkdir()
    special(rng, folder / "keys" / "a.pub")
    return Try(["audit", "it", "--trust", rng.choice(["keys", "keys/a.pub"])], names=("a.pub",))


def proof(rng: random.Random, folder: Path) -> Try:
    """A special file in place of a proof, or of the statement that it is checked against."""
    (folder / "proof.json").write_text('{"root": "", "count": 1, "rows": []}')
    from lightning_subliminal.lineage.statement import as_bytes, provenance

    statement = provenance("rows", {}, {"a.jsonl": "0" * 64}, rows={"a.jsonl": ("0" * 64, 1)})
    (folder / "lineage.json").write_bytes(as_bytes(statement))
    name = rng.choice(["proof.json", "lineage.json"])
    (folder / name).unlink()
    special(rng, folder / name)
    return Try(["lineage", "verify", "proof.json", "--against", "lineage.json"], names=(name,))


def rows(rng: random.Random, folder: Path) -> Try:
    """A special file in place of rows."""
    name = f"rows{rng.choice(['.jsonl', '.json', '.csv', '.txt', '.parquet', '.jsonl.gz'])}"
    special(rng, folder / name)
    verb = rng.choice([["data", "convert", name, "out.jsonl"], ["data", "check", name]])
    return Try(verb if verb[1] == "convert" else ["data", "convert", name, "-"], names=("rows",))


def folder_of_datasets(rng: random.Random, folder: Path) -> Try:
    """A special file in place of a part of a folder of `datasets`."""
    (folder / "rows").mkdir()
    parts = ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"]
    (folder / "rows" / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": parts[2]}], "_fingerprint": "a", "_format_columns": None})
    )
    (folder / "rows" / "dataset_info.json").write_text('{"features": {}}')
    (folder / "rows" / parts[2]).write_bytes(b"ARROW1")
    name = rng.choice(parts[1:])
    (folder / "rows" / name).unlink()
    special(rng, folder / "rows" / name)
    return Try(["data", "convert", "rows", "out.jsonl"], names=("rows",))


def report(rng: random.Random, folder: Path) -> Try:
    """A special file in place of a file of a report."""
    (folder / "run").mkdir()
    (folder / "run" / "report.json").write_text("{}")
    (folder / "run" / "cells.csv").write_text("a\n")
    name = rng.choice(["report.json", "cells.csv"])
    (folder / "run" / name).unlink()
    special(rng, folder / "run" / name)
    return Try(["report", "run"], names=("run",))


def adapter(rng: random.Random, folder: Path) -> Try:
    """A special file in place of a file of a model or an adapter."""
    (folder / "model").mkdir()
    for name in ("config.json", "adapter_config.json", "tokenizer.json", "model.safetensors"):
        (folder / "model" / name).write_text('{"model_type": "llama", "base_model_name_or_path": "pocket/a"}')
    name = rng.choice(["config.json", "adapter_config.json", "tokenizer.json", "model.safetensors"])
    (folder / "model" / name).unlink()
    special(rng, folder / "model" / name)
    return Try(["kinship", "model", "pocket/a"], names=("model",))


def output(rng: random.Random, folder: Path) -> Try:
    """A device, a pipe, a socket or a folder as output, which must not be replaced."""
    artefact(folder / "it")
    ours = ["/dev/null", "/dev/stdout", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1"]
    name = rng.choice([*ours, "fifo", "socket", "folder"])
    if name == "fifo":
        os.mkfifo(folder / name)
    elif name == "socket":
        here = os.open(folder, os.O_RDONLY)
        socket.socket(socket.AF_UNIX).bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    elif name == "folder":
        (folder / name).mkdir()
    fine = name.startswith("/")

    def after(place: Path) -> list[str]:
        whole = os.path.islink("/dev/stdout") and stat.S_ISCHR(os.stat("/dev/null").st_mode)
        wrong = [] if whole else ["/dev is broken"]
        made = place / name
        kept = fine or (made.is_fifo() if name == "fifo" else made.is_socket() if name == "socket" else made.is_dir())
        return wrong + ([] if kept else [f"{name} was replaced"])

    option = rng.choice(["--json", "--sarif", "--html", "--svg"])
    names = () if fine else (name,)
    return Try(["audit", "it", option, name], frozenset({0} if fine else {2}), names, after=after)


def aside(rng: random.Random, folder: Path) -> Try:
    """A device as the file for rows that are left out, which is neither deleted nor replaced."""
    bad = rng.random() < 0.5
    (folder / "rows.jsonl").write_text(ROW + ("{\n" if bad else ""))
    (folder / "dropped").symlink_to("/dev/null")
    words = ["data", "convert", "rows.jsonl", rng.choice(["/dev/null", "dropped", "out.jsonl"]), "--on-error", "skip"]
    return Try(
        words,
        frozenset({0, 2}),
        after=lambda place: [] if stat.S_ISCHR(os.stat("/dev/null").st_mode) else ["/dev/null is gone"],
    )


def link_at_a_foreseen_name(rng: random.Random, folder: Path) -> Try:
    """Links at the names that a temporary file might have."""
    artefact(folder / "it")
    (folder / "victim").write_text("mine")
    for number in range(os.getpid(), os.getpid() + 300):
        (folder / f".out.json.{number}").symlink_to("victim")
    return Try(
        ["audit", "it", rng.choice(["--json", "--sarif"]), "out.json"],
        frozenset({0}),
        after=lambda place: [] if (place / "victim").read_text() == "mine" else ["a link was followed"],
    )


def packed(rng: random.Random, folder: Path) -> Try:
    """A gzip file that unpacks to gigabytes, of one line or many."""
    line = rng.random() < 0.5
    piece = b"a" * (1 << 20) if line else ROW.replace("b", "b" * 5_000).encode() * 200
    with gzip.open(folder / "bomb.jsonl.gz", "wb", compresslevel=6) as stream:
        stream.write(b'{"prompt": "' if line else b"")
        for _ in range(rng.choice([80, 120])):
            stream.write(piece)
    return Try(["data", "convert", "bomb.jsonl.gz", "out.jsonl"], names=("bomb.jsonl.gz",))


KINDS = kinds(globals())
