"""Kinds of tampering with a chain of artefacts, each with the findings that would be a correct reason.

A tampering is a function of an artefact in a fresh copy of a signed chain, the chain and a random generator. It makes a
change that a user could make who may write to the disk but has no trusted key.
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

from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.rows import read_parquet, write_parquet
from lightning_subliminal.lineage import artefact_material, rows_root, write_test_result
from lightning_subliminal.lineage.names import dir_hash
from lightning_subliminal.lineage.signatures.dsse import seal
from lightning_subliminal.lineage.statement import as_bytes, read_statement

__all__ = ["KINDS", "Chain", "Tampering"]

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
CONTRADICTIONS = ("changed-statement", "wrong-parent", "changed-file", "lost-file", "unlisted-file", "changed-rows")
CONTRADICTIONS += ("bad-statement", "cut-chain", "missing-parent", "no-statement")
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


# -- bytes and files ---------------------------------------------------------------------------------------------------


def weights(artefact: Path) -> Path:
    """Return the weights of an adapter, PEFT's or our own."""
    return next(artefact.glob("*adapter*.safetensors"))


def flip(path: Path, rng: random.Random) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def any_file(artefact: Path, rng: random.Random) -> Path:
    """Return a file of an artefact other than its statement."""
    files = [path for path in artefact.iterdir() if path.is_file() and not path.name.startswith(("lineage.", "."))]
    return rng.choice(files)


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


def put(path: Path, content: bytes) -> None:
    """Write a file, in a new folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@kind("swap files between artefacts", "changed-file", rooms=(*ADAPTED, "rows"))
def swap_files(artefact: Path, chain: Chain, rng: random.Random) -> None:
    name = "rows.parquet" if artefact.parent.name == "rows" else weights(artefact).name
    shutil.copyfile(chain.twin(artefact) / name, artefact / name)


# -- rows --------------------------------------------------------------------------------------------------------------


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


# -- statements --------------------------------------------------------------------------------------------------------


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file by a function that alters its content."""
    content = json.loads(path.read_text())
    change(content)
    path.write_bytes(as_bytes(content))


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


# -- chains ------------------------------------------------------------------------------------------------------------


@kind("swap an artefact for another, statement, signature and all", "wrong-parent", "changed-statement", "unexpected")
def swap_artefact(artefact: Path, chain: Chain, rng: random.Random) -> None:
    shutil.rmtree(artefact)
    shutil.copytree(chain.twin(artefact), artefact)


@kind("replay an old statement with its signature", "changed-file", "lost-file", "changed-statement")
def replay(artefact: Path, chain: Chain, rng: random.Random) -> None:
    for path in chain.twin(artefact).glob("lineage.*json"):
        shutil.copyfile(path, artefact / path.name)


@kind(
    "put an older artefact in a parent's place, the correct statement hidden next to it",
    *("wrong-parent", "missing-parent"),
    rooms=("rows", "completions", *ADAPTED),
)
def decoy(artefact: Path, chain: Chain, rng: random.Random) -> None:
    good = (artefact / STATEMENT).read_bytes()
    shutil.rmtree(artefact)
    place = artefact if rng.random() < 0.5 else artefact.with_name("zz")
    shutil.copytree(chain.twin(artefact), place)
    (place / ".lineage.json").write_bytes(good)


@kind("an adapter in the base's folder, which a loader would apply", "unlisted-file", rooms=("bases",))
def adapter_in_base(base: Path, chain: Chain, rng: random.Random) -> None:
    for path in rng.choice(chain.artefacts("teachers")).glob("*adapter*"):
        shutil.copyfile(path, base / path.name)


def other_weights(base: Path, place: str, rng: random.Random) -> None:
    """Put other weights below a base's folder."""
    (base / place).parent.mkdir(exist_ok=True)
    shutil.copyfile(base / "model.safetensors", base / place)
    flip(base / place, rng)


@kind("other weights in the base, a complete copy of it next to it", "wrong-parent", rooms=("bases",))
def base_decoy(base: Path, chain: Chain, rng: random.Random) -> None:
    shutil.copytree(base, base.with_name(rng.choice(["noisy-0", "noisy-zz", "model"])))
    flip(base / "model.safetensors", rng)


@kind("other weights below the base's folder, which its config names", "read-elsewhere", rooms=("bases",))
def named_weights(base: Path, chain: Chain, rng: random.Random) -> None:
    place = rng.choice(["test-results/model.safetensors", ".cache/model.safetensors", "more/model.safetensors"])
    other_weights(base, place, rng)
    edit(base / "config.json", lambda config: config.update(transformers_weights=place))


@kind("other weights below the base's folder, which an index names", "read-elsewhere", rooms=("bases",))
def shards_below(base: Path, chain: Chain, rng: random.Random) -> None:
    place = rng.choice(["test-results/a.safetensors", ".a.safetensors", "more/a.safetensors", "../a.safetensors"])
    other_weights(base, place, rng)
    names = safe_open(base / "model.safetensors", "pt").keys()
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    (base / "model.safetensors").unlink()


