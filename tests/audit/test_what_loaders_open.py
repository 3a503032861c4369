"""A whole copy elsewhere proves nothing: an audit looks at what a loader of the artefact opens."""

import json
import shutil

import pytest
from cases import cases

from audit.chains import artefact, generation, student, teacher
from lightning_subliminal import bases
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.audit.locate import Places
from lightning_subliminal.core.io.adapter_names import PEFT_FILES
from lightning_subliminal.core.rows import write_parquet
from lightning_subliminal.formats.convert import convert
from lightning_subliminal.lineage import Material, artefact_material, write_record


def wrong(path, **settings):
    found = audit(path, digests=Digests(remember=False), measure=False, **settings).findings
    return {each.rule for each in found if each.level == "error"}


def changed(base):
    path = base / "generation_config.json"
    path.write_text(path.read_text() + " ")


def peft_student(cache, base, named):
    """Make a student on a base, whose PEFT config names it by a path."""
    made = student(cache, generation(cache, teacher(cache, base), base), base)
    record = made / "lineage.json"
    (made / PEFT_FILES.config).write_text(json.dumps({"base_model_name_or_path": named}))
    reported = json.loads(record.read_text())["predicate"]["buildDefinition"]
    materials = [bases.material(base), artefact_material("rows", next((cache / "rows").iterdir()))]
    record.unlink()
    write_record(made, "student", reported["externalParameters"]["settings"], materials)
    return made


class TestBases:
    @pytest.mark.parametrize("by_path", [True, False])
    def test_a_copy_of_a_base_with_noise_does_not_stand_for_it(self, by_path, cache):
        name = "pocket/a+noise=0.01,seed=1"
        folder = bases.resolve(name).folder
        made = peft_student(cache, name, str(folder) if by_path else name)
        assert not wrong(made)
        shutil.copytree(folder, folder.with_name("noisy-zz"))
        changed(folder)
        assert "wrong-parent" in wrong(made)

    def test_the_path_in_peft_s_config_is_what_counts(self, cache, tmp_path):
        inside = shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "base")
        made = peft_student(cache, "pocket/a", str(inside))  # as by a package in another environment
        assert not wrong(made)
        changed(inside)
        assert wrong(made) == {"wrong-parent", "changed-file"}

    def test_an_adapter_that_peft_would_put_on_it_there(self, cache, tmp_path):
        inside = shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "base")
        made = peft_student(cache, "pocket/a", str(inside))
        (inside / PEFT_FILES.config).write_text("{}")
        assert "read-elsewhere" in wrong(made)

    def test_a_path_of_another_machine_is_none_here(self, cache, tmp_path):
        assert not wrong(peft_student(cache, "pocket/a", str(tmp_path / "gone")))

    def test_a_name_with_noise_means_that_base_alone(self, cache):
        asked = [f"pocket/a+noise=0.01,seed={seed}" for seed in (1, 2, 3)]
        made = {name: bases.resolve(name).folder for name in asked}
        for name, folder in made.items():
            assert [*Places(cache).hinted(Material("base", f"base:{name}", {}))] == [folder]
        assert not [*Places(cache).hinted(Material("base", "base:pocket/a+noise=0.01,seed=4", {}))]

    @pytest.mark.parametrize(
        "config",
        [
            {"peft_type": "XLORA", "adapters": {"0": "/elsewhere/adapter"}},
            {"peft_type": "MULTITASK_PROMPT_TUNING", "prompt_tuning_init_state_dict_path": "state.safetensors"},
        ],
        ids=lambda config: config["peft_type"],
    )
    def test_what_peft_reads_by_a_path_in_a_config(self, config, cache):
        made = artefact(cache, "model", {"any": 1}, [])
        (made / "lineage.json").unlink()
        (made / PEFT_FILES.config).write_text(json.dumps(config))
        write_record(made, "model", {"any": 1}, [])
        assert "read-elsewhere" in wrong(made)


