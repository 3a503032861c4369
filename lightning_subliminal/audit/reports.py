"""Checks of a report before it is read or made again: does it match its statement, and may it be signed?"""

from pathlib import Path

from lightning_subliminal.audit.checks import check_signatures, check_statement
from lightning_subliminal.audit.digests import Digests
from lightning_subliminal.audit.graph import walk
from lightning_subliminal.audit.locate import read_beside
from lightning_subliminal.audit.node import Node
from lightning_subliminal.core.errors import InputError, TamperedError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.lineage import read_record
from lightning_subliminal.lineage.signatures.sign import own_key

__all__ = ["check_stated", "may_sign"]

_MADE_OF = ("report.json", "cells.csv")


def check_stated(folder: Path) -> None:
    """Refuse a report whose ``report.json`` or ``cells.csv`` differs from its statement.

    The page, the tables and the figures are made from these two, and may be missing. A report of an early version has
    no statement to compare with.

    Raises:
        TamperedError: with the file and both digests, or the fault of the statement.
    """
    folder = Path(folder)
    try:
        node = Node(str(folder), str(folder), folder, read_beside(folder))
    except InputError as err:
        raise TamperedError(f"{err} `audit {folder}` reports more; make the report again with `run`.") from err
    if node.statement is None:
        return
    check_statement(node)
    check_signatures(node, (), pinned=False)
    for name in _MADE_OF:
        stated, now = node.statement.files.get(name), file_digest(folder / name)
        if stated is None:
            node.report("unlisted-file", f"{name} is not in its statement")
        elif now != stated:
            node.report("changed-file", f"{name} has the SHA-256 {now[:16]}, its statement has {stated[:16]}")
    if wrong := [each.says for each in node.findings if each.level == "error"]:
        raise TamperedError(f"{folder}: {wrong[0]}: it was changed afterwards; make the report again with `run`.")


def may_sign(folder: Path) -> str:
    """Return why a report that is made again may not be signed by this machine's key; empty if it may, or has no key.

    The key signs only a report that it had signed and that still matches: else an edited report would get a signature.
    """
    key = own_key()
    if key is None or read_record(folder) is None:
        return ""
    graph = walk(folder, [key], digests=Digests(remember=False))
    root, made_of = graph.nodes[graph.root], {str(Path(folder).absolute() / name) for name in _MADE_OF}
    if not root.signers:
        return "its statement was not signed by this key"
    for node in graph.nodes.values():
        for found in node.findings:
            made_again = node is root and found.rule in ("changed-file", "lost-file") and found.path not in made_of
            if found.level == "error" and not made_again and found.rule != "untrusted-signer":
                return f"{found.where}: {found.says}"
    return ""
