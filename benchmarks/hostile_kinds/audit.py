"""Artefacts that an audit might fail on, or overlook: names, texts, hidden files, odd test results, reports."""

import json
import os
import random
from pathlib import Path
from typing import Any

from hostile_kinds import Try, kinds
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.rows import make_row, write_parquet
from lightning_subliminal.lineage import artefact_material, rows_root, write_record, write_test_result
from lightning_subliminal.lineage.names import dir_hash
from lightning_subliminal.lineage.statement import as_bytes

FOUND = frozenset({3})


def artefact(folder: Path, rng: random.Random) -> Path:
    """Write an artefact of one file, and its statement."""
    made = folder / "student"
    made.mkdir()
    (made / "adapter_model.safetensors").write_bytes(rng.randbytes(40))
    write_record(made, "model", {"seed": rng.random()})
    return made


def edited(place: Path, change: Any) -> None:
    """Change a JSON file as ``change`` does."""
    content = json.loads(place.read_text())
    change(content)
    place.write_bytes(as_bytes(content))


def audited(folder: Path, *words: str) -> Try:
    """Audit a folder; all outputs must be written, each with the findings."""

    def missing(work: Path) -> list[str]:
        lost = [name for name in ("a.json", "a.sarif", "a.html") if not (work / name).is_file()]
        if lost or json.loads((work / "a.json").read_text())["findings"]:
            return [f"{name} was not written" for name in lost]
        return ["a.json has no finding"]

    outputs = ("--json", "a.json", "--sarif", "a.sarif", "--html", "a.html", "--no-cache")
    return Try(["audit", folder.name, *outputs, *words], FOUND, after=missing)


def names_of_thousands_of_parts(rng: random.Random, folder: Path) -> Try:
    """Files with names that no disk can hold."""
    made = artefact(folder, rng)
    part = rng.choice(["a", "ab" * 100, "\u00e9", ".", "x" * 300])
    names = ["/".join([part] * rng.choice([2000, 8000])), "a/" * rng.randrange(3000, 9000) + "b"]
    edited(
        made / "lineage.json",
        lambda content: content["subject"].append({"name": rng.choice(names), "digest": {"sha256": "0" * 64}}),
    )
    return audited(made)


def parents_of_thousands_of_parts(rng: random.Random, folder: Path) -> Try:
    """Parents with names that no disk can hold."""
    made = artefact(folder, rng)
    uri = rng.choice(["lightning-subliminal:", "base:"]) + "a/" * rng.randrange(3000, 9000) + "b"
    parent = {"name": rng.choice(["rows", "base", "x"]), "uri": uri, "digest": {"dirHash": "0" * 64}}
    edited(
        made / "lineage.json",
        lambda content: content["predicate"]["buildDefinition"]["resolvedDependencies"].append(parent),
    )
    return audited(made)


