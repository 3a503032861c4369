"""lineage: declare, sign, prove and export what an artefact was made from."""

import sys
from pathlib import Path
from typing import Literal

from lightning_subliminal.cli.provenance.sources import material_of, rows_of
from lightning_subliminal.cli.verb import Group, Verb
from lightning_subliminal.core.errors import InputError

__all__ = ["VERB", "add", "export", "keygen", "prove", "sign", "verify"]


def add(
    path: Path,
    kind: Literal["model", "base", "teacher", "student", "rows", "completions"],
    made_from: list[str] | None = None,
    by: str = "",
    note: str = "",
    again: bool = False,
) -> None:
    """Declare what an artefact of another tool was made from; an audit shows it as declared.

    Args:
        path: the artefact: a folder, or a file of rows.
        kind: model, base, teacher, student, rows or completions.
        made_from: a base (pocket/a, a hub id), folder or file that it was made from; may be repeated.
        by: who declares it.
        note: a further remark.
        again: replace an existing statement.

    Raises:
        InputError: if a source can't be found, or a statement exists already.
    """
    from lightning_subliminal.core.console import say
    from lightning_subliminal.lineage.record import declare

    materials = [material_of(each) for each in made_from or []]
    rows = rows_of(path) if path.is_file() and kind in ("rows", "completions") else None
    say(f"declared in {declare(path, kind, materials, by, note, rows, again)}")


def keygen(path: Path) -> None:
    """Make an ed25519 key: FILE for yourself (mode 600), FILE.pub for others.

    Args:
        path: file of the private key. With a passphrase in LIGHTNING_SUBLIMINAL_KEY_PASSPHRASE it is encrypted.

    Raises:
        InputError: if the file exists already.
    """
    from lightning_subliminal.core.console import say
    from lightning_subliminal.lineage.signatures.keys import make_key

    path = path.expanduser()
    public = make_key(path)
    say(f"private key {path} (keep it secret), public key {public} (for others, and for `audit --trust`)")


def sign(path: Path, key: Path, upstream: bool = False) -> None:
    """Sign the statement of an artefact.

    Args:
        path: the artefact.
        key: the private key that `lineage keygen` made.
        upstream: also sign the statements of its ancestors.

    Raises:
        InputError: if there is no statement, or the artefact differs from it.
    """
    from lightning_subliminal.audit import Digests, walk
    from lightning_subliminal.core.console import say
    from lightning_subliminal.lineage.names import envelope_place, statement_place
    from lightning_subliminal.lineage.signatures.sign import sign_statement

    graph = walk(path, digests=Digests(remember=False))  # a signature needs every byte read, not remembered digests
    nodes = list(graph.nodes.values()) if upstream else [graph.nodes[graph.root]]
    wrong = [each for node in nodes for each in node.findings if each.level == "error"]
    if wrong:
        raise InputError(f"Not signed: {wrong[0].where}: {wrong[0].says} (`audit` lists all findings).")
    count = 0
    for node in nodes:
        # A user does not sign the package's bases: a signed child holds their digests.
        if node.statement is None or node.path is None or (node.kind == "base" and node.key != graph.root):
            continue
        place = statement_place(node.path)
        sign_statement(node.statement.raw, envelope_place(place), key.expanduser())
        count += 1
    if not count:
        raise InputError(f"{path} has no statement to sign: declare one with `lineage add`.")
    say(f"signed {count} statement{'s' if count != 1 else ''}")


def prove(data: Path, rows: str = "0", out: Path | None = None) -> None:
    """Write a proof that rows are in a data set, which its statement alone can check.

    Args:
        data: the folder or file of the data set.
        rows: numbers of rows from 0, such as 0-9,17.
        out: file for the proof; without it, standard output.

    Raises:
        InputError: if a row does not exist.
    """
    import json

    from lightning_subliminal.core.console import say
    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.core.seeds import parse_seeds
    from lightning_subliminal.lineage.signatures.merkle import prove_rows

    try:
        chosen = parse_seeds(rows, "--rows")
    except InputError as err:
        raise InputError(f"--rows is {rows!r}: expected rows such as 0, 0-9 or 3,17-20, counted from 0.") from err
    proof = prove_rows(rows_of(data), chosen)
    text = json.dumps(proof, indent=1, ensure_ascii=False) + "\n"
    if out is None:
        print(text, end="")
        return
    atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    say(f"{len(proof['rows'])} rows of {proof['count']}, root {proof['root']}: {out}")


