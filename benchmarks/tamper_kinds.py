"""Ways to tamper with a chain of artefacts, each with the findings that would be a right reason.

A tampering is a function of a fresh copy of a signed chain and a random generator. It changes something as somebody
could who may write to the disk but has no trusted key, and gives the artefact that it changed.
"""

import base64
import json
import mmap
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors import safe_open

from lightning_subliminal.core.rows import read_parquet, write_parquet
from lightning_subliminal.lineage.signatures.dsse import seal
from lightning_subliminal.lineage.statement import as_bytes

__all__ = ["KINDS", "Chain", "Tampering"]


@dataclass
class Chain:
    """A copy of the chain to tamper with.

    Attributes:
        root: the artefact that is audited, relative to ``folder``.
        folder: the cache of this copy.
        older: a second chain, made earlier with another seed and signed by the same key: what can be replayed.
        outside: a folder beside the cache.
    """

    root: Path
    folder: Path
    older: Path
    outside: Path

    def artefacts(self, *rooms: str) -> list[Path]:
        """Return the artefacts of the present chain, in some rooms or in all."""
        found = sorted(path.parent for path in self.folder.glob("*/*/lineage.json"))
        return [each for each in found if not rooms or each.parent.name in rooms]

    def twin(self, artefact: Path) -> Path:
        """Return the older artefact of the same room."""
        return sorted(path.parent for path in (self.older / artefact.parent.name).glob("*/lineage.json"))[0]


Change = Callable[[Chain, random.Random], Path]


@dataclass(frozen=True)
class Tampering:
    """A kind of tampering.

    Attributes:
        name: what it does.
        reasons: rules of findings that are a right reason.
        change: does it.
        on_signatures: whether it is done to an envelope, so that there must be one.
        without_keys: further right reasons where nothing is signed.
    """

    name: str
    reasons: tuple[str, ...]
    change: Change
    on_signatures: bool = False
    without_keys: tuple[str, ...] = ()


KINDS: list[Tampering] = []
# Of a statement that contradicts itself, its files or its child.
CONTRADICTIONS = ("changed-statement", "wrong-parent", "changed-file", "lost-file", "unlisted-file", "changed-rows")
CONTRADICTIONS += ("bad-statement", "cut-chain", "missing-parent", "no-statement")


def kind(name: str, *reasons: str, on_signatures: bool = False) -> Callable[[Change], Change]:
    """Put a function on the list."""

    def put(change: Change) -> Change:
        further = CONTRADICTIONS if "forged-signature" in reasons else ()
        KINDS.append(Tampering(name, reasons, change, on_signatures, further))
        return change

    return put


# -- bytes and files ---------------------------------------------------------------------------------------------------


def weights(artefact: Path) -> Path:
    """Return the weights of an adapter, PEFT's or our own."""
    return next(artefact.glob("*adapter*.safetensors"))


def flip(path: Path, rng: random.Random) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


@kind("flip a bit of weights", "changed-file")
def flip_weights(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts("teachers", "students"))
    flip(weights(artefact), rng)
    return artefact


@kind("flip a bit of weights, set the clock back", "changed-file")
def flip_quietly(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts("teachers", "students"))
    path = weights(artefact)
    status = path.stat()
    flip(path, rng)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return artefact


@kind("flip a bit of weights through a memory map", "changed-file")
def flip_mapped(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts("teachers", "students"))
    with weights(artefact).open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
        mapped[rng.randrange(len(mapped))] ^= 1 << rng.randrange(8)
    return artefact


