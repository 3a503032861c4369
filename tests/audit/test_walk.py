import hashlib
import json
import os
import shutil
from dataclasses import replace

import pytest

from audit.chains import artefact, generation, student, teacher
from lightning_subliminal import bases
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import artefact_material, write_record
from lightning_subliminal.lineage.signatures.keys import make_key, trusted_keys


@pytest.fixture
def last(cache):
    return student(cache, generation(cache, teacher(cache)))


def rules(found, level="error"):
    return {each.rule for each in found.findings if each.level == level}


def look(path, **settings):
    return audit(path, digests=Digests(remember=False), measure=False, **settings)


class TestWhole:
    def test_each_artefact_is_found_down_to_the_base(self, last):
        found = look(last)
        assert [node.kind for node in found.graph.nodes.values()] == [
            *("student", "base", "rows", "completions", "teacher"),
        ]
        assert found.holds
        assert found.known_to_the_end
        assert rules(found) == set()

    def test_a_moved_cache_is_still_whole(self, cache, last, tmp_path, monkeypatch):
        shutil.move(cache, tmp_path / "elsewhere")
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "empty"))
        found = look(tmp_path / "elsewhere" / "students" / last.name)
        assert found.holds
        assert len(found.graph.nodes) == 5

    def test_an_artefact_copied_alone_finds_its_parents_in_the_cache(self, last, tmp_path):
        shutil.copytree(last, tmp_path / "handed" / "on")
        assert look(tmp_path / "handed" / "on").holds

    def test_search_finds_parents_under_other_names(self, cache, last, tmp_path, monkeypatch):
        shutil.move(cache, tmp_path / "far" / "off")
        for number, each in enumerate(sorted((tmp_path / "far" / "off").glob("*/*"))):
            if each.name != last.name:
                each.rename(each.with_name(f"named-{number}"))
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "empty"))
        shutil.copytree(tmp_path / "far" / "off" / "students" / last.name, tmp_path / "mine" / "model")
        assert rules(look(tmp_path / "mine" / "model")) == {"missing-parent"}
        assert look(tmp_path / "mine" / "model", search=[tmp_path / "far" / "off"]).holds

    def test_a_run_beside_is_found(self, cache, last, tmp_path):
        """As `evaluate` names a student of a run: by the run's name, not by where runs are."""
        shutil.move(last, tmp_path / "runs" / "owl-1" / "student")
        out = tmp_path / "evaluated"
        out.mkdir()
        (out / "results.json").write_text("{}")
        write_record(out, "evaluation", {}, [artefact_material("model", tmp_path / "runs" / "owl-1" / "student")])
        found = look(out)
        assert found.holds
        assert len(found.graph.nodes) == 6

    def test_a_chain_of_hundreds_needs_no_recursion(self, cache):
        writer = teacher(cache)
        for number in range(120):
            writer = student(cache, generation(cache, writer, number=number), seed=number % 250)
        found = look(writer)
        assert found.generations == 120
        assert len(found.graph.nodes) == 1 + 1 + 3 * 120

    def test_nothing_there_is_reported(self, tmp_path):
        with pytest.raises(InputError, match="was not found: give an artefact's folder"):
            look(tmp_path / "nowhere")

    def test_a_folder_without_a_statement_is_no_pass(self, tmp_path):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text("{}")
        assert rules(look(tmp_path / "model")) == {"no-statement"}

    def test_a_folder_of_artefacts_names_one_of_them(self, cache):
        first, _ = sorted(teacher(cache, seed=seed) for seed in (1, 2))
        (found,) = look(cache / "teachers").findings
        assert found.rule == "no-statement"
        assert f"it holds 2 artefacts that have one: audit {first}" in found.says


