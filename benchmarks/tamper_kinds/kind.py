"""What a kind of tampering is, how one is registered, and the changes that several kinds make."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_subliminal.lineage.statement import as_bytes

__all__ = [
    "ADAPTED",
    "ENVELOPE",
    "KINDS",
    "STATEMENT",
    "Chain",
    "Change",
    "Tampering",
    "any_file",
    "edit",
    "flip",
    "kind",
    "put",
]

STATEMENT, ENVELOPE = "lineage.json", "lineage.dsse.json"


@dataclass
class Chain:
    """A copy of the chain to tamper with.

    Attributes:
        root: the artefact that is audited, relative to ``folder``.
        folder: the cache of this copy.
        older: a second chain, made earlier with another seed and signed by the same key: what can be replayed.
        outside: a folder next to the cache.
    """

    root: Path
    folder: Path
    older: Path
    outside: Path

    def artefacts(self, *rooms: str) -> list[Path]:
        """Return the artefacts of the present chain, in some folders of the cache or in all."""
        found = sorted(path.parent for path in self.folder.glob("*/*/lineage.json"))
        return [each for each in found if not rooms or each.parent.name in rooms]

    def twin(self, artefact: Path) -> Path:
        """Return the older artefact in the same folder of the cache."""
        return sorted(path.parent for path in (self.older / artefact.parent.name).glob("*/lineage.json"))[0]


Change = Callable[[Path, Chain, random.Random], None]


@dataclass(frozen=True)
class Tampering:
    """A kind of tampering.

    Attributes:
        name: what it does.
        reasons: rules of findings that are a correct reason.
        apply: does it to an artefact.
        choose: the artefacts that it is done to, one of which is drawn.
        on_signatures: whether it is done to an envelope, so that there must be one.
        without_keys: further correct reasons where nothing is signed.
    """

    name: str
    reasons: tuple[str, ...]
    apply: Change
    choose: Callable[[Chain], list[Path]]
    on_signatures: bool = False
    without_keys: tuple[str, ...] = ()

    def change(self, chain: Chain, rng: random.Random) -> Path:
        """Tamper with one artefact, and return it."""
        artefact = rng.choice(self.choose(chain))
        self.apply(artefact, chain, rng)
        return artefact


KINDS: list[Tampering] = []
# Of a statement that contradicts itself, its files or its child.
CONTRADICTIONS = (
    *("changed-statement", "wrong-parent", "changed-file", "lost-file", "unlisted-file", "changed-rows"),
    *("bad-statement", "cut-chain", "missing-parent", "no-statement"),
)
ADAPTED = ("teachers", "students")


def kind(
    name: str,
    *reasons: str,
    rooms: tuple[str, ...] = (),
    choose: Callable[[Chain], list[Path]] | None = None,
    on_signatures: bool = False,
) -> Callable[[Change], Change]:
    """Register a function; it is done to an artefact in ``rooms`` of the cache, or of those that ``choose`` returns."""

    def register(change: Change) -> Change:
        further = CONTRADICTIONS if "forged-signature" in reasons else ()
        among = choose or (lambda chain: chain.artefacts(*rooms))
        KINDS.append(Tampering(name, reasons, change, among, on_signatures, further))
        return change

    return register


def flip(path: Path, rng: random.Random) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def any_file(artefact: Path, rng: random.Random) -> Path:
    """Return a file of an artefact other than its statement."""
    files = [path for path in artefact.iterdir() if path.is_file() and not path.name.startswith(("lineage.", "."))]
    return rng.choice(files)


def put(path: Path, content: bytes) -> None:
    """Write a file, in a new folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file by a function that alters its content."""
    content = json.loads(path.read_text())
    change(content)
    path.write_bytes(as_bytes(content))
