"""An audit for machines: as plain data of our own, and as SARIF 2.1.0, which code hosts show beside the code."""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lightning_subliminal.audit.node import Node
from lightning_subliminal.audit.rules import RULES, Finding
from lightning_subliminal.audit.run import Audit
from lightning_subliminal.audit.view import Showing
from lightning_subliminal.core.version import __version__
from lightning_subliminal.formats.row_errors import printable

__all__ = ["FORMAT", "WRONG", "as_json", "as_sarif"]

FORMAT = 1  # of the plain data: a key that goes or changes its meaning raises it, a new key does not
WRONG = 3  # the exit code
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_HERE = "%SRCROOT%"  # what hosts call the folder that was checked out


def as_json(audit: Audit) -> dict[str, Any]:
    """Return an audit as plain data, under keys that stay.

    - ``format``: 1; ``tool``: name and version.
    - ``holds``: whether nothing is wrong; ``exit_code``: 0 or 3; ``verdict``: the same in a sentence.
    - ``root``: key of the artefact in ``nodes``; ``expect``: the digests to note down, ``whole`` and ``statement``.
    - ``known_to_the_end``: whether each chain ends in a base told by its digest.
    - ``generations``: data sets written by models, one after the other, behind it.
    - ``trusted``: names of trusted keys; ``signed_by``: statements that each has signed.
    - ``test_results``: how many were found; ``flagged``: labels of artefacts with a failed one.
    - ``risks``: for each writer of data ``writer``, ``learner``, ``verdict`` (shared, matched, related, apart, not by
      lineage, unknown), labels of bases in ``shared`` and ``matched``, and what was ``measured``.
    - ``answers``: ``key``, ``question``, ``says`` (lines), ``state`` (good, bad, look, open).
    - ``findings``: the worst first, with ``rule``, ``level``, ``where``, ``says``, ``path``.
    - ``nodes``: children first as far as there are no cycles, with ``key``, ``label``, ``kind``, ``path``, ``state``
      (fine, wrong, flagged, doubtful, absent), ``notes``, ``identity``, ``statement``, ``files`` (digests by name),
      ``rows`` (root and count by file), ``signers``, ``result``, ``links`` (role, key), ``settings`` (role, uri,
      digest).
    - ``digested``: ``files`` and ``bytes`` that were read, not remembered.

    Args:
        audit: what was found.
    """
    shown = Showing(audit)
    return {
        "format": FORMAT,
        "tool": {"name": "lightning-subliminal", "version": __version__},
        "holds": audit.holds,
        "exit_code": 0 if audit.holds else WRONG,
        "verdict": shown.verdict(),
        "root": audit.root.key,
        "expect": shown.digests(),
        "known_to_the_end": audit.known_to_the_end,
        "generations": audit.generations,
        "trusted": audit.trusted,
        "signed_by": audit.signed_by(),
        "test_results": audit.results,
        "flagged": audit.flagged,
        "risks": [each.as_json() for each in audit.risks],
        "answers": [
            {"key": each.key, "question": each.question, "says": each.says, "state": each.state}
            for each in shown.answers()
        ],
        "findings": [each.as_json() for each in audit.findings],
        "nodes": [_node(each, shown) for each in shown.ordered],
        "digested": {"files": audit.graph.digests.read, "bytes": audit.graph.digests.bytes_read},
    }


def as_sarif(audit: Audit, here: Path | None = None) -> dict[str, Any]:
    """Return an audit's findings as a SARIF 2.1.0 log of one run.

    Args:
        audit: what was found.
        here: paths below this folder are told relative to it; the working directory where it is None.
    """
    here = (here or Path.cwd()).absolute()
    rules = list(RULES)
    driver = {
        "name": "lightning-subliminal",
        "version": __version__,
        "rules": [
            {
                "id": name,
                "shortDescription": {"text": rule.means},
                "defaultConfiguration": {"level": rule.level},
            }
            for name, rule in RULES.items()
        ],
    }
    invocation = {
        "executionSuccessful": True,  # the audit ran; what it found are results
        "exitCode": 0 if audit.holds else WRONG,
        "exitCodeDescription": Showing(audit).verdict(),
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "originalUriBaseIds": {_HERE: {"uri": f"{here.as_uri().rstrip('/')}/"}},
        "results": [_result(each, rules, audit.root, here) for each in audit.findings],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding, rules: list[str], root: Node, here: Path) -> dict[str, Any]:
    path = Path(finding.path) if finding.path else root.path
    location: dict[str, Any] = {"logicalLocations": [{"name": printable(finding.where), "kind": "artefact"}]}
    if path is not None:
        location["physicalLocation"] = {"artifactLocation": _place(path.absolute(), here)}
    same = "\n".join((finding.rule, finding.where, finding.says))
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": finding.level,
        "message": {"text": _plain(printable(f"{finding.where}: {finding.says}"))},
        "locations": [location],
        # By it a host tells a finding of yesterday from a new one.
        "partialFingerprints": {"finding/v1": hashlib.sha256(same.encode(errors="backslashreplace")).hexdigest()},
    }


def _plain(text: str) -> str:
    """Return a message's text without embedded links (SARIF 2.1.0, 3.11.6): names of files may look like some.

    A link needs ``](``, so only these two are escaped; all other brackets may stand as they are.
    """
    return text.replace("](", r"\]\(")


def _place(path: Path, here: Path) -> dict[str, str]:
    if path != here and path.is_relative_to(here):
        return {"uri": quote(path.relative_to(here).as_posix(), errors="surrogateescape"), "uriBaseId": _HERE}
    return {"uri": path.as_uri()}


def _node(node: Node, shown: Showing) -> dict[str, Any]:
    statement = node.statement
    return {
        "key": node.key,
        "label": node.label,
        "kind": node.kind,
        "path": str(node.path) if node.path is not None else None,
        "state": shown.state(node),
        "notes": shown.notes(node),
        "identity": node.identity,
        "statement": statement.sha256 if statement is not None else None,
        "files": dict(statement.files) if statement is not None else {},
        "rows": {name: {"root": root, "count": count} for name, (root, count) in statement.rows.items()}
        if statement is not None
        else {},
        "signers": node.signers,
        "result": node.result,
        "links": [{"role": each.role, "key": each.key} for each in node.links],
        "settings": [{"role": each.role, "uri": each.uri, "digest": dict(each.digest)} for each in node.settings],
    }
