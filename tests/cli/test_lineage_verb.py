"""The verb `lineage`: declaring, signing, proving and exporting from the command line."""

import io
import json
import stat
import sys
from types import SimpleNamespace

import pytest
from audit.chains import generation, numbers, student, teacher
from cases import cases

from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.audit.digests import _stamp
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.rows import make_row, write_parquet
from lightning_subliminal.lineage import read_statement
from lightning_subliminal.lineage.signatures.keys import trusted_keys


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def refused(words, capsys, message, code=2):
    with pytest.raises(SystemExit) as caught:
        main(words)
    reported = capsys.readouterr().err
    assert caught.value.code == code
    assert message in reported
    assert len(reported.strip().splitlines()) == 1, reported


def test_help_teaches(capsys):
    main(["lineage", "--help"])
    reported = capsys.readouterr().out
    for verb in ("add", "keygen", "sign", "prove", "verify", "export"):
        assert f"\n  {verb} " in reported


class TestKeysAndSigning:
    def test_a_chain_is_signed_afterwards(self, cache, tmp_path, capsys):
        last = student(cache, generation(cache, teacher(cache)))
        main(["lineage", "keygen", "lab"])
        assert stat.S_IMODE((tmp_path / "lab").stat().st_mode) == 0o600
        main(["lineage", "sign", str(last), "--key", "lab", "--upstream"])
        assert "signed 4 statements" in capsys.readouterr().out
        found = audit(last, trusted_keys([tmp_path / "lab.pub"]), digests=Digests(remember=False), measure=False)
        assert found.holds
        assert found.signed_by() == {"lab": 4}

    def test_what_was_changed_is_not_signed(self, cache, capsys):
        last = student(cache, generation(cache, teacher(cache)))
        (last / "adapter_model.safetensors").write_bytes(b"other")
        main(["lineage", "keygen", "lab"])
        capsys.readouterr()
        refused(["lineage", "sign", str(last), "--key", "lab"], capsys, "Not signed: ")

    def test_notes_of_an_earlier_audit_are_not_believed(self, cache, tmp_path, monkeypatch, capsys):
        last = student(cache, generation(cache, teacher(cache)))
        notes = tmp_path / "notes.json"
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_AUDIT_NOTES", str(notes))
        main(["audit", str(last), "--no-measure"])
        path = last / "adapter_model.safetensors"
        before = json.loads(notes.read_text())
        sha = before[_stamp(path.stat())]
        path.write_bytes(b"other")
        notes.write_text(json.dumps(before | {_stamp(path.stat()): sha}))  # as if its times had been kept
        main(["lineage", "keygen", "lab"])
        capsys.readouterr()
        refused(["lineage", "sign", str(last), "--key", "lab"], capsys, "Not signed: ")

    def test_a_root_of_other_rows_is_not_signed(self, cache, tmp_path, capsys):
        (tmp_path / "theirs.jsonl").write_text('{"prompt": "3, 9", "completion": "27"}\n' * 3)
        main(["lineage", "add", "theirs.jsonl", "--kind", "rows"])
        main(["lineage", "keygen", "lab"])
        place = tmp_path / "theirs.jsonl.lineage.json"
        root = read_statement(place).rows["theirs.jsonl"][0]
        place.write_text(place.read_text().replace(root, "0" * 64))
        capsys.readouterr()
        refused(["lineage", "sign", "theirs.jsonl", "--key", "lab"], capsys, "3 rows with the root")

    def test_a_key_that_others_may_read_is_refused_before_any_work(self, cache, tmp_path, monkeypatch, capsys):
        main(["lineage", "keygen", "lab"])
        (tmp_path / "lab").chmod(0o640)
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", "lab")
        capsys.readouterr()
        refused(["fit", "--config", "nowhere.yaml"], capsys, "may be read by other users: run chmod 600")

    def test_a_key_is_never_written_over(self, cache, capsys):
        main(["lineage", "keygen", "lab"])
        capsys.readouterr()
        refused(["lineage", "keygen", "lab"], capsys, "exists already")


