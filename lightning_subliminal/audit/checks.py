"""Checks of one artefact: its statement against itself, its signatures, its files and its rows."""

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lightning_subliminal.audit.digests import Digests
from lightning_subliminal.audit.node import WRITERS, Node
from lightning_subliminal.bases.folders import is_model_file
from lightning_subliminal.core.errors import InputError, UnreadableError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.io.adapter_names import holds_model
from lightning_subliminal.core.io.bounds import MAX_KEY
from lightning_subliminal.core.io.files import open_plain
from lightning_subliminal.lineage import names
from lightning_subliminal.lineage import statement as statements
from lightning_subliminal.lineage.signatures.dsse import PAYLOAD_TYPE, read_envelope, signers
from lightning_subliminal.lineage.signatures.keys import TrustedKey, key_id
from lightning_subliminal.lineage.statement import Statement, read_statement
from lightning_subliminal.lineage.strict_json import parse, read_bytes

__all__ = ["check_files", "check_rows", "check_signatures", "check_statement", "plain_files", "size_of"]

_CARDS = (".README.md", ".lineage.json", ".lineage.dsse.json")
_LITTER = (".gitattributes", ".gitignore", ".DS_Store")  # hidden files of git, the Hub and macOS
_CACHED = ("teachers", "students", "rows", "completions", "measured")  # their folders are named by settings
_NO_FILE = ("lost-file", "unsafe-path", "unreadable")
# What an artefact of this package is always made from, one of each set.
_NEEDS = {
    "student": ({"base"}, {"rows"}),
    "teacher": ({"base"},),
    "completions": ({"base", "teacher", "student"},),
}
# Files that a loader of models may read: weights, code, settings, tokenizers, adapters.
_LOADED = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".py", ".json", ".jinja", ".model", ".txt")


def check_statement(node: Node) -> None:
    """Check that a statement contradicts neither itself nor its place."""
    statement = node.statement
    if statement is None:
        return
    if statement.predicate_type != statements.PROVENANCE:
        node.report("no-statement", f"its statement is a {statement.predicate_type}, which is not about its origin")
        return
    if statement.build_type == statements.DECLARED_TYPE:
        node.report("declared", "declared afterwards")
    if statement.whole is not None and statement.whole != names.dir_hash(statement.files):
        node.report("changed-statement", "the digest of the folder is not that of the files' names and digests")
    if statement.build_type not in (statements.BUILD_TYPE, statements.DECLARED_TYPE):
        return  # of another tool, whose parameters are unknown
    if statement.whole is None:
        node.report("changed-statement", "the digest of the folder is missing")
    if statement.invocation != digest(statement.parameters):
        node.report("changed-statement", "its invocationId is not the digest of its parameters")
    name = node.path.name if node.path is not None and node.path.parent.name in _CACHED else ""
    if re.fullmatch("[0-9a-f]{16}", name) and (now := digest(statement.settings)[:16]) != name:
        node.report("changed-statement", f"its settings have the digest {now}, which is not its folder's name")
    roles = {each.role for each in statement.materials}
    needs = _NEEDS.get(statement.kind, ())
    source = statement.settings.get("source") if isinstance(statement.settings, dict) else None
    if statement.kind == "rows" and isinstance(source, dict) and "teacher" in source:
        needs = ({"completions"},)
    for need in needs:
        if not need & roles:
            expected = " or ".join(sorted(need))
            node.report("cut-chain", f"a {statement.kind} is made from a {expected}, which the statement does not name")
    if statement.kind == "rows" and not roles & {"completions", "rows", "file", "data", *WRITERS}:
        node.report("unknown-origin", "the statement does not name the source of the rows")


