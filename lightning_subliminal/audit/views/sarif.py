"""An audit as data: in this package's JSON format, and as SARIF 2.1.0, which code hosts display."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lightning_subliminal.audit.node import Node
from lightning_subliminal.audit.rules import RULES, Finding, Rule
from lightning_subliminal.audit.run import Audit
from lightning_subliminal.audit.views.view import AuditView
from lightning_subliminal.core.version import __version__
from lightning_subliminal.formats.row_errors import printable

__all__ = [
    "FORMAT",
    "WRONG",
    "artifact_location",
    "as_json",
    "as_sarif",
    "fingerprint",
    "message_text",
    "sarif_log",
]

FORMAT = 1  # of the JSON: increased when a key is removed or changes its meaning, not for a new key
WRONG = 3  # the exit code
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_HERE = "%SRCROOT%"  # the hosts' name of the checkout folder


def as_json(audit: Audit) -> dict[str, Any]:
    """Return an audit as plain data, under stable keys.

    - ``format``: 1; ``tool``: name and version.
    - ``holds``: whether there are no errors; ``exit_code``: 0 or 3; ``verdict``: the same as a sentence.
    - ``root``: key of the artefact in ``nodes``; ``expect``: the digests to note, ``whole`` and ``statement``.
    - ``known_to_the_end``: whether each chain ends in a base known by its digest.
    - ``generations``: number of successive data sets written by models behind it.
    - ``trusted``: names of trusted keys; ``signed_by``: number of statements that each has signed.
    - ``test_results``: number found; ``flagged``: labels of artefacts with a failed one.
    - ``risks``: for each writer of data ``writer``, ``learner``, ``verdict`` (shared, matched, related, apart, not by
      lineage, unknown), labels of bases in ``shared`` and ``matched``, and the kinship ``measured``.
    - ``answers``: ``key``, ``question``, ``says`` (lines), ``state`` (good, bad, look, open).
    - ``findings``: worst first, with ``rule``, ``level``, ``where``, ``says``, ``path``.
    - ``nodes``: children first as far as there are no cycles, with ``key``, ``label``, ``kind``, ``path``, ``state``
      (fine, wrong, flagged, doubtful, absent), ``notes``, ``identity``, ``statement``, ``files`` (digests by name),
      ``rows`` (root and count by file), ``signers``, ``result``, ``links`` (role, key), ``settings`` (role, uri,
      digest).
    - ``digested``: ``files`` and ``bytes`` that were read, not remembered.
    """
    view = AuditView(audit)
    return {
        "format": FORMAT,
        "tool": {"name": "lightning-subliminal", "version": __version__},
        "holds": audit.holds,
        "exit_code": 0 if audit.holds else WRONG,
        "verdict": view.verdict(),
        "root": audit.root.key,
        "expect": view.digests(),
        "known_to_the_end": audit.known_to_the_end,
        "generations": audit.generations,
        "trusted": audit.trusted,
        "signed_by": audit.signed_by(),
        "test_results": audit.results,
        "flagged": audit.flagged,
        "risks": [asdict(each) | {"shared": list(each.shared), "matched": list(each.matched)} for each in audit.risks],
        "answers": list(map(asdict, view.answers())),
        "findings": list(map(asdict, audit.findings)),
        "nodes": [_node(each, view) for each in view.ordered],
        "digested": {"files": audit.graph.digests.read, "bytes": audit.graph.digests.bytes_read},
    }


def as_sarif(audit: Audit, here: Path | None = None) -> dict[str, Any]:
    """Return an audit's findings as a SARIF 2.1.0 log of one run.

    Args:
        audit: the audit.
        here: paths below this folder are written relative to it; None for the working directory.
    """
    here = (here or Path.cwd()).absolute()
    results = [_result(each, list(RULES), audit.root, here) for each in audit.findings]
    return sarif_log(RULES, results, 0 if audit.holds else WRONG, AuditView(audit).verdict(), here)


def sarif_log(
    rules: Mapping[str, Rule], results: Sequence[dict[str, Any]], exit_code: int, verdict: str, here: Path
) -> dict[str, Any]:
    """Return a SARIF 2.1.0 log of one run.

    Args:
        rules: by their names, in the order that results' ``ruleIndex`` counts.
        results: as SARIF has them.
        exit_code: of the command.
        verdict: what it found, in words.
        here: the folder that relative places start from.
    """
    driver = {
        "name": "lightning-subliminal",
        "version": __version__,
        "rules": [
            {"id": name, "shortDescription": {"text": rule.means}, "defaultConfiguration": {"level": rule.level}}
            for name, rule in rules.items()
        ],
    }
    invocation = {
        "executionSuccessful": True,  # the command itself succeeded; findings are results
        "exitCode": exit_code,
        "exitCodeDescription": verdict,
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "originalUriBaseIds": {_HERE: {"uri": f"{here.as_uri().rstrip('/')}/"}},
        "results": list(results),
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding, rules: list[str], root: Node, here: Path) -> dict[str, Any]:
    path = Path(finding.path) if finding.path else root.path
    location: dict[str, Any] = {"logicalLocations": [{"name": printable(finding.where), "kind": "artefact"}]}
    if path is not None:
        location["physicalLocation"] = {"artifactLocation": artifact_location(path.absolute(), here)}
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": finding.level,
        "message": {"text": message_text(f"{finding.where}: {finding.says}")},
        "locations": [location],
        "partialFingerprints": fingerprint(finding.rule, finding.where, finding.says),
    }


def fingerprint(*parts: str) -> dict[str, str]:
    """Return the fingerprint of a finding, by which a host recognises an earlier one."""
    return {"finding/v1": hashlib.sha256("\n".join(parts).encode(errors="backslashreplace")).hexdigest()}


def message_text(text: str) -> str:
    """Return a message's text without control characters and links (SARIF 2.1.0, 3.11.6), which names may resemble.

    A link needs ``](``, so only this pair is escaped.
    """
    return printable(text).replace("](", r"\]\(")


def artifact_location(path: Path, here: Path) -> dict[str, str]:
    """Return a file's place: relative to a folder if it is below it, else absolute."""
    if path != here and path.is_relative_to(here):
        return {"uri": quote(path.relative_to(here).as_posix(), errors="surrogateescape"), "uriBaseId": _HERE}
    return {"uri": path.as_uri()}


def _node(node: Node, view: AuditView) -> dict[str, Any]:
    statement = node.statement
    rows = statement.rows if statement is not None else {}
    return {
        "key": node.key,
        "label": node.label,
        "kind": node.kind,
        "path": str(node.path) if node.path is not None else None,
        "state": view.state(node),
        "notes": view.notes(node),
        "identity": node.identity,
        "statement": statement.sha256 if statement is not None else None,
        "files": dict(statement.files) if statement is not None else {},
        "rows": {name: {"root": root, "count": count} for name, (root, count) in rows.items()},
        "signers": node.signers,
        "result": node.result,
        "links": [{"role": each.role, "key": each.key} for each in node.links],
        "settings": [{"role": each.role, "uri": each.uri, "digest": dict(each.digest)} for each in node.settings],
    }
