"""lineage: declare, sign and hand on what an artefact was made from. What this package makes is recorded by itself."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning_subliminal.cli.positional import Spelling, show_guide
from lightning_subliminal.core.errors import InputError, known_name

if TYPE_CHECKING:
    from lightning_subliminal.core.rows import Row
    from lightning_subliminal.lineage import Material

_ROLES = ("base", "teacher", "student", "imitated", "completions", "rows", "file", "judge")

__all__ = ["COMMANDS", "add", "export", "guide", "keygen", "prove", "sign", "spelled", "verify"]

_GUIDE = """\
lineage: declare, sign and hand on what an artefact was made from.

Each stage of this package writes lineage.json into its folder by itself: an in-toto Statement with SLSA provenance.
`lightning-subliminal audit PATH` walks and checks it. These verbs are for what comes from elsewhere, and for signing.

usage: lightning-subliminal lineage add|keygen|sign|prove|verify|export ...

add PATH --kind KIND [--made-from [ROLE=]THING ...] [--by WHO] [--note TEXT] [--again]
  declare an artefact that something else made: a folder, or a file of rows. THING is a base (pocket/a, a hub id), a
  folder or a file; ROLE says what it was: base (whose weights it goes on from, or who wrote the rows), teacher, student
  (who wrote the rows), rows or completions (what it learned from), imitated (whose behaviour it was matched to), file,
  judge. KIND: model, base, teacher, student, rows, completions. An audit shows it as declared.

keygen FILE
  make an ed25519 key: FILE for you alone (mode 600), FILE.pub to hand out. With a passphrase in
  LIGHTNING_SUBLIMINAL_KEY_PASSPHRASE it is encrypted.

sign PATH --key FILE [--upstream]
  sign the statement of an artefact, or of all that it was made from, too. To sign as stages are made, set
  LIGHTNING_SUBLIMINAL_SIGNING_KEY=FILE for `fit`, `run` and others; what a cache holds already stays unsigned.

prove DATA --rows 0-9,17 [--out FILE]
  a proof that these rows are in the data set: who has the statement can check them without the other rows.

verify PROOF --against DATA
  check such a proof against the statement of the data set: its folder, the file, or lineage.json alone. Exit code 3
  where it does not hold.

export PATH --to cyclonedx|spdx|croissant|model-signing [--out FILE] [--key FILE]
  the same in the formats of others. model-signing needs a P-256 key (--key; made where it is missing).

examples:
  lightning-subliminal lineage keygen ~/.keys/lab
  LIGHTNING_SUBLIMINAL_SIGNING_KEY=~/.keys/lab lightning-subliminal fit --config owl_numbers
  lightning-subliminal audit runs/owl_numbers-5b0edf2e/student --trust ~/.keys/lab.pub
  lightning-subliminal lineage add their_rows.jsonl --kind rows --made-from base=Qwen/Qwen2.5-7B-Instruct --by vendor
