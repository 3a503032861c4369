"""Statements."""

import random
from pathlib import Path
from typing import Any

from tamper_kinds.kind import STATEMENT, Chain, Change, edit, flip, kind

__all__ = ["BUILD", "change_scalar", "parents_of"]


def leaves(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of all scalars in some JSON."""
    if isinstance(value, (dict, list)):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return [place for key, each in inner for place in leaves(each, (*at, key))]
    return [at]


def other(value: Any, rng: random.Random) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + rng.choice([1, 2, 10])
    if isinstance(value, str) and value:
        place = rng.randrange(len(value))
        letter = "0123456789abcdef".replace(value[place], "")[rng.randrange(15)]
        return value[:place] + letter + value[place + 1 :]
    return "x"


def change_scalar(*part: str) -> Change:
    """Return a change of one scalar below a part of the statement."""

    def change(artefact: Path, chain: Chain, rng: random.Random) -> None:
        def scalar(inner: Any) -> None:
            for name in part:
                inner = inner[name]
            *path, last = rng.choice(leaves(inner))
            for name in path:
                inner = inner[name]
            inner[last] = other(inner[last], rng)

        edit(artefact / STATEMENT, scalar)

    return change


BUILD = ("predicate", "buildDefinition")
kind("change a parameter in the statement", "forged-signature")(change_scalar(*BUILD, "externalParameters"))
kind("change a digest of a file in the statement", "forged-signature")(change_scalar("subject"))
kind(
    "change a parent in the statement",
    *("forged-signature", "unsafe-path"),
    choose=lambda chain: [each for each in chain.artefacts() if each.parent.name != "measured"],
)(change_scalar(*BUILD, "resolvedDependencies"))
kind("change anything in the statement", "forged-signature", "bad-statement", "unsafe-path")(change_scalar())


@kind("flip a bit of the statement's file", "forged-signature", "bad-statement", "unsafe-path")
def flip_statement(artefact: Path, chain: Chain, rng: random.Random) -> None:
    flip(artefact / STATEMENT, rng)


@kind("name a file above the folder (..)", "unsafe-path")
def dots_in_subject(artefact: Path, chain: Chain, rng: random.Random) -> None:
    name = rng.choice(["../secret", "a/../../secret", "/etc/passwd", "..\\secret", "./../secret"])
    edit(artefact / STATEMENT, lambda statement: statement["subject"][1].update(name=name))


def parents_of(statement: Any) -> list[Any]:
    """Return the parents that a statement names."""
    return statement["predicate"]["buildDefinition"]["resolvedDependencies"]


@kind("name a parent above the cache (..)", "unsafe-path", rooms=("rows", "completions", "students"))
def dots_in_parent(artefact: Path, chain: Chain, rng: random.Random) -> None:
    def change(statement: Any) -> None:
        ours = [each for each in parents_of(statement) if each["uri"].startswith("lightning-subliminal:")]
        rng.choice(ours)["uri"] = rng.choice(["lightning-subliminal:../../etc/x", "lightning-subliminal:/etc/x"])

    edit(artefact / STATEMENT, change)


def append_raw(artefact: Path, content: bytes) -> None:
    """Put raw bytes before the last bracket of a statement."""
    path = artefact / STATEMENT
    path.write_bytes(path.read_bytes().rstrip()[:-1] + content + b"}\n")


@kind("a statement of 17 MB", "bad-statement")
def huge(artefact: Path, chain: Chain, rng: random.Random) -> None:
    append_raw(artefact, b" " * (17 << 20))


@kind("a statement nested 100,000 deep", "bad-statement")
def deep(artefact: Path, chain: Chain, rng: random.Random) -> None:
    left, right = rng.choice([("[", "]"), ('{"a":', "}")])
    append_raw(artefact, f', "deep": {left * 100_000}1{right * 100_000}'.encode())


@kind("a key twice", "bad-statement")
def twice(artefact: Path, chain: Chain, rng: random.Random) -> None:
    append_raw(artefact, b", " + rng.choice([b'"subject": []', b'"predicate": {}', b'"_type": "x"']))


@kind("a statement that is not JSON", "bad-statement")
def no_json(artefact: Path, chain: Chain, rng: random.Random) -> None:
    raw = (artefact / STATEMENT).read_bytes()
    harm = [raw[: len(raw) // 2], b"", b"[]", b"\xff\xfe" + raw, raw.replace(b'"subject"', b'"subject": NaN, "x"', 1)]
    (artefact / STATEMENT).write_bytes(rng.choice(harm))
