"""Links, and what an audit might overlook."""

import os
import random
import shutil
from pathlib import Path

from lightning_subliminal.lineage import artefact_material, write_test_result
from tamper_kinds.kind import ADAPTED, STATEMENT, Chain, any_file, edit, kind, put

__all__: list[str] = []


def move_out(path: Path, chain: Chain) -> None:
    """Move a file out of the cache and leave a link to it."""
    moved = chain.outside / f"{path.parent.name}-{path.name}"
    shutil.move(path, moved)
    path.symlink_to(moved)


@kind("a link to an equal file outside", "unsafe-path")
def link_file(artefact: Path, chain: Chain, rng: random.Random) -> None:
    move_out(any_file(artefact, rng), chain)


@kind("a further link out of the tree", "unsafe-path")
def link_more(artefact: Path, chain: Chain, rng: random.Random) -> None:
    (artefact / "more").symlink_to(rng.choice(["/etc", "/etc/passwd", str(chain.outside), "nowhere"]))


@kind("a statement that is a link", "bad-statement")
def link_statement(artefact: Path, chain: Chain, rng: random.Random) -> None:
    move_out(artefact / STATEMENT, chain)


@kind("hide weights in the artefact", "unreadable")
def hide(artefact: Path, chain: Chain, rng: random.Random) -> None:
    name = rng.choice([".model.safetensors", ".cache/model.safetensors", "deep/.x/model.safetensors", ".git/config"])
    put(artefact / name, rng.randbytes(40))


@kind("weights among the test results", "unreadable")
def among_results(artefact: Path, chain: Chain, rng: random.Random) -> None:
    name = rng.choice(["model.safetensors", "deep/it.json", "it.json", ".it.json"])
    put(artefact / "test-results" / name, rng.randbytes(40))


@kind("a pipe in the artefact", "unreadable")
def pipe(artefact: Path, chain: Chain, rng: random.Random) -> None:
    os.mkfifo(artefact / "model.safetensors.index.jsonl")


@kind("name a file of thousands of parts", "unsafe-path")
def many_parts(artefact: Path, chain: Chain, rng: random.Random) -> None:
    subject = {"name": "a/" * rng.randrange(3000, 9000) + "b", "digest": {"sha256": "0" * 64}}
    edit(artefact / STATEMENT, lambda statement: statement["subject"].append(subject))


@kind("rows that are not UTF-8", "changed-file", "changed-rows", rooms=("rows",))
def broken_text(artefact: Path, chain: Chain, rng: random.Random) -> None:
    path = artefact / "rows.parquet"
    path.write_bytes(path.read_bytes().replace(b"user", rng.choice([b"us\xff\xfe", b"\xed\xa0\x80r"])))


@kind("a test result of odd fields", "bad-statement", rooms=ADAPTED)
def odd_result(artefact: Path, chain: Chain, rng: random.Random) -> None:
    key = os.environ.pop("LIGHTNING_SUBLIMINAL_SIGNING_KEY", None)
    write_test_result(artefact, "it", artefact_material("model", artefact), {"owl": (0.0, 0.01)})
    if key is not None:
        os.environ["LIGHTNING_SUBLIMINAL_SIGNING_KEY"] = key
    odd = rng.choice([{"passedTests": 5}, {"passedTests": "owl"}, {"result": "passed"}, {"failedTests": ["x"]}])
    edit(artefact / "test-results" / "it.json", lambda result: result["predicate"].update(odd))