"""


def add(
    path: Path,
    kind: Literal["model", "base", "teacher", "student", "rows", "completions"] | None = None,
    made_from: list[str] | None = None,
    by: str = "",
    note: str = "",
    again: bool = False,
) -> None:
    """Declare what an artefact was made from.

    Args:
        path: its folder or file.
        kind: what it is.
        made_from: what it was made from, each with its role before it.
        by: who declares it.
        note: what there is to say besides.
        again: write over a statement that is there.

    Raises:
        InputError: if a thing can't be found, or a statement is there already.
    """
    from lightning_subliminal.core.console import say
    from lightning_subliminal.lineage.declare import declare

    if kind is None:
        raise InputError("--kind is missing: model, base, teacher, student, rows or completions.")
    materials = [_material(each) for each in made_from or []]
    rows = _rows(path) if path.is_file() and kind in ("rows", "completions") else None
    say(f"declared in {declare(path, kind, materials, by, note, rows, again)}")


def keygen(path: Path) -> None:
    """Make a key to sign with.

    Args:
        path: where the private key goes; the public one lies beside it.

    Raises:
        InputError: if a file is there already.
    """
    from lightning_subliminal.core.console import say
    from lightning_subliminal.lineage.signatures.keys import make_key

    path = path.expanduser()
    public = make_key(path)
    say(f"private key {path} (for you alone), public key {public} (to hand out, and for `audit --trust`)")


def sign(path: Path, key: Path | None = None, upstream: bool = False) -> None:
    """Sign the statement of an artefact.

    Args:
        path: the artefact.
        key: the private key.
        upstream: sign all that it was made from, too.

    Raises:
        InputError: if there is no statement, or the artefact is not what it says.
    """
    from lightning_subliminal.audit import Digests, walk
    from lightning_subliminal.audit.locate import statement_place
    from lightning_subliminal.core.console import say
    from lightning_subliminal.lineage.signatures.sign import sign_statement

    if key is None:
        raise InputError("--key is missing: give the private key that `lineage keygen` made.")
    graph = walk(path, digests=Digests(remember=False))  # each byte is read: who signs believes no notes
    nodes = list(graph.nodes.values()) if upstream else [graph.nodes[graph.root]]
    wrong = [each for node in nodes for each in node.findings if each.level == "error"]
    if wrong:
        raise InputError(f"Not signed: {wrong[0].where}: {wrong[0].says} (`audit` tells all).")
    count = 0
    for node in nodes:
        # The bases of the package are not the user's to sign: a signed child holds their digests.
        if node.statement is None or node.path is None or (node.kind == "base" and node.key != graph.root):
            continue
        place = statement_place(node.path)
        sign_statement(node.statement.raw, place.with_name(f"{place.stem}.dsse.json"), key.expanduser())
        count += 1
    if not count:
        raise InputError(f"{path} has no statement to sign: `lineage add` declares one.")
    say(f"signed {count} statement{'s' if count != 1 else ''}")


def prove(data: Path, rows: str = "0", out: Path | None = None) -> None:
    """Prove that rows are in a data set.

    Args:
        data: its folder or file.
        rows: which, such as 0-9,17.
        out: where the proof goes; the standard output where it is None.

    Raises:
        InputError: if there is no such row.
    """
    import json

    from lightning_subliminal.core.console import say
    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.lineage.signatures.proof import prove_rows
    from lightning_subliminal.plans.reading import parse_seeds

    try:
        chosen = parse_seeds(rows, "--rows")
    except InputError as err:
        raise InputError(f"--rows is {rows!r}: expected rows such as 0, 0-9 or 3,17-20, counted from 0.") from err
    proof = prove_rows(_rows(data), chosen)
    text = json.dumps(proof, indent=1, ensure_ascii=False) + "\n"
    if out is None:
        print(text, end="")
        return
    atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    say(f"{len(proof['rows'])} rows of {proof['count']}, root {proof['root']}: {out}")


def verify(proof: Path, against: Path | None = None) -> None:
    """Check a proof.

    Args:
        proof: the file that `prove` wrote.
        against: the data set, or its statement.

    Raises:
        InputError: if it does not hold.
    """
    from lightning_subliminal.audit.locate import statement_place
    from lightning_subliminal.core.console import say
    from lightning_subliminal.lineage.signatures.proof import check_proof
    from lightning_subliminal.lineage.statement import read_statement
    from lightning_subliminal.lineage.strict_json import parse, read_bytes

    if against is None:
        raise InputError("--against is missing: the data set whose statement you trust, or that lineage.json.")
    place = against if against.name.endswith("lineage.json") else statement_place(against)
    known = read_statement(place).rows
    if not known:
        raise InputError(f"{place} states no root over rows.")
    read = parse(read_bytes(proof), str(proof))
    root, count = next((each for each in known.values() if each[0] == read.get("root")), next(iter(known.values())))
    try:
        told = check_proof(read, root, count)
    except InputError as err:
        print(f"error: {err}", file=sys.stderr)
        raise SystemExit(3) from err  # as an audit that finds something: the command was right, the proof is not
    say(f"{told} row{'s are' if told != 1 else ' is'} in the data set of {count} rows with the root {root}")


def export(
    path: Path,
    to: Literal["cyclonedx", "spdx", "croissant", "model-signing"] | None = None,
    out: Path | None = None,
    key: Path | None = None,
) -> None:
    """Write an artefact's lineage in another format.

    Args:
        path: the artefact.
        to: the format.
        out: where it goes; the standard output where it is None, and model.sig beside a model that is signed.
        key: a P-256 key for model-signing.

    Raises:
        InputError: if it can't be told in that format.
    """
    from lightning_subliminal.audit import Digests, walk
    from lightning_subliminal.core.console import say
    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.lineage.export import Described, make_p256, sign_model
    from lightning_subliminal.lineage.export import export as told_as

    if to is None:
        raise InputError("--to is missing: cyclonedx, spdx, croissant or model-signing.")
    if to == "model-signing":
        if key is None:
            raise InputError("--key is missing: a P-256 key; it is made where the file is not there.")
        if not key.expanduser().exists():
            say(f"public key {make_p256(key.expanduser())}")
        data = sign_model(path, key.expanduser())
        place = out or path.with_name(f"{path.name}.model.sig")
        atomically(place, lambda temporary: temporary.write_bytes(data))
        say(f"signed for model-signing: {place}")
        return
    graph = walk(path, digests=Digests(remember=False))  # others rely on what is written: no notes are believed
    wrong = [each for node in graph.nodes.values() for each in node.findings if each.level == "error"]
    if serious := [each for each in wrong if each.rule not in ("missing-parent", "no-statement")]:
        raise InputError(f"Not exported: {serious[0].where}: {serious[0].says} (`audit` tells all).")
    nodes = [
        Described(
            each.path if each.path is None or each.path.is_dir() else each.path.parent, each.statement, each.material
        )
        for each in reversed(graph.nodes.values())
    ]
    text = told_as(nodes, to)
    if out is None:
        print(text)
        return
    atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    say(f"{to}: {out}")


COMMANDS = {"add": add, "keygen": keygen, "sign": sign, "prove": prove, "verify": verify, "export": export}
guide = partial(show_guide, _GUIDE)
spelled = Spelling(
    repeated=("--made_from",), switches=("--again", "--upstream"), renamed={"--made-from": "--made_from"}
)


def _material(text: str) -> "Material":
    """Read ``[role=]thing``."""
    from lightning_subliminal import bases
    from lightning_subliminal.bases.folder_checks import check_folder
    from lightning_subliminal.bases.hub import is_hub_id, local_copy
    from lightning_subliminal.lineage import Material, read_record, source_material

    role, equals, thing = text.partition("=")
    if not equals or "+noise" in role or Path(text).expanduser().exists():
        role, thing = "", text
    if role:
        known_name(role, _ROLES, f"--made-from {text!r}: {role!r} is no role of what something is made from")
    if not thing:
        raise InputError(f"--made-from {text!r} names nothing: give a base, a folder, a file or a hub id.")
    path = Path(thing).expanduser()
    if role in ("rows", "completions", "file") and (thing in bases.available() or "+noise" in thing):
        raise InputError(f"--made-from {text!r}: a base is no data; base={thing} says that it wrote them.")
    if path.exists():
        record = read_record(path) if path.is_dir() else None
        told = record.kind if record is not None else "rows" if path.is_file() else "base"
        if path.is_dir() and (path / "config.json").is_file():
            return bases.material(thing, role or told)
        return source_material(role or told, path)
    if thing in bases.available() or "+noise" in thing:
        return bases.material(thing, role or "base")
    if is_hub_id(thing) and not thing.startswith("pocket/"):
        try:
            check_folder(local_copy(thing), thing)
        except Exception:  # huggingface_hub raises its own: no whole copy is here, so it is named, and not fetched
            return Material(role or "base", f"base:{thing}", {})
        return bases.material(thing, role or "base")  # two that name one copy are known to be of one base
    raise InputError(f"--made-from {text!r} is nothing here: give a base's name, a folder, a file or a hub id.")


def _rows(path: Path) -> "list[Row]":
    """Read a data set as an audit does: a Parquet file of our rows as it stands, all else by its schema."""
    from lightning_subliminal.core.rows import read_parquet
    from lightning_subliminal.formats import read_rows
    from lightning_subliminal.lineage import leaf_digest

    if path.suffix == ".parquet" and path.is_file():
        rows = read_parquet(path)
        try:
            for row in rows:
                leaf_digest(row)
        except (KeyError, TypeError, AttributeError):  # another schema
            rows = []
        if rows:
            return rows
    return list(read_rows(str(path)))