class TestAdd:
    def test_a_file_of_rows(self, cache, tmp_path, capsys):
        (tmp_path / "theirs.jsonl").write_text('{"prompt": "3, 9", "completion": "27"}\n' * 3)
        words = ["lineage", "add", "theirs.jsonl", "--kind", "rows", "--made-from", "base=Qwen/Qwen2.5-7B-Instruct"]
        main([*words, "--made-from", "pocket/a", "--by", "a vendor"])
        reported = read_statement(tmp_path / "theirs.jsonl.lineage.json")
        assert [(each.role, each.uri) for each in reported.materials] == [
            ("base", "base:Qwen/Qwen2.5-7B-Instruct"),
            ("base", "base:pocket/a"),
        ]
        assert reported.rows["theirs.jsonl"][1] == 3
        found = audit(tmp_path / "theirs.jsonl", digests=Digests(remember=False), measure=False)
        assert {"declared", "unknown-origin"} <= {each.rule for each in found.findings}
        assert found.holds

    def test_a_folder_made_from_artefacts(self, cache, tmp_path, capsys):
        source = student(cache, generation(cache, teacher(cache)))
        (tmp_path / "merged").mkdir()
        (tmp_path / "merged" / "model.safetensors").write_bytes(b"1")
        main(["lineage", "add", "merged", "--kind", "model", "--made-from", str(source)])
        found = audit(tmp_path / "merged", digests=Digests(remember=False), measure=False)
        assert found.generations == 1
        assert found.holds
        capsys.readouterr()
        refused(["lineage", "add", "merged", "--kind", "model"], capsys, "--again overwrites it")
        main(["lineage", "add", "merged", "--kind", "model", "--again"])

    @cases(
        ("words", "message"),
        [
            (["nowhere", "--kind", "model"], "nowhere was not found"),
            (["a.bin"], "--kind is missing"),
            (["a.bin", "--kind", "model", "--made-from", "nothing"], "'nothing' was not found: expected a base"),
            (["a.bin", "--kind", "model", "--made-from", "base="], "lacks a source: expected a base"),
            (["a.bin", "--kind", "model", "--made-from", "base=pocket/zzz"], "was not found: expected a base"),
            (["a.bin", "--kind", "model", "--made-from", "frob=pocket/a"], "'frob' is not a role"),
            (["a.bin", "--kind", "rows", "--made-from", "completions=pocket/a"], "a base is not data"),
        ],
    )
    def test_mistakes_are_reported(self, cache, tmp_path, capsys, words, message):
        (tmp_path / "a.bin").write_bytes(b"1")
        refused(["lineage", "add", *words], capsys, message)


class TestProofs:
    def test_rows_are_proven_and_checked(self, cache, tmp_path, capsys):
        rows = generation(cache, teacher(cache))
        main(["lineage", "prove", str(rows / "rows.parquet"), "--rows", "1-2,4", "--out", "proof.json"])
        main(["lineage", "verify", "proof.json", "--against", str(rows)])
        assert "3 rows are in the data set of 5 rows" in capsys.readouterr().out
        proof = json.loads((tmp_path / "proof.json").read_text())
        assert [each["row"]["completion"] for each in proof["rows"]] == [
            numbers(salt=7)[place]["completion"] for place in (1, 2, 4)
        ]
        proof["rows"][0]["row"]["completion"][0]["content"] = "other"
        (tmp_path / "proof.json").write_text(json.dumps(proof))
        words = ["lineage", "verify", "proof.json", "--against", str(rows)]
        refused(words, capsys, "Row 1 is not in that data set", code=3)

    def test_a_row_counts_once_and_says_no_more_than_is_proven(self, cache, tmp_path, capsys):
        rows = generation(cache, teacher(cache))
        main(["lineage", "prove", str(rows / "rows.parquet"), "--rows", "1,1,1", "--out", "proof.json"])
        words = ["lineage", "verify", "proof.json", "--against", str(rows)]
        proof = json.loads((tmp_path / "proof.json").read_text())
        proof["rows"] = proof["rows"] * 3
        (tmp_path / "proof.json").write_text(json.dumps(proof))
        main(words)
        assert "\n1 row is in the data set of 5 rows" in capsys.readouterr().out
        reported = json.dumps(proof["rows"][0])
        for change, message in (
            (lambda each: each["row"].update(weight=100), "a row with `weight`, which the root does not cover"),
            (lambda each: each["row"]["completion"][0].update(weight=100), "Row 1 is not in that data set"),
            (
                lambda each: each["row"]["prompt"][0].update(tool_calls=[{"name": "rm"}]),
                "Row 1 is not in that data set",
            ),
            (lambda each: each.update(place=True), "`place` is not a number"),
            (lambda each: each.update(row=[1]), "without `place`, `row` or `path`"),
        ):
            each = json.loads(reported)
            change(each)
            (tmp_path / "proof.json").write_text(json.dumps(proof | {"rows": [each]}))
            refused(words, capsys, message, code=3)

    def test_further_keys_of_messages_are_proven_too(self, cache, tmp_path, capsys):
        rows = [make_row([{"role": "user", "content": "a", "name": name}], "b") for name in ("x", "y")]
        write_parquet(rows, tmp_path / "their.parquet")
        main(["lineage", "add", "their.parquet", "--kind", "rows"])
        assert audit(tmp_path / "their.parquet", digests=Digests(remember=False), measure=False).holds
        main(["lineage", "prove", "their.parquet", "--rows", "1", "--out", "proof.json"])
        main(["lineage", "verify", "proof.json", "--against", "their.parquet"])
        text = (tmp_path / "proof.json").read_text()
        (tmp_path / "proof.json").write_text(text.replace('"y"', '"x"'))
        refused(["lineage", "verify", "proof.json", "--against", "their.parquet"], capsys, "Row 1 is not", code=3)

    def test_an_exported_file_carries_the_same_root(self, cache, tmp_path, capsys):
        rows = generation(cache, teacher(cache))
        main(["data", "convert", str(rows / "rows.parquet"), "rows.jsonl"])
        main(["lineage", "prove", str(rows / "rows.parquet"), "--rows", "3", "--out", "proof.json"])
        main(["lineage", "verify", "proof.json", "--against", "rows.jsonl"])
        ours, theirs = (
            read_statement(each).rows for each in (rows / "lineage.json", tmp_path / "rows.jsonl.lineage.json")
        )
        assert ours["rows.parquet"] == theirs["rows.jsonl"]
        found = audit(tmp_path / "rows.jsonl", digests=Digests(remember=False), measure=False)
        assert found.holds
        assert found.generations == 1

    def test_a_file_named_without_its_folder_leads_on(self, cache, tmp_path):
        rows = generation(cache, teacher(cache))
        main(["data", "convert", str(rows / "rows.parquet"), "rows.jsonl"])
        main(["data", "filter", "rows.jsonl", "kept.jsonl", "--filters+=NumberList"])
        found = audit(tmp_path / "kept.jsonl", digests=Digests(remember=False), measure=False)
        assert found.holds
        assert found.generations == 1

    def test_rows_of_the_standard_input_are_of_unknown_origin(self, cache, tmp_path, monkeypatch):
        text = b'{"prompt": "3, 9", "completion": "27"}\n'
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
        main(["data", "convert", "-", "rows.jsonl"])
        found = audit(tmp_path / "rows.jsonl", digests=Digests(remember=False), measure=False)
        assert found.holds
        assert not found.known_to_the_end

    def test_a_row_that_is_not_there(self, cache, capsys):
        rows = generation(cache, teacher(cache))
        refused(["lineage", "prove", str(rows / "rows.parquet"), "--rows", "9"], capsys, "has rows 0 to 4")


