"""What an audit may not read, does not read, or stumbles over is an error of its own, and the audit goes on."""

import builtins
import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cases import cases

from audit.chains import generation, student, teacher
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.lineage import artefact_material, write_record, write_test_result
from lightning_subliminal.lineage.names import dir_hash
from lightning_subliminal.lineage.signatures.dsse import seal
from lightning_subliminal.lineage.signatures.keys import make_key, private_key, trusted_keys
from lightning_subliminal.lineage.statement import as_bytes, read_statement, result_statement
from lightning_subliminal.lineage.work_digests import note_of


def stand(tmp_path, monkeypatch):
    """Stand in a folder with a cache of its own, and return the cache."""
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def chain(cache):
    return student(cache, generation(cache, teacher(cache)))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    return stand(tmp_path, monkeypatch)


@pytest.fixture
def last(cache):
    return chain(cache)


def look(path, **settings):
    return audit(path, digests=Digests(remember=False, workers=1), measure=False, **settings)


def errors(found):
    return {(each.rule, each.says) for each in found.findings if each.level == "error"}


def forbid(monkeypatch, *places):
    """Take the right to read things away, also from root."""

    def denied(path):
        return isinstance(path, (str, os.PathLike)) and any(
            Path(path) == each or each in Path(path).parents for each in places
        )

    def wrapped(real, is_of_folder):
        def call(path, *rest, **options):
            if denied(path) and not (is_of_folder and Path(path) in places):  # the thing itself may be looked at
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *rest, **options)

        return call

    for name, is_of_folder in (("scandir", False), ("open", False), ("stat", True), ("lstat", True)):
        monkeypatch.setattr(os, name, wrapped(getattr(os, name), is_of_folder))
    for module in (builtins, io):
        monkeypatch.setattr(module, "open", wrapped(module.open, False))


def outputs(path, capsys):
    """Audit from the command line; return the exit code and the findings of JSON and SARIF."""
    words = ["--no-measure", "--no-cache", "--json", "a.json", "--sarif", "a.sarif", "--html", "a.html"]
    with pytest.raises(SystemExit) as stop:
        main(["audit", str(path), *words])
    reported, log = json.loads(Path("a.json").read_text()), json.loads(Path("a.sarif").read_text())
    assert Path("a.html").stat().st_size
    assert len(reported["findings"]) == len(log["runs"][0]["results"])
    assert "Nothing is wrong" not in capsys.readouterr().out
    return stop.value.code, {each["rule"] for each in reported["findings"] if each["level"] == "error"}


class TestMayNotBeRead:
    @cases("where", ["adapter_model.safetensors", "lineage.json", "deep", ""])
    def test_a_file_or_folder_of_the_artefact(self, tmp_path, where, monkeypatch, capsys):
        last = chain(stand(tmp_path, monkeypatch))
        (last / "deep").mkdir()
        forbid(monkeypatch, last / where)
        code, rules = outputs(last, capsys)
        assert (code, "unreadable" in rules) == (3, True)

    @cases("room", ["rows", "completions", "teachers"])
    def test_a_parent(self, tmp_path, room, monkeypatch):
        last = chain(cache := stand(tmp_path, monkeypatch))
        forbid(monkeypatch, next((cache / room).iterdir()))
        assert not look(last).holds

    def test_a_folder_in_which_test_results_may_lie(self, cache, last, tmp_path, monkeypatch):
        (tmp_path / "theirs" / "locked").mkdir(parents=True)
        forbid(monkeypatch, tmp_path / "theirs" / "locked", tmp_path / "elsewhere")
        assert look(last).holds, "nobody asked to look there"
        assert {rule for rule, _ in errors(look(last, search=[tmp_path / "theirs"]))} == {"unreadable"}

    def test_what_can_not_be_read_is_declared_by_nobody(self, tmp_path, cache, monkeypatch, capsys):
        (tmp_path / "model" / "locked").mkdir(parents=True)
        (tmp_path / "model" / "a.bin").write_bytes(b"1")
        forbid(monkeypatch, tmp_path / "model" / "locked")
        with pytest.raises(SystemExit) as stop:
            main(["lineage", "add", str(tmp_path / "model"), "--kind", "model"])
        assert stop.value.code == 2
        assert "locked can't be read (Permission denied): make it readable" in capsys.readouterr().err