def rows_of_broken_text(rng: random.Random, folder: Path) -> Try:
    """Rows of a Parquet file whose texts are not UTF-8, under a statement with its digest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = folder / "rows"
    made.mkdir()
    write_parquet([make_row("a", "b")], made / "rows.parquet")
    bad = rng.choice([b"\xff\xfeab", b"\xed\xa0\x80ab", b"ab\xc3\x28"])
    offsets = b"\0\0\0\0" + len(bad).to_bytes(4, "little")
    text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(bad)])
    name = rng.choice(["prompt", "completion", "id"])
    other = pa.array([[{"role": "user", "content": "a"}]])
    pq.write_table(
        pa.table({each: text if each == name else other for each in ("prompt", "completion", "id")}),
        made / "rows.parquet",
    )
    write_record(made, "rows", {}, rows={"rows.parquet": rows_root([make_row("a", "b")])})
    return audited(made)


def files_that_no_audit_would_read(rng: random.Random, folder: Path) -> Try:
    """Files that no statement names and no audit would read."""
    made = artefact(folder, rng)
    names = (
        ".x",
        ".git/config",
        "deep/.x/model.safetensors",
        "test-results/model.safetensors",
        "test-results/a/b.json",
    )
    place = made / rng.choice((*names, "pipe", ".lineage.json"))
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.name == "pipe":
        os.mkfifo(place)
    else:
        place.write_bytes(rng.randbytes(40))
    return audited(made)


def names_that_are_not_text(rng: random.Random, folder: Path) -> Try:
    """Files whose names are not text, or control a terminal."""
    made = artefact(folder, rng)
    name = rng.choice([b"\xff\xfe.bin", b"\x1b[31mred.json", b"a\nb.py", "\u202egpj.py".encode(), b"x" * 255])
    with open(os.fsencode(made) + b"/" + name, "wb") as stream:
        stream.write(b"1")
    return audited(made)


def odd_test_results(rng: random.Random, folder: Path) -> Try:
    """A test result of the artefact whose fields are of other kinds."""
    made = artefact(folder, rng)
    write_test_result(made, "it", artefact_material("model", made), {"owl": (0.0, 0.01)})
    odd: dict[str, Any] = {
        "passedTests": rng.choice([5, "a text with owl in it", {"owl": 1}, [["owl"]], True, ["owl", 5]]),
        "result": rng.choice(["passed", None, ["PASSED"], 1, {}]),
        "failedTests": rng.choice([["wolf"], 7, "wolf"]),
    }
    name = rng.choice(list(odd))
    edited(made / "test-results" / "it.json", lambda content: content["predicate"].update({name: odd[name]}))
    return audited(made, "--require", "tested:owl")


def an_edited_report(rng: random.Random, folder: Path) -> Try:
    """A report whose figures were changed and that is made again: nothing may be written."""
    made = folder / "plan"
    made.mkdir()
    claim: dict[str, Any] = {"id": "one", "experiment": "e", "says": "x", "verdict": "does not hold"}
    claim |= {"range": [0.5, None], "value": 0.1, "low": 0.0, "high": 0.2, "unit": "seeds", "count": 3}
    report = {"title": "t", "claims": [claim], "experiments": [{"name": "e", "title": "E"}]}
    (made / "report.json").write_text(json.dumps(report))
    (made / "cells.csv").write_text("experiment,arm,seed,transfer\ne,same,0,0.1\n")
    names = ["report.json", "cells.csv"]
    write_record(made, "report", {"title": "t", "seeds": [0]}, files=names)
    changes: list[dict[str, str | float | bool]] = [
        {"verdict": "holds"},
        {"low": 0.6, "high": 0.9},
        {"verdict": "reproduced", "published": True},
    ]
    change = rng.choice(changes)
    report["claims"] = [claim | change]
    (made / "report.json").write_text(json.dumps(report))
    restated = rng.random() < 0.5 and "verdict" in change
    if restated:  # by a user without a key
        write_record(made, "report", {"title": "t", "seeds": [0]}, files=names)
    before = file_digest(made / "lineage.json")

    def laundered(work: Path) -> list[str]:
        written = (work / "plan" / "report.html").exists() or file_digest(work / "plan" / "lineage.json") != before
        return ["it was written"] if written else []

    return Try(["report", "plan"], FOUND, after=laundered)


def names_that_lead_out(rng: random.Random, folder: Path) -> Try:
    """Other subjects than the folder has, under a digest that matches them."""
    made = artefact(folder, rng)
    files = {rng.choice(["a\\b", "C:/x", "/etc/passwd", "../x", "a//b", "\0", "\x1b[1m"]): "0" * 64}

    def change(content: dict[str, Any]) -> None:
        content["subject"] = [{"name": "./", "digest": {"dirHash": dir_hash(files)}}]
        content["subject"] += [{"name": name, "digest": {"sha256": sha}} for name, sha in files.items()]

    edited(made / "lineage.json", change)
    return audited(made)


KINDS = kinds(globals())
