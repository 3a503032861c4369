"""Checks of one artefact: its statement against itself, its signatures, its files and its rows."""

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lightning_subliminal.audit.digests import Digests
from lightning_subliminal.audit.locate import statement_place
from lightning_subliminal.audit.node import WRITERS, Node
from lightning_subliminal.bases.folders import is_model_file
from lightning_subliminal.core.errors import InputError, UnreadableError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.io.adapter_names import holds_model
from lightning_subliminal.core.io.bounds import MAX_KEY
from lightning_subliminal.core.io.files import open_plain
from lightning_subliminal.lineage.names import RECORD, RESULTS, artefact_files, dir_hash, inside
from lightning_subliminal.lineage.signatures.dsse import PAYLOAD_TYPE, read_envelope, signers
from lightning_subliminal.lineage.signatures.keys import TrustedKey, key_id
from lightning_subliminal.lineage.statement import (
    BUILD_TYPE,
    DECLARED_TYPE,
    PROVENANCE,
    TEST_RESULT,
    Statement,
    read_statement,
)
from lightning_subliminal.lineage.strict_json import parse, read_bytes

__all__ = ["check_files", "check_rows", "check_signatures", "check_statement", "plain_files", "size_of"]

_LITTER = (".gitattributes", ".gitignore", ".DS_Store")  # hidden files that git, the Hub and macOS leave
_CACHED = ("teachers", "students", "rows", "completions", "measured")  # folders here are named by their settings
_NO_FILE = ("lost-file", "unsafe-path", "unreadable")
# What an artefact of ours is always made from, one of each set.
_NEEDS = {
    "student": ({"base"}, {"rows"}),
    "teacher": ({"base"},),
    "completions": ({"base", "teacher", "student"},),
}


def check_statement(node: Node) -> None:
    """Look whether a statement contradicts itself, or the place where it lies."""
    statement = node.statement
    if statement is None:
        return
    if statement.predicate_type != PROVENANCE:
        node.find("no-statement", f"its statement is a {statement.predicate_type}, which does not say what made it")
        return
    if statement.build_type == DECLARED_TYPE:
        node.find("declared", "declared afterwards")
    if statement.whole is not None and statement.whole != dir_hash(statement.files):
        node.find("changed-statement", "the digest of its whole is not that of its files' names and digests")
    if statement.build_type not in (BUILD_TYPE, DECLARED_TYPE):
        return  # somebody else's: what its parameters mean is not known
    if statement.whole is None:
        node.find("changed-statement", "the digest of its whole is missing")
    if statement.invocation != digest(statement.parameters):
        node.find("changed-statement", "its parameters are not those that its invocationId is the digest of")
    name = node.path.name if node.path is not None and node.path.parent.name in _CACHED else ""
    if re.fullmatch("[0-9a-f]{16}", name) and digest(statement.settings)[:16] != name:
        node.find(
            "changed-statement", f"its settings have the digest {digest(statement.settings)[:16]}, its folder not"
        )
    roles = {each.role for each in statement.materials}
    needs = _NEEDS.get(statement.kind, ())
    if statement.kind == "rows" and _has_writer(statement):
        needs = ({"completions"},)
    for need in needs:
        if not need & roles:
            node.find("cut-chain", f"a {statement.kind} is made from a {' or '.join(sorted(need))}: none is named")
    if statement.kind == "rows" and not roles & {"completions", "rows", "file", "data", *WRITERS}:
        node.find("unknown-origin", "the statement does not say where the rows came from")