class TestTampered:
    def test_the_file_and_the_artefact_are_named(self, cache, last):
        path = next((cache / "teachers").glob("*/adapter_model.safetensors"))
        path.write_bytes(b"other")
        (found,) = [each for each in look(last).findings if each.level == "error"]
        assert (found.rule, found.path) == ("changed-file", str(path))
        assert path.parent.name in found.where

    def test_rows_in_another_order_with_the_file_digest_mended(self, cache, last):
        from audit.chains import numbers
        from lightning_subliminal.core.rows import write_parquet

        folder = next((cache / "rows").iterdir())
        write_parquet(list(reversed(numbers(salt=7))), folder / "rows.parquet")
        reported = json.loads((folder / "lineage.json").read_text())
        write_record(folder, "rows", reported["predicate"]["buildDefinition"]["externalParameters"]["settings"])
        mended = json.loads((folder / "lineage.json").read_text())
        mended["subject"].append(next(each for each in reported["subject"] if each["name"].endswith("#rows")))
        (folder / "lineage.json").write_text(json.dumps(mended))
        assert {"changed-rows", "wrong-parent", "cut-chain"} <= rules(look(last))

    def test_another_statement_of_the_same_files_is_no_parent(self, cache, last):
        folder = next((cache / "teachers").iterdir())
        write_record(folder, "teacher", {"teacher": "pocket/a", "seed": 0}, [])
        found = look(last)
        reported = next(each for each in found.findings if each.rule == "wrong-parent")
        assert "its statement was changed, though the digests in it are the same" in reported.says

    def test_an_older_whole_chain_is_found_by_the_digest_noted(self, cache, last):
        noted = look(last).root.statement.sha256
        old = student(cache, next((cache / "rows").iterdir()), seed=9)
        shutil.rmtree(last)
        shutil.copytree(old, last)
        assert "unexpected" in rules(look(last, expect=noted))
        assert look(old, expect=look(old).root.identity).holds

    def test_a_cycle_of_declared_things_ends(self, tmp_path, cache):
        first, second = tmp_path / "x" / "first", tmp_path / "x" / "second"
        for each in (first, second):
            each.mkdir(parents=True)
            (each / "a.bin").write_bytes(b"1")
        for one, other in ((first, second), (second, first)):
            link = replace(artefact_material("rows", other), statement=None, digest={})
            write_record(one, "report", {}, [link])
        assert "cycle" in rules(look(first))

    def test_a_card_does_no_harm(self, last):
        (last / "README.md").write_text("a card")
        assert look(last).holds

    def test_remembered_digests_see_a_change_with_the_old_time(self, cache, last, tmp_path):
        notes = tmp_path / "notes.json"
        assert audit(last, digests=Digests(notes), measure=False).holds
        path = last / "adapter_model.safetensors"
        status = path.stat()
        data = bytearray(path.read_bytes())
        data[0] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert rules(audit(last, digests=Digests(notes), measure=False)) == {"changed-file"}


class TestSigned:
    @pytest.fixture
    def key(self, tmp_path, monkeypatch):
        public = make_key(tmp_path / "key")
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", str(tmp_path / "key"))
        return public

    def test_all_are_signed_by_whom(self, key, last):
        found = look(last, keys=trusted_keys([key]))
        assert found.holds
        assert found.signed_by() == {"key": 4}  # the base is not ours to sign, and its child holds its digest

    def test_unsigned_is_said_and_with_trusted_keys_refused(self, cache, last, tmp_path):
        assert "unsigned" in rules(look(last), "note")
        assert "untrusted-signer" in rules(look(last, keys=trusted_keys([make_key(tmp_path / "key")])))

    def test_another_trusted_key_is_not_enough(self, key, last, tmp_path):
        assert rules(look(last, keys=trusted_keys([make_key(tmp_path / "other")]))) == {"untrusted-signer"}

    def test_a_base_outside_the_chain_is_not_pinned(self, key, cache, last):
        found = audit(bases.resolve("pocket/b").folder, keys=trusted_keys([key]), measure=False)
        assert "untrusted-signer" in rules(found)


class TestLevels:
    def test_a_rule_may_be_made_stricter_or_milder(self, cache, last):
        shutil.rmtree(next((cache / "teachers").iterdir()))
        assert rules(look(last)) == {"missing-parent"}
        assert look(last, levels={"missing-parent": "note"}).holds
        assert "unsigned" in rules(look(last, levels={"unsigned": "error"}))

    def test_an_unknown_rule_is_reported(self, last):
        with pytest.raises(InputError, match="did you mean `missing-parent`"):
            look(last, levels={"missing-parents": "note"})


def test_an_evaluation_of_a_student_reaches_the_base(cache, last):
    found = look(artefact(cache, "evaluation", {"asked": 1}, [artefact_material("student", last)]))
    assert len(found.graph.nodes) == 6
    assert found.generations == 1


def _told_by(builder, folder):
    reported = json.loads((folder / "lineage.json").read_text())
    reported["predicate"]["runDetails"]["builder"]["id"] = builder
    (folder / "lineage.json").write_text(json.dumps(reported))