class TestRuns:
    @pytest.fixture
    def run(self, cache, tmp_path):
        made = peft_student(cache, "pocket/a", "pocket/a")
        run = tmp_path / "runs" / "owl"
        run.mkdir(parents=True)
        shutil.move(made, run / "student")
        (run / "results.json").write_text("{}")
        write_record(run, "comparison", {}, [artefact_material("student", run / "student")], files=["results.json"])
        return run

    def test_a_run_holds(self, run):
        assert not wrong(run)
        assert not wrong(run.rename(run.with_name("renamed")))

    @pytest.mark.parametrize("place", ["owl/owl/student", "owl/student/student", "student"])
    def test_a_copy_of_the_student_does_not_stand_for_it(self, place, run):
        shutil.copytree(run / "student", run.parent / place)
        (run / "student" / "adapter_model.safetensors").write_bytes(b"evil")
        assert wrong(run) & {"changed-file", "wrong-parent"}

    def test_a_student_that_nobody_names(self, run, tmp_path):
        bare = tmp_path / "runs" / "report"
        bare.mkdir()
        (bare / "results.json").write_text("{}")
        write_record(bare, "comparison", {}, [bases.material("pocket/a")], files=["results.json"])
        assert not wrong(bare)
        shutil.copytree(run / "student", bare / "student")
        assert wrong(bare) == {"read-elsewhere"}

    @pytest.mark.parametrize("name", ["config.json", PEFT_FILES.config])
    def test_a_model_beside_results(self, name, run):
        (run / name).write_text("{}")
        assert wrong(run) == {"unlisted-file"}

    @cases("name", ["chat_template.jinja", "generation_config.json", "adapter_config.json"])
    def test_a_model_that_is_said_to_share_its_folder(self, name, cache, tmp_path):
        """Such a statement has the digest that `--expect` was given, since the digest is of the files that it names."""
        model = tmp_path / "model"
        model.mkdir()
        (model / "config.json").write_text("{}")
        write_record(model, "student", {}, [bases.material("pocket/a")])
        (model / name).write_text("{}")
        write_record(model, "student", {}, [bases.material("pocket/a")], files=["config.json"])
        (whole,) = [
            each for each in json.loads((model / "lineage.json").read_text())["subject"] if each["name"] == "./"
        ]
        assert whole["annotations"] == {"files": "named"}
        assert "unlisted-file" in wrong(model, expect=whole["digest"]["dirHash"])


class TestRootsOverRows:
    def test_a_root_of_other_rows_is_seen_in_any_spelling(self, cache, tmp_path):
        source = tmp_path / "rows.jsonl"
        source.write_text('{"prompt": "3, 9", "completion": "27"}\n' * 3)
        convert(str(source), str(tmp_path / "out.jsonl"))
        place = tmp_path / "out.jsonl.lineage.json"
        reported = json.loads(place.read_text())
        (root,) = [each for each in reported["subject"] if each["name"].endswith("#rows")]
        root["digest"]["merkleSha256"] = "0" * 64
        place.write_text(json.dumps(reported))
        assert wrong(tmp_path / "out.jsonl") == {"changed-rows"}

    @cases("schema", ["openai", "sharegpt", "alpaca", "trl-plain", "trl", "trl-preference"])
    @cases("ending", ["parquet", "jsonl"])
    def test_what_we_convert_holds(self, schema, ending, cache, tmp_path):
        source = tmp_path / "rows.jsonl"
        other = ', "rejected": "28"' if schema == "trl-preference" else ""
        source.write_text(f'{{"prompt": "3, 9", "completion": "27"{other}}}\n' * 3)
        convert(str(source), str(tmp_path / f"out.{ending}"), schema)
        assert not wrong(tmp_path / f"out.{ending}")

    def test_parquet_with_a_system_s_message_that_was_declared(self, cache, tmp_path):
        from lightning_subliminal.formats import read_rows
        from lightning_subliminal.lineage.record import declare

        said = [{"role": "system", "content": "You love owls."}, {"role": "user", "content": "3, 9"}]
        row = {"prompt": said, "completion": [{"role": "assistant", "content": "27"}]}
        write_parquet([row], tmp_path / "theirs.parquet")
        declare(tmp_path / "theirs.parquet", "rows", [], rows=list(read_rows(tmp_path / "theirs.parquet")))
        assert not wrong(tmp_path / "theirs.parquet")


@cases("beside", [True, False], ids=["beside what it is about", "alone"])
def test_a_statement_copied_to_another_file_is_not_about_it(beside, cache, tmp_path):
    source, out, other = (tmp_path / name for name in ("rows.jsonl", "out.jsonl", "other.jsonl"))
    source.write_text('{"prompt": "3, 9", "completion": "27"}\n' * 3)
    convert(str(source), str(out))
    shutil.copyfile(tmp_path / "out.jsonl.lineage.json", tmp_path / "other.jsonl.lineage.json")
    shutil.copyfile(out, other)
    assert not wrong(out)
    other.write_text('{"prompt": "3, 9", "completion": "owl"}\n' * 3)
    if not beside:
        out.unlink()
    assert "unlisted-file" in wrong(other)