def check_signatures(node: Node, keys: Sequence[TrustedKey], pinned: bool) -> None:
    """Look who has signed a statement.

    Args:
        node: the artefact.
        keys: those that are trusted; none where the auditor trusts nobody.
        pinned: whether a statement that a trusted key has signed names this one by its digest, so that it need not be
            signed itself.
    """
    if node.statement is None or node.path is None:
        return
    statement = statement_place(node.path)
    place = statement.with_name(f"{statement.stem}.dsse.json")
    if not place.exists() and not place.is_symlink():
        says = "no envelope lies beside its statement"
        node.find("unsigned", says + (", but who signed its child has pinned it" if keys and pinned else ""), statement)
        if keys and not pinned:
            node.find(
                "untrusted-signer", f"{says}: `lineage sign PATH --upstream` signs what was made before", statement
            )
        return
    node.signers = []
    try:
        if place.is_symlink():
            raise InputError(f"{place} is a link.")
        raw = read_bytes(place)
        envelope = read_envelope(raw, str(place))
    except InputError as err:
        node.find("forged-signature", str(err), place)
        return
    if envelope.payload != node.statement.raw or envelope.payload_type != PAYLOAD_TYPE:
        node.find("forged-signature", "the envelope holds another statement than the one beside it", place)
        return
    node.signers = signers(envelope, keys)
    if keys and not node.signers:
        claimed = {str(each.get("keyid")) for each in parse(raw, str(place))["signatures"]}
        ours = [each.name for each in keys if key_id(each.key) in claimed]
        if ours:
            node.find("forged-signature", f"the signature in the name of {ours[0]} is not that key's", place)
        else:
            node.find("untrusted-signer", "none of the trusted keys has signed it", place)


def plain_files(node: Node) -> Iterator[Path]:
    """Yield the files of an artefact that can be read, links and names that lead out left out."""
    if node.path is None or node.statement is None:
        return
    folder = node.path if node.path.is_dir() else node.path.parent
    for name in node.statement.files:
        try:
            path = inside(folder, name)
        except InputError:
            continue
        if size_of(path, -1) >= 0:
            yield path


def size_of(path: Path, otherwise: int = 0) -> int:
    """Return the bytes of a plain file; ``otherwise`` where it is none, or may not be looked at."""
    try:
        status = path.stat()
    except OSError:
        return otherwise
    return status.st_size if stat.S_ISREG(status.st_mode) else otherwise


def check_files(node: Node, digests: Digests) -> None:
    """Compare an artefact's files with its statement."""
    if node.path is None or node.statement is None:
        return
    whole = node.path.is_dir()
    folder = node.path if whole else node.path.parent
    for name, expected in node.statement.files.items():
        try:
            path = inside(folder, name)
        except UnreadableError as err:
            node.find("unreadable", str(err), folder)
            continue
        except InputError as err:
            node.find("unsafe-path", str(err), folder)
            continue
        found = digests.get(path)
        if found is None and size_of(path, -1) >= 0:
            node.find("unreadable", f"{name}: {_why_unread(path)}", path)
        elif found is None:
            node.find("lost-file", f"{name} is not there, or is no file", path)
        elif found != expected:
            node.find("changed-file", f"{name} has the SHA-256 {found[:16]}, not {expected[:16]}", path)
    if not whole and node.path.name not in node.statement.files:
        node.find("unlisted-file", "the statement beside it names other files, and not it by a SHA-256", node.path)
    if whole:
        _check_unlisted(node, node.statement, folder)


def _why_unread(path: Path) -> str:
    try:
        open_plain(path).close()
    except (InputError, OSError) as err:
        return str(err)
    return "it changed while it was read"


def _check_unlisted(node: Node, statement: Statement, folder: Path) -> None:
    """Look for files that the statement does not name. Beside a model none may be that a loader would read."""
    beside: list[str] = []
    left_out: dict[str, str] = {}
    is_model = statement.kind == "base" or holds_model(folder)  # whatever the statement calls it
    for name in artefact_files(folder, left_out.__setitem__):
        known, link = name in statement.files or _is_card(name), (folder / name).is_symlink()
        matters = not statement.shares_folder or (is_model and (link or _is_loaded(name)))
        if not matters:
            beside += [] if known or _has_own_statement(folder, name) else [name]
        elif link:
            node.find("unsafe-path", f"{name} is a link", folder / name)
        elif not known:
            node.find("unlisted-file", f"{name} is not in the statement", folder / name)
    _check_left_out(node, statement, folder, left_out, beside)
    if beside:
        node.find("beside", f"{len(beside)} files that no statement is about: {_listed(beside)}")