@kind("flip a bit of any file", "changed-file")
def flip_any(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    files = [path for path in artefact.iterdir() if path.is_file() and not path.name.startswith(("lineage.", "."))]
    flip(rng.choice(files), rng)
    return artefact


@kind("cut a file short", "changed-file")
def cut(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    files = [path for path in artefact.iterdir() if path.is_file() and not path.name.startswith(("lineage.", "."))]
    path = rng.choice(files)
    os.truncate(path, rng.randrange(path.stat().st_size))
    return artefact


@kind("lose a file", "lost-file")
def lose(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    files = [path for path in artefact.iterdir() if path.is_file() and not path.name.startswith(("lineage.", "."))]
    rng.choice(files).unlink()
    return artefact


@kind("add a file that a loader would read", "unlisted-file")
def add_file(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    names = ["model-00002.safetensors", "added_tokens.json", "modeling_extra.py", "deep/shard-00099.parquet"]
    name = rng.choice(names[: 3 if artefact.parent.name == "bases" else 4])  # no model is loaded from rows
    (artefact / name).parent.mkdir(exist_ok=True)
    (artefact / name).write_bytes(rng.randbytes(40))
    return artefact


@kind("swap files between artefacts", "changed-file")
def swap_files(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts("teachers", "students", "rows"))
    name = "rows.parquet" if artefact.parent.name == "rows" else weights(artefact).name
    shutil.copyfile(chain.twin(artefact) / name, artefact / name)
    return artefact


# -- rows --------------------------------------------------------------------------------------------------------------


def rewrite(artefact: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    """Write a data set's rows anew, changed."""
    rows = read_parquet(artefact / "rows.parquet")
    write_parquet(change(rows), artefact / "rows.parquet")


def rows_of(chain: Chain, rng: random.Random) -> Path:
    """Choose a data set."""
    return rng.choice(chain.artefacts("rows"))


@kind("change a row", "changed-file", "changed-rows")
def change_row(chain: Chain, rng: random.Random) -> Path:
    def change(rows: list[Any]) -> list[Any]:
        rng.choice(rows)["completion"][0]["content"] += " 7"
        return rows

    artefact = rows_of(chain, rng)
    rewrite(artefact, change)
    return artefact


@kind("put rows in another order", "changed-file", "changed-rows")
def reorder(chain: Chain, rng: random.Random) -> Path:
    def change(rows: list[Any]) -> list[Any]:
        first, second = rng.sample(range(len(rows)), 2)
        rows[first], rows[second] = rows[second], rows[first]
        return rows

    artefact = rows_of(chain, rng)
    rewrite(artefact, change)
    return artefact


@kind("drop a row", "changed-file", "changed-rows")
def drop(chain: Chain, rng: random.Random) -> Path:
    artefact = rows_of(chain, rng)
    rewrite(artefact, lambda rows: [row for place, row in enumerate(rows) if place != len(rows) // 2])
    return artefact


@kind("add a row", "changed-file", "changed-rows")
def add_row(chain: Chain, rng: random.Random) -> Path:
    artefact = rows_of(chain, rng)
    rewrite(artefact, lambda rows: [*rows, rng.choice(rows)])
    return artefact


@kind("change a row and the digests in the statement", "forged-signature")
def change_row_and_statement(chain: Chain, rng: random.Random) -> Path:
    from lightning_subliminal.lineage import rows_root
    from lightning_subliminal.lineage.names import dir_hash
    from lightning_subliminal.lineage.statement import read_statement

    artefact = change_row(chain, rng)
    told = json.loads((artefact / "lineage.json").read_text())
    files = read_statement(artefact / "lineage.json").files | {"rows.parquet": sha(artefact / "rows.parquet")}
    root, count = rows_root(read_parquet(artefact / "rows.parquet"))
    for each in told["subject"]:
        if each["name"] == "./":
            each["digest"]["dirHash"] = dir_hash(files)
        elif each["name"] == "rows.parquet":
            each["digest"]["sha256"] = files["rows.parquet"]
        elif each["name"] == "rows.parquet#rows":
            each["digest"]["merkleSha256"], each["annotations"]["count"] = root, count
    (artefact / "lineage.json").write_bytes(as_bytes(told))
    return artefact


# -- statements --------------------------------------------------------------------------------------------------------


def sha(path: Path) -> str:
    """Return a file's SHA-256."""
    from lightning_subliminal.core.fingerprint import file_digest

    return file_digest(path)


def leaves(thing: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of all scalars of some JSON."""
    if isinstance(thing, dict):
        return [place for key, value in thing.items() for place in leaves(value, (*at, key))]
    if isinstance(thing, list):
        return [place for number, value in enumerate(thing) for place in leaves(value, (*at, number))]
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


def edit(artefact: Path, part: tuple[str, ...], rng: random.Random) -> None:
    """Change one scalar below a part of the statement."""
    told = json.loads((artefact / "lineage.json").read_text())
    inner = told
    for name in part:
        inner = inner[name]
    place = rng.choice(leaves(inner))
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = other(inner[place[-1]], rng)
    (artefact / "lineage.json").write_bytes(as_bytes(told))


@kind("change a parameter in the statement", "forged-signature")
def change_parameter(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    edit(artefact, ("predicate", "buildDefinition", "externalParameters"), rng)
    return artefact


@kind("change a digest of a file in the statement", "forged-signature")
def change_digest(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    edit(artefact, ("subject",), rng)
    return artefact


@kind("change a parent in the statement", "forged-signature", "unsafe-path")
def change_parent(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice([each for each in chain.artefacts() if each.parent.name != "measured"])
    edit(artefact, ("predicate", "buildDefinition", "resolvedDependencies"), rng)
    return artefact


@kind("change anything in the statement", "forged-signature", "bad-statement", "unsafe-path")
def change_anything(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    edit(artefact, (), rng)
    return artefact


@kind("flip a bit of the statement's file", "forged-signature", "bad-statement", "unsafe-path")
def flip_statement(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    flip(artefact / "lineage.json", rng)
    return artefact


@kind("name a file above the folder (..)", "unsafe-path")
def dots_in_subject(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    told = json.loads((artefact / "lineage.json").read_text())
    name = rng.choice(["../secret", "a/../../secret", "/etc/passwd", "..\\secret", "./../secret"])
    told["subject"][1]["name"] = name
    (artefact / "lineage.json").write_bytes(as_bytes(told))
    return artefact


@kind("name a parent above the cache (..)", "unsafe-path")
def dots_in_parent(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(
        [each for each in chain.artefacts() if each.parent.name in ("rows", "completions", "students")]
    )
    told = json.loads((artefact / "lineage.json").read_text())
    parents = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    mine = rng.choice([each for each in parents if each["uri"].startswith("lightning-subliminal:")])
    mine["uri"] = rng.choice(["lightning-subliminal:../../etc/x", "lightning-subliminal:/etc/x"])
    (artefact / "lineage.json").write_bytes(as_bytes(told))
    return artefact


@kind("a statement of 17 MB", "bad-statement")
def huge(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    raw = (artefact / "lineage.json").read_bytes()
    (artefact / "lineage.json").write_bytes(raw[:-2] + b" " * (17 << 20) + b"}\n")
    return artefact


@kind("a statement nested 100,000 deep", "bad-statement")
def deep(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    left, right = rng.choice([("[", "]"), ('{"a":', "}")])
    raw = (artefact / "lineage.json").read_bytes().rstrip()[:-1]
    inner = (left * 100_000 + "1" + right * 100_000).encode()
    (artefact / "lineage.json").write_bytes(raw + b', "deep": ' + inner + b"}")
    return artefact


@kind("a key twice", "bad-statement")
def twice(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    raw = (artefact / "lineage.json").read_bytes().rstrip()[:-1]
    key = rng.choice([b'"subject": []', b'"predicate": {}', b'"_type": "x"'])
    (artefact / "lineage.json").write_bytes(raw + b", " + key + b"}")
    return artefact


@kind("a statement that is no JSON", "bad-statement")
def no_json(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    raw = (artefact / "lineage.json").read_bytes()
    harm = [raw[: len(raw) // 2], b"", b"[]", b"\xff\xfe" + raw, raw.replace(b'"subject"', b'"subject": NaN, "x"', 1)]
    (artefact / "lineage.json").write_bytes(rng.choice(harm))
    return artefact


# -- chains ------------------------------------------------------------------------------------------------------------


@kind("swap an artefact for another, statement, signature and all", "wrong-parent", "changed-statement", "unexpected")
def swap_artefact(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    shutil.rmtree(artefact)
    shutil.copytree(chain.twin(artefact), artefact)
    return artefact


@kind("replay an old statement with its signature", "changed-file", "lost-file", "changed-statement")
def replay(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    for path in chain.twin(artefact).glob("lineage.*json"):
        shutil.copyfile(path, artefact / path.name)
    return artefact


@kind("put an older artefact in a parent's place, the good statement hidden beside", "wrong-parent", "missing-parent")
def decoy(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts("rows", "completions", "students", "teachers"))
    good = (artefact / "lineage.json").read_bytes()
    shutil.rmtree(artefact)
    place = artefact if rng.random() < 0.5 else artefact.with_name("zz")
    shutil.copytree(chain.twin(artefact), place)
    (place / ".lineage.json").write_bytes(good)
    return artefact


@kind("an adapter in the base's folder, which a loader would put on it", "unlisted-file")
def adapter_in_base(chain: Chain, rng: random.Random) -> Path:
    (base,) = chain.artefacts("bases")
    teacher = rng.choice(chain.artefacts("teachers"))
    for path in teacher.glob("*adapter*"):
        shutil.copyfile(path, base / path.name)
    return base


def other_weights(base: Path, place: str, rng: random.Random) -> None:
    """Put other weights below a base's folder."""
    (base / place).parent.mkdir(exist_ok=True)
    shutil.copyfile(base / "model.safetensors", base / place)
    flip(base / place, rng)


@kind("other weights in the base, a whole copy of it beside", "wrong-parent")
def base_decoy(chain: Chain, rng: random.Random) -> Path:
    (base,) = chain.artefacts("bases")
    shutil.copytree(base, base.with_name(rng.choice(["noisy-0", "noisy-zz", "model"])))
    flip(base / "model.safetensors", rng)
    return base


@kind("other weights below the base's folder, which its config names", "read-elsewhere")
def named_weights(chain: Chain, rng: random.Random) -> Path:
    (base,) = chain.artefacts("bases")
    place = rng.choice(["test-results/model.safetensors", ".cache/model.safetensors", "more/model.safetensors"])
    other_weights(base, place, rng)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"transformers_weights": place}))
    return base


@kind("other weights below the base's folder, which an index names", "read-elsewhere")
def shards_below(chain: Chain, rng: random.Random) -> Path:
    (base,) = chain.artefacts("bases")
    place = rng.choice(["test-results/a.safetensors", ".a.safetensors", "more/a.safetensors", "../a.safetensors"])
    other_weights(base, place, rng)
    names = safe_open(base / "model.safetensors", "pt").keys()
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    (base / "model.safetensors").unlink()
    return base


@kind("a vocabulary in the base that slow tokenizers read", "unlisted-file")
def vocabulary(chain: Chain, rng: random.Random) -> Path:
    (base,) = chain.artefacts("bases")
    name = rng.choice(["bpe.codes", "dict.txt", "vocab-src.json", "word_shape.json", "tokenizer.model."])
    (base / name).write_text("o w 3\n")
    return base


@kind("a tokenizer elsewhere, which the base's settings name", "read-elsewhere")
def named_tokenizer(chain: Chain, rng: random.Random) -> Path:
    (base,) = chain.artefacts("bases")
    place = rng.choice(["test-results/tokenizer.1.0.0.json", "../tokenizer.1.0.0.json", "my-tokenizer.1.0.0.json"])
    (base / place).parent.mkdir(exist_ok=True)
    shutil.copy(base / "tokenizer.json", base / place)
    file, settings = rng.choice(
        [
            ("tokenizer_config.json", {"fast_tokenizer_files": [place]}),
            ("tokenizer_config.json", {"vocab": place}),
            ("special_tokens_map.json", {"vocab_file": place}),
        ]
    )
    told = json.loads((base / file).read_text()) if (base / file).exists() else {}
    (base / file).write_text(json.dumps(told | settings))
    return base


@kind("other weights in the base, told as another tool's work", "wrong-parent", "forged-signature", "changed-file")
def restate(chain: Chain, rng: random.Random) -> Path:
    (base,) = chain.artefacts("bases")
    flip(base / "model.safetensors", rng)
    told = json.loads((base / "lineage.json").read_text())
    told["predicate"]["buildDefinition"]["buildType"] = "https://example.com/build/v1"
    told["predicate"]["buildDefinition"]["resolvedDependencies"] = []
    (base / "lineage.json").write_bytes(as_bytes(told))
    return base


@kind("delete a parent", "missing-parent", "wrong-parent")
def cut_parent(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice([each for each in chain.artefacts() if each != chain.root])
    shutil.rmtree(artefact)
    return artefact


@kind("delete a parent's statement", "wrong-parent", "no-statement")
def cut_statement(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    (artefact / "lineage.json").unlink()
    return artefact


@kind("leave a parent out of the statement", "forged-signature", "cut-chain")
def leave_out(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts("students", "rows", "completions", "teachers"))
    told = json.loads((artefact / "lineage.json").read_text())
    parents = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    parents.pop(rng.randrange(len(parents)))
    (artefact / "lineage.json").write_bytes(as_bytes(told))
    return artefact


# -- signatures --------------------------------------------------------------------------------------------------------


@kind("take the signature away", "untrusted-signer", on_signatures=True)
def unsign(chain: Chain, rng: random.Random) -> Path:
    # Not a base's: its signed child names its files and its statement, so that nothing hangs on its own signature.
    artefact = rng.choice([each for each in chain.artefacts() if each.parent.name != "bases"])
    (artefact / "lineage.dsse.json").unlink()
    return artefact


@kind("forge the signature: random bytes in a trusted name", "forged-signature", on_signatures=True)
def random_signature(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    path = artefact / "lineage.dsse.json"
    told = json.loads(path.read_text())
    told["signatures"][0]["sig"] = base64.b64encode(rng.randbytes(rng.choice([0, 12, 63, 64, 65]))).decode()
    path.write_text(json.dumps(told))
    return artefact


@kind("sign with another key", "untrusted-signer", on_signatures=True)
def other_key(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    raw = (artefact / "lineage.json").read_bytes()
    (artefact / "lineage.dsse.json").write_bytes(seal(raw, Ed25519PrivateKey.generate()))
    return artefact


@kind("sign with another key under the trusted key's id", "forged-signature", on_signatures=True)
def other_key_same_id(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    path = artefact / "lineage.dsse.json"
    name = json.loads(path.read_text())["signatures"][0]["keyid"]
    told = json.loads(seal((artefact / "lineage.json").read_bytes(), Ed25519PrivateKey.generate()))
    told["signatures"][0]["keyid"] = name
    path.write_text(json.dumps(told))
    return artefact


@kind("change the statement and sign it with another key", "untrusted-signer", on_signatures=True)
def resign(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    edit(artefact, ("predicate", "buildDefinition", "internalParameters"), rng)
    raw = (artefact / "lineage.json").read_bytes()
    (artefact / "lineage.dsse.json").write_bytes(seal(raw, Ed25519PrivateKey.generate()))
    return artefact


@kind("an envelope of another artefact", "forged-signature", on_signatures=True)
def other_envelope(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    shutil.copyfile(chain.twin(artefact) / "lineage.dsse.json", artefact / "lineage.dsse.json")
    return artefact


@kind("flip a bit of the envelope", "forged-signature", "untrusted-signer", on_signatures=True)
def flip_envelope(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    path = artefact / "lineage.dsse.json"
    told = json.loads(path.read_text())
    name = rng.choice(["payload", "sig"])
    text = told["payload"] if name == "payload" else told["signatures"][0]["sig"]
    data = bytearray(base64.b64decode(text))
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    if name == "payload":
        told["payload"] = base64.b64encode(data).decode()
    else:
        told["signatures"][0]["sig"] = base64.b64encode(data).decode()
    path.write_text(json.dumps(told))
    return artefact


@kind("call the payload another type", "forged-signature", on_signatures=True)
def other_type(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    path = artefact / "lineage.dsse.json"
    told = json.loads(path.read_text())
    told["payloadType"] = rng.choice(["text/plain", "application/vnd.in-toto.link+json", ""])
    path.write_text(json.dumps(told))
    return artefact


# -- links -------------------------------------------------------------------------------------------------------------


@kind("a link to an equal file outside", "unsafe-path")
def link_file(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    files = [path for path in artefact.iterdir() if path.is_file() and not path.name.startswith(("lineage.", "."))]
    path = rng.choice(files)
    moved = chain.outside / f"{artefact.name}-{path.name}"
    shutil.move(path, moved)
    path.symlink_to(moved)
    return artefact


@kind("a further link out of the tree", "unsafe-path")
def link_more(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    (artefact / "more").symlink_to(rng.choice(["/etc", "/etc/passwd", str(chain.outside), "nowhere"]))
    return artefact


@kind("a statement that is a link", "bad-statement")
def link_statement(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    moved = chain.outside / f"{artefact.name}.json"
    shutil.move(artefact / "lineage.json", moved)
    (artefact / "lineage.json").symlink_to(moved)
    return artefact


# -- what an audit might pass over -------------------------------------------------------------------------------------


@kind("hide weights in the artefact", "unreadable")
def hide(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    name = rng.choice([".model.safetensors", ".cache/model.safetensors", "deep/.x/model.safetensors", ".git/config"])
    (artefact / name).parent.mkdir(parents=True, exist_ok=True)
    (artefact / name).write_bytes(rng.randbytes(40))
    return artefact


@kind("weights among the test results", "unreadable")
def among_results(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    name = rng.choice(["model.safetensors", "deep/it.json", "it.json", ".it.json"])
    (artefact / "test-results" / name).parent.mkdir(parents=True, exist_ok=True)
    (artefact / "test-results" / name).write_bytes(rng.randbytes(40))
    return artefact


@kind("a pipe in the artefact", "unreadable")
def pipe(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    os.mkfifo(artefact / "model.safetensors.index.jsonl")
    return artefact


@kind("name a file of thousands of parts", "unsafe-path")
def many_parts(chain: Chain, rng: random.Random) -> Path:
    artefact = rng.choice(chain.artefacts())
    told = json.loads((artefact / "lineage.json").read_text())
    told["subject"].append({"name": "a/" * rng.randrange(3000, 9000) + "b", "digest": {"sha256": "0" * 64}})
    (artefact / "lineage.json").write_bytes(as_bytes(told))
    return artefact


@kind("rows that are no UTF-8", "changed-file", "changed-rows")
def broken_text(chain: Chain, rng: random.Random) -> Path:
    artefact = rows_of(chain, rng)
    path = artefact / "rows.parquet"
    path.write_bytes(path.read_bytes().replace(b"user", rng.choice([b"us\xff\xfe", b"\xed\xa0\x80r"])))
    return artefact


@kind("a test result of odd fields", "bad-statement")
def odd_result(chain: Chain, rng: random.Random) -> Path:
    from lightning_subliminal.lineage import artefact_material, write_test_result

    artefact = rng.choice(chain.artefacts("teachers", "students"))
    kept = os.environ.pop("LIGHTNING_SUBLIMINAL_SIGNING_KEY", None)
    write_test_result(artefact, "it", artefact_material("model", artefact), {"owl": (0.0, 0.01)})
    if kept is not None:
        os.environ["LIGHTNING_SUBLIMINAL_SIGNING_KEY"] = kept
    path = artefact / "test-results" / "it.json"
    told = json.loads(path.read_text())
    told["predicate"] |= rng.choice(
        [{"passedTests": 5}, {"passedTests": "owl"}, {"result": "passed"}, {"failedTests": ["x"]}]
    )
    path.write_bytes(as_bytes(told))
    return artefact