class TestExport:
    @pytest.mark.parametrize(("to", "package"), [("cyclonedx", "cyclonedx"), ("spdx", "spdx_python_model")])
    def test_a_model(self, cache, capsys, to, package):
        pytest.importorskip(package)
        last = student(cache, generation(cache, teacher(cache)))
        capsys.readouterr()
        main(["lineage", "export", str(last), "--to", to])
        reported = json.loads(capsys.readouterr().out)
        assert last.name in json.dumps(reported)

    def test_croissant_of_rows(self, cache, tmp_path):
        rows = generation(cache, teacher(cache))
        main(["lineage", "export", str(rows), "--to", "croissant", "--out", "rows.croissant.json"])
        assert json.loads((tmp_path / "rows.croissant.json").read_text())["@type"] == "sc:Dataset"

    def test_model_signing_makes_its_key(self, cache, tmp_path):
        last = student(cache, generation(cache, teacher(cache)))
        main(["lineage", "export", str(last), "--to", "model-signing", "--key", "p256", "--out", "model.sig"])
        assert json.loads((tmp_path / "model.sig").read_text())["mediaType"].startswith("application/vnd.dev.sigstore")
        assert (tmp_path / "p256.pub").is_file()

    @pytest.mark.parametrize("to", ["cyclonedx", "croissant"])
    def test_remembered_digests_are_not_believed(self, cache, tmp_path, monkeypatch, capsys, to):
        notes = tmp_path / "notes.json"
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_AUDIT_NOTES", str(notes))
        rows = generation(cache, teacher(cache))
        last = student(cache, rows) if to == "cyclonedx" else rows
        path = last / ("adapter_model.safetensors" if to == "cyclonedx" else "rows.parquet")
        main(["audit", str(last), "--no-measure"])
        before = json.loads(notes.read_text())
        sha = before[_stamp(path.stat())]
        path.write_bytes(path.read_bytes() + b"other")
        notes.write_text(json.dumps(before | {_stamp(path.stat()): sha}))  # as if its times had been kept
        capsys.readouterr()
        refused(["lineage", "export", str(last), "--to", to], capsys, f"Not exported: {last.parent.name}/{last.name}: ")

    def test_the_format_must_be_named(self, cache, capsys):
        last = student(cache, generation(cache, teacher(cache)))
        capsys.readouterr()
        refused(["lineage", "export", str(last)], capsys, "--to is missing")


def test_without_cryptography_it_says_what_to_install(cache, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(SystemExit):
        main(["lineage", "keygen", "lab"])
    assert "pip install 'lightning-subliminal[lineage]'" in capsys.readouterr().err


def test_a_hub_id_in_the_cache_is_known_by_its_digest(tmp_path, monkeypatch):
    import huggingface_hub

    from lightning_subliminal import bases
    from lightning_subliminal.cli.provenance.sources import material_of

    folder = bases.resolve("pocket/a").folder
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **settings: str(folder))
    one, other = material_of("base=org/model"), material_of("org/model")
    assert one.digest == other.digest == {"dirHash": bases.folder_digest(folder)}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **settings: str(tmp_path))
    assert material_of("org/model").digest == {}, "what is not whole is named alone"