class TestIsNotRead:
    @cases(
        "name",
        [
            *(".hidden", ".hidden/deep/model.safetensors", "deep/.hidden.json", ".cache/huggingface/model.safetensors"),
            *(
                "test-results/model.safetensors",
                "test-results/deep/x.json",
                "test-results/x.json",
                ".x.safetensors.0123456789abcdef",
            ),
        ],
    )
    def test_hidden_files_and_what_is_no_test_result(self, tmp_path, monkeypatch, name):
        last = chain(stand(tmp_path, monkeypatch))
        (last / name).parent.mkdir(parents=True, exist_ok=True)
        (last / name).write_text('{"weights": 1}')
        [(rule, says)] = errors(look(last))
        assert rule == "unreadable"
        assert name in says

    def test_a_pipe(self, last):
        os.mkfifo(last / "pipe")
        assert ("unreadable", "pipe is not a plain file; no statement names it, and no audit reads it") in errors(
            look(last)
        )

    def test_many_are_one_finding(self, last):
        (last / ".git").mkdir()
        for number in range(9):
            (last / ".git" / str(number)).write_text("x")
        [(_, says)] = errors(look(last))
        assert says.startswith("9 files: .git/0, .git/1, .git/2, ...: each is hidden")

    @cases("name", [".gitattributes", ".cache/huggingface/x.metadata", ".adapter_model.safetensors.0123456789abcdef"])
    def test_what_tools_and_killed_runs_leave_is_a_note(self, tmp_path, monkeypatch, name):
        last = chain(stand(tmp_path, monkeypatch))
        (last / name).parent.mkdir(parents=True, exist_ok=True)
        (last / name).write_text("x")
        found = look(last)
        assert found.holds
        assert any(each.rule == "beside" and name in each.says for each in found.findings)

    def test_notes_of_digests_are_none_of_it(self, cache, last):
        folder = next((cache / "completions").iterdir())
        note_of(folder / "shard-00000.parquet").write_text("{}")
        assert not [each for each in look(last).findings if each.level == "error" or each.rule == "beside"]
        note_of(folder / "shard-00000.parquet").write_bytes(b"x" * 100_000)
        note_of(folder / "shard-00001.parquet").symlink_to(last / "lineage.json")
        [(rule, says)] = errors(look(last))
        assert (rule, says[:8]) == ("unreadable", "2 files:")

    def test_a_hidden_file_that_the_statement_names_is_read(self, tmp_path, cache):
        (tmp_path / "run").mkdir()
        for name in (".index.json", "results.json"):
            (tmp_path / "run" / name).write_text("{}")
        write_record(tmp_path / "run", "comparison", {}, files=[".index.json", "results.json"])
        assert look(tmp_path / "run").holds
        (tmp_path / "run" / ".index.json").write_text("[]")
        assert {rule for rule, _ in errors(look(tmp_path / "run"))} == {"changed-file"}

    def test_results_in_the_artefact_are(self, last):
        write_test_result(last, "it", artefact_material("student", last), {"owl": (0.0, 0.01)})
        assert look(last).holds


def restated(folder, files):
    """State other files of an artefact, as somebody without a key may."""
    reported = json.loads((folder / "lineage.json").read_text())
    reported["subject"] = [{"name": "./", "digest": {"dirHash": dir_hash(files)}}]
    reported["subject"] += [{"name": name, "digest": {"sha256": sha}} for name, sha in files.items()]
    (folder / "lineage.json").write_bytes(as_bytes(reported))


class TestStumbles:
    @cases("name", ["a/" * 8000 + "b", "/".join(["a" * 250] * 40), "\u00e9" * 3000])
    def test_names_that_no_disk_holds(self, tmp_path, monkeypatch, name, capsys):
        last = chain(stand(tmp_path, monkeypatch))
        restated(last, {name: "0" * 64})
        code, rules = outputs(last, capsys)
        assert (code, "unsafe-path" in rules) == (3, True)

    def test_a_parent_of_such_a_name(self, last, capsys):
        reported = json.loads((last / "lineage.json").read_text())
        reported["predicate"]["buildDefinition"]["resolvedDependencies"][1]["uri"] = (
            "lightning-subliminal:" + "a/" * 8000 + "b"
        )
        (last / "lineage.json").write_bytes(as_bytes(reported))
        assert outputs(last, capsys)[0] == 3

    @cases("kind", ["text", "key", "garbage"])
    def test_a_table_of_broken_text(self, tmp_path, monkeypatch, kind, capsys):
        chain(cache := stand(tmp_path, monkeypatch))
        folder = next((cache / "rows").iterdir())
        text = pa.Array.from_buffers(
            pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfeab")]
        )
        table = {"text": {"prompt": text, "completion": text}, "key": {"x": text}}.get(kind)
        if table is None:
            (folder / "rows.parquet").write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
        else:
            pq.write_table(pa.table(table), folder / "rows.parquet")
        files = {"rows.parquet": file_digest(folder / "rows.parquet")}
        reported = json.loads((folder / "lineage.json").read_text())
        reported["subject"][0]["digest"]["dirHash"] = dir_hash(files)
        reported["subject"][1]["digest"]["sha256"] = files["rows.parquet"]
        (folder / "lineage.json").write_bytes(as_bytes(reported))
        code, rules = outputs(folder, capsys)
        assert (code, "changed-rows" in rules) == (3, True)

    def test_a_name_that_is_no_text(self, last, capsys):
        with open(os.fsencode(last) + b"/\xff\xfe.bin", "wb") as stream:
            stream.write(b"1")
        code, rules = outputs(last, capsys)
        assert (code, rules) == (3, {"unlisted-file"})

    @cases("error", [RuntimeError("boom"), RecursionError(), MemoryError(), BaseException("panicked")])
    def test_whatever_is_raised_at_one_artefact_is_a_finding_there(self, tmp_path, error, monkeypatch, capsys):
        last = chain(stand(tmp_path, monkeypatch))
        from lightning_subliminal.audit import checks

        real = checks.check_files

        def check(node, digests):
            if node.kind == "rows":
                raise error
            real(node, digests)

        monkeypatch.setattr(checks, "check_files", check)
        (last / "adapter_model.safetensors").write_bytes(b"evil")
        code, rules = outputs(last, capsys)
        assert (code, rules) == (3, {"unchecked", "changed-file"}), "the others are checked"

    def test_the_kinship_of_what_can_not_be_measured(self, cache, monkeypatch):
        from lightning_subliminal.audit import run as auditing

        monkeypatch.setattr(auditing, "measured_kinship", lambda first, second: 1 / 0)
        rows = generation(cache, teacher(cache))
        found = audit(rows, against="pocket/b", digests=Digests(remember=False, workers=1))
        assert {(each.rule, each.level) for each in found.findings} >= {("unchecked", "error")}