def _check_left_out(
    node: Node, statement: Statement, folder: Path, left_out: Mapping[str, str], beside: list[str]
) -> None:
    """Note what no statement names and no audit reads, such as hidden files, or put it to what lies beside.

    Args:
        node: the artefact.
        statement: what is said of it.
        folder: where it lies.
        left_out: names, and why they are no files of an artefact.
        beside: gets what harms nothing.
    """
    unread: dict[str, list[str]] = {}
    shared = statement.shares_folder and statement.kind != "base"
    for name, why in left_out.items():
        is_result = name.startswith(f"{RESULTS}/")
        if why.startswith("can't be read"):
            node.find("unreadable", f"{name} {why}", folder / name)
        elif name in statement.files or (is_result and _is_result(folder, name)) or _is_note(folder, name, statement):
            continue  # it is looked at, or says of a digest what the statement says
        elif _is_litter(folder, name, statement) or (shared and not is_result):
            beside.append(name)
        else:
            unread.setdefault(why, []).append(name)
    for why, names in unread.items():
        told = f"{_listed(names)} {why}" if len(names) == 1 else f"{len(names)} files: {_listed(names)}: each {why}"
        node.find("unreadable", f"{told}; no statement names it, and no audit reads it", folder / names[0])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _is_result(folder: Path, name: str) -> bool:
    """Tell whether a file is a test result, or the envelope of one, in an artefact's folder of such."""
    path = folder / name
    told = path.with_name(f"{path.name.removesuffix('.dsse.json')}.json") if path.name.endswith(".dsse.json") else path
    if path.parent != folder / RESULTS or path.suffix != ".json" or path.is_symlink() or told.is_symlink():
        return False
    try:
        return read_statement(told).predicate_type == TEST_RESULT
    except InputError:
        return False


def _is_note(folder: Path, name: str, statement: Statement) -> bool:
    """Tell whether a hidden file is the note of a digest that lies beside one of the artefact's own."""
    of = re.fullmatch(r"(.*/)?\.([^/]+)\.noted", name)
    if of is None or (of[1] or "") + of[2] not in statement.files or (folder / name).is_symlink():
        return False
    return 0 <= size_of(folder / name, -1) <= MAX_KEY


def _is_litter(folder: Path, name: str, statement: Statement) -> bool:
    """Tell whether a hidden file is what tools leave everywhere, or what a killed run did not finish."""
    parts = name.split("/")
    half = re.fullmatch(r"\.(.+)\.[0-9a-f]{16}", parts[-1])  # as `files.beside` calls it
    if half is not None:
        begun = "/".join([*parts[:-1], half[1]])
        long = len(half[1]) == 60  # of a longer name it keeps the beginning
        own = any(each == begun or (long and each.startswith(begun)) for each in (*statement.files, RECORD))
        return own or _is_note(folder, begun, statement)
    from_hub = parts[:2] == [".cache", "huggingface"] and name.endswith(
        (".metadata", ".lock", ".gitignore", "CACHEDIR.TAG")
    )
    return from_hub or parts[-1] in _LITTER


def check_rows(node: Node, digests: Digests) -> None:
    """Compare the rows of an artefact with the root in its statement."""
    if node.path is None or node.statement is None:
        return
    folder = node.path if node.path.is_dir() else node.path.parent
    for name, (root, count) in node.statement.rows.items():
        if any(each.rule in _NO_FILE for each in node.findings):
            continue
        ways = (False, True) if name.endswith(".parquet") else (True,)  # ours as they are, else as `read_rows` does
        says = ""
        for way in ways:
            try:
                found, number = digests.rows_root(inside(folder, name), way)
            except (InputError, OSError) as err:
                says = says or f"{name} can't be read as rows ({err})"
                continue
            if (found, number) == (root, count):
                break
            says = f"{number} rows with the root {found[:16]}, not {count} with {root[:16]}"
        else:
            node.find("changed-rows", says, folder / name)


def _has_writer(statement: Statement) -> bool:
    settings = statement.settings if isinstance(statement.settings, dict) else {}
    source = settings.get("source")
    return isinstance(source, dict) and "teacher" in source


def _is_loaded(name: str) -> bool:
    """Tell whether a loader of models may read a file: weights, code, settings, tokenizers, adapters."""
    return is_model_file(name) or name.endswith(
        (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".py", ".json", ".jinja", ".model", ".txt")
    )


def _has_own_statement(folder: Path, name: str) -> bool:
    """Tell whether a file lies in an artefact of its own inside the folder, such as a run's student."""
    return any((folder / part / RECORD).is_file() for part in Path(name).parents if part != Path())


def _is_card(name: str) -> bool:
    return name == "README.md" or name.endswith((".README.md", ".lineage.json", ".lineage.dsse.json"))