def test_a_base_whose_origin_is_reported_anew_is_still_that_base(cache, tmp_path):
    shutil.copytree(bases.resolve("pocket/b").folder, tmp_path / "base")
    _told_by("urn:x-old-release", tmp_path / "base")  # else the package's own would be found in its place
    last = student(cache, generation(cache, teacher(cache, str(tmp_path / "base")), str(tmp_path / "base")))
    _told_by("urn:x-new-release", tmp_path / "base")
    found = look(last)
    assert "restated" in rules(found, "warning")
    (tmp_path / "base" / "config.json").write_text("{}")
    assert "changed-file" in rules(look(last))


class TestAttacks:
    """What a review did to an earlier version; each got "nothing is wrong" from it."""

    @pytest.fixture
    def signed(self, tmp_path, monkeypatch, cache):
        public = make_key(tmp_path / "key")
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", str(tmp_path / "key"))
        return trusted_keys([public]), student(cache, generation(cache, teacher(cache)))

    @pytest.mark.parametrize("name", [".lineage.json", "xlineage.json", "nothing.lineage.json"])
    def test_an_older_parent_with_the_good_statement_beside(self, signed, cache, name):
        keys, last = signed
        rows = next((cache / "rows").iterdir())
        other = generation(cache, teacher(cache, seed=1), number=1)
        good = (rows / "lineage.json").read_bytes()
        shutil.rmtree(rows)
        (other / name).write_bytes(good)
        assert {"missing-parent", "wrong-parent"} & rules(look(last, keys=keys))

    def test_a_base_without_a_statement_whose_weights_change_with_the_clock_set_back(self, cache, tmp_path):
        base = tmp_path / "base"
        shutil.copytree(bases.resolve("pocket/b").folder, base)
        (base / "lineage.json").unlink()
        last = student(cache, generation(cache, teacher(cache, str(base)), str(base)), str(base))
        assert look(last).holds
        path = base / "model.safetensors"
        status, data = path.stat(), bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert rules(look(last)) == {"wrong-parent"}

    def test_an_adapter_beside_a_base(self, cache, tmp_path):
        base = tmp_path / "base"
        shutil.copytree(bases.resolve("pocket/b").folder, base)
        _told_by("urn:x-mine", base)
        last = student(cache, generation(cache, teacher(cache, str(base)), str(base)), str(base))
        (base / "adapter_config.json").write_text("{}")
        assert rules(look(last)) == {"unlisted-file", "read-elsewhere"}

    def test_files_beside_results_are_reported(self, cache, tmp_path):
        (tmp_path / "run").mkdir()
        for name in ("results.json", "config.yaml"):
            (tmp_path / "run" / name).write_text("{}")
        write_record(tmp_path / "run", "comparison", {}, files=["results.json"])
        found = look(tmp_path / "run")
        assert found.holds
        assert any(each.rule == "beside" and "config.yaml" in each.says for each in found.findings)

    def test_another_tools_statement_must_agree_with_itself_too(self, cache, last):
        reported = json.loads((last / "lineage.json").read_text())
        reported["predicate"]["buildDefinition"]["buildType"] = "https://example.com/x"
        whole = look(last).root.statement.whole
        (last / "adapter_model.safetensors").write_bytes(b"evil")
        for each in reported["subject"]:
            if each["name"] == "adapter_model.safetensors":
                each["digest"]["sha256"] = hashlib.sha256(b"evil").hexdigest()
        (last / "lineage.json").write_text(json.dumps(reported))
        assert "changed-statement" in rules(look(last, expect=whole))

    def test_a_deleted_base_that_had_a_statement_is_missing(self, cache, tmp_path):
        base = tmp_path / "some" / "base"
        shutil.copytree(bases.resolve("pocket/b").folder, base)
        _told_by("urn:x-mine", base)
        last = student(cache, generation(cache, teacher(cache, str(base)), str(base)), str(base))
        shutil.rmtree(base)
        assert "missing-parent" in rules(look(last))

    def test_a_base_reported_anew_by_nobody_trusted(self, signed, cache, tmp_path):
        """Its files are vouched for by its signed child, what is said of its origin is not."""
        keys, _ = signed
        base = tmp_path / "base"
        shutil.copytree(bases.resolve("pocket/b").folder, base)
        _told_by("urn:x-mine", base)
        last = student(cache, generation(cache, teacher(cache, str(base)), str(base)), str(base))
        assert look(last, keys=keys).holds
        _told_by("urn:x-without-ancestors", base)
        assert "untrusted-signer" in rules(look(last, keys=keys))