def check_signatures(node: Node, keys: Sequence[TrustedKey], pinned: bool) -> None:
    """Check who has signed a statement.

    Args:
        node: the artefact.
        keys: trusted keys; empty to trust no one.
        pinned: whether a statement signed by a trusted key names this one by its digest, so that it need not be
            signed itself.
    """
    if node.statement is None or node.path is None:
        return
    statement = names.statement_place(node.path)
    place = names.envelope_place(statement)
    if not place.exists() and not place.is_symlink():
        message = "its statement has no signature"
        is_covered = " (the signed statement of its child covers it)" if keys and pinned else ""
        node.report("unsigned", message + is_covered, statement)
        if keys and not pinned:
            advice = "`lineage sign PATH --upstream` also signs what an artefact was made from"
            node.report("untrusted-signer", f"{message}: {advice}", statement)
        return
    node.signers = []
    try:
        if place.is_symlink():
            raise InputError(f"{place} is a link.")
        raw = read_bytes(place)
        envelope = read_envelope(raw, str(place))
    except InputError as err:
        node.report("forged-signature", str(err), place)
        return
    if envelope.payload != node.statement.raw or envelope.payload_type != PAYLOAD_TYPE:
        node.report("forged-signature", "the envelope holds another statement", place)
        return
    node.signers = signers(envelope, keys)
    if keys and not node.signers:
        claimed = {str(each.get("keyid")) for each in parse(raw, str(place))["signatures"]}
        ours = [each.name for each in keys if key_id(each.key) in claimed]
        if ours:
            node.report("forged-signature", f"the signature in the name of {ours[0]} was not made by that key", place)
        else:
            node.report("untrusted-signer", "none of the trusted keys has signed it", place)


def plain_files(node: Node) -> Iterator[Path]:
    """Yield the readable files of an artefact, without links and names that lead out of its folder."""
    if node.folder is None or node.statement is None:
        return
    for name in node.statement.files:
        try:
            path = names.inside(node.folder, name)
        except InputError:
            continue
        if size_of(path, -1) >= 0:
            yield path


def size_of(path: Path, otherwise: int = 0) -> int:
    """Return the bytes of a plain file; ``otherwise`` for other paths, or without permission."""
    try:
        status = path.stat()
    except OSError:
        return otherwise
    return status.st_size if stat.S_ISREG(status.st_mode) else otherwise


def check_files(node: Node, digests: Digests) -> None:
    """Compare an artefact's files with its statement."""
    folder, statement = node.folder, node.statement
    if node.path is None or folder is None or statement is None:
        return
    for name, expected in statement.files.items():
        try:
            path = names.inside(folder, name)
        except InputError as err:
            node.report("unreadable" if isinstance(err, UnreadableError) else "unsafe-path", str(err), folder)
            continue
        found = digests.get(path)
        if found is None and size_of(path, -1) >= 0:
            node.report("unreadable", f"{name}: {_why_unread(path)}", path)
        elif found is None:
            node.report("lost-file", f"{name} is missing, or is not a file", path)
        elif found != expected:
            node.report("changed-file", f"{name} has the SHA-256 {found[:16]}, not {expected[:16]}", path)
    if folder == node.path:
        _check_unlisted(node, statement, folder)
    elif node.path.name not in statement.files:
        node.report("unlisted-file", "its statement names other files, and not this one by a SHA-256", node.path)


def _why_unread(path: Path) -> str:
    try:
        open_plain(path).close()
    except (InputError, OSError) as err:
        return str(err)
    return "it changed while it was read"


def _check_unlisted(node: Node, statement: Statement, folder: Path) -> None:
    """Report files that the statement does not name. A model's folder may hold none that a loader would read."""
    others: list[str] = []
    left_out: dict[str, str] = {}
    is_model = statement.kind == "base" or holds_model(folder)  # whatever kind the statement claims
    for name in names.artefact_files(folder, left_out.__setitem__):
        link = (folder / name).is_symlink()
        known = name in statement.files or name == "README.md" or name.endswith(_CARDS)
        is_loaded = is_model_file(name) or name.endswith(_LOADED)
        matters = not statement.shares_folder or (is_model and (link or is_loaded))
        if not matters:
            others += [] if known or _has_own_statement(folder, name) else [name]
        elif link:
            node.report("unsafe-path", f"{name} is a link", folder / name)
        elif not known:
            node.report("unlisted-file", f"{name} is not in the statement", folder / name)
    _check_left_out(node, statement, folder, left_out, others)
    if others:
        node.report("beside", f"{len(others)} files that no statement covers: {_listed(others)}")