def verify(proof: Path, against: Path) -> None:
    """Check a proof against the statement of a data set; exit code 3 if it does not hold.

    Args:
        proof: the file that `lineage prove` wrote.
        against: the data set's folder or file, or its lineage.json alone.

    Raises:
        InputError: if the statement has no root over rows.
        SystemExit: with 3 if the proof does not hold.
    """
    from lightning_subliminal.core.console import say
    from lightning_subliminal.lineage.names import statement_place
    from lightning_subliminal.lineage.signatures.merkle import check_proof
    from lightning_subliminal.lineage.statement import read_statement
    from lightning_subliminal.lineage.strict_json import parse, read_bytes

    place = against if against.name.endswith("lineage.json") else statement_place(against)
    known = read_statement(place).rows
    if not known:
        raise InputError(f"{place} states no root over rows: expected the statement of a data set.")
    read = parse(read_bytes(proof), str(proof))
    root, count = next((each for each in known.values() if each[0] == read.get("root")), next(iter(known.values())))
    try:
        proven = check_proof(read, root, count)
    except InputError as err:
        print(f"error: {err}", file=sys.stderr)
        raise SystemExit(3) from err  # as for the errors of an audit: the command was right, the proof is not
    say(f"{proven} row{'s are' if proven != 1 else ' is'} in the data set of {count} rows with the root {root}")


def export(
    path: Path,
    to: Literal["cyclonedx", "spdx", "croissant", "model-signing"],
    out: Path | None = None,
    key: Path | None = None,
) -> None:
    """Write an artefact's lineage in another format.

    Args:
        path: the artefact.
        to: cyclonedx, spdx, croissant or model-signing.
        out: file to write; without it standard output (model-signing: PATH.model.sig).
        key: a P-256 key for model-signing, made if the file does not exist.

    Raises:
        InputError: if the format can't represent it.
    """
    from lightning_subliminal.audit import Digests, walk
    from lightning_subliminal.core.console import say
    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.lineage.export import Described, make_p256, sign_model
    from lightning_subliminal.lineage.export import export as export_text

    if to == "model-signing":
        if key is None:
            raise InputError("--key is missing: expected a file for a P-256 key, which is made if it does not exist.")
        if not key.expanduser().exists():
            say(f"public key {make_p256(key.expanduser())}")
        data = sign_model(path, key.expanduser())
        place = out or path.with_name(f"{path.name}.model.sig")
        atomically(place, lambda temporary: temporary.write_bytes(data))
        say(f"signed for model-signing: {place}")
        return
    graph = walk(path, digests=Digests(remember=False))  # others rely on this, so every byte is read
    wrong = [each for node in graph.nodes.values() for each in node.findings if each.level == "error"]
    if serious := [each for each in wrong if each.rule not in ("missing-parent", "no-statement")]:
        raise InputError(f"Not exported: {serious[0].where}: {serious[0].says} (`audit` lists all findings).")
    nodes = [Described(each.folder, each.statement, each.material) for each in reversed(graph.nodes.values())]
    text = export_text(nodes, to)
    if out is None:
        print(text)
        return
    atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    say(f"{to}: {out}")


VERB = Group(
    "declare, sign, prove and export what an artefact was made from",
    {
        "add": Verb(
            add,
            [
                "lineage add rows.jsonl --kind rows --made-from base=Qwen/Qwen2.5-7B",
                "lineage add merged --kind model --made-from runs/owl-5b0edf2e/student",
            ],
            ["PATH"],
            ["--kind KIND", "--made-from [ROLE=]SOURCE", "--by WHO", "--note TEXT", "--again"],
            """\
ROLE is what the source was: base (initial weights, or the writer of the rows), teacher, student (the
writer of the rows), rows or completions (the training data), imitated (the model whose behaviour was
matched), file, judge.
""",
        ),
        "keygen": Verb(keygen, ["lineage keygen ~/.keys/lab"], ["FILE"]),
        "sign": Verb(
            sign,
            ["lineage sign runs/owl-5b0edf2e/student --key ~/.keys/lab --upstream"],
            ["PATH"],
            ["--key FILE", "--upstream"],
            """\
To sign artefacts as they are made, set LIGHTNING_SUBLIMINAL_SIGNING_KEY=FILE for `fit`, `run` and
others; what the cache holds already stays unsigned.
""",
        ),
        "prove": Verb(
            prove,
            ["lineage prove rows.parquet --rows 0-9,17 --out proof.json"],
            ["DATA"],
            ["--rows ROWS", "--out FILE"],
        ),
        "verify": Verb(verify, ["lineage verify proof.json --against rows.parquet"], ["PROOF"], ["--against DATA"]),
        "export": Verb(
            export,
            ["lineage export runs/owl-5b0edf2e/student --to cyclonedx --out bom.json"],
            ["PATH"],
            ["--to FORMAT", "--out FILE", "--key FILE"],
        ),
    },
    [
        "lineage keygen ~/.keys/lab",
        "lineage sign runs/owl-5b0edf2e/student --key ~/.keys/lab",
        "audit runs/owl-5b0edf2e/student --trust ~/.keys/lab.pub",
        "lineage add rows.jsonl --kind rows --made-from base=Qwen/Qwen2.5-7B",
    ],
    """\
Each stage of this package writes lineage.json into its folder: an in-toto Statement with SLSA
provenance, which `audit PATH` follows and checks. These commands declare artefacts of other tools, and
sign.
""",
)
