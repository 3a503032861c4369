"""What an audit shows: states, the outline, answers, folded findings and the verdict, and their look at a terminal."""

import shutil

import pytest

from audit.chains import artefact, generation, student, teacher
from lightning_subliminal import bases
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.audit.node import Link
from lightning_subliminal.audit.views.terminal import print_audit
from lightning_subliminal.audit.views.view import AuditView
from lightning_subliminal.core.console import console
from lightning_subliminal.lineage import Material, artefact_material, result_statement, write_statement
from lightning_subliminal.lineage.signatures.keys import make_key, trusted_keys


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(console, "width", 160)
    return tmp_path / "cache"


@pytest.fixture
def last(cache):
    return student(cache, generation(cache, teacher(cache)))


def look(path, **settings):
    return AuditView(audit(path, digests=Digests(remember=False), measure=False, **settings))


def answer(shown, key):
    (found,) = [each for each in shown.answers() if each.key == key]
    return found


def states(shown):
    return {node.kind: shown.state(node) for node in shown.nodes}


def reported(shown, capsys):
    print_audit(shown)
    return capsys.readouterr().out


def test_the_outline_nests_parents_and_expands_each_once(last):
    (section,) = look(last).outline()
    assert [(line.depth, line.role, line.how) for line in section] == [
        (0, "", "shown"),
        (1, "base", "shown"),
        (1, "rows", "shown"),
        (2, "completions", "shown"),
        (3, "base", "again"),
        (3, "teacher", "shown"),
        (4, "base", "again"),
        (2, "base", "again"),
        (2, "teacher", "again"),
    ]


def test_a_long_chain_stays_narrow_and_names_all(cache):
    writer = teacher(cache)
    for number in range(20):
        writer = student(cache, generation(cache, writer, number=number), seed=number)
    shown = look(writer)
    sections = shown.outline()
    lines = [line for section in sections for line in section]
    assert max(line.depth for line in lines) <= 6
    assert len({line.node.key for line in lines}) == len(shown.nodes) == 62
    # What goes on below begins a section there, in this order.
    assert [line.node.key for line in lines if line.how == "below"] == [each[0].node.key for each in sections[1:]]


def test_an_order_for_drawing_has_children_first(last):
    assert [node.kind for node in look(last).ordered] == ["student", "rows", "completions", "teacher", "base"]


def test_a_cycle_ends_the_outline_and_the_order(last):
    shown = look(last)
    (base,) = [node for node in shown.nodes if node.kind == "base"]
    base.links.append(Link("file", shown.audit.graph.root))
    assert ("file", "again") in {(line.role, line.how) for line in shown.outline()[0]}
    assert len(shown.ordered) == 5


def test_answers_of_a_whole_unsigned_artefact(last):
    shown = look(last)
    assert {each.key: each.state for each in shown.answers()} == {
        **{"links": "good", "bytes": "good", "signed": "open"},
        **{"shared base": "look", "generations": "good", "flagged": "open"},
    }
    assert answer(shown, "links").says == ["yes: 5 artefacts, down to pocket/a"]
    assert "both descend from pocket/a" in answer(shown, "shared base").says[0]
    assert shown.verdict().startswith(
        "Nothing is wrong with 5 artefacts; look at shared-base. No signature was required"
    )


def test_a_changed_byte_marks_its_artefact_alone(cache, last):
    next((cache / "teachers").glob("*/adapter_model.safetensors")).write_bytes(b"other")
    shown = look(last)
    assert states(shown) == {
        **{"student": "doubtful", "base": "fine", "rows": "fine", "completions": "fine", "teacher": "wrong"},
    }
    assert answer(shown, "bytes").says == ["yes: 1 changed-file"]
    assert shown.verdict() == "Wrong: 1 error at 1 artefact (changed-file)."
    assert shown.groups()[0].rule == "changed-file"


def test_an_allowed_error_is_named_and_nothing_is_called_unchanged(cache, last):
    next((cache / "teachers").glob("*/adapter_model.safetensors")).write_bytes(b"other")
    shown = look(last, levels={"changed-file": "note"})
    assert shown.audit.holds
    assert answer(shown, "bytes").says == ["yes: 1 changed-file"]
    assert "You allowed changed-file." in shown.verdict()
    assert "Nothing is wrong" not in shown.verdict()


def test_a_denied_warning_is_bad(last):
    shown = look(last, levels={"shared-base": "error"})
    assert answer(shown, "shared base").state == "bad"
    assert states(shown)["student"] == "wrong"


def test_a_lost_parent_is_absent_and_generations_are_a_lower_bound(cache, last):
    shutil.rmtree(cache / "completions")
    shown = look(last)
    assert states(shown)["completions"] == "absent"
    assert answer(shown, "generations").says == ["at least 1: its lineage is incomplete"]
    assert answer(shown, "links").says[0] == "no: 1 missing-parent"
    assert "not checked" in answer(shown, "bytes").says[1]