@kind("a vocabulary in the base that slow tokenizers read", "unlisted-file", rooms=("bases",))
def vocabulary(base: Path, chain: Chain, rng: random.Random) -> None:
    name = rng.choice(["bpe.codes", "dict.txt", "vocab-src.json", "word_shape.json", "tokenizer.model."])
    (base / name).write_text("o w 3\n")


@kind("a tokenizer elsewhere, which the base's settings name", "read-elsewhere", rooms=("bases",))
def named_tokenizer(base: Path, chain: Chain, rng: random.Random) -> None:
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
    known = json.loads((base / file).read_text()) if (base / file).exists() else {}
    (base / file).write_text(json.dumps(known | settings))


@kind(
    "other weights in the base, declared as another tool's work",
    *("wrong-parent", "forged-signature", "changed-file"),
    rooms=("bases",),
)
def restate(base: Path, chain: Chain, rng: random.Random) -> None:
    flip(base / "model.safetensors", rng)
    build = {"buildType": "https://example.com/build/v1", "resolvedDependencies": []}
    edit(base / STATEMENT, lambda statement: statement["predicate"]["buildDefinition"].update(build))


@kind(
    "delete a parent",
    *("missing-parent", "wrong-parent"),
    choose=lambda chain: [each for each in chain.artefacts() if each != chain.root],
)
def cut_parent(artefact: Path, chain: Chain, rng: random.Random) -> None:
    shutil.rmtree(artefact)


@kind("delete a parent's statement", "wrong-parent", "no-statement")
def cut_statement(artefact: Path, chain: Chain, rng: random.Random) -> None:
    (artefact / STATEMENT).unlink()


@kind(
    "leave a parent out of the statement",
    *("forged-signature", "cut-chain"),
    rooms=("rows", "completions", *ADAPTED),
)
def leave_out(artefact: Path, chain: Chain, rng: random.Random) -> None:
    edit(
        artefact / STATEMENT,
        lambda statement: parents_of(statement).pop(rng.randrange(len(parents_of(statement)))),
    )


# -- signatures --------------------------------------------------------------------------------------------------------


@kind(
    "take the signature away",
    "untrusted-signer",
    # Not a base's: its signed child names its files and its statement, so nothing depends on its own signature.
    choose=lambda chain: [each for each in chain.artefacts() if each.parent.name != "bases"],
    on_signatures=True,
)
def unsign(artefact: Path, chain: Chain, rng: random.Random) -> None:
    (artefact / ENVELOPE).unlink()


@kind("forge the signature: random bytes in a trusted name", "forged-signature", on_signatures=True)
def random_signature(artefact: Path, chain: Chain, rng: random.Random) -> None:
    forged = base64.b64encode(rng.randbytes(rng.choice([0, 12, 63, 64, 65]))).decode()
    edit(artefact / ENVELOPE, lambda envelope: envelope["signatures"][0].update(sig=forged))


def sign_again(artefact: Path) -> None:
    """Sign a statement with a new key."""
    raw = (artefact / STATEMENT).read_bytes()
    (artefact / ENVELOPE).write_bytes(seal(raw, Ed25519PrivateKey.generate()))


@kind("sign with another key", "untrusted-signer", on_signatures=True)
def other_key(artefact: Path, chain: Chain, rng: random.Random) -> None:
    sign_again(artefact)


@kind("sign with another key under the trusted key's id", "forged-signature", on_signatures=True)
def other_key_same_id(artefact: Path, chain: Chain, rng: random.Random) -> None:
    name = json.loads((artefact / ENVELOPE).read_text())["signatures"][0]["keyid"]
    sign_again(artefact)
    edit(artefact / ENVELOPE, lambda envelope: envelope["signatures"][0].update(keyid=name))


@kind("change the statement and sign it with another key", "untrusted-signer", on_signatures=True)
def resign(artefact: Path, chain: Chain, rng: random.Random) -> None:
    change_scalar(*BUILD, "internalParameters")(artefact, chain, rng)
    sign_again(artefact)


@kind("an envelope of another artefact", "forged-signature", on_signatures=True)
def other_envelope(artefact: Path, chain: Chain, rng: random.Random) -> None:
    shutil.copyfile(chain.twin(artefact) / ENVELOPE, artefact / ENVELOPE)


@kind("flip a bit of the envelope", "forged-signature", "untrusted-signer", on_signatures=True)
def flip_envelope(artefact: Path, chain: Chain, rng: random.Random) -> None:
    def change(envelope: Any) -> None:
        holder, name = rng.choice([(envelope, "payload"), (envelope["signatures"][0], "sig")])
        data = bytearray(base64.b64decode(holder[name]))
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        holder[name] = base64.b64encode(data).decode()

    edit(artefact / ENVELOPE, change)


@kind("declare the payload to be of another type", "forged-signature", on_signatures=True)
def other_type(artefact: Path, chain: Chain, rng: random.Random) -> None:
    name = rng.choice(["text/plain", "application/vnd.in-toto.link+json", ""])
    edit(artefact / ENVELOPE, lambda envelope: envelope.update(payloadType=name))


# -- links -------------------------------------------------------------------------------------------------------------


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


# -- what an audit might overlook --------------------------------------------------------------------------------------


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