def _check_left_out(
    node: Node, statement: Statement, folder: Path, left_out: Mapping[str, str], others: list[str]
) -> None:
    """Report files that no statement names and no audit reads, such as hidden ones; append harmless ones to others."""
    unread: dict[str, list[str]] = {}
    shared = statement.shares_folder and statement.kind != "base"
    for name, why in left_out.items():
        is_result = name.startswith(f"{names.RESULTS}/")
        if why.startswith("can't be read"):
            node.report("unreadable", f"{name} {why}", folder / name)
        elif name in statement.files or (is_result and _is_result(folder, name)) or _is_note(folder, name, statement):
            continue  # it is checked elsewhere, or only repeats a digest of the statement
        elif _is_litter(folder, name, statement) or (shared and not is_result):
            others.append(name)
        else:
            unread.setdefault(why, []).append(name)
    for why, files in unread.items():
        what = f"{_listed(files)} {why}" if len(files) == 1 else f"{len(files)} files: {_listed(files)}: each {why}"
        node.report("unreadable", f"{what}; no statement names it, and no audit reads it", folder / files[0])


def _listed(files: Sequence[str]) -> str:
    return ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")


def _is_result(folder: Path, name: str) -> bool:
    """Return whether a file is a test result, or its envelope, in the artefact's folder of results."""
    path = folder / name
    result = path.with_name(f"{path.name.removesuffix('.dsse.json')}.json") if name.endswith(".dsse.json") else path
    if path.parent != folder / names.RESULTS or path.suffix != ".json" or path.is_symlink() or result.is_symlink():
        return False
    try:
        return read_statement(result).predicate_type == statements.TEST_RESULT
    except InputError:
        return False


def _is_note(folder: Path, name: str, statement: Statement) -> bool:
    """Return whether a hidden file is the note of a digest of one of the artefact's own files."""
    of = re.fullmatch(r"(.*/)?\.([^/]+)\.noted", name)
    if of is None or (of[1] or "") + of[2] not in statement.files or (folder / name).is_symlink():
        return False
    return 0 <= size_of(folder / name, -1) <= MAX_KEY


def _is_litter(folder: Path, name: str, statement: Statement) -> bool:
    """Return whether a hidden file is a common one of other tools, or an unfinished one of a killed run."""
    parts = name.split("/")
    half = re.fullmatch(r"\.(.+)\.[0-9a-f]{16}", parts[-1])  # a name made by `files.beside`
    if half is not None:
        begun = "/".join([*parts[:-1], half[1]])
        long = len(half[1]) == 60  # the beginning of a longer name
        own = any(each == begun or (long and each.startswith(begun)) for each in (*statement.files, names.RECORD))
        return own or _is_note(folder, begun, statement)
    from_hub = parts[:2] == [".cache", "huggingface"]
    return parts[-1] in _LITTER or (from_hub and name.endswith((".metadata", ".lock", ".gitignore", "CACHEDIR.TAG")))


def check_rows(node: Node, digests: Digests) -> None:
    """Compare the rows of an artefact with the root in its statement."""
    if node.folder is None or node.statement is None or any(each.rule in _NO_FILE for each in node.findings):
        return
    for name, (root, count) in node.statement.rows.items():
        message = ""
        for any_schema in (False, True) if name.endswith(".parquet") else (True,):
            try:
                found, number = digests.rows_root(names.inside(node.folder, name), any_schema)
            except (InputError, OSError) as err:
                message = message or f"{name} can't be read as rows ({err})"
                continue
            if (found, number) == (root, count):
                break
            message = f"{number} rows with the root {found[:16]}, not {count} with {root[:16]}"
        else:
            node.report("changed-rows", message, node.folder / name)


def _has_own_statement(folder: Path, name: str) -> bool:
    """Return whether a file belongs to an artefact inside the folder, such as a run's student."""
    return any((folder / part / names.RECORD).is_file() for part in Path(name).parents if part != Path())