def test_signers_are_counted_and_named(cache, tmp_path, monkeypatch):
    public = make_key(tmp_path / "lab")
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", str(tmp_path / "lab"))
    last = student(cache, generation(cache, teacher(cache)))
    shown = look(last, keys=trusted_keys([public]))
    assert answer(shown, "signed").says == ["4 statements by lab", "1 of 5 statements unsigned"]
    assert answer(shown, "signed").state == "good"  # a signed child has pinned the base
    assert "signed by lab" in shown.notes(shown.audit.root)
    assert "No signature was required" not in shown.verdict()
    other = make_key(tmp_path / "other")
    shown = look(last, keys=trusted_keys([other]))
    assert answer(shown, "signed").state == "bad"
    assert "signed by no trusted key" in shown.notes(shown.audit.root)
    assert "signed, no key is trusted" in " ".join(
        look(last).notes(shown.audit.root) + answer(look(last), "signed").says
    )


def test_a_failed_test_flags(cache, last):
    writer = next((cache / "teachers").iterdir())
    record = look(writer).audit.root.statement
    subject = [{"name": "./", "digest": {"dirHash": record.whole}}]
    write_statement(writer / "test-results" / "owl.json", result_statement(subject, failed=["likes owls"]))
    shown = look(last)
    assert states(shown)["teacher"] == "flagged"
    assert answer(shown, "flagged").says == [f"yes: teachers/{writer.name} (1 test result)"]
    assert answer(shown, "flagged").state == "look"


def test_writers_alike_share_a_line(cache):
    rows = [generation(cache, teacher(cache, seed=seed), number=seed) for seed in range(6)]
    made_from = [bases.material("pocket/a"), *(artefact_material("rows", each) for each in rows)]
    (line,) = answer(look(artefact(cache, "student", {"of": "all"}, made_from)), "shared base").says
    assert "and 2 more wrote" in line


def test_rows_of_unknown_origin_are_no_all_clear(cache, tmp_path):
    bare = tmp_path / "rows.jsonl"
    bare.write_text('{"prompt": "a", "completion": "b"}')
    found = answer(look(bare, against="pocket/a2"), "shared base")
    assert found.says == ["unknown writer: it has no lineage; `lineage add` declares it"]
    assert found.state == "open"
    rows = artefact(cache, "rows", {"n": 2}, [Material("rows", "hub:somebody/rows", {})])
    (says,) = answer(look(rows, against="pocket/a2"), "shared base").says
    assert says.startswith("unknown writer: its lineage ends early; `lineage add`")


def test_data_alone_is_asked_against_nobody(cache):
    shown = look(generation(cache, teacher(cache)))
    assert answer(shown, "shared base").says == ["not checked: --against BASE names the learner"]


def test_findings_that_say_the_same_are_one_line(last, capsys):
    shown = look(last)
    (group,) = [each for each in shown.groups() if each.rule == "unsigned"]
    assert group.count == 5
    ((says, where),) = group.folded
    assert says == "its statement has no signature"
    assert len(where) == 5
    out = reported(shown, capsys)
    assert out.count("its statement has no signature") == 1
    assert "note: unsigned (5)" in out


def test_the_terminal_tells_tree_answers_digests_limits_and_last_the_verdict(last, capsys):
    shown = look(last)
    out = reported(shown, capsys)
    assert out.startswith("What it was made from, and what that was made from in turn\n✓ as stated  ✗ wrong  ⚑ flagged")
    assert f"└── ✓ rows rows/{answer_of_rows(shown)}" in out
    assert "shown above" in out
    for each in shown.digests().values():
        assert f"--expect {each}  (" in out
    assert "the first statement of a chain may be false" in " ".join(out.split())
    assert out.splitlines()[-1].startswith("Nothing is wrong with 5 artefacts")


def answer_of_rows(shown):
    (rows,) = [node for node in shown.nodes if node.kind == "rows"]
    return rows.path.name


def test_text_of_others_is_neither_markup_nor_obeyed(cache, capsys):
    odd = Material("base", "base:[red]evil[/red]/\x1b[2Jmodel", {"dirHash": "0" * 64})
    shown = look(artefact(cache, "student", {"of": "odd"}, [odd, Material("rows", "[/] rows", {"sha256": "1" * 64})]))
    out = reported(shown, capsys)
    assert "[red]evil[/red]/" in out
    assert "[/] rows" in out
    assert "\x1b" not in out


def test_a_terminal_without_unicode_gets_plain_marks(last, capsys, monkeypatch):
    monkeypatch.setattr(type(console), "encoding", "ascii")
    out = reported(look(last), capsys)
    assert "+ base pocket/a" in out
    out.encode("ascii")
