"""Audits of many artefacts and links: the walk is linear in links, and pages stay small."""

import copy
import hashlib
import json

import pytest

from lightning_subliminal.audit import Digests, audit, parents
from lightning_subliminal.audit.views.page import as_html, as_svg
from lightning_subliminal.audit.views.sarif import as_json
from lightning_subliminal.audit.views.view import AuditView
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import Bound
from lightning_subliminal.lineage.material import SCHEME
from lightning_subliminal.lineage.names import RECORD, dir_hash
from lightning_subliminal.lineage.statement import as_bytes, provenance, read_statement

SHA = hashlib.sha256(b"a").hexdigest()
WHOLE = dir_hash({"a.txt": SHA})
EMPTY = provenance("model", {"declared": True}, {"a.txt": SHA}, declared={"by": "", "note": ""})


def artefact(folder, parents):
    """Write an artefact that was made from others, each given by name and digest of its statement."""
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"a")
    said = copy.deepcopy(EMPTY)
    said["predicate"]["buildDefinition"]["resolvedDependencies"] = [
        {
            "name": "teacher",
            "uri": f"{SCHEME}models/{name}",
            "digest": {"dirHash": WHOLE},
            "annotations": {"statementSha256": sha},
        }
        for name, sha in parents
    ]
    raw = as_bytes(said)
    (folder / RECORD).write_bytes(raw)
    return folder.name, hashlib.sha256(raw).hexdigest()


def look(folder):
    return audit(folder, measure=False, digests=Digests(remember=False))


def dense(folder, count):
    made = []
    for number in range(count):
        made.append(artefact(folder / "models" / f"m{number}", made))
    return folder / "models" / made[-1][0]


def test_each_artefact_is_read_once_however_many_were_made_from_it(tmp_path, monkeypatch):
    count = []
    read = parents.read_beside
    monkeypatch.setattr(parents, "read_beside", lambda path: count.append(path) or read(path))
    found = look(dense(tmp_path, 40))
    assert len(found.graph.nodes) == len(count) == 40
    assert sum(len(node.links) for node in found.graph.nodes.values()) == 40 * 39 // 2
    assert not [each for each in found.findings if each.level == "error"]


def test_a_long_chain_is_walked_without_recursion(tmp_path):
    last = []
    for number in range(400):
        last = [artefact(tmp_path / "models" / f"m{number}", last)]
    found = look(tmp_path / "models" / last[0][0])
    assert len(found.graph.nodes) == 400
    assert found.holds
    assert "<svg" in as_svg(found)


def test_pages_are_bounded_and_say_what_they_leave_out(tmp_path, monkeypatch):
    for place in ("view", "page"):
        monkeypatch.setattr(f"lightning_subliminal.audit.views.{place}.MAX_SHOWN", Bound("MAX_SHOWN", 10))
    found = look(dense(tmp_path, 30))
    shown = AuditView(found)
    assert sum(map(len, shown.outline())) <= 20
    assert "30 artefacts with 435 links: at most 10 are shown; --json has all (LIGHTNING_SUBLIMINAL_MAX_SHOWN" in (
        shown.left_out()
    )
    assert shown.left_out() in as_html(found).replace("&#34;", '"')
    assert as_svg(found).count("<circle") == 10
    assert len(as_json(found)["nodes"]) == 30


def test_a_small_audit_leaves_nothing_out(tmp_path):
    assert AuditView(look(dense(tmp_path, 5))).left_out() == ""


def test_many_materials_that_are_not_at_hand(tmp_path):
    artefact(tmp_path / "it", [(f"gone{number}", "0" * 64) for number in range(1000)])
    found = look(tmp_path / "it")
    assert found.count("missing-parent") == 1000
    assert len(as_html(found)) < 4_000_000


def test_too_many_materials_artefacts_or_links_are_reported_by_the_bound(tmp_path, monkeypatch):
    start = dense(tmp_path, 12)
    for name in ("MAX_ARTEFACTS", "MAX_LINKS"):
        with monkeypatch.context() as patch:
            patch.setattr(f"lightning_subliminal.audit.graph.{name}", Bound(name, 9))
            with pytest.raises(InputError, match=rf"more than 9 .*LIGHTNING_SUBLIMINAL_{name}="):
                look(start)
    monkeypatch.setattr("lightning_subliminal.lineage.statement.MAX_MATERIALS", Bound("MAX_MATERIALS", 9))
    with pytest.raises(InputError, match=r"lineage.json names 11 materials: expected at most 9"):
        read_statement(start / RECORD)
    assert [each.rule for each in look(start).findings] == ["bad-statement"]


def test_the_walk_says_the_same_of_each_child(tmp_path):
    first = artefact(tmp_path / "models" / "one", [("gone", "0" * 64)])
    artefact(tmp_path / "models" / "two", [first, ("gone", "0" * 64)])
    found = look(tmp_path / "models" / "two")
    assert sorted(each.where for each in found.findings if each.rule == "missing-parent") == [
        "models/one",
        "models/two",
    ]
    assert json.dumps(as_json(found))