class TestOddResults:
    @pytest.fixture
    def source(self, cache):
        return teacher(cache)

    def written(self, cache, source, **predicate):
        write_test_result(cache / "measured" / "x", "it", artefact_material("teacher", source), {"owl": (0.0, 0.01)})
        path = cache / "measured" / "x" / "test-results" / "it.json"
        reported = json.loads(path.read_text())
        reported["predicate"] |= predicate
        path.write_bytes(as_bytes(reported))
        return path

    @cases(
        "predicate",
        [
            *({"passedTests": each} for each in (5, "a text with owl in it", {"owl": True}, [["owl"]], ["owl", 5])),
            *({"result": each} for each in ("passed", None, ["PASSED"], True)),
            {"result": "WARNED", "warnedTests": ["owl"]},
            {"failedTests": ["wolf"]},
            {"result": "WARNED", "failedTests": ["wolf"]},
        ],
    )
    def test_they_count_for_nothing_and_are_errors(self, tmp_path, monkeypatch, predicate, capsys):
        source = teacher(cache := stand(tmp_path, monkeypatch))
        self.written(cache, source, **predicate)
        last = student(cache, generation(cache, source))
        for name in ("tested", "tested:owl"):
            found = look(last, require=[name])
            assert {rule for rule, _ in errors(found)} == {"bad-statement", "untested"}
        code, rules = outputs(last, capsys)
        assert (code, rules) == (3, {"bad-statement"})

    @cases("name", ["ow", "o", "owl, wolf", ""])
    def test_a_name_is_matched_whole(self, tmp_path, monkeypatch, name):
        source = teacher(cache := stand(tmp_path, monkeypatch))
        self.written(cache, source, passedTests=["owl", "wolf"])
        last = student(cache, generation(cache, source))
        assert look(last, require=["tested:owl"]).holds
        if name:
            assert {rule for rule, _ in errors(look(last, require=[f"tested:{name}"]))} == {"untested"}

    def test_the_type_of_what_is_signed_counts(self, cache, source, tmp_path):
        keys = trusted_keys([make_key(tmp_path / "key")])
        path = self.written(cache, source)
        last = student(cache, generation(cache, source))
        rules = {}
        for kind in ("application/vnd.in-toto+json", "text/plain"):
            sealed = seal(path.read_bytes(), private_key(tmp_path / "key"), kind)
            path.with_name("it.dsse.json").write_bytes(sealed)
            rules[kind] = {each.rule for each in look(last, keys=keys, require=["tested"]).findings}
        assert "untested" in rules["text/plain"]
        assert "untested" not in rules["application/vnd.in-toto+json"]

    def test_another_predicate_is_no_test_result(self, cache, source):
        path = self.written(cache, source)
        reported = json.loads(path.read_text()) | {"predicateType": "https://example.com/test-result"}
        path.write_bytes(as_bytes(reported))
        assert look(student(cache, generation(cache, source)), require=["tested"]).results == 0

    def test_one_that_says_failed_flags_however_odd(self, cache, source):
        self.written(cache, source, result="FAILED", failedTests=7)
        found = look(student(cache, generation(cache, source)))
        assert found.flagged
        assert "bad-statement" in {rule for rule, _ in errors(found)}


def test_our_own_results_are_not_odd(tmp_path):
    for lists in ((["a"], [], []), ([], ["a"], []), (["a"], ["b"], ["c"]), ([], [], [])):
        path = tmp_path / "x.json"
        path.write_bytes(as_bytes(result_statement([{"name": "m", "digest": {"sha256": "0" * 64}}], *lists)))
        from lightning_subliminal.audit.risk import _fault

        assert _fault(read_statement(path)) is None
